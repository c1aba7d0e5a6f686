"""References: the rows a card names, a sample that stays as rows come, and one reference of several."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.errors import ReferenceError
from sot_filter.references import (
    Card,
    Reference,
    encode_reference,
    join_references,
    load_reference,
    reference_ids,
    reference_source,
)
from sot_filter.sources import local_source
from tests.sources.written import json_lines, parquet

MakeCard = Callable[..., Card]


@pytest.fixture
def make_card(tmp_path: Path) -> MakeCard:
    """A card of the rows given, in a file of its own."""

    def make(
        rows: list[Any],
        where: dict[str, Any] | None = None,
        sample: int | None = None,
        seed: int = 0,
        digest: str | None = None,
        name: str = "card",
        write: Callable[[Any], bytes] = json_lines,
        ending: str = ".jsonl",
    ) -> Card:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / f"rows{ending}").write_bytes(write(rows))
        return Card(name, local_source(str(folder)), where or {}, sample, seed, digest)

    return make


def texts(reference: Reference) -> list[str]:
    return [conversation.text() for conversation in reference.conversations]


LABELLED = [
    {"text": "a", "safe": True, "level": 1, "kind": "x"},
    {"text": "b", "safe": False, "level": 2, "kind": "y"},
    {"text": "c", "safe": True, "level": 3, "kind": None},
    {"text": "d", "safe": None, "level": 1, "kind": "x"},
]


@pytest.mark.parametrize("kind", [(json_lines, ".jsonl"), (parquet, ".parquet")], ids=["JSON Lines", "Parquet"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, "abcd"),
        ({"safe": True}, "ac"),
        ({"safe": False}, "b"),
        ({"level": 1}, "ad"),
        ({"level": (1, 3)}, "acd"),
        ({"level": [2]}, "b"),
        ({"kind": "x"}, "ad"),
        ({"kind": ("x", "y")}, "abd"),
        ({"kind": "x", "safe": True}, "a"),
        ({"text": "c"}, "c"),
    ],
)
def test_where_picks_rows(make_card: MakeCard, where: dict[str, Any], expected: str, kind: Any) -> None:
    write, ending = kind
    reference = load_reference(make_card(LABELLED, where, write=write, ending=ending))
    assert texts(reference) == list(expected)
    assert reference.left_out.get("other", 0) == len(LABELLED) - len(expected)


def test_where_is_compared_by_value_and_kind(make_card: MakeCard) -> None:
    with pytest.raises(ReferenceError, match=r"rows for the reference card; got none \(4 other\)\. Check its `where`"):
        load_reference(make_card(LABELLED, {"level": "1"}))


@pytest.mark.parametrize("kind", [(json_lines, ".jsonl"), (parquet, ".parquet")], ids=["JSON Lines", "Parquet"])
def test_a_column_of_where_that_no_row_has_is_named(make_card: MakeCard, kind: Any) -> None:
    write, ending = kind
    with pytest.raises(ReferenceError, match=r"got no lable\. Correct the card of card"):
        load_reference(make_card(LABELLED, {"lable": True}, write=write, ending=ending))


def test_a_column_of_where_may_be_missing_from_some_rows(make_card: MakeCard) -> None:
    rows = [{"text": "a"}, {"text": "b", "planted": True}, {"text": "c"}]
    assert texts(load_reference(make_card(rows, {"planted": True}))) == ["b"]


def test_rows_are_counted_by_why_they_are_left_out(make_card: MakeCard) -> None:
    def write(rows: list[Any]) -> bytes:
        return json_lines(rows) + b"broken\n[1]\n"

    rows = [{"text": "a"}, {"text": " "}, {"text": " a\n"}, {"text": {"no": "text"}}, {"text": "b"}, {"text": "b"}]
    reference = load_reference(make_card(rows, write=write))
    assert texts(reference) == ["a", "b"]
    assert reference.left_out == {"empty": 1, "duplicate": 2, "invalid": 3}
    assert reference.ids == ("card:default/train/rows.jsonl#0", "card:default/train/rows.jsonl#4")


@given(
    n=st.integers(1, 60),
    more=st.integers(0, 40),
    sample=st.integers(1, 70),
    seed=st.integers(0, 2**70),
    data=st.data(),
)
def test_a_sample_keeps_its_choice_as_rows_come(
    tmp_path_factory: pytest.TempPathFactory, n: int, more: int, sample: int, seed: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("sample")

    def drawn(rows: int, name: str) -> list[str]:
        (folder / name).write_bytes(json_lines([{"text": f"{name} {i}"} for i in range(rows)]))
        return list(load_reference(Card("card", local_source(str(folder)), {}, sample, seed)).ids)

    before = drawn(n, "a.jsonl")
    after = drawn(n + more, "a.jsonl")
    assert len(after) == min(sample, n + more)
    old = {f"card:default/train/a.jsonl#{i}" for i in range(n)}
    # Of the old rows none comes in anew, and one goes only to make room for a new one.
    assert set(after) & old <= set(before)
    assert len(set(before) - set(after)) == max(len(set(after) - old) - (sample - len(before)), 0)
    # In source order, and with another file beside it the same rule holds.
    assert [int(i.rpartition("#")[2]) for i in after] == sorted(int(i.rpartition("#")[2]) for i in after)
    assert {i for i in drawn(data.draw(st.integers(1, 30)), "b.jsonl") if "a.jsonl" in i} <= set(after)


def test_a_sample_is_of_the_smallest_keyed_hashes(make_card: MakeCard) -> None:
    ids = [f"card:default/train/rows.jsonl#{i}" for i in range(40)]
    ranked = sorted(ids, key=lambda row_id: hashlib.blake2b(row_id.encode(), key=b"7", digest_size=16).digest())
    found = load_reference(make_card([{"text": str(i)} for i in range(40)], sample=10, seed=7)).ids
    assert set(found) == set(ranked[:10])


def test_the_seed_draws_another_sample_of_the_same_law(make_card: MakeCard) -> None:
    rows = [{"text": str(i)} for i in range(40)]
    counts = dict.fromkeys(range(40), 0)
    for seed in range(300):
        for row_id in load_reference(make_card(rows, sample=10, seed=seed)).ids:
            counts[int(row_id.rpartition("#")[2])] += 1
    # Each row is drawn 75 times on average, with a standard deviation of 7.5.
    assert all(35 < n < 115 for n in counts.values())
    assert load_reference(make_card(rows, sample=10)).left_out == {"not sampled": 30}


def test_the_digest_is_of_ids_and_texts(make_card: MakeCard) -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    base = load_reference(make_card(rows)).digest
    assert load_reference(make_card(rows)).digest == base
    assert load_reference(make_card(rows, digest=base)).digest == base
    assert load_reference(make_card([*rows, {"text": "a"}])).digest == base
    assert load_reference(make_card(rows[::-1])).digest != base
    assert load_reference(make_card(rows, name="other")).digest != base
    with pytest.raises(ReferenceError, match=rf"card of card promises \(digest {base[:12]}.*The source has changed"):
        load_reference(make_card([{"text": "a"}, {"text": "c"}], digest=base))


def test_references_join_in_order_and_keep_a_text_once(make_card: MakeCard) -> None:
    one = load_reference(make_card([{"text": "a"}, {"text": "b"}, {"text": " "}], name="one"))
    two = load_reference(make_card([{"text": "b"}, {"text": "c"}, {"text": ""}], name="two"))
    both = join_references([one, two])
    assert texts(both) == ["a", "b", "c"]
    assert [row_id.split(":")[0] for row_id in both.ids] == ["one", "one", "two"]
    assert both.left_out == {"empty": 2, "duplicate": 1}
    assert join_references([one]) == one
    assert join_references([two, one]).digest != both.digest


def test_a_reference_is_read_back_as_it_was(make_card: MakeCard, tmp_path: Path) -> None:
    calls = [{"function": {"name": "f", "arguments": {"x": "ü\u2028"}}}]
    rows = [
        {"messages": [{"role": "user", "content": 'Say "hi"\n'}, {"role": "assistant", "content": "hi \U0001f680"}]},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": None, "tool_calls": calls},
            ],
            "tools": [{"name": "f"}],
            "system": "Be kind.",
        },
        {"messages": [{"role": "tool", "content": "result", "name": "f"}]},
    ]
    reference = load_reference(make_card(rows))
    url = tmp_path / "reference.jsonl"
    url.write_bytes(encode_reference(reference))
    source = reference_source(str(url), "safe", reference)
    assert tuple(source.read(source.files[0])) == reference.conversations
    assert reference_ids(source) == list(reference.ids)
    digest, size = f"sha256:{hashlib.sha256(url.read_bytes()).hexdigest()}", url.stat().st_size
    assert (source.files[0].digest, source.files[0].bytes, source.files[0].rows) == (digest, size, 3)
    assert source.key(source.files[0], 2).id == "reference/safe/safe.jsonl#2"


def test_raw_text_stays_raw_text(make_card: MakeCard, tmp_path: Path) -> None:
    reference = load_reference(make_card([{"text": "Once upon a time."}]))
    (line,) = encode_reference(reference).splitlines()
    assert json.loads(line)["messages"] == [{"role": "text", "content": "Once upon a time."}]
    (tmp_path / "r.jsonl").write_bytes(line + b"\n")
    source = reference_source(str(tmp_path / "r.jsonl"), "safe", reference)
    (row,) = source.read(source.files[0])
    assert row == reference.conversations[0]
