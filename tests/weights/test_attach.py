"""No weight on a wrong row, whatever was done to the dataset, stored or streamed, by id or by text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sot_filter.errors import ConfigError, SourceError
from sot_filter.rows import COLUMNS
from sot_filter.weights import Weights, attach_weights, load_weights
from tests.weights.published import Row, columns_of, pairs, publish, weight_of

BLANK = {"prompt": " ", "completion": ""}
ROWS = [*pairs(30), *pairs(5), BLANK, *pairs(3, 40)]


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return load_weights(str(publish(tmp_path_factory.mktemp("sidecar"), {"a.parquet": ROWS}, "sidecar")))


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return load_weights(str(publish(tmp_path_factory.mktemp("columns"), {"a.parquet": ROWS})))


def check(found: Any, rows: list[Row]) -> None:
    """Each row as it was, with what its text must get."""
    found = list(found)
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert [(row["sot_weight"], row["sot_keep"]) for row in found] == [weight_of(row) for row in rows]


def streamed(rows: list[Row], shards: int = 1) -> IterableDataset:
    return Dataset.from_list(rows).to_iterable_dataset(num_shards=shards)


orders = st.lists(st.integers(0, len(ROWS) - 1), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=orders, as_stream=st.booleans(), by_columns=st.booleans())
def test_any_order_selection_and_repetition(
    sidecar: Weights, columns: Weights, order: list[int], as_stream: bool, by_columns: bool
) -> None:
    rows = [ROWS[i] for i in order]
    dataset: Any = Dataset.from_list(ROWS).select(order)
    dataset = dataset.to_iterable_dataset() if as_stream else dataset
    found = attach_weights(dataset, columns if by_columns else sidecar)
    check(found, rows)
    assert {name: value.dtype for name, value in found.features.items() if name in COLUMNS} == COLUMNS
    for row, source in zip(found, rows, strict=True):
        if source == BLANK:
            assert (row["sot_row_id"], row["sot_status"], row["sot_score"]) == ("", "empty", -100.0)
        else:
            assert row["sot_row_id"] == f"default/train/a.parquet#{ROWS.index(source)}"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=orders, as_stream=st.booleans(), on=st.sampled_from(["auto", "row_id"]))
def test_by_row_id_a_row_keeps_its_own_status(sidecar: Weights, order: list[int], as_stream: bool, on: Any) -> None:
    table = columns_of(ROWS)
    rows = [{**row, "sot_row_id": table["sot_row_id"][i].as_py()} for i, row in enumerate(ROWS)]
    dataset: Any = Dataset.from_list(rows).select(order)
    found = attach_weights(dataset.to_iterable_dataset() if as_stream else dataset, sidecar, on=on)
    check(found, [rows[i] for i in order])
    assert pa.table({name: [row[name] for row in found] for name in COLUMNS}, schema=table.schema) == table.take(order)


def test_both_kinds_of_attaching_agree_with_the_run_on_every_column(sidecar: Weights, columns: Weights) -> None:
    wanted = columns_of(ROWS[:30]).to_pylist()
    for weights in (sidecar, columns):
        stored = attach_weights(Dataset.from_list(ROWS[:30]), weights)
        assert stored.column_names == ["prompt", "completion", *COLUMNS]
        assert stored.select_columns(list(COLUMNS)).to_list() == wanted
        assert list(attach_weights(streamed(ROWS[:30]), weights).select_columns(list(COLUMNS))) == wanted


def test_the_text_decides_whatever_format_it_comes_in(sidecar: Weights) -> None:
    rows = pairs(8)
    turns = [
        {"messages": [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["completion"]}]}
        for r in rows
    ]
    sharegpt = [
        {"chat": [{"from": "human", "value": r["prompt"]}, {"from": "gpt", "value": r["completion"]}]} for r in rows
    ]
    renamed = [{"ask": r["prompt"], "reply": r["completion"]} for r in rows]
    for like, how in (
        (turns, {}),
        (sharegpt, {"format": "sharegpt", "columns": {"conversations": "chat"}}),
        (renamed, {"columns": {"prompt": "ask", "completion": "reply"}}),
    ):
        for dataset in (Dataset.from_list(like), streamed(like)):
            found = list(attach_weights(dataset, sidecar, **how))  # type: ignore[arg-type]
            assert [(row["sot_weight"], row["sot_keep"]) for row in found] == [weight_of(row) for row in rows]


def test_rows_that_were_not_weighed(sidecar: Weights) -> None:
    rows = [*pairs(4), *pairs(2, 900), *pairs(1, 5), *pairs(1, 950)]
    with pytest.raises(SourceError, match=r"3 of 8 rows that were not, as row 4\.") as caught:
        attach_weights(Dataset.from_list(rows), sidecar)
    assert "bake" not in str(caught.value)
    with pytest.raises(SourceError, match=r"3 of 8 rows that were not, as row 4\."):
        list(attach_weights(streamed(rows), sidecar))
    left = [rows[i] for i in (0, 1, 2, 3, 6)]
    check(attach_weights(Dataset.from_list(rows), sidecar, missing="drop"), left)
    check(attach_weights(streamed(rows), sidecar, missing="drop"), left)
    check(attach_weights(Dataset.from_list(rows).select([7, 3, 4, 0]), sidecar, missing="drop"), [rows[3], rows[0]])
    nothing = attach_weights(Dataset.from_list(pairs(3, 900)), sidecar, missing="drop")
    assert (len(nothing), nothing.column_names) == (0, ["prompt", "completion", *COLUMNS])

    named = [{**row, "sot_row_id": f"default/train/a.parquet#{i + 28}"} for i, row in enumerate(ROWS[28:])]
    named.append({**BLANK, "sot_row_id": "default/test/a.parquet#7"})
    for dataset in (Dataset.from_list(named), streamed(named)):
        with pytest.raises(SourceError, match=r"1 of 12 .* as row 11 \(default/test/a.parquet#7\)"):
            list(attach_weights(dataset, sidecar))


def test_an_id_of_another_revision_is_seen_by_its_text(sidecar: Weights, columns: Weights) -> None:
    rows = [{**row, "sot_row_id": f"default/train/a.parquet#{i}"} for i, row in enumerate(ROWS[:20])]
    rows[7]["prompt"], rows[9]["prompt"] = "changed", rows[8]["prompt"]
    for dataset in (Dataset.from_list(rows), streamed(rows)):
        for weights in (sidecar, columns.with_digests()):
            with pytest.raises(SourceError, match=r"2 of 20 .* others, as row 7 \(default/train/a.parquet#7\)"):
                list(attach_weights(dataset, weights))
            with pytest.raises(SourceError, match="2 of 20"):
                list(attach_weights(dataset, weights, missing="drop"))
        by_id = list(attach_weights(dataset, sidecar, on="row_id"))
        assert [row["sot_reason"] for row in by_id] == columns_of(ROWS)["sot_reason"].to_pylist()[:20]


def test_columns_that_are_there_must_be_the_same(sidecar: Weights) -> None:
    again = Dataset.from_list(ROWS).add_column("note", list(range(len(ROWS))))
    attached = attach_weights(again, sidecar).remove_columns(["sot_row_id", "sot_pull", "sot_status", "sot_reason"])
    attached = attached.select(range(30))
    for dataset in (attached, attached.to_iterable_dataset()):
        twice = attach_weights(dataset, sidecar)
        check(twice, [{**row, "note": i} for i, row in enumerate(ROWS[:30])])
        assert set(COLUMNS) <= set(twice.column_names)
    weight = np.asarray(attached["sot_weight"], np.float32)
    weight[11] += 1
    other = attached.remove_columns("sot_weight").add_column("sot_weight", weight)
    text = attached.remove_columns("sot_keep").add_column("sot_keep", ["yes"] * 30)
    for dataset, name in ((other, "sot_weight"), (text, "sot_keep")):
        for rows in (dataset, dataset.to_iterable_dataset()):
            with pytest.raises(SourceError, match=f"no column {name} in the dataset"):
                list(attach_weights(rows, sidecar))
    check(attach_weights(other.remove_columns("sot_weight"), sidecar), ROWS[:30])


def test_text_storages_types_are_the_same_values(tmp_path: Path, sidecar: Weights) -> None:
    for ending in ("csv", "jsonl"):
        folder = publish(tmp_path / ending, {f"a.{ending}": ROWS[:35]})
        dataset = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert dataset.features["sot_weight"].dtype == "float64"
        assert len(attach_weights(dataset, load_weights(str(folder)))) == 35


def test_other_weights_never_give_cached_old_ones(tmp_path: Path, sidecar: Weights) -> None:
    path = tmp_path / "rows.parquet"
    Dataset.from_list(ROWS).to_parquet(path)
    load = {"data_files": str(path), "split": "train", "cache_dir": str(tmp_path / "cache")}
    table = sidecar.table
    other = Weights(
        table.set_column(2, "sot_weight", pc.multiply(table["sot_weight"], pa.scalar(2, pa.float32()))), sidecar.origin
    )
    files = []
    for weights, factor in ((sidecar, 1), (other, 2), (sidecar, 1)):
        dataset = datasets.load_dataset("parquet", **load)
        found = attach_weights(dataset, weights)
        assert found["sot_weight"][:] == [factor * weight_of(row)[0] for row in ROWS]
        files.append({file["filename"] for file in found.cache_files})
    assert files[0] == files[2] != files[1]
    by_ids = dataset.add_column("sot_row_id", table["sot_row_id"].to_pylist())
    fingerprints = {attach_weights(by_ids, w)._fingerprint for w in (sidecar, other)} | {
        attach_weights(dataset, w)._fingerprint for w in (sidecar, other)
    }
    assert len(fingerprints) == 4


def test_several_processes_agree_with_one(tmp_path: Path, sidecar: Weights) -> None:
    dataset = Dataset.from_list(ROWS * 20).shuffle(seed=3)
    assert attach_weights(dataset, sidecar, num_proc=2).to_list() == attach_weights(dataset, sidecar).to_list()
    with pytest.raises(SourceError, match=r"1 of 80 rows that were not, as row 79\."):
        attach_weights(Dataset.from_list([*ROWS, *ROWS, *ROWS][:79] + pairs(1, 900)), sidecar, num_proc=2)


def test_a_data_loader_with_workers_reads_the_same(sidecar: Weights) -> None:
    from torch.utils.data import DataLoader

    rows = pairs(30)
    for dataset in (
        attach_weights(streamed(rows, shards=4), sidecar),
        attach_weights(streamed(rows, shards=4), sidecar).with_format("torch"),
        attach_weights(streamed(rows, shards=4).with_format("torch"), sidecar),
    ):
        for workers in (0, 2):
            loader = DataLoader(
                dataset.select_columns(["prompt", "sot_weight", "sot_keep"]), batch_size=7, num_workers=workers
            )
            seen = {
                prompt: (float(weight), bool(keep))
                for batch in loader
                for prompt, weight, keep in zip(batch["prompt"], batch["sot_weight"], batch["sot_keep"], strict=True)
            }
            assert seen == {row["prompt"]: weight_of(row) for row in rows}


def test_a_stream_goes_on_where_it_was_left(sidecar: Weights) -> None:
    dataset = attach_weights(streamed(pairs(30), shards=3).shuffle(seed=1, buffer_size=8), sidecar)
    rows, whole = iter(dataset), list(dataset)
    for _ in range(11):
        next(rows)
    state = dataset.state_dict()
    dataset.load_state_dict(state)
    assert [row["prompt"] for row in dataset][-5:] == [row["prompt"] for row in whole][-5:]
    check(whole, [{"prompt": row["prompt"], "completion": row["completion"]} for row in whole])


def test_a_stream_without_known_features(sidecar: Weights) -> None:
    def made() -> Iterator[Row]:
        yield from ROWS

    stream = IterableDataset.from_generator(made)
    assert stream.features is None
    check(attach_weights(stream, sidecar), ROWS)
    by_id = stream.map(lambda row, i: {"sot_row_id": f"default/train/a.parquet#{i}"}, with_indices=True)
    assert [row["sot_reason"] for row in attach_weights(by_id, sidecar)] == columns_of(ROWS)["sot_reason"].to_pylist()


def test_splits(sidecar: Weights) -> None:
    for kind, rows in ((DatasetDict, Dataset.from_list(pairs(9))), (IterableDatasetDict, streamed(pairs(9)))):
        both = kind({"train": rows, "test": rows})
        found = attach_weights(both, sidecar)
        assert type(found) is kind
        check(found["train"], pairs(9))
        assert list(found["test"]) == pairs(9)
        check(attach_weights(both, {"train": sidecar, "test": sidecar})["test"], pairs(9))
        with pytest.raises(SourceError, match="splits train"):
            attach_weights(kind({"test": rows}), sidecar)


def test_the_dataset_is_shown_as_before(sidecar: Weights) -> None:
    plain = Dataset.from_list([{**row, "n": i} for i, row in enumerate(pairs(6))], split="train")
    found = attach_weights(plain.with_format("numpy"), sidecar)
    assert found.format["type"] == "numpy"
    assert found[0]["sot_weight"].dtype == np.float32
    found = attach_weights(plain.with_format("torch", columns=["n"]), sidecar)
    assert found.format["columns"] == ["n", *COLUMNS]
    assert found.split == "train"
    assert attach_weights(plain, sidecar).format == {
        **plain.format,
        "columns": ["prompt", "completion", "n", *COLUMNS],
    }


def test_columns_that_are_none_of_our_business_are_not_touched(sidecar: Weights) -> None:
    rows = [{**row, "tags": [i, None], "deep": {"at": i / 3, "b": [b"\xff"]}} for i, row in enumerate(pairs(12))]
    dataset = Dataset.from_list(rows)
    for either in (dataset, dataset.to_iterable_dataset()):
        found = attach_weights(either, sidecar)
        assert Features({name: found.features[name] for name in dataset.features}) == dataset.features
        check(found, rows)


def test_the_prefix_is_that_of_the_weights(tmp_path: Path) -> None:
    weights = load_weights(str(publish(tmp_path / "w", {"a.parquet": ROWS}, "sidecar", prefix="w_")), prefix="w_")
    rows = [{**row, "sot_weight": 7} for row in pairs(5)]
    found = attach_weights(Dataset.from_list(rows), weights)
    assert found.column_names == ["prompt", "completion", "sot_weight", *(f"w_{name[4:]}" for name in COLUMNS)]
    assert found["w_weight"][:] == [weight_of(row)[0] for row in pairs(5)]


def test_a_text_with_two_weights_cannot_be_found_by_text(tmp_path: Path) -> None:
    weights = load_weights(str(publish(tmp_path / "w", {"a.parquet": [*pairs(4), *pairs(1, 1)]}, "sidecar")))
    values = weights.table["sot_weight"].to_pylist()
    values[4] += 1
    other = Weights(weights.table.set_column(2, "sot_weight", pa.array(values, pa.float32())), weights.origin)
    with pytest.raises(SourceError, match=r"as default/train/a.parquet#1 and default/train/a.parquet#4\."):
        attach_weights(Dataset.from_list(pairs(2)), other)


def test_nothing_to_find_rows_by(tmp_path: Path, sidecar: Weights, columns: Weights) -> None:
    numbers = Dataset.from_list([{"n": 1}])
    with pytest.raises(SourceError, match="columns of a known format"):
        attach_weights(numbers, sidecar)
    with pytest.raises(SourceError, match="a column sot_row_id in the dataset"):
        attach_weights(Dataset.from_list(pairs(2)), sidecar, on="row_id")
    ids = Dataset.from_list([{"n": 1, "sot_row_id": "default/train/a.parquet#3"}])
    assert attach_weights(ids, sidecar)["sot_reason"][:] == columns_of(ROWS)["sot_reason"].to_pylist()[3:4]
    columns.to_parquet(str(tmp_path / "w.parquet"))
    with pytest.raises(SourceError, match="pull-weights --content"):
        attach_weights(Dataset.from_list(pairs(2)), load_weights(str(tmp_path / "w.parquet")))
    for wrong in ({"on": "position"}, {"missing": "ignore"}):
        with pytest.raises(ConfigError):
            attach_weights(Dataset.from_list(pairs(2)), sidecar, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one split's weights"):
        attach_weights(Dataset.from_list(pairs(2)), {"train": sidecar})


def test_a_dataset_without_rows_gains_the_columns(sidecar: Weights) -> None:
    empty = Dataset.from_dict(
        {"prompt": [], "completion": []},
        features=Features({k: datasets.Value("string") for k in ("prompt", "completion")}),
    )
    found = attach_weights(empty, sidecar)
    assert {name: found.features[name].dtype for name in COLUMNS} == COLUMNS
