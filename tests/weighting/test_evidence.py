"""Reasons: one sentence of the row's own numbers, never of its text."""

import itertools
import re
from typing import Any

import pytest

from sot_filter.conversation import FORMATS, InvalidRow, read_conversation
from sot_filter.rows import DROPPED, EMPTY, INVALID, KEPT, STATUSES, UNKNOWN
from sot_filter.sources import Unreadable
from sot_filter.sources.json_lines import parse
from sot_filter.weighting import reason

SECRET = "SECRET"


@pytest.mark.parametrize(
    ("status", "kept", "duplicate", "truncated"), list(itertools.product(STATUSES, *[[True, False]] * 3))
)
def test_every_reason_is_one_sentence(status: str, kept: bool, duplicate: bool, truncated: bool) -> None:
    said = reason(
        status,
        kept=kept,
        score=0.25,
        cut=0.125,
        safe_similarity=0.5,
        harmful_similarity=-0.25,
        duplicate_of="default/train/a b.jsonl#3" if duplicate else "",
        truncated=truncated,
        detail="a turn has no role",
        weight=0.5,
        cluster="harm:default/train/h.jsonl#7",
        cluster_share=0.43,
        retention=0.934,
    )
    assert re.fullmatch(r"[A-Z][^\n]*[^.]\.", said)
    assert not re.search(r"[.!?] [A-Z]", said)
    if status == EMPTY:
        assert "no text" in said
        assert "never kept" in said
    elif status == INVALID:
        assert said == "It cannot be read, so it is never kept: a turn has no role."
    else:
        assert said.startswith("Kept: " if kept else "Dropped: ")
        numbers = r"score \+0\.2500 .* the cut \+0\.1250; similarity 0\.50 to the nearest safe row, -0\.25 to the"
        assert re.search(numbers, said)
        assert ("same text as default/train/a b.jsonl#3" in said) == duplicate
        assert ("only a part of its text" in said) == truncated
        assert "claimed by the harmful cluster of harm:default/train/h.jsonl#7 with 43% of its mass" in said
        assert ("weight 0.50" in said) == kept
        assert ("would be kept at retention 0.934" in said) != kept


def test_a_row_on_the_edge_is_said_to_be() -> None:
    assert "; on the edge: kept in 9 of 16 replicates" in reason(KEPT, kept=True, replicates=(9, 16))
    assert "on the edge" not in reason(KEPT, kept=True)


@pytest.mark.parametrize(
    ("kept", "score", "side"),
    [(True, 0.5, "at or above"), (True, 0.3, "at or above"), (False, 0.3, "on"), (False, 0.2, "below")],
)
def test_it_says_on_which_side_of_the_cut_the_row_is(kept: bool, score: float, side: str) -> None:
    assert f"is {side} the cut" in reason(DROPPED, kept=kept, score=score, cut=0.3)


def test_a_row_that_is_kept_in_full_has_a_short_reason() -> None:
    said = reason(KEPT, kept=True, score=0.5, cut=0.25, weight=1.0, cluster="harm:a/b/c#1", retention=0.1)
    assert said == (
        "Kept: score +0.5000 is at or above the cut +0.2500; similarity 0.00 to the nearest safe row, 0.00 to the "
        "nearest harmful."
    )


@pytest.mark.parametrize(
    "line", [f'{{"{SECRET}": ', f'"{SECRET}"', f"{SECRET}", f'["{SECRET}"]', f'{{"a": "{SECRET}\x00"}}']
)
def test_what_is_wrong_with_a_line_is_said_without_its_text(line: str) -> None:
    row = parse(line)
    assert isinstance(row, Unreadable)
    assert SECRET not in row.detail


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "value",
    [SECRET, {SECRET: SECRET}, [SECRET], [{SECRET: 1}], [{"role": SECRET, "content": {SECRET: 1}}], SECRET.encode(),
     f"{SECRET}\ud800", [{"role": {SECRET: 1}}]],
)  # fmt: skip
def test_what_is_wrong_with_a_row_is_said_without_its_text(format: str, value: Any) -> None:
    columns = {name: name for name in (*FORMATS[format], "tools")}
    for given_as in (dict.fromkeys(columns, value), {"tools": value, "messages": [], "conversations": []}):
        said = "readable"
        try:
            read_conversation(given_as, format, columns)
        except InvalidRow as problem:
            said = str(problem)
        assert SECRET not in said
        assert re.fullmatch(r"[^\n.]+", said)


FAR = "far from both references (nearest similarity 0.10, below 0.25)"


@pytest.mark.parametrize(
    ("policy", "kept", "begins"),
    [
        ("keep", True, f"Kept: score +0.5000 is at or above the cut +0.3000; it is {FAR}; similarity"),
        ("down_weight", True, f"the cut +0.3000; it is {FAR}, so its weight is lowered; similarity"),
        ("keep", False, f"Dropped: score +0.5000 is on the cut +0.3000; it is {FAR}; similarity"),
        ("drop", False, f"Dropped: unknown; it is {FAR}; similarity"),
        ("review", False, f"Set aside for review: unknown; it is {FAR}; similarity"),
    ],
)
def test_it_says_why_a_row_is_unknown_and_what_that_means(policy: str, kept: bool, begins: str) -> None:
    assert begins in reason(UNKNOWN, kept=kept, score=0.5, cut=0.3, unknown=FAR, policy=policy)


def test_it_says_for_which_slice_a_row_is_kept() -> None:
    said = reason(KEPT, kept=True, score=0.1, cut=0.3, kept_for="language de")
    assert "is below the cut +0.3000, but the slice language de would keep less than its minimum without it;" in said
    assert "on the cut" in reason(KEPT, kept=True, score=0.3, cut=0.3, kept_for="language de")
