"""HF Jobs up to the network's edge: the real client speaks to a stand-in, which really runs what it is told to."""

import contextlib
import copy
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import yaml
from pydantic import ValidationError

from sot_filter.config import Job, Jobs
from sot_filter.errors import ArtifactError
from sot_filter.executors.jobs_task import read_steps, write_steps
from sot_filter.plan import build_stages
from tests.e2e.cases import Case, contents, rows_of
from tests.executors.jobs_hub import JobsHub
from tests.hub.client import MEMBER, NOWHERE, Client, hub_environment
from tests.hub.stand_in import StandIn
from tests.planned import Toy
from tests.tiny_models import make_tiny_encoder

ROOT = Path(__file__).resolve().parent.parent.parent
JOBS: dict[str, Any] = {
    "kind": "jobs",
    "image": "me/with-sot-filter",
    "tasks": 1,
    "stages": {"embed": {"flavor": "l4x1", "tasks": 3, "timeout": "2h"}},
    "env": {"CHOSEN": "yes"},
    "secrets": ["STORAGE_KEY"],
}


def command(arguments: Sequence[str], look_every: float = 0.05) -> tuple[object, str, str]:
    """The command line in this process, which looks after jobs often: its exit code and its two streams."""
    from sot_filter.cli import main
    from sot_filter.executors import jobs

    jobs._LOOK_EVERY, jobs._PATIENCE = look_every, 3  # type: ignore[misc]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sot-filter", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code, out.getvalue(), err.getvalue()


class Launcher:
    """Someone's machine: a case on the shared storage, and the command line with a token."""

    def __init__(self, hub: JobsHub, case: Case, connect: Callable[..., Client]) -> None:
        self.hub, self.case = hub, case
        self._connect = connect
        self._client: Client | None = None

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the machine's owner."""
        shared = {**self.hub.environment, "STORAGE_KEY": "s3cret", "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
        return hub_environment(self.hub.url, self.case.folder / "home", MEMBER, **{**shared, **more})

    def __call__(self, *arguments: str, **more: str) -> tuple[object, str, str]:
        if more:
            return self._connect(self.environment(**more))(command, [*arguments[:1], self.pipeline, *arguments[1:]])
        self._client = self._client or self._connect(self.environment())
        return self._client(command, [*arguments[:1], self.pipeline, *arguments[1:]])

    def whole_run(self) -> tuple[int, str]:
        """`sot-filter run` in a process that may take its time: its exit code and what it said."""
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.executors.test_jobs import command; "
            f"code, _, err = command(['run', {self.pipeline!r}]); print(err, file=sys.stderr, end=''); sys.exit(code)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment(),
            cwd=self.case.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stderr

    @property
    def pipeline(self) -> str:
        """The pipeline file, written now."""
        return str(self.case.pipeline)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("model") / "encoder")


@pytest.fixture(scope="module")
def models(encoder: Path) -> Iterator[StandIn]:
    with StandIn(frozenset({MEMBER})) as server:
        server.create("models", "org/encoder", {path.name: path.read_bytes() for path in encoder.iterdir()})
        yield server


@pytest.fixture
def launcher(models: StandIn, encoder: Path, tmp_path: Path) -> Iterator[Launcher]:
    clients = []

    def connect(environment: dict[str, str]) -> Client:
        clients.append(Client(environment))
        return clients[-1]

    with JobsHub(models, tmp_path / "jobs") as hub:
        case = Case(hub.storage, encoder, {f"{name}.jsonl": rows_of(25, seed) for seed, name in enumerate("abc")})
        case.settings |= {
            "input": {"files": "shared://rows/*.jsonl"},
            "embed": {"model": "org/encoder", "device": "cpu"},
            "output": {"folder": "shared://out"},
            "work_dir": "shared://work",
            "executor": copy.deepcopy(JOBS),
        }
        yield Launcher(hub, case, connect)
    for client in clients:
        client.close()


def outcome(case: Case) -> dict[str, bytes]:
    """Every file of the output but the resolved settings, as these name the executor."""
    return {name: data for name, data in contents(case.output).items() if name != "pipeline.yaml"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_a_job_died_the_columns_are_those_of_a_local_run(launcher: Launcher) -> None:
    case, hub = launcher.case, launcher.hub
    killer = kill_first(hub)
    code, err = launcher.whole_run()
    killer.join()
    assert code == 6, err
    first = hub.jobs[0]
    assert err.splitlines()[-1].startswith("ExecutorError: expected a good end of every job of stage embed")
    assert f"error for task 0, job member/{first.id}" in err
    assert f"hf jobs logs member/{first.id}" in err
    assert [job.stage for job in hub.jobs if job.stage in ("RUNNING", "SCHEDULING")] == []

    hub.jobs.clear()
    case.settings["executor"]["stages"]["embed"]["tasks"] = 2
    code, err = launcher.whole_run()
    assert code == 0, err
    made = outcome(case)

    # What the Hub was asked for.
    stages = [job.spec["labels"]["sot-filter-stage"] for job in hub.jobs]
    assert stages == ["embed", "embed", "solve", "weigh", "select", "publish", "report"]
    for job, stage in zip(hub.jobs, stages, strict=True):
        asked = ("l4x1", 7200) if stage == "embed" else ("cpu-basic", None)
        assert (job.spec["flavor"], job.spec.get("timeoutSeconds")) == asked
        assert job.spec["dockerImage"] == "me/with-sot-filter"
        assert job.spec["command"][:3] == ["python", "-m", "sot_filter.executors.jobs_task"]
        assert job.spec["command"][-1] == job.spec["labels"]["name"].rpartition("-")[2]
        assert job.spec["environment"]["CHOSEN"] == "yes"
        assert job.spec["secrets"] == {"HF_TOKEN": MEMBER, "STORAGE_KEY": "s3cret"}
        in_the_clear = json.dumps({key: value for key, value in job.spec.items() if key != "secrets"})
        assert MEMBER not in in_the_clear
        assert "s3cret" not in in_the_clear

    # No secret is in any file, and no text of a row is where only code should be.
    files = [path for path in hub.storage.rglob("*") if path.is_file()]
    assert [path for path in files if MEMBER.encode() in path.read_bytes() or b"s3cret" in path.read_bytes()] == []
    steps = [path for path in files if path.name == "steps.json"]
    assert len(steps) == 7
    assert [path for path in steps if b"bread" in path.read_bytes()] == []

    shutil.rmtree(case.output)
    shutil.rmtree(case.work)
    case.settings["executor"] = {"kind": "local"}
    assert launcher.whole_run() == (0, ANY)
    assert outcome(case) == made


def kill_first(hub: JobsHub) -> threading.Thread:
    """Kills the first job's process once it is there."""

    def kill() -> None:
        while not hub.jobs or hub.jobs[0].process is None:
            time.sleep(0.005)
        hub.jobs[0].process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    return killer


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_failing_task_ends_the_run_with_its_own_error(launcher: Launcher) -> None:
    case = launcher.case
    launcher.hub.hold = True
    process = subprocess.Popen(
        [sys.executable, "-m", "sot_filter.cli", "run", launcher.pipeline],
        env=launcher.environment(),
        cwd=case.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(launcher.hub.jobs) < 3 or launcher.hub.jobs[2].id not in known(case):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    with (case.input / "c.jsonl").open("a") as handle:
        handle.write('{"prompt": "one more"}\n')
    launcher.hub.run(*launcher.hub.jobs)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert err.splitlines()[-1].startswith("SourceError: expected ")
    assert "c.jsonl" in err
    assert "Traceback" not in err


REFUSALS = {
    401: ("Invalid username or password.", "Log in again"),
    402: ("Payment required: no credit left", "Add credit"),
    403: ("Your token may not start jobs", "may start jobs"),
    404: ("No such flavor", "hf jobs hardware"),
    422: ("timeout is too long", "Correct the executor's settings"),
    503: ("Service unavailable", "Try again later"),
}


def test_what_the_hub_refuses_is_one_line(launcher: Launcher) -> None:
    for status, (words, advice) in REFUSALS.items():
        launcher.hub.refuse = (status, words)
        code, out, err = launcher("run")
        assert (code, out) == (5, ""), err
        line = err.splitlines()[-1]
        assert line.startswith("HubError: expected a job of flavor l4x1 in member from the Hub; got status ")
        assert f"status {status}" in line
        assert words in line
        assert advice in line
        assert "Traceback" not in err
    assert launcher.hub.jobs == []


def test_a_hub_that_is_down_is_one_line(launcher: Launcher) -> None:
    launcher.case.settings["embed"] = {"model": "all-MiniLM-L6-v2"}
    code, _, err = launcher("run", HF_ENDPOINT=NOWHERE)
    assert code == 5, err
    assert err.splitlines()[-1].startswith("HubError: expected who you are from the Hub; got ConnectError")


def test_without_a_token_or_a_secret_nothing_starts(launcher: Launcher) -> None:
    launcher.case.settings["executor"] = {**JOBS, "secrets": ["NOT_SET"]}
    code, _, err = launcher("run")
    assert (code, err.splitlines()[-1].count("NOT_SET")) == (2, 1)
    launcher.case.settings |= {"embed": {"model": "all-MiniLM-L6-v2"}, "work_dir": "shared://other"}
    launcher.case.settings["output"] = {"folder": "shared://elsewhere"}
    code, _, err = launcher("run", HF_TOKEN="")
    assert code == 2
    assert "expected a Hub token for HF Jobs" in err
    assert launcher.hub.jobs == []


def known(case: Case) -> str:
    """What the work folder knows of jobs, whole."""
    path = case.work / "jobs.json"
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("}") else ""


def test_an_interrupted_launcher_leaves_jobs_that_status_and_cancel_know(launcher: Launcher) -> None:
    hub = launcher.hub
    hub.hold = True
    process = subprocess.Popen(
        [sys.executable, "-m", "sot_filter.cli", "run", launcher.pipeline],
        env=launcher.environment(),
        cwd=launcher.case.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(hub.jobs) < 3 or hub.jobs[2].id not in known(launcher.case):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    code, out, _ = launcher("status", "--json")
    embed = next(stage for stage in json.loads(out) if stage["stage"] == "embed")
    assert (code, embed["jobs"], embed["done"]) == (0, {"pending": 3}, 0)

    code, out, _ = launcher("run")
    assert code == 10
    assert "Nothing submitted" in out
    assert len(hub.jobs) == 3

    hub.jobs[0].stage, hub.jobs[0].log = "ERROR", "one\ntwo\nthe last words\n"
    code, out, _ = launcher("status", "--json")
    (failed,) = next(stage for stage in json.loads(out) if stage["stage"] == "embed")["failed"]
    assert (failed["job"], failed["lines"][-1]) == (f"member/{hub.jobs[0].id}", "the last words")

    assert launcher("cancel")[0] == 0
    assert [job.stage for job in hub.jobs] == ["ERROR", "CANCELED", "CANCELED"]


def test_what_jobs_cannot_reach_is_named(launcher: Launcher) -> None:
    case = launcher.case
    shared = dict(case.settings)
    case.settings |= {"work_dir": str(case.folder / "w"), "output": {"folder": str(case.folder / "o")}}
    code, _, err = launcher("validate")
    assert code == 2
    assert "got local paths in work_dir, output.folder." in err
    case.settings = {**shared, "work_dir": "hf://datasets/me/run"}
    code, _, err = launcher("validate")
    assert code == 2
    assert "hf://buckets/" in err


def test_a_stage_asks_for_what_it_names_and_else_for_what_all_do() -> None:
    config = Jobs(kind="jobs", flavor="cpu-upgrade", stages={"embed": Job(flavor="l4x1", tasks=16)})
    assert config.of("embed") == Job(flavor="l4x1", tasks=16)
    assert config.of("weigh") == Job(flavor="cpu-upgrade")
    assert (config.tasks_of("embed"), config.tasks_of("weigh")) == (16, 4)


@pytest.mark.parametrize("mode", ["coupled", "centroid", "exact", "paper"])
def test_the_steps_of_every_stage_are_read_back(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = (f"solve.mode={mode}", "solve.rho_safe=inf", "output.hub={repo: org/out}")
    for stage in build_stages(Toy.make(tmp_path).plan(*settings)):
        write_steps("logs", stage.steps, stage.tasks)
        steps, tasks = read_steps("logs")
        assert tasks == stage.tasks
        assert [type(step) for step in steps] == [type(step) for step in stage.steps]
        for step, original in zip(steps, stage.steps, strict=True):
            names = vars(original).keys() - {"stats"}
            # JSON knows lists only; what a step makes of them is the same.
            assert json.dumps([vars(step)[n] for n in names]) == json.dumps([vars(original)[n] for n in names])


@pytest.mark.parametrize("told", [b"", b"{}", b'{"tasks": 1, "steps": [{"step": "embed:json", "arguments": {}}]}'])
def test_other_steps_are_refused(told: bytes, tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_bytes(told)
    with pytest.raises(ArtifactError, match=r"expected steps of this version in .*; got something else"):
        read_steps(str(tmp_path))


@pytest.mark.parametrize("env", [{"HF_TOKEN": "x"}, {"OTHER": "hf_abcdef"}])
def test_a_token_is_not_taken_in_the_clear(env: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="no tokens"):
        Jobs(kind="jobs", env=env)


def test_the_recipe_is_valid() -> None:
    recipe = yaml.safe_load(Path("pipelines/jobs.yaml").read_text())
    assert Jobs(**recipe["executor"]).of("embed").flavor
