"""A stage looks for itself at what it stands on, before it does anything."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sot_filter.artifacts import Manifest, announce, versions, write_bytes
from sot_filter.config import load_pipeline
from sot_filter.errors import ArtifactError
from sot_filter.plan import Plan, build_stages
from sot_filter.planning import make_plan
from sot_filter.steps.upstream import NEEDS, CheckUpstream
from sot_filter.workspace import claim
from tests.planned import Toy

HOST = socket.gethostname()


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A claimed run of three files, 520 rows in the first and so two parts there, with every artifact finished."""
    monkeypatch.chdir(tmp_path)
    toy = Toy.make(tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    (tmp_path / "rows").mkdir()
    for name, rows in (("a", 520), ("b", 5), ("c", 7)):
        lines = (json.dumps(row) + "\n" for row in toy.rows(name, rows))
        (tmp_path / "rows" / f"{name}.jsonl").write_text("".join(lines))
    made = toy.plan("input.files=rows", "output.hub={repo: org/toy}")
    claim(made)
    finish_all(made)
    return made


@pytest.fixture
def sampled(plan: Plan) -> Plan:
    """The same rows by way of a sample and centroids, in a work folder of its own, finished as well."""
    settings = ("input.files=rows", "solve.mode=centroid", "work_dir=sampled", "output.folder=out-sampled")
    settings = (*settings, "cluster.polish=2")
    made = make_plan(load_pipeline("toy.yaml", settings))
    claim(made)
    finish_all(made)
    return made


def finish_all(plan: Plan) -> None:
    for stage in build_stages(plan):
        for url, rows in stage.artifacts:
            finish(url, stage.key, rows)
    layout = plan.layout
    for url in (layout.duplicates, layout.map):
        finish(url, plan.keys["solve"], 3)
    if plan.sampled:
        for url in (layout.choice, layout.sampled):
            finish(url, plan.keys["cluster"], 3)
        source = plan.sources["input"]
        for part in source.parts(plan.part_rows):
            finish(layout.sums(part), plan.keys["assign"], 3)


def finish(url: str, key: str, rows: int) -> None:
    digest, size = write_bytes(url, b"artifact")
    announce(url, Manifest(key, rows, digest, size))


def reopen(plan: Plan, stage: str) -> None:
    """Let a stage be as if it had not begun."""
    (found,) = [s for s in build_stages(plan) if s.name == stage]
    for url, _ in found.artifacts:
        Path(f"{url}.json").unlink()


def check(plan: Plan, stage: str, rank: int = 0, world_size: int = 1) -> None:
    step = CheckUpstream(plan.layout.root, plan.part_rows, plan.keys, stage)
    assert step.run(None, rank, world_size) is None


def urls(plan: Plan, stage: str) -> list[str]:
    return [url for s in build_stages(plan) if s.name == stage for url, _ in s.artifacts]


def test_every_stage_starts_with_it(plan: Plan, sampled: Plan) -> None:
    plans = [plan, sampled]
    assert set(NEEDS) == {stage.name.partition("-")[0] for each in plans for stage in build_stages(each)}
    for stage in (stage for each in plans for stage in build_stages(each)):
        first = stage.steps[0]
        assert isinstance(first, CheckUpstream)
        assert (first.stage, first.keys[first.stage]) == (stage.name, stage.key)


@pytest.mark.parametrize("mode", ["coupled", "centroid"])
def test_on_finished_stages_every_stage_may_start(plan: Plan, sampled: Plan, mode: str) -> None:
    plan = plan if mode == "coupled" else sampled
    assert len(urls(plan, "weigh")) == 4
    for stage in build_stages(plan):
        reopen(plan, stage.name)
        for rank in range(3):
            check(plan, stage.name, rank, 3)
        for url, rows in stage.artifacts:
            finish(url, stage.key, rows)


def no_manifest(url: str, key: str) -> None:
    Path(f"{url}.json").unlink()


def no_file(url: str, key: str) -> None:
    Path(url).unlink()


def other_key(url: str, key: str) -> None:
    finish(url, "0" * 64, json.loads(Path(f"{url}.json").read_text())["rows"])


def other_size(url: str, key: str) -> None:
    Path(url).write_bytes(b"artifac")


def other_rows(url: str, key: str) -> None:
    finish(url, key, 4)


SPOILT = (no_manifest, no_file, other_key, other_size, other_rows)
#: A stage, the earlier one that is spoilt, and which of its artifacts.
NEEDED = [
    ("solve", "embed", 0),
    ("solve", "embed", -1),
    ("weigh", "embed", 3),
    ("weigh", "solve", 0),
    ("select", "weigh", 1),
    ("select", "solve", 0),
    ("publish", "weigh", 2),
    ("publish", "select", 0),
    ("report", "publish", 2),
    ("report", "embed", 1),
    ("upload", "publish", 1),
    ("upload", "report", 0),
    ("upload", "weigh", 2),
    ("commit", "upload", 2),
    ("commit", "report", 0),
]


#: The same, where centroids stand for the rows.
NEEDED_SAMPLED = [
    ("sample", "embed", 2),
    ("cluster", "sample", 1),
    ("cluster", "embed", -1),
    ("assign", "cluster", 0),
    ("assign", "embed", 0),
    ("solve", "assign", 3),
    ("solve", "cluster", 0),
    ("polish-1", "solve", 0),
    ("polish-1", "assign", 2),
    ("polish-1", "embed", 3),
    ("settle-1", "polish-1", 2),
    ("settle-1", "solve", 0),
    ("polish-2", "settle-1", 0),
    ("settle-2", "polish-2", 1),
    ("settle-2", "settle-1", 0),
    ("weigh", "assign", 1),
    ("weigh", "settle-2", 0),
    ("select", "settle-2", 0),
]


@pytest.mark.parametrize(("stage", "earlier", "which"), NEEDED_SAMPLED)
def test_so_it_is_with_centroids(sampled: Plan, stage: str, earlier: str, which: int) -> None:
    test_an_incomplete_stage_before_stops_it(sampled, stage, earlier, which, no_file)


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("stage", "earlier", "which"), NEEDED)
def test_an_incomplete_stage_before_stops_it(
    plan: Plan, stage: str, earlier: str, which: int, spoil: Callable[[str, str], None]
) -> None:
    if spoil is other_rows and earlier == "solve":
        pytest.skip("how many points a solution has follows from the data")
    reopen(plan, stage)
    url = urls(plan, earlier)[which]
    spoil(url, plan.keys[earlier])
    with pytest.raises(ArtifactError) as caught:
        check(plan, stage)
    said = str(caught.value)
    assert f"all of stage {earlier} finished" in said
    assert f"1 missing, incomplete or of another run, as host {HOST} sees it: {url}. " in said
    assert "again, it does what is missing" in said


def test_one_broken_part_stops_only_the_task_that_needs_it(plan: Plan) -> None:
    reopen(plan, "weigh")
    no_file(plan.layout.embeddings("input", plan.sources["input"], plan.sources["input"].parts(plan.part_rows)[3]), "")
    for rank in range(3):
        check(plan, "weigh", rank, 4)
    with pytest.raises(ArtifactError, match=r"stage embed .* 1 missing"):
        check(plan, "weigh", 3, 4)


def test_what_is_done_needs_nothing(plan: Plan) -> None:
    for url in (*urls(plan, "embed"), *urls(plan, "weigh")):
        Path(f"{url}.json").unlink()
    for stage in ("solve", "select", "publish", "report"):
        check(plan, stage)
    with pytest.raises(ArtifactError, match=r"stage embed .* 4 missing.* and others"):
        check(plan, "weigh")


def test_a_solution_without_its_tables_says_how_to_mend_it(plan: Plan) -> None:
    reopen(plan, "weigh")
    Path(plan.layout.duplicates).unlink()
    with pytest.raises(ArtifactError, match=r"duplicates\.arrow\. Remove .*solution\.safetensors\.json and run"):
        check(plan, "weigh")


def test_so_it_does_where_passes_follow(sampled: Plan) -> None:
    reopen(sampled, "weigh")
    Path(sampled.layout.duplicates).unlink()
    with pytest.raises(ArtifactError, match=r"duplicates\.arrow\. Remove .*unpolished\.safetensors\.json and run"):
        check(sampled, "weigh")


def test_a_work_dir_that_this_host_does_not_see(plan: Plan, tmp_path: Path) -> None:
    step = CheckUpstream(f"{tmp_path}/elsewhere", plan.part_rows, plan.keys, "weigh")
    with pytest.raises(ArtifactError, match=rf"the plan of this run at .*; got none on host {HOST}\. .*all workers"):
        step.run(None)


@pytest.mark.parametrize("stage", list(NEEDS))
def test_the_work_dir_of_another_run(plan: Plan, stage: str) -> None:
    keys = {**plan.keys, stage: "0" * 64}
    with pytest.raises(ArtifactError, match=rf"one of another run, .* for stage {stage}, on host {HOST}\. "):
        CheckUpstream(plan.layout.root, plan.part_rows, keys, stage).run(None)


@pytest.mark.parametrize("name", ["sot-filter", "code", "torch", "transformers", "datatrove"])
def test_a_worker_of_other_versions(plan: Plan, name: str) -> None:
    path = Path(plan.layout.plan)
    facts = json.loads(path.read_text())
    assert facts["versions"] == versions()
    path.write_text(json.dumps({**facts, "versions": {**facts["versions"], name: "0.0"}}))
    with pytest.raises(ArtifactError, match=rf"on host {HOST} {name} {versions()[name]}, not 0\.0\. Install the same"):
        check(plan, "embed")
