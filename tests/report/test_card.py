"""The card of an output: `load_dataset` reads the data files it names, and nothing that lies beside them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import get_dataset_config_names, load_dataset
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.report.card import card, configuration, size_category
from sot_filter.report.card_merge import BEGIN, END
from sot_filter.rows import COLUMNS, UNSCORED, named
from tests.report.summaries import on_the_hub, summary


def head_of(text: str) -> dict[str, Any]:
    found = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "names",
    [["a.jsonl", "deep/er/b.jsonl"], ["a#1 b.jsonl", "grüße.jsonl"], ["odd[1].jsonl", "star*.jsonl", "what?.jsonl"]],
)
def test_the_datasets_library_reads_exactly_the_files_of_the_source(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "out"
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"file": name}) + "\n")
    (folder / "summary.json").write_text('{"not": "data"}')
    (folder / "starry.jsonl").write_text('{"file": "not named"}\n')
    (folder / "README.md").write_text(card(summary(names, "own", "test")), encoding="utf-8")
    assert get_dataset_config_names(str(folder)) == ["own"]
    found = load_dataset(str(folder), "own", split="test", cache_dir=str(tmp_path / "cache"))
    assert sorted(found["file"]) == sorted(names)


def test_its_table_has_every_column_by_the_name_it_has() -> None:
    found = summary(["a.jsonl"])
    found["output"]["prefix"] = "mine_"
    text = card(found)
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    assert rows == [[f" `{named(name, 'mine_')}` ", f" {kind} "] for name, kind in COLUMNS.items()]
    assert "sot_weight" not in text


def test_it_says_how_many_rows_are_kept() -> None:
    text = card(summary(["a.jsonl"]))
    assert "12,345 rows" in text
    assert "10,000 kept, 2,345 not (retention 81.0%)" in text
    assert "5,432 equal ones" in text


@pytest.mark.parametrize(
    ("mode", "meaning"), [("coupled", "log-odds"), ("exact", "cost"), ("paper", "log of the weight")]
)
def test_it_says_what_a_score_is(mode: str, meaning: str) -> None:
    (line,) = (line for line in card(summary(["a.jsonl"], mode=mode)).splitlines() if "`sot_score`" in line)
    assert meaning in line
    assert line.endswith(f"; {UNSCORED:g} for rows without an embedding |")


def test_it_names_references_with_revision_and_licence_and_no_folder_of_anyones() -> None:
    text = card(summary(["a.jsonl"]))
    assert (
        f"bad ([org/bad](https://huggingface.co/datasets/org/bad/tree/{'f' * 40}) at `ffffffff`, licence mit)" in text
    )
    assert "mine (safe.jsonl, licence not stated)" in text
    assert "/home" not in text
    assert "| embedding | tiny, revision abc, mean |" in text


def test_values_of_the_rows_columns_are_not_in_it() -> None:
    text = card(summary(["a.jsonl"]))
    assert "secret" not in text
    assert "Of 1 slices of the rows fewer are kept" in text


def test_of_a_hub_dataset_licence_language_and_text_are_taken_over() -> None:
    found = on_the_hub(summary(["a.jsonl"]), "org/new")
    found["source_card"] = {
        "head": {"license": "mit", "language": ["no"], "tags": ["x"], "pretty_name": "Book"},
        "text": "# Book\n\nAsk Ann.",
    }
    text = card(found)
    head = head_of(text)
    assert (head["license"], head["language"], head["source_datasets"]) == ("mit", ["no"], ["org/book"])
    assert (head["tags"], head["pretty_name"]) == (["x", "sot-filter"], "Book (weighed by sot-filter)")
    assert text.index(END) < text.index("# The card of org/book") < text.index("# Book\n\nAsk Ann.\n")
    own = card({**found, **on_the_hub(found, "org/book")})
    assert "Ask Ann" not in own
    assert not {"source_datasets", "license", "pretty_name"} & head_of(own).keys()


def test_loading_is_by_the_repositorys_name_its_branch_and_the_configuration() -> None:
    found = on_the_hub(summary(["a.jsonl"], "en", "test"), "org/new")
    assert 'load_dataset("org/new", "en", split="test")' in card(found)
    found["output"]["hub"]["branch"] = "weights"
    assert 'load_dataset("org/new", "en", split="test", revision="weights")' in card(found)
    found["output"]["hub"].update(branch=None, create_pr=True)
    assert 'add its `revision="refs/pr/..."`' in card(found)
    assert 'load_dataset("path/to/this/folder", split="train")' in card(summary(["a.jsonl"]))


def test_a_sidecar_is_joined_in_one_line() -> None:
    text = card(on_the_hub(summary(["a.parquet"]), "org/new", mode="sidecar"))
    head = head_of(text)
    assert head["configs"] == [
        {"config_name": "sot", "data_files": [{"split": "train", "path": ["sot/a.parquet.parquet"]}]}
    ]
    pinned = f'load_dataset("org/book", split="train", revision="{"a" * 40}")'
    assert f'rows = attach_weights({pinned}, load_weights("org/new"))' in text
    assert "| `sot_digest` | string |" in text
    assert (configuration("en", "sidecar"), configuration("en", "columns")) == ("en-sot", "en")


def test_links_are_seen_from_where_the_card_lies() -> None:
    text = card(summary(["a.jsonl"]), "sot/toy-run/")
    links = re.findall(r"\]\(((?!http)[^)]*)\)", text)
    assert links == [f"sot/toy-run/{name}" for name in ("map.png", "pipeline.yaml", "summary.json")]
    assert "map.png" not in card({**summary(["a.jsonl"]), "picture": False})


@pytest.mark.parametrize(
    ("rows", "said"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B")],
)
def test_size_is_told_in_the_hubs_classes(rows: int, said: str) -> None:
    assert size_category(rows) == said


ODD = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30) | st.sampled_from(
    [
        "- a: b",
        "no",
        "a: b #c",
        "'\"`|<b>",
        "*[?]{}",
        "---",
        "...",
        "&x *y !z",
        "1.0",
        "\u2028",
        "\x85",
        END,
        "```",
        "\\",
    ]
)


@given(name=ODD, config=ODD, words=ODD)
def test_no_name_breaks_the_yaml_or_our_part_of_the_text(name: str, config: str, words: str) -> None:
    found = on_the_hub(summary([name], config), "org/new")
    found["references"]["safe"]["sources"][0].update(name=words, licence=words, files=[words])
    found["embedding"]["model"] = words
    text = card(found)
    match = re.match(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))", text)
    assert match
    (read,) = yaml.safe_load(match.group(2))["configs"]
    (file,) = read["data_files"]
    assert read["config_name"] == config
    assert re.sub(r"\[([*?\[])\]", r"\1", file["path"][0]) == name
    body = text[match.end() :]
    assert (body.count(BEGIN), body.count(END)) == (1, 1)
    assert body.strip().endswith(END)
    outside = re.sub(r"```.*?\n```\n", "", body, flags=re.DOTALL).replace(BEGIN, "").replace(END, "")
    assert not re.search(r"(?<!\\)<", outside)


def test_repeating_it_does_not_publish_it() -> None:
    assert "sot-filter run pipeline.yaml --set output.hub=null\n" in card(on_the_hub(summary(["a.jsonl"]), "org/out"))
    assert "sot-filter run pipeline.yaml\n" in card(summary(["a.jsonl"]))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((0.9991, 1.0002), "next to nothing, for all kept rows weigh about 1."),
        ((0.1, 5.29), "lie between 0.1 and 5.3"),
    ],
)
def test_it_says_what_is_lost_without_weights(weights: tuple[float, float], said: str) -> None:
    found = summary(["a.jsonl"])
    found["kept"] |= dict(zip(("smallest_weight", "largest_weight"), weights, strict=True))
    assert said in card(found)


def test_a_new_cut_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    for place, weight in (("a", 1.0), ("a", 0.5), ("b", 0.25)):
        folder = tmp_path / place / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.jsonl").write_text(json.dumps({"sot_weight": weight}) + "\n")
        found = summary(["a.jsonl"])
        found["contents"]["digest"] = f"{int(weight * 4):064x}"[::-1]
        (folder / "README.md").write_text(card(found), encoding="utf-8")
        rows = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert rows["sot_weight"][:] == [weight]
