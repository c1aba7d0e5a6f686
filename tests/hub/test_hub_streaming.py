"""Rows read by the network: no more of a dataset than is needed, nothing left behind, and faults outlived."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sot_filter.errors import HubError
from sot_filter.sources import Source, hub_source
from tests.hub.client import Client, Connect
from tests.hub.repository import Repository
from tests.hub.rows import Rows, as_csv, as_jsonl, as_parquet, pairs
from tests.hub.stand_in import StandIn
from tests.hub.test_hub_offline import all_rows

ROWS, GROUP = 24000, 8000


def wide() -> bytes:
    """Rows of three columns of which one, that is not read, is by far the largest; three row groups."""
    noise = np.random.default_rng(0).bytes(ROWS * 500)
    column = {
        name: [noise[i * 500 + at : i * 500 + at + size].hex() for i in range(ROWS)]
        for name, at, size in (("prompt", 0, 100), ("wide", 100, 300), ("completion", 400, 100))
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(column), sink, compression="none", row_group_size=GROUP, use_dictionary=False)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def large(hub: StandIn) -> Repository:
    content = wide()
    return hub.create("datasets", "org/wide", {"train.parquet": content, "test.parquet": content})


def fetched(hub: StandIn, since: int, ending: str) -> int:
    return sum(served.bytes for served in hub.served[since:] if served.path.endswith(ending))


def some(source: Source, start: int, stop: int) -> int:
    return sum(1 for _ in source.read_raw(source.files[0], start, stop, list(source.columns.values())))


def test_of_a_large_dataset_only_what_is_needed_is_fetched(
    large: Repository, hub: StandIn, connect: Connect, tmp_path: Path
) -> None:
    client, size = connect(home=tmp_path), len(wide())
    before = len(hub.served)
    source = client(hub_source, "org/wide")
    # Footers and the first pages, however large a row group is.
    assert fetched(hub, before, "train.parquet") < size / 5
    assert fetched(hub, before, "test.parquet") == 0
    columns = 2 * GROUP * 200
    before = len(hub.served)
    assert client(some, source, GROUP, 2 * GROUP) == GROUP
    # The texts of one row group, and the footer.
    assert columns < fetched(hub, before, "train.parquet") < columns + 200_000
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 2000] == []


def test_data_leaves_nothing_in_the_cache(hub: StandIn, connect: Connect, tmp_path: Path) -> None:
    files = {"README.md": b"# Left", "train.jsonl": as_jsonl(pairs(50)), "test.jsonl": as_jsonl(pairs(2))}
    hub.create("datasets", "org/left", files)
    client = connect(home=tmp_path)
    assert client(all_rows, client(hub_source, "org/left")) == pairs(50)
    assert {path.name for path in tmp_path.rglob("snapshots/*/*")} == {"README.md"}
    assert not (tmp_path / "datasets").exists()


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 429, "retry_after": 1}, {"cut": "body"}, {"cut": "after"}]
)
def test_a_fault_in_the_middle_is_outlived(kind: str, fault: dict[str, object], hub: StandIn, anyone: Client) -> None:
    write = {"parquet": as_parquet, "jsonl": as_jsonl, "csv": as_csv}[kind]
    hub.create("datasets", "org/shaky", {f"train.{kind}": write(pairs(300))})
    source = anyone(hub_source, "org/shaky")
    with hub.fault("GET", r"org/shaky/resolve/.*train", times=1, **fault) as injected:
        rows: Rows = anyone(all_rows, source)
    assert injected.hits == 1
    assert rows == pairs(300)


def test_faults_while_a_dataset_is_found_are_outlived(hub: StandIn, connect: Connect, tmp_path: Path) -> None:
    hub.create("datasets", "org/shaky", {"README.md": b"# S", "train.parquet": as_parquet(pairs(300))})
    with (
        hub.fault("GET", r"api/datasets/org/shaky$", status=503, times=1) as finding,
        hub.fault("*", r"api/datasets/org/shaky/revision", status=429, retry_after=1, times=1) as listing,
        hub.fault("GET", r"org/shaky/resolve/.*train", cut="body", times=1) as reading,
    ):
        assert connect(home=tmp_path)(hub_source, "org/shaky").rows == 300
    assert (finding.hits, listing.hits, reading.hits) == (1, 1, 1)


def test_a_fault_that_stays_ends_with_one_clear_sentence(hub: StandIn, connect: Connect) -> None:
    hub.create("datasets", "org/down", {"train.parquet": as_parquet(pairs(3))})
    client = connect()
    source = client(hub_source, "org/down")
    with (
        hub.fault("GET", r"org/down/resolve/.*train", status=503, times=None) as fault,
        pytest.raises(HubError, match=r"org/down at .*503"),
    ):
        client(all_rows, source)
    assert 1 < fault.hits < 10


def test_a_branch_that_moves_is_not_asked_again(hub: StandIn, anyone: Client) -> None:
    repository = hub.create(
        "datasets", "org/mover", {f"train-{n}.jsonl": as_jsonl(pairs(5, str(n))) for n in range(3)}
    )
    source = anyone(hub_source, "org/mover", revision="main")
    repository.commit({"train-0.jsonl": as_jsonl(pairs(1)), "train-1.jsonl": None})
    before = len(hub.served)
    assert anyone(all_rows, source) == [row for n in range(3) for row in pairs(5, str(n))]
    asked = [served.path for served in hub.served[before:]]
    assert asked
    assert all(str(source.revision) in path for path in asked)
