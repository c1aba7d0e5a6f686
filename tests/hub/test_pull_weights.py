"""Weights from the Hub: no byte more than they take, from one commit, and attached to what `datasets` loads."""

import io
import json
import random
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sot_filter.errors import ConfigError, HubError, SotFilterError, SourceError
from sot_filter.rows import COLUMNS, DIGEST
from sot_filter.weights import Weights, attach_weights, load_weights
from tests.hub.client import MEMBER, NOWHERE, STRANGER, Client, Connect, hub_environment, sot_filter
from tests.hub.repository import Repository
from tests.hub.rows import as_jsonl, as_parquet
from tests.hub.stand_in import StandIn
from tests.weights.published import Row, columns_of, digest_of, publish, weight_of

LETTERS = "abcdefghijklmnopqrstuvwxyz     "


def long_rows(n: int, seed: int) -> list[Row]:
    """Texts of 20 kB that do not compress well."""
    rng = random.Random(seed)
    return [{"prompt": f"bake {seed} {i}", "completion": "".join(rng.choices(LETTERS, k=20_000))} for i in range(n)]


FILES = {"data/a.parquet": long_rows(60, 1), "data/b.parquet": long_rows(20, 2)}
ROWS = [row for rows in FILES.values() for row in rows]


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # On the Hub the summary lies beside the data.
    return {f"sot/run/{name}" if name == "summary.json" else name: content for name, content in found.items()}


@pytest.fixture(scope="module")
def published(hub: StandIn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repository]:
    """The rows, and their weights in columns and in a sidecar of its own; `main` of the columns has moved on."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "columns" / "data").mkdir(parents=True)
    columns = contents(publish(folder / "columns", FILES))
    sidecar = contents(publish(folder / "sidecar", FILES, "sidecar"))
    made = {
        "rows": hub.create("datasets", "org/baked", {name: as_parquet(rows) for name, rows in FILES.items()}),
        "columns": hub.create("datasets", "org/baked-sot", columns, "private", MEMBER),
        "sidecar": hub.create("datasets", "org/baked-sidecar", sidecar),
    }
    made["columns"].tags["v1"] = made["columns"].branches["main"]
    made["columns"].commit({"data/b.parquet": None, "README.md": b"---\nconfigs: []\n---\n"})
    return made


@pytest.fixture(scope="module")
def offline(connect: Connect) -> Client:
    return connect(HF_HUB_OFFLINE="1")


def rows_of(weights: Weights) -> list[Row]:
    wanted: list[Row] = weights.table.select(list(COLUMNS)).to_pylist()
    return wanted


WANTED = [row for name, rows in FILES.items() for row in columns_of(rows, name).to_pylist()]


def test_only_the_weight_columns_travel(hub: StandIn, published: dict[str, Repository], member: Client) -> None:
    whole = sum(len(published["columns"].at("v1").files[name].content) for name in FILES)
    before = {name: hub.bytes_served(name) for name in FILES}
    weights = member(load_weights, "org/baked-sot", revision="v1")
    took = sum(hub.bytes_served(name) - before[name] for name in FILES)
    assert rows_of(weights) == WANTED
    # The end of each file, where pyarrow looks for its footer, and the columns.
    columns = sum(weight_bytes(published["columns"].at("v1").files[name].content) for name in FILES)
    assert took <= 2 * (64 << 10) + 1.05 * columns < whole / 8
    before = {name: hub.bytes_served(name) for name in FILES}
    digests = member(with_digests, weights).table[DIGEST].to_pylist()
    assert digests == [digest_of(row) for row in ROWS]
    assert sum(hub.bytes_served(name) - before[name] for name in FILES) > whole / 2


def weight_bytes(content: bytes) -> int:
    metadata = pq.read_metadata(io.BytesIO(content))
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema in COLUMNS)


def with_digests(weights: Weights) -> Weights:
    return weights.with_digests()


def test_a_revision_is_resolved_once(hub: StandIn, published: dict[str, Repository], member: Client) -> None:
    sha = published["columns"].tags["v1"]
    for revision in ("v1", sha):
        start = len(hub.served)
        weights = member(load_weights, "org/baked-sot", revision=revision)
        assert (weights.origin.revision, weights.origin.dataset) == (sha, "org/source")
        data = [served.path for served in hub.served[start:] if "/resolve/" in served.path]
        assert data
        assert all(f"/resolve/{sha}/" in path for path in data)
    assert rows_of(weights) == WANTED


def test_a_sidecar_on_a_branch_of_the_rows_own_repository(
    hub: StandIn, published: dict[str, Repository], anyone: Client
) -> None:
    repository = published["rows"]
    card = "---\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n"
    card += "- config_name: sot\n  data_files: sot/data/*.parquet\n---\n"
    files = {name: file.content for name, file in published["sidecar"].at("main").files.items()}
    repository.branches["weights"] = repository.branches["main"]
    sha = repository.commit({**files, "README.md": card.encode()}, branch="weights")
    for config in (None, "default", "sot"):
        weights = anyone(load_weights, "org/baked", revision="weights", config=config)
        assert rows_of(weights) == WANTED
        assert (weights.origin.config, weights.origin.revision) == ("sot", sha)
    start = len(hub.served)
    found = anyone(joined, "org/baked", weights, streaming=False)
    assert not [served for served in hub.served[start:] if "/sot/" in served.path]
    assert found == [weight_of(row) for row in ROWS]


def joined(dataset: str, weights: Weights, **how: Any) -> list[tuple[float, bool]]:
    """The weights of a dataset's rows, from the first to the last."""
    import datasets

    rows = attach_weights(datasets.load_dataset(dataset, split="train", **how), weights)
    return [(row["sot_weight"], row["sot_keep"]) for row in rows]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["baked-sidecar", "baked-sot"])
def test_the_rows_as_they_were_get_their_weights(
    published: dict[str, Repository], member: Client, kind: str, streaming: bool
) -> None:
    weights = member(load_weights, f"org/{kind}", revision="v1" if kind == "baked-sot" else None)
    assert member(joined, "org/baked", weights, streaming=streaming) == [weight_of(row) for row in ROWS]


def refused(client: Client, kind: type[SotFilterError], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(kind) as caught:
        client(load_weights, *args, **kwargs)
    assert caught.type is kind
    assert "hf_" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_there(
    published: dict[str, Repository], member: Client, anyone: Client, offline: Client, connect: Connect
) -> None:
    assert "set HF_TOKEN" in refused(anyone, SourceError, "org/baked-sot")
    assert "set HF_TOKEN" in refused(connect(STRANGER), SourceError, "org/baked-sot")
    assert "set HF_TOKEN" in refused(anyone, SourceError, "org/nothing-like-it")
    assert "v9" in refused(anyone, SourceError, "org/baked-sidecar", revision="v9")
    assert "a split 'test'" in refused(anyone, SourceError, "org/baked-sidecar", split="test")
    assert "a configuration 'salt'" in refused(anyone, SourceError, "org/baked-sidecar", config="salt")
    assert "expected columns sot_row_id" in refused(anyone, SourceError, "org/baked", revision="main")
    assert "expected columns w_row_id" in refused(anyone, SourceError, "org/baked-sidecar", prefix="w_")
    assert "begin with 'sot_'" in refused(anyone, SourceError, "org/baked-sidecar", prefix="w_")
    assert "org/name" in refused(anyone, SourceError, "org/in/valid")
    assert "HF_HUB_OFFLINE" in refused(offline, HubError, "org/baked-sidecar")
    assert "Check the network" in refused(connect(url=NOWHERE), HubError, "org/baked-sidecar")


def command_line(*arguments: str) -> tuple[object, str, str]:
    """The command line in this process: exit code, stdout, stderr."""
    import sys

    from sot_filter.cli import main

    out, err = io.StringIO(), io.StringIO()
    given, sys.argv = sys.argv, ["sot-filter", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = given
    return ended.value.code, out.getvalue(), err.getvalue()


def test_the_command_writes_a_file_that_needs_no_hub(
    hub: StandIn, published: dict[str, Repository], tmp_path: Path, member: Client, offline: Client
) -> None:
    environment = hub_environment(hub.url, tmp_path / "home", MEMBER)
    ended = sot_filter(environment, "pull-weights", "org/baked-sot", "w.parquet", "--revision", "v1", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    sha = published["columns"].tags["v1"]
    kept = sum(row["sot_keep"] for row in WANTED)
    assert f"80 rows of org/baked-sot at {sha}: {kept} kept" in ended.stdout
    assert ended.stdout.endswith("joins by row id.\n")
    table = pq.read_table(tmp_path / "w.parquet")
    assert table.to_pylist() == WANTED
    assert json.loads(table.schema.metadata[b"sot_filter"])["origin"]["revision"] == sha
    assert MEMBER.encode() not in (tmp_path / "w.parquet").read_bytes()

    out = str(tmp_path / "c.parquet")
    code, told, _ = member(
        command_line, "pull-weights", "org/baked-sot", out, "--revision", "v1", "--content", "--json"
    )
    assert code == 0
    said = json.loads(told)
    assert (said["revision"], said["rows"], said["kept"], said["found_by_text"]) == (sha, 80, kept, True)
    assert said["sum_of_weights"] == pytest.approx(sum(row["sot_weight"] for row in WANTED))
    weights = offline(load_weights, out)
    assert weights.table[DIGEST].to_pylist() == [digest_of(row) for row in ROWS]
    assert (weights.origin.where, weights.origin.revision) == ("org/baked-sot", sha)


def test_the_commands_errors_are_one_line_and_leave_no_file(
    hub: StandIn, published: dict[str, Repository], tmp_path: Path, member: Client, anyone: Client, offline: Client
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    w = str(out / "w.parquet")
    with hub.fault("GET", r"org/baked-sidecar/resolve/.*data/b.parquet", times=None, status=403) as fault:
        halfway = anyone(command_line, "pull-weights", "org/baked-sidecar", w)
    assert fault.hits
    cases = [
        (5, halfway),
        (2, member(command_line, "pull-weights", "org/baked", w, "--revision", "main")),
        (2, member(command_line, "pull-weights", "org/nothing-like-it", w)),
        (2, member(command_line, "pull-weights", "org/baked-sidecar", str(out / "w.csv"))),
        (2, member(command_line, "pull-weights", str(out), w)),
        (2, member(command_line, "pull-weights", str(out), w, "--revision", "main")),
        (5, offline(command_line, "pull-weights", "org/baked-sidecar", w)),
    ]
    for wanted, (code, told, said) in cases:
        assert (code, told, said.count("\n")) == (wanted, "", 1), said
        assert "Error: expected" in said
        assert "hf_" not in said
    assert list(out.iterdir()) == []


def test_rows_from_jsonl_are_typed(hub: StandIn, tmp_path: Path, anyone: Client) -> None:
    files = {"train.jsonl": long_rows(5, 3)}
    hub.create("datasets", "org/lines", {name: as_jsonl(rows) for name, rows in files.items()})  # type: ignore[arg-type]
    hub.create("datasets", "org/lines-sot", contents(publish(tmp_path / "lines", files)))
    weights = anyone(load_weights, "org/lines-sot")
    assert rows_of(weights) == columns_of(files["train.jsonl"], "train.jsonl").to_pylist()
    assert anyone(joined, "org/lines", weights, streaming=True) == [weight_of(row) for row in files["train.jsonl"]]


def test_a_revision_is_for_the_hub_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_weights(str(publish(tmp_path / "out", {"a.parquet": long_rows(2, 4)})), revision="main")
