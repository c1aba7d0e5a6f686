"""Rows of earlier references: known by all that is embedded of them, and taken as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sot_filter.artifacts import matrix
from sot_filter.conversation import Conversation, InvalidRow, Message
from sot_filter.embedding import Embedder, load_embedder
from sot_filter.steps.earlier import Known, contents
from sot_filter.steps.embed import completed_table, embedded_table
from tests.e2e.cases import KITCHEN
from tests.tiny_models import make_tiny_encoder

WORDS = KITCHEN.split()


def row(*turns: tuple[str, str], **more: Any) -> Conversation:
    return Conversation(tuple(Message(role, text) for role, text in turns), **more)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(model=str(make_tiny_encoder(tmp_path_factory.mktemp("model") / "encoder")))


@pytest.fixture(scope="module")
def rows() -> list[Conversation | InvalidRow]:
    return [row(("user", " ".join(WORDS[: i + 1])), ("assistant", " ".join(WORDS[i:]))) for i in range(12)]


def known(embedder: Embedder, rows: list[Conversation | InvalidRow], **described: Any) -> Known:
    return Known.of_tables({**embedder.describe(), **described}, [embedded_table(embedder, rows)[0]])


def never() -> Embedder:
    raise AssertionError("the model is not needed")


def test_what_is_embedded_otherwise_has_another_content() -> None:
    said = row(("user", "a b"), ("assistant", "c"))
    same = row(("user", "a b"), ("assistant", "c"))
    others = [
        row(("user", "a"), ("assistant", "b c")),
        row(("user", "a  b"), ("assistant", "c")),
        row(("system", "a b"), ("assistant", "c")),
        row(("user", "a b"), ("user", "c")),
        row(("user", "a b"), ("assistant", "c"), tools=({"name": "f"},)),
        Conversation((Message("user", "a b", {"name": "x"}), Message("assistant", "c"))),
    ]
    assert contents([said]) == contents([same])
    assert {said.digest(), *(other.digest() for other in others)} == {said.digest()}, "their text is the same"
    assert len({*contents([said, *others])}) == 1 + len(others)
    assert contents([InvalidRow("no turns")]) == [bytes(16)]


def test_known_rows_are_taken_and_only_the_others_embedded(embedder: Embedder, rows: list[Any]) -> None:
    earlier = known(embedder, rows[3:9][::-1])
    table, facts = completed_table(lambda: embedder, rows, [earlier])
    whole, tokens = embedded_table(embedder, rows)
    assert facts["taken"] == 6
    assert facts["tokens"] == sum(whole["tokens"].to_pylist()[:3] + whole["tokens"].to_pylist()[9:]) < tokens
    plain = [name for name in whole.column_names if not name.startswith("view:")]
    assert table.select(plain).equals(whole.select(plain))
    for view in embedder.views:
        found, expected = matrix(table[f"view:{view}"]), matrix(whole[f"view:{view}"])
        np.testing.assert_allclose(found.astype(float), expected.astype(float), atol=2e-3)
        assert (found[3:9] == matrix(earlier.table[f"view:{view}"])[::-1]).all()


def test_without_new_rows_no_model_is_loaded(embedder: Embedder, rows: list[Any]) -> None:
    earlier = known(embedder, rows)
    table, facts = completed_table(never, rows[5:2:-1], [earlier])
    assert table.equals(earlier.table.take([5, 4, 3]))
    assert facts == {"embedder": embedder.describe(), "tokens": 0, "taken": 3}


@pytest.mark.parametrize(("described", "taken"), [({"dtype": "bfloat16"}, 0), ({"layer": -2}, 0), ({"torch": "1"}, 2)])
def test_rows_that_were_embedded_otherwise_are_not_taken(
    embedder: Embedder, rows: list[Any], described: dict[str, Any], taken: int
) -> None:
    _, facts = completed_table(lambda: embedder, rows[:3], [known(embedder, rows[:2], **described)])
    assert facts["taken"] == taken


def test_unreadable_and_empty_rows_stay_what_they_are(embedder: Embedder, rows: list[Any], tmp_path: Path) -> None:
    spoilt = [rows[0], InvalidRow("no turns"), row(("user", "  ")), rows[1]]
    earlier = known(embedder, spoilt[:3])
    table, facts = completed_table(lambda: embedder, spoilt, [earlier])
    assert table["status"].to_pylist() == ["embedded", "invalid", "empty", "embedded"]
    assert facts["taken"] == 2
