"""Of several workers one is in trouble: it stops with one line, the others' work stands, a relaunch ends the same."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sot_filter
from sot_filter.artifacts import finished
from sot_filter.executors import run_stages
from sot_filter.plan import Plan, Stage, build_stages
from sot_filter.workspace import claim
from tests.e2e.cases import Case, contents, rows_of, write_rows
from tests.e2e.conftest import Cli
from tests.e2e.processes import Ended, Fate, ended, launch, work
from tests.e2e.test_resume import start_over, until

HOST = socket.gethostname()
TASKS = 4
Undisturbed = tuple[Case, dict[str, bytes]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Undisturbed:
    """A run of eight files, and the output it came to."""
    case = Case(tmp_path_factory.mktemp("workers"), encoder, {f"f{i}.jsonl": rows_of(12, i) for i in range(8)})
    case.run()
    return case, contents(case.output)


@pytest.fixture
def run(undisturbed: Undisturbed) -> Undisturbed:
    """The same, to be begun again, and the output it should come to."""
    case, _ = undisturbed
    start_over(case)
    for name in ("host0", "host2", "shared", "another"):
        shutil.rmtree(case.folder / name, ignore_errors=True)
    for i in range(8):
        write_rows(case.input / f"f{i}.jsonl", rows_of(12, i))
    return undisturbed


def stage_of(plan: Plan, name: str) -> Stage:
    return next(stage for stage in build_stages(plan) if stage.name == name)


def worker(case: Case, stage: Stage, ranks: range, fate: Fate | None = None) -> Ended:
    """Let one host do its ranks of a stage, to its end."""
    folder = case.folder / f"host{ranks.start}"
    return ended(work(stage, ranks, TASKS, folder, fate), folder)


def done(plan: Plan, name: str) -> dict[str, float]:
    """When each finished artifact of a stage was written."""
    stage = stage_of(plan, name)
    return {url: Path(f"{url}.json").stat().st_mtime for url in finished((u for u, _ in stage.artifacts), stage.key)}


def assert_one_line(end: Ended, *said: str) -> None:
    assert end.code == 2, end.err
    (line,) = [line for line in end.err.splitlines() if re.match(r"\w+Error: ", line)]
    assert re.match(r"\w+Error: expected .+; got .+\. .+", line), line
    assert "Traceback" not in end.out
    for words in said:
        assert words in line, line


def assert_ends_undisturbed(run: Undisturbed, cli: Cli, kept: dict[str, float], stage: str) -> None:
    """A relaunch, of one task where there were four, keeps what is finished and comes to the same output."""
    case, output = run
    end = cli("run", case.pipeline)
    assert end.code == 0, end.err
    now = done(case.plan(), stage)
    assert {url: now[url] for url in kept} == kept
    assert contents(case.output) == output


def test_a_full_disk_on_one_of_two_workers(run: Undisturbed, cli: Cli) -> None:
    case, _ = run
    plan = case.plan()
    claim(plan)
    embed = stage_of(plan, "embed")
    assert worker(case, embed, range(2, 4)).code == 0
    kept = done(plan, "embed")
    assert 0 < len(kept) < len(embed.artifacts)
    smallest = min(Path(url).stat().st_size for url in kept)
    full = worker(case, embed, range(0, 2), Fate(file_bytes=smallest // 2))
    assert_one_line(full, "ArtifactError: expected room to write", "a full disk or quota", "what is finished is kept")
    assert done(plan, "embed") == kept
    solve = worker(case, stage_of(plan, "solve"), range(0, 1))
    assert_one_line(solve, "ArtifactError: expected all of stage embed finished", HOST)
    assert not (case.work / "solve").exists()
    assert_ends_undisturbed(run, cli, kept, "embed")


@pytest.mark.parametrize("name", ["embed", "weigh", "publish"])
def test_a_killed_worker(run: Undisturbed, cli: Cli, name: str) -> None:
    case, _ = run
    plan = case.plan()
    claim(plan)
    stages = build_stages(plan)
    before = [stage.name for stage in stages].index(name)
    run_stages(plan, stages[:before])
    stage = stages[before]
    # The second of what the second host writes.
    victim = stage.artifacts[len(stage.artifacts) // 2 + 1][0]
    killed = worker(case, stage, range(2, 4), Fate(killed_naming=f"{victim}.json"))
    assert killed.code == -signal.SIGKILL
    assert worker(case, stage, range(0, 2)).code == 0
    kept = done(plan, name)
    assert len(stage.artifacts) // 2 < len(kept) < len(stage.artifacts)
    following = stages[before + 1]
    stopped = worker(case, following, range(0, 1))
    assert_one_line(stopped, f"ArtifactError: expected all of stage {name} finished before what follows it", HOST)
    assert not (case.work / following.name).exists()
    assert_ends_undisturbed(run, cli, kept, name)


def test_a_work_dir_that_one_host_does_not_see(run: Undisturbed, cli: Cli) -> None:
    case, _ = run
    plan = case.plan()
    claim(plan)
    embed = stage_of(plan, "embed")
    assert worker(case, embed, range(0, 2)).code == 0
    kept = done(plan, "embed")
    shared = case.work.rename(case.folder / "shared")
    blind = worker(case, embed, range(2, 4))
    assert_one_line(blind, f"the plan of this run at {plan.layout.plan}", f"got none on host {HOST}")
    assert not case.work.exists()
    shared.rename(case.work)
    assert_ends_undisturbed(run, cli, kept, "embed")


def test_hosts_that_each_have_a_work_dir_of_their_own(run: Undisturbed, cli: Cli) -> None:
    case, _ = run
    plan = case.plan()
    claim(plan)
    embed = stage_of(plan, "embed")
    shutil.copytree(case.work, case.folder / "another")
    assert worker(case, embed, range(0, 2)).code == 0
    kept = done(plan, "embed")
    shared = case.work.rename(case.folder / "shared")
    (case.folder / "another").rename(case.work)
    assert worker(case, embed, range(2, 4)).code == 0
    shutil.rmtree(case.work)
    shared.rename(case.work)
    solve = worker(case, stage_of(plan, "solve"), range(0, 1))
    assert_one_line(solve, "all of stage embed finished", f"as host {HOST} sees it", "the same work_dir")
    assert_ends_undisturbed(run, cli, kept, "embed")


def test_the_work_dir_of_another_run(run: Undisturbed) -> None:
    case, _ = run
    claim(case.plan())
    queued = stage_of(case.plan(), "select")
    claim(case.plan("select.retention=0.5"), redo=True)
    stopped = worker(case, queued, range(0, 1))
    assert_one_line(stopped, "another run, or with other settings for stage select", HOST)


@pytest.fixture
def other_code(tmp_path: Path) -> Iterator[Path]:
    """The package again, with one line of it changed."""
    folder = tmp_path / "other"
    package = Path(sot_filter.__file__).parent
    shutil.copytree(package, folder / "sot_filter", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("references", "pipelines"):
        if (package.parent / name).exists():
            (folder / name).symlink_to(package.parent / name)
    with (folder / "sot_filter" / "transport" / "sinkhorn.py").open("a") as handle:
        handle.write("# Rounded otherwise.\n")
    return folder


#: A step as a scheduler starts it, with the messages of the command line.
STEP = """
import ast
import sot_filter.cli
from sot_filter.steps.upstream import CheckUpstream

def check(**_):
    work_dir, part_rows, keys, stage = sys.argv[1:]
    CheckUpstream(work_dir, int(part_rows), ast.literal_eval(keys), stage).run(None, 2, 4)

sot_filter.cli.cli.main = check
sot_filter.cli.main()
"""


def with_code(folder: Path, code: str, *arguments: object) -> Ended:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}", *map(str, arguments)]
    got = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, check=False)
    return Ended(got.returncode, got.stdout, got.stderr)


def test_other_code_between_launches_and_between_workers(run: Undisturbed, cli: Cli, other_code: Path) -> None:
    case, _ = run
    plan = case.plan()
    claim(plan)
    embed = stage_of(plan, "embed")
    assert worker(case, embed, range(0, 2)).code == 0
    kept = done(plan, "embed")
    before = contents(case.work)

    arguments = plan.layout.root, plan.part_rows, repr(plan.keys), "embed"
    queued = with_code(other_code, STEP, *arguments)
    assert_one_line(queued, "the versions that the run was launched with", f"on host {HOST} code ", "--redo")

    command = "from sot_filter.cli import main; main()"
    relaunched = with_code(other_code, command, "run", case.pipeline)
    assert_one_line(relaunched, "the versions that began the run", "; got code ", "--redo", "embed, solve")
    assert contents(case.work) == before

    assert_ends_undisturbed(run, cli, kept, "embed")
    # What is finished is of use to another version, too: an upgrade takes no scores away.
    assert with_code(other_code, command, "run", case.pipeline).code == 0
    assert with_code(other_code, command, "select", case.pipeline, "--retention", "0.5").code == 0
    assert done(plan, "embed").keys() >= kept.keys()


def test_a_source_file_replaced_while_rows_are_embedded(run: Undisturbed, cli: Cli, tmp_path: Path) -> None:
    case, _ = run
    original = (case.input / "f7.jsonl").read_bytes()
    plan = case.plan()
    process = launch(["run", case.pipeline], tmp_path)
    until(lambda: len(done(plan, "embed")) >= 1, process.is_alive)
    write_rows(case.input / "f7.jsonl", rows_of(12, 99))
    end = ended(process, tmp_path)
    assert_one_line(end, "SourceError: expected the source file f7.jsonl as it was", "got another one", "Put")
    kept = done(plan, "embed")
    assert kept
    assert cli("run", case.pipeline).code == 2, "other rows are another run"
    (case.input / "f7.jsonl").write_bytes(original)
    assert_ends_undisturbed(run, cli, kept, "embed")


def test_a_source_file_replaced_before_it_is_published(run: Undisturbed, cli: Cli) -> None:
    case, _ = run
    plan = case.plan()
    claim(plan)
    stages = {stage.name: stage for stage in build_stages(plan)}
    run_stages(plan, list(stages.values())[:-2])
    original = (case.input / "f5.jsonl").read_bytes()
    (case.input / "f5.jsonl").write_bytes(original.replace(b"how", b"who"))
    end = worker(case, stages["publish"], range(2, 4))
    assert_one_line(end, "SourceError: expected the source file f5.jsonl as it was", "got another one")
    assert not (case.output / "f5.jsonl").exists()
    kept = done(plan, "publish")
    assert [Path(url).name for url in kept] == ["f4.jsonl"]
    (case.input / "f5.jsonl").write_bytes(original)
    assert_ends_undisturbed(run, cli, kept, "publish")


@pytest.mark.parametrize(
    "place", ["/proc/none/run", "/dev/null/run", "nonsense://bucket/run", "ftp://127.0.0.1:9/run"]
)
@pytest.mark.parametrize("setting", ["work_dir", "output.folder"])
def test_a_place_that_cannot_be_reached(case: Case, cli: Cli, place: str, setting: str) -> None:
    end = cli("run", case.pipeline, "--set", f"{setting}={place}")
    assert_one_line(end, "ArtifactError: expected to ", place, "Check the path")
    assert len(end.err.splitlines()) == 1
    assert not case.work.exists()
    assert not case.output.exists()
