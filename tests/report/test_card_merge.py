"""Our card in one that is there: everything that is there stays, and everything loads, as a whole and as a stream."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Features, load_dataset
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.errors import HubError
from sot_filter.report.card_merge import BEGIN, END, merge_card, outline

PLAIN = pa.table({"text": ["a", "b"]})
WEIGHED = pa.table({"text": ["a", "b"], "sot_weight": pa.array([0.5, 1.5], pa.float32())})
SIDE = pa.table({"sot_row_id": ["i", "j"], "sot_weight": pa.array([0.5, 1.5], pa.float32())})
FEATURES = {id(table): Features.from_arrow_schema(table.schema)._to_yaml_list() for table in (PLAIN, WEIGHED, SIDE)}


def ours(config: str = "sot", split: str = "train", path: str = "sot/train.parquet.parquet", **more: Any) -> str:
    """A card of one file."""
    head = {
        "license": "mit",
        "tags": ["sot-filter"],
        "configs": [{"config_name": config, "data_files": [{"split": split, "path": [path]}]}],
        **more,
    }
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{BEGIN}\nours\n{END}\n\n# The card of org/x\n\ntheirs\n"
    )


def told(table: pa.Table, config: str, split: str, rows: int = 2) -> dict[str, Any]:
    splits = [{"name": split, "num_bytes": 10, "num_examples": rows}]
    sizes = {"splits": splits, "download_size": 7, "dataset_size": 10}
    return {"dataset_info": {"config_name": config, "features": FEATURES[id(table)], **sizes}}


def parts(text: str) -> tuple[dict[str, Any], str]:
    _, head, body = re.split(r"^---\r?\n", text, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(head), body


THERE = (
    "---\n# who may use it\nlicense: cc-by-4.0  # asked\nlanguage: [no]\n\n# about tags\ntags:\n- baking\n# last\n"
    "x-own: {b: 1}\n---\n# Book\n\nAsk Ann.\n"
)


def test_a_dataset_without_a_card_gets_ours_as_it_is() -> None:
    assert parts(merge_card(None, ours())) == parts(ours())
    assert merge_card("", ours()) == merge_card(None, ours())


def test_keys_comments_and_text_that_are_there_stay() -> None:
    merged = merge_card(THERE, ours())
    head, text = parts(merged)
    assert merged.startswith(
        "---\n# who may use it\nlicense: cc-by-4.0  # asked\nlanguage: [no]\n\n# about tags\ntags:\n- baking\n"
        "- sot-filter\n# last\nx-own: {b: 1}\nconfigs:\n"
    )
    assert text == f"# Book\n\nAsk Ann.\n\n{BEGIN}\nours\n{END}\n"
    assert "theirs" not in merged
    assert head["configs"] == parts(ours())[0]["configs"]


@given(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=200), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
def test_the_text_stays_to_the_byte_and_a_second_push_only_replaces_our_part(
    words: str, breaks: str, with_head: bool
) -> None:
    there = (f"---{breaks}license: mit{breaks}---{breaks}" if with_head else "") + f"# Book{breaks}{words}"
    once = merge_card(there, ours())
    assert merge_card(once, ours()) == once
    again = merge_card(once, ours().replace("\nours\n", "\nnewer\n"))
    assert f"{BEGIN}{chr(13) if (chr(13) + chr(10)) in there else ''}{chr(10)}newer" in again
    begin = re.escape(BEGIN)
    cut = re.sub(
        rf"{begin}(?:(?!{begin}).)*?{re.escape(END)}", "", again.split(f"# Book{breaks}", 1)[1], flags=re.DOTALL
    )
    assert cut.startswith(words)
    assert not cut[len(words) :].strip()


def test_half_a_mark_takes_no_text_away() -> None:
    there = f"# Book\n\n{BEGIN}\nAsk Ann.\n"
    merged = merge_card(merge_card(there, ours()), ours().replace("\nours\n", "\nnewer\n"))
    assert "Ask Ann." in merged
    assert merged.count("newer") == 1
    assert "\nours\n" not in merged


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("---\nlicense: [mit\n---\ntext", "line"),
        ("---\nlicense: mit\nlicense: gpl\n---\n", "given twice"),
        ("---\njust words\n---\n", "a str"),
        ("---\nconfigs: {a: b}\n---\n", "config_name"),
        ("---\nconfigs: [{config_name: a, data_files: [{split: train}]}]\n---\n", "config_name"),
        ("---\ndataset_info: [1]\n---\n", "dataset_info"),
    ],
)
def test_a_card_that_cannot_be_read_is_left_alone(there: str, said: str) -> None:
    with pytest.raises(HubError, match=re.escape(said)):
        merge_card(there, ours())


def test_an_anchor_that_another_key_needs_is_not_lost() -> None:
    head, _ = parts(merge_card("---\ntags: &t [a]\nother: *t\n---\n", ours()))
    assert (head["tags"], head["other"]) == (["a", "sot-filter"], ["a"])


def test_another_kind_of_file_is_refused_before_and_at_the_end() -> None:
    there = "---\nconfigs: [{config_name: default, data_files: train.jsonl}]\n---\n"
    for text in (ours(), outline("sot", "train", ["sot/train.jsonl.parquet"])):
        with pytest.raises(HubError, match=r"one with json.*another repository"):
            merge_card(there, text)
    with pytest.raises(HubError, match="one with txt"):
        merge_card("words", ours(), lambda config: {"train": ["a.txt"]})


Files = Mapping[str, pa.Table]


class Repository:
    """A folder that `datasets` loads as it would a dataset of the Hub."""

    def __init__(self, folder: Path, files: Files, card: str) -> None:
        self.folder = folder / "repository"
        self.cache = folder / "cache"
        self.write(files, card)

    def write(self, files: Files, card: str) -> None:
        for name, table in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".parquet"):
                pq.write_table(table, path)
            elif name.endswith(".csv"):
                pyarrow.csv.write_csv(table, path)
            else:
                table.to_pandas().to_json(path, orient="records", lines=True)
        (self.folder / "README.md").write_text(card, encoding="utf-8")

    def files_of(self, config: str) -> Mapping[str, Sequence[str]]:
        from datasets import load_dataset_builder

        found = load_dataset_builder(str(self.folder), config, cache_dir=str(self.cache)).config.data_files or {}
        root = f"{self.folder.resolve()}/"
        return {str(split): [path.removeprefix(root) for path in paths] for split, paths in found.items()}

    def load(self, config: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """All splits, read whole and streamed."""
        whole = load_dataset(str(self.folder), config, cache_dir=str(self.cache))
        streamed = load_dataset(str(self.folder), config, streaming=True, cache_dir=str(self.cache))
        rows = {str(split): list(found) for split, found in whole.items()}
        assert {str(split): list(found) for split, found in streamed.items()} == rows
        return rows


SIDECAR = {"sot/train.parquet.parquet": SIDE}
CARDS = {
    "by custom": "just words\n",
    "named": "---\nconfigs: [{config_name: default, data_files: [{split: train, path: train.parquet}, "
    "{split: test, path: test.parquet}]}]\n---\n",
    "a glob that takes in sidecars": "---\nconfigs:\n- config_name: main\n  data_files:\n"
    "  - {split: train, path: '**/train*.parquet'}\n  - {split: test, path: test.parquet}\n---\n",
    "a folder": "---\nconfigs: [{config_name: main, data_dir: .}]\n---\n",
}


@pytest.mark.parametrize("there", CARDS)
def test_beside_a_sidecar_the_source_loads_as_before(there: str, tmp_path: Path) -> None:
    source = {"train.parquet": PLAIN, "test.parquet": PLAIN}
    repository = Repository(tmp_path, source, CARDS[there])
    before = repository.load()
    assert before.keys() == {"train", "test"}
    merged = merge_card(CARDS[there], ours(**told(SIDE, "sot", "train")), repository.files_of)
    repository.write(SIDECAR, merged)
    assert repository.load() == before
    assert repository.load("sot") == {"train": SIDE.to_pylist()}
    assert merge_card(merged, ours(**told(SIDE, "sot", "train")), repository.files_of) == merged


def test_files_beside_the_data_are_not_read_as_data(tmp_path: Path) -> None:
    there = "---\nconfigs: [{config_name: default, data_files: '**/*.jsonl'}]\n---\n"
    repository = Repository(tmp_path, {"train.jsonl": PLAIN}, there)
    merged = merge_card(there, ours("other", "train", "other.jsonl"), repository.files_of)
    repository.write({"other.jsonl": WEIGHED, "sot/run/review.jsonl": SIDE}, merged)
    assert repository.load() == {"train": PLAIN.to_pylist()}
    assert repository.load("other") == {"train": WEIGHED.to_pylist()}
    again = merge_card(there, ours("other", "train", "other.jsonl"), repository.files_of)
    assert "review" not in again


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("weighed", ["train", "test"])
@pytest.mark.parametrize("card", ["by custom", "named", "told"])
def test_one_weighed_split_of_two_leaves_both_to_load(ending: str, weighed: str, card: str, tmp_path: Path) -> None:
    splits = ("train", "test")
    names = {split: f"{split}.{ending}" for split in splits}
    both = {
        "configs": [{"config_name": "default", "data_files": [{"split": s, "path": names[s]} for s in splits]}],
        "dataset_info": {
            "features": FEATURES[id(PLAIN)],
            "splits": [{"name": s, "num_bytes": 3, "num_examples": 2} for s in splits],
            "dataset_size": 6,
        },
    }
    there = {
        "by custom": "words",
        "named": f"---\n{yaml.safe_dump({'configs': both['configs']})}---\n",
        "told": f"---\n{yaml.safe_dump(both)}---\n",
    }[card]
    repository = Repository(tmp_path, dict.fromkeys(names.values(), PLAIN), there)
    # Of text kinds features are told where the source's card told them.
    info = told(WEIGHED, "default", weighed)["dataset_info"]
    known = info if ending == "parquet" else {"config_name": "default", "features": info["features"]}
    new = ours("default", weighed, names[weighed], **({"dataset_info": known} if "features" in known else {}))
    if ending != "parquet" and card != "told":
        new = ours("default", weighed, names[weighed])
    merged = merge_card(there, new, repository.files_of)
    repository.write({names[weighed]: WEIGHED}, merged)
    found = repository.load()
    (other,) = set(splits) - {weighed}
    assert found[weighed] == WEIGHED.to_pylist()
    assert found[other] == [{**row, "sot_weight": None} for row in PLAIN.to_pylist()]


def test_a_second_split_joins_the_first_in_one_configuration(tmp_path: Path) -> None:
    first = merge_card(None, ours("default", "train", "train.parquet", **told(WEIGHED, "default", "train")))
    both = merge_card(first, ours("default", "test", "test.parquet", **told(WEIGHED, "default", "test")))
    head, _ = parts(both)
    info = head["dataset_info"]
    assert {split["name"]: split["num_examples"] for split in info["splits"]} == {"train": 2, "test": 2}
    assert info["dataset_size"] == 20
    assert "download_size" not in info
    repository = Repository(tmp_path, {"train.parquet": WEIGHED, "test.parquet": WEIGHED}, both)
    assert repository.load().keys() == {"train", "test"}


def test_the_one_configuration_that_was_there_stays_the_one_that_is_loaded_unnamed(tmp_path: Path) -> None:
    there = "---\nconfigs: [{config_name: main, data_files: train.parquet}]\n---\n"
    merged = merge_card(there, ours(**told(SIDE, "sot", "train")))
    repository = Repository(tmp_path, {"train.parquet": PLAIN, **SIDECAR}, merged)
    assert repository.load() == {"train": PLAIN.to_pylist()}


def test_where_none_was_loaded_unnamed_none_is(tmp_path: Path) -> None:
    names = {name: f"{name}/train.parquet" for name in ("one", "two")}
    configs = [{"config_name": name, "data_files": path} for name, path in names.items()]
    there = f"---\n{yaml.safe_dump({'configs': configs})}---\n"
    merged = merge_card(there, ours(**told(SIDE, "sot", "train")))
    repository = Repository(tmp_path, {**dict.fromkeys(names.values(), PLAIN), **SIDECAR}, merged)
    with pytest.raises(ValueError, match="Config name is missing"):
        repository.load()
    assert repository.load("sot") == {"train": SIDE.to_pylist()}


def test_another_configuration_of_the_same_files_gains_their_columns(tmp_path: Path) -> None:
    configs = [
        {"config_name": "default", "data_files": [{"split": "train", "path": "train.parquet"}]},
        {"config_name": "all", "data_files": "*.parquet"},
    ]
    infos = [{"config_name": name, "features": FEATURES[id(PLAIN)]} for name in ("default", "all")]
    there = f"---\n{yaml.safe_dump({'configs': configs, 'dataset_info': infos})}---\n"
    merged = merge_card(there, ours("default", "train", "train.parquet", **told(WEIGHED, "default", "train")))
    repository = Repository(tmp_path, {"train.parquet": WEIGHED, "a-test.parquet": PLAIN}, merged)
    assert [row["sot_weight"] for row in repository.load("all")["train"]] == [None, None, 0.5, 1.5]
