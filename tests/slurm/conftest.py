"""A Slurm for all tests of this folder, and runs on it."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sot_filter.executors import ACTIVE, progress, rows_done
from sot_filter.plan import build_stages
from tests.e2e.cases import Case, contents, rows_of
from tests.e2e.processes import Ended, sot_filter
from tests.slurm.cluster import Cluster
from tests.tiny_models import make_tiny_encoder


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Slurm on this machine, which this process and those it starts speak to."""
    if missing := Cluster.missing():
        pytest.skip(f"no {', '.join(missing)} here: `make test-slurm` installs them")
    # A socket's path is short, and that of pytest's own folder may not be.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    slurm, before = Cluster(folder), dict(os.environ)
    slurm.start()
    os.environ.update(slurm.environment)
    try:
        yield slurm
    finally:
        slurm.stop()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return make_tiny_encoder(tmp_path_factory.mktemp("model") / "encoder")


class Submitted:
    """A case with the profile `cluster`, and the commands on it.

    Args:
        case: the run.
        cluster: where it goes.
    """

    def __init__(self, case: Case, cluster: Cluster) -> None:
        self.case, self.cluster = case, cluster
        self.case.settings["profiles"] = {"cluster": {"kind": "slurm", "tasks": 2}}

    def cli(self, command: str, *arguments: str, **environment: str) -> Ended:
        """A command of `sot-filter` on the case, in a process."""
        environment = self.cluster.environment | environment
        return sot_filter((command, self.case.pipeline, *arguments), self.case.folder, **environment)

    def submit(self, **settings: Any) -> Ended:
        """Submit with these settings of the executor."""
        self.case.settings["profiles"]["cluster"].update(settings)
        return self.cli("run", "--profile", "cluster")

    def status(self) -> dict[str, dict[str, Any]]:
        """What `status` tells, by stage."""
        plan = self.case.plan()
        return {stage["stage"]: stage for stage in progress(plan, build_stages(plan))}

    def until_over(self) -> dict[str, dict[str, Any]]:
        """Wait until no job is active; what `status` tells then."""
        until(lambda: not any(ACTIVE & set(stage.get("jobs", ())) for stage in self.status().values()), pause=2.0)
        return self.status()

    def counter(self, stage: str) -> Callable[[], int]:
        """Counts the finished rows of a stage."""
        (found,) = (one for one in build_stages(self.case.plan()) if one.name == stage)
        return lambda: rows_done(found)


def until(reached: Callable[[], bool], seconds: float = 300.0, pause: float = 0.1) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(pause)


@pytest.fixture
def submitted(tmp_path: Path, encoder: Path, cluster: Cluster) -> Iterator[Submitted]:
    """A small run."""
    files = {f"f{i}.jsonl": rows_of(40, i) for i in range(6)}
    yield Submitted(Case(tmp_path, encoder, files), cluster)
    cluster.ask("scancel", f"--user={os.environ.get('USER', 'root')}")


def result(case: Case) -> dict[str, bytes]:
    """What a run leaves, but for its resolved settings, which name the executor."""
    return {name: data for name, data in contents(case.output).items() if name != "pipeline.yaml"}


def undisturbed(case: Case) -> dict[str, bytes]:
    """The result of a local run; nothing of it is left."""
    case.run()
    expected = result(case)
    shutil.rmtree(case.work)
    shutil.rmtree(case.output)
    return expected
