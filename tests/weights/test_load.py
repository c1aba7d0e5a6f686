"""Weights come back as they were published: from any storage, a sidecar, a file of their own, or not at all."""

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sot_filter.errors import ConfigError, SotFilterError, SourceError
from sot_filter.rows import COLUMNS, DIGEST
from sot_filter.steps.publish import SCHEMA
from sot_filter.weights import Weights, load_weights
from tests.weights.published import columns_of, digest_of, pairs, publish


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "jsonl.gz", "csv", "json", "arrow"])
def test_columns_come_back_to_the_bit_from_any_storage(tmp_path: Path, ending: str) -> None:
    files = {f"one.{ending}": pairs(23), f"two.{ending}": pairs(9, 50)}
    folder = publish(tmp_path / "out", files)
    loaded = load_weights(str(folder))
    wanted = pa.concat_tables([columns_of(rows, name) for name, rows in files.items()])
    assert loaded.table.schema == SCHEMA
    assert loaded.table.to_pydict() == wanted.to_pydict()
    assert len(loaded) == 32
    assert loaded.kept == sum(wanted["sot_keep"].to_pylist())
    assert loaded.total == pytest.approx(sum(wanted["sot_weight"].to_pylist()))
    assert loaded.with_digests().table[DIGEST].to_pylist() == [
        digest_of(row) for rows in files.values() for row in rows
    ]


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("places", [("none", "some"), ("some", "zero")])
def test_a_file_without_rows_among_others_says_nothing(tmp_path: Path, ending: str, places: tuple[str, str]) -> None:
    folder = publish(tmp_path / "out", {f"{place}.{ending}": pairs(3 if place == "some" else 0) for place in places})
    loaded = load_weights(str(folder))
    assert loaded.table.equals(columns_of(pairs(3), f"some.{ending}"))
    assert loaded.with_digests().table[DIGEST].to_pylist() == [digest_of(row) for row in pairs(3)]


@pytest.mark.parametrize("config", ["default", "bread"])
def test_a_sidecar_is_found_by_the_configuration_of_its_rows(tmp_path: Path, config: str) -> None:
    folder = publish(tmp_path / "out", {"in/a.jsonl": pairs(11)}, "sidecar", config=config)
    sidecar = "sot" if config == "default" else "bread-sot"
    loaded = [load_weights(str(folder), config=name) for name in (None, config, sidecar)]
    for weights in loaded:
        assert weights.table.column_names == [*COLUMNS, DIGEST]
        assert weights.origin.config == sidecar
        assert weights.digest == loaded[0].digest
        assert weights.with_digests() is weights


def test_a_sidecar_beside_its_rows_goes_before_them(tmp_path: Path) -> None:
    folder = publish(tmp_path / "out", {"a.parquet": pairs(5)}, "sidecar")
    pq.write_table(pa.Table.from_pylist(pairs(5)), folder / "a.parquet")
    card = (
        "---\nconfigs:\n- config_name: default\n  data_files: a.parquet\n"
        "- config_name: sot\n  data_files: sot/*.parquet\n---\n"
    )
    (folder / "README.md").write_text(card)
    for config in (None, "default", "sot"):
        assert load_weights(str(folder), config=config).origin.config == "sot"


def test_of_several_configurations_the_default_one_is_meant(tmp_path: Path) -> None:
    for config in ("bread", "salt"):
        publish(tmp_path / "out", {f"{config}.parquet": pairs(4 + len(config))}, "sidecar", config=config)
        pq.write_table(pa.Table.from_pylist(pairs(3)), tmp_path / "out" / f"{config}.parquet")
    configs = [
        f"- config_name: {name}\n  data_files: {path}\n"
        for config in ("bread", "salt")
        for name, path in ((config, f"{config}.parquet"), (f"{config}-sot", f"sot/{config}.parquet.parquet"))
    ]
    (tmp_path / "out" / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")
    with pytest.raises(SourceError, match="or name the configuration"):
        load_weights(str(tmp_path / "out"))
    assert load_weights(str(tmp_path / "out"), config="bread").origin.config == "bread-sot"
    configs[2] = configs[2] + "  default: true\n"
    (tmp_path / "out" / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")
    assert len(load_weights(str(tmp_path / "out"))) == 4 + len("salt")


def test_the_summary_says_how_the_rows_were_read(tmp_path: Path) -> None:
    origin = load_weights(str(publish(tmp_path / "out", {"a.parquet": pairs(3)}))).origin
    assert origin.reading is not None
    assert (origin.reading.format, origin.dataset, origin.dataset_revision) == (
        "prompt_completion",
        "org/source",
        "5" * 40,
    )
    without = load_weights(str(publish(tmp_path / "other", {"a.parquet": pairs(3)}, summary=False)))
    assert without.origin.reading is None
    assert without.with_digests().table[DIGEST].to_pylist() == [digest_of(row) for row in pairs(3)]


def test_summaries_of_several_runs_count_for_what_they_agree_on(tmp_path: Path) -> None:
    folder = publish(tmp_path / "out", {"a.parquet": pairs(3)})
    told = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").unlink()
    for name, change in (("a", {}), ("b", {"revision": "6" * 40}), ("c", {"config": "other", "format": "text"})):
        (folder / "sot" / name).mkdir(parents=True)
        (folder / "sot" / name / "summary.json").write_text(json.dumps({"input": told["input"] | change}))
    (folder / "sot" / "d").mkdir()
    (folder / "sot" / "d" / "summary.json").write_text("not ours")
    origin = load_weights(str(folder)).origin
    assert origin.reading is not None
    assert (origin.reading.format, origin.dataset, origin.dataset_revision) == (
        "prompt_completion",
        "org/source",
        None,
    )
    (folder / "sot" / "b" / "summary.json").write_text(json.dumps({"input": told["input"] | {"format": "text"}}))
    assert load_weights(str(folder)).origin.reading is None


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    rows = [{**row, "completion": f"{i} " * 3000} for i, row in enumerate(pairs(50))]
    folder = publish(tmp_path / "out", {"a.parquet": rows})
    # Nothing of the texts can be read: what reads them must fail.
    path = folder / "a.parquet"
    metadata = pq.read_metadata(path)
    broken = bytearray(path.read_bytes())
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(1)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        broken[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(broken)
    weights = load_weights(str(folder))
    assert weights.table.to_pydict() == columns_of(rows).to_pydict()
    with pytest.raises(SourceError):
        weights.with_digests()


@pytest.mark.parametrize("mode", ["columns", "sidecar"])
def test_a_file_of_their_own_holds_all_there_is_to_know(tmp_path: Path, mode: str) -> None:
    weights = load_weights(str(publish(tmp_path / "out", {"a.parquet": pairs(40)}, mode))).with_digests()
    path = tmp_path / "weights.parquet"
    digest, size = weights.to_parquet(str(path))
    assert size == path.stat().st_size
    again = load_weights(str(path))
    assert (again.table, again.origin, again.digest) == (weights.table, weights.origin, weights.digest)
    assert load_weights(str(path)).to_parquet(str(tmp_path / "again.parquet")) == (digest, size)
    seen = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert {name: value.dtype for name, value in seen.features.items()} == {**COLUMNS, DIGEST: "string"}


def test_another_prefix_is_kept(tmp_path: Path) -> None:
    folder = publish(tmp_path / "out", {"a.parquet": pairs(5)}, prefix="w_")
    with pytest.raises(SourceError, match="begin with 'w_'"):
        load_weights(str(folder))
    weights = load_weights(str(folder), prefix="w_")
    assert weights.table.to_pydict() == columns_of(pairs(5)).to_pydict()
    weights.to_parquet(str(tmp_path / "w.parquet"))
    assert pq.read_schema(tmp_path / "w.parquet").names == [f"w_{name[4:]}" for name in COLUMNS]
    assert load_weights(str(tmp_path / "w.parquet")).origin.prefix == "w_"


def test_an_output_elsewhere_is_found_by_its_summary(tmp_path: Path) -> None:
    import fsspec

    for mode in ("columns", "sidecar"):
        folder = publish(tmp_path / mode, {"a.parquet": pairs(6), "b.parquet": pairs(2, 9)}, mode)
        fs = fsspec.filesystem("memory")
        fs.put(str(folder), f"/weights-{mode}", recursive=True)
        there = load_weights(f"memory://weights-{mode}")
        assert there.table == load_weights(str(folder)).table
        one = load_weights(
            f"memory://weights-{mode}/{'sot/' if mode == 'sidecar' else ''}a.parquet{'.parquet' * (mode == 'sidecar')}"
        )
        assert len(one) == 6
    with pytest.raises(SourceError, match="a finished run's output"):
        load_weights("memory://nothing-here")


def test_the_digest_tells_weights_apart(tmp_path: Path) -> None:
    table = columns_of(pairs(9))
    origin = load_weights(str(publish(tmp_path / "out", {"a.parquet": pairs(9)}))).origin
    plain = Weights(table, origin)
    cut = pa.concat_tables([table.slice(0, 4), table.slice(4)])
    assert Weights(cut, origin).digest == plain.digest
    seen = {plain.digest}
    for name, value in (("sot_weight", 5.0), ("sot_keep", None), ("sot_reason", "x"), ("sot_nearest_harmful", "y")):
        values = table[name].to_pylist()
        values[3] = not values[3] if value is None else value
        changed = table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))
        seen.add(Weights(changed, origin).digest)
    seen.add(Weights(table.slice(0, 8), origin).digest)
    assert len(seen) == 6


def wrong(tmp_path: Path, change: dict[str, object]) -> str:
    folder = publish(tmp_path / "out", {"a.jsonl": pairs(6)})
    lines = [json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines()]
    lines[4] |= change
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sot_row_id": "default/train/a.jsonl#2"}, "1 repeated, as default/train/a.jsonl#2"),
        ({"sot_row_id": None}, "values of sot_row_id"),
        ({"sot_weight": None}, "values of sot_weight"),
        ({"sot_weight": "much"}, "values of sot_weight"),
        ({"sot_weight": -1}, "weights of zero or more"),
        ({"sot_weight": float("nan")}, "weights of zero or more"),
        ({"sot_keep": 1}, "values of sot_keep"),
        ({"sot_reason": ["a"]}, "values of sot_reason"),
    ],
)
def test_values_that_no_run_writes_are_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        load_weights(wrong(tmp_path, change))


def test_bad_places_are_one_clear_error(tmp_path: Path) -> None:
    folder = publish(tmp_path / "out", {"a.parquet": pairs(4)})
    plain = tmp_path / "plain"
    plain.mkdir()
    pq.write_table(pa.Table.from_pylist(pairs(3)), plain / "rows.parquet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really PAR1")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "none.jsonl").write_text("")
    cases: list[tuple[type[SotFilterError], dict[str, object], str]] = [
        (SourceError, {"where": str(folder), "split": "test"}, "a split 'test'"),
        (SourceError, {"where": str(folder), "config": "other"}, "expected a configuration 'other'"),
        (ConfigError, {"where": str(folder), "revision": "main"}, "a revision of a Hub dataset"),
        (SourceError, {"where": str(plain)}, "expected columns sot_row_id, sot_weight, sot_keep"),
        (SourceError, {"where": str(tmp_path / "empty")}, "that `datasets` can load"),
        (SourceError, {"where": str(tmp_path / "broken.parquet")}, "a whole Parquet file"),
        (SourceError, {"where": str(tmp_path / "notes.txt")}, "a file ending in"),
        (SourceError, {"where": str(tmp_path / "none.jsonl")}, "expected columns"),
        (SourceError, {"where": str(tmp_path / "is" / "not" / "there")}, "a run's output folder"),
        (SourceError, {"where": "nothing"}, "a run's output folder"),
    ]
    for kind, arguments, said in cases:
        with pytest.raises(kind) as caught:
            load_weights(**arguments)  # type: ignore[arg-type]
        assert type(caught.value) is kind
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_files_that_disagree_are_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path / "out", {"a.parquet": pairs(4), "b.parquet": pairs(4, 9)}, "sidecar")
    path = folder / "sot" / "b.parquet.parquet"
    pq.write_table(pq.read_table(path).drop_columns([DIGEST]), path)
    with pytest.raises(SourceError, match="sot_digest in some only"):
        load_weights(str(folder))
