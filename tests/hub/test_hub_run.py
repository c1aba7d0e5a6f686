"""The command line with everything from the Hub: rows, references and model, none of it open to everyone."""

import contextlib
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sot_filter.cli import main
from tests.hub.client import MEMBER, NOWHERE, Client, Connect, hub_environment, sot_filter
from tests.hub.repository import Repository
from tests.hub.rows import as_jsonl, as_parquet, pairs
from tests.hub.stand_in import StandIn

CARD = b"---\nconfigs:\n- config_name: default\n  data_files: [{split: train, path: data/*.parquet}]\n---\n"
PIPELINE = {
    "name": "closed",
    "input": {"dataset": "org/closed-rows", "revision": "main"},
    "references": {"safe": "safe.yaml", "harmful": {"dataset": "org/closed-harmful", "name": "harmful"}},
    "embed": {"model": "org/closed-model", "revision": "main", "device": "cpu"},
}
SAFE = {"dataset": "org/closed-safe", "where": {"kind": "safe"}, "licence": "none"}


@pytest.fixture(scope="module")
def repositories(hub: StandIn, encoder: dict[str, bytes]) -> dict[str, Repository]:
    """What the run reads, by role."""
    safe = [{**row, "kind": ("safe", "other")[n % 2]} for n, row in enumerate(pairs(12, "bread"))]
    parts = {f"data/{n}.parquet": as_parquet(pairs(6, ("flour", "steps")[n], 100)) for n in range(2)}
    made = {
        "rows": hub.create("datasets", "org/closed-rows", {"README.md": CARD, **parts}, "private", MEMBER),
        "safe": hub.create("datasets", "org/closed-safe", {"train.jsonl": as_jsonl(safe)}, "gated", MEMBER),
        "harmful": hub.create(
            "datasets", "org/closed-harmful", {"train.jsonl": as_jsonl(pairs(6, "heat"))}, "private", MEMBER
        ),
        "model": hub.create("models", "org/closed-model", encoder, "gated", MEMBER),
    }
    return made


class Runs:
    """The command line in one folder, with a token and one cache."""

    def __init__(self, hub: StandIn, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(PIPELINE))
        (folder / "safe.yaml").write_text(yaml.safe_dump(SAFE))

    def __call__(self, *arguments: str, **more: str) -> CompletedProcess[str]:
        environment = hub_environment(self.hub.url, self.folder / "home", MEMBER, **more)
        return sot_filter(environment, *arguments, cwd=self.folder)

    def columns(self, output: str) -> list[dict[str, Any]]:
        """The rows of an output folder, which is Parquet."""
        files = sorted((self.folder / output / "data").glob("*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.fixture(scope="module")
def runs(hub: StandIn, repositories: dict[str, Repository], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A first run is done, and since then every repository has moved on."""
    runs = Runs(hub, tmp_path_factory.mktemp("runs"))
    ended = runs("run", "pipeline.yaml")
    assert ended.returncode == 0, ended.stderr
    (runs.folder / "streams.txt").write_text(ended.stdout + ended.stderr)
    for role in ("safe", "harmful"):
        repositories[role].commit({"more.jsonl": as_jsonl(pairs(3, f"new {role}"))})
    repositories["rows"].commit({"data/0.parquet": as_parquet(pairs(2, "salt")), "data/1.parquet": None})
    repositories["model"].commit({"1_Pooling/config.json": b'{"pooling_mode_cls_token": true}'})
    return runs


def command_line(arguments: Sequence[str], folder: Path) -> tuple[object, str]:
    """The command line in this process: its exit code and what it writes to stderr."""
    said = io.StringIO()
    streams = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said)
    with contextlib.chdir(folder), streams[0], streams[1], pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sot-filter", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code, said.getvalue()


def first_commits(repositories: dict[str, Repository]) -> dict[str, str]:
    return {role: next(iter(repository.commits)) for role, repository in repositories.items()}


def test_every_row_is_weighed(runs: Runs) -> None:
    rows = runs.columns("out/closed")
    assert [row["sot_row_id"] for row in rows] == [
        f"default/train/data/{part}.parquet#{n}" for part in range(2) for n in range(6)
    ]
    assert {row["prompt"] for row in rows} == {row["prompt"] for t in ("flour", "steps") for row in pairs(6, t, 100)}
    assert any(row["sot_keep"] for row in rows)


def test_the_resolved_file_pins_every_revision(runs: Runs, repositories: dict[str, Repository]) -> None:
    resolved = yaml.safe_load((runs.folder / "out/closed/pipeline.yaml").read_text())
    (safe,), (harmful,) = resolved["references"]["safe"], resolved["references"]["harmful"]
    cards = {"rows": resolved["input"], "safe": safe, "harmful": harmful, "model": resolved["embed"]}
    assert {role: card["revision"] for role, card in cards.items()} == first_commits(repositories)
    assert all(len(cards[role]["digest"]) == 64 for role in ("rows", "safe", "harmful"))


def test_the_token_is_in_no_file_and_in_no_stream(runs: Runs) -> None:
    files = [path for path in runs.folder.rglob("*") if path.is_file()]
    assert {"plan.json", "summary.json", "executor.json", "streams.txt"} <= {path.name for path in files}
    assert [path for path in files if MEMBER.encode() in path.read_bytes()] == []


def test_the_resolved_file_runs_again_from_the_same_commits_and_asks_for_no_branch(
    runs: Runs, repositories: dict[str, Repository], hub: StandIn, member: Client
) -> None:
    elsewhere = ("--set", "work_dir=again/work", "--set", "output.folder=again/out")
    before = len(hub.served)
    code, said = member(command_line, ("run", "out/closed/pipeline.yaml", *elsewhere), runs.folder)
    assert code == 0, said
    assert runs.columns("again/out") == runs.columns("out/closed")
    asked, commits = {served.path for served in hub.served[before:]}, first_commits(repositories).values()
    assert asked
    assert {path for path in asked if not any(sha in path for sha in commits)} == set()


def test_a_branch_that_has_moved_on_is_not_taken_for_the_same_run(runs: Runs, member: Client) -> None:
    code, said = member(command_line, ("run", "pipeline.yaml"), runs.folder)
    assert code == 2
    assert "input.revision" in said
    assert "--redo" in said
    assert len(runs.columns("out/closed")) == 12


OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": NOWHERE}
WITHOUT = {"out of reach": {"HF_ENDPOINT": NOWHERE}, "switched off": OFFLINE}


@pytest.mark.parametrize("without", WITHOUT)
def test_without_the_hub_a_run_ends_with_one_clear_sentence(without: str, runs: Runs) -> None:
    ended = runs("run", "out/closed/pipeline.yaml", **WITHOUT[without])
    assert (ended.returncode, ended.stdout) == (5, "")
    assert ended.stderr.startswith("HubError: expected ")
    assert "org/closed-rows at " in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def warm(runs: Runs, repositories: dict[str, Repository], connect: Connect) -> Client:
    """Someone with a cache of all that the first run read, and with nothing else: no Hub, no token."""
    home = runs.folder / "warm"
    filling = connect(MEMBER, home=home)
    for role, sha in first_commits(repositories).items():
        filling(fetched, repositories[role].id, "model" if role == "model" else "dataset", sha)
    return connect(home=home, url=NOWHERE, HF_HUB_OFFLINE="1")


def fetched(name: str, kind: str, sha: str) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(name, repo_type=kind, revision=sha)


def test_switched_off_a_warm_cache_gives_the_same_columns(runs: Runs, warm: Client) -> None:
    elsewhere = ("--set", "work_dir=offline/work", "--set", "output.folder=offline/out")
    code, said = warm(command_line, ("run", "out/closed/pipeline.yaml", *elsewhere), runs.folder)
    assert code == 0, said
    assert runs.columns("offline/out") == runs.columns("out/closed")


def test_a_run_goes_on_without_the_hub_and_with_it_again(runs: Runs, warm: Client, member: Client) -> None:
    elsewhere = ("run", "out/closed/pipeline.yaml", "--set", "work_dir=on/work", "--set", "output.folder=on/out")
    for client, undone in ((member, ()), (warm, ("embed", "publish", "report")), (member, ("publish", "report"))):
        for name in undone:
            shutil.rmtree(runs.folder / "on/work" / name)
        code, said = client(command_line, elsewhere, runs.folder)
        assert code == 0, said
        assert runs.columns("on/out") == runs.columns("out/closed")
