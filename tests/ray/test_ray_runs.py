"""Whole runs on a real Ray cluster: the same columns as here, whatever dies on the way, and errors in one line."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sot_filter.errors import ConfigError, ExecutorError, SourceError
from sot_filter.plan import build_stages
from tests.e2e.cases import Case, contents, run_plan
from tests.e2e.processes import sot_filter
from tests.ray.conftest import AUTHENTICATION, Cluster

pytestmark = pytest.mark.ray


@pytest.fixture
def local(case: Case) -> dict[str, bytes]:
    """What a run on this machine leaves in the output folder. The case starts over after it."""
    case.run()
    made = outcome(case)
    shutil.rmtree(case.work)
    shutil.rmtree(case.output)
    return made


def outcome(case: Case) -> dict[str, bytes]:
    """Every file of the output but the resolved settings, which name the executor, and the picture.

    Columns are promised to the bit; a dot of the picture may be drawn a hair's breadth beside its place.
    """
    return {name: data for name, data in contents(case.output).items() if name not in ("pipeline.yaml", "map.png")}


def on(cluster: Cluster, case: Case, **settings: Any) -> Case:
    """The case, to be run on a cluster."""
    case.settings["executor"] = {"kind": "ray", "address": cluster.address, "tasks": 3, **settings}
    return case


@contextmanager
def death(cluster: Cluster, case: Case, times: int = 1) -> Iterator[list[int]]:
    """Kills whatever is at a task as soon as the first part is embedded, so often; collects the process ids."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < times and not over.is_set():
            if any((case.work / "embed").rglob("*.arrow.json")):
                for process in cluster.workers():
                    if process not in killed:
                        os.kill(process, signal.SIGKILL)
                        killed.append(process)
            time.sleep(0.002)

    killer = threading.Thread(target=kill)
    killer.start()
    yield killed
    over.set()
    killer.join()


def embedded(case: Case) -> tuple[int, int]:
    """Parts that are embedded, and parts."""
    stage = build_stages(case.plan())[0]
    return sum(Path(f"{url}.json").exists() for url, _ in stage.artifacts), len(stage.artifacts)


def test_the_columns_are_those_of_a_local_run(case: Case, local: dict[str, bytes], cluster: Cluster) -> None:
    on(cluster, case).run()
    assert outcome(case) == local


def test_a_task_whose_process_dies_goes_on_where_it_was(case: Case, local: dict[str, bytes], cluster: Cluster) -> None:
    with death(cluster, on(cluster, case, tasks=1)) as killed:
        case.run()
    assert len(killed) == 1
    assert outcome(case) == local


def test_killed_for_good_it_is_continued_with_other_tasks(
    case: Case, local: dict[str, bytes], cluster: Cluster
) -> None:
    on(cluster, case, tasks=1, retries=0)
    with death(cluster, case) as killed, pytest.raises(ExecutorError, match=r"stage embed; got a process that died"):
        case.run()
    assert len(killed) == 1
    done, parts = embedded(case)
    assert 0 < done < parts
    early = {path: path.stat().st_mtime_ns for path in (case.work / "embed").rglob("*.arrow")}
    on(cluster, case, tasks=5, workers=2).run()
    assert outcome(case) == local
    assert {path: path.stat().st_mtime_ns for path in early} == early, "finished parts were made again"


def test_a_run_moves_between_here_and_the_cluster(case: Case, local: dict[str, bytes], cluster: Cluster) -> None:
    on(cluster, case, tasks=2, retries=0)
    with death(cluster, case), pytest.raises(ExecutorError):
        case.run()
    case.settings["executor"] = {"kind": "local"}
    case.run()
    assert outcome(case) == local


def test_a_failing_task_ends_the_run_with_its_own_error(case: Case, cluster: Cluster) -> None:
    plan = on(cluster, case).plan()
    rows = case.input / "c.jsonl"
    rows.write_text(rows.read_text()[: rows.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"c\.jsonl"):
        run_plan(plan)
    assert not cluster.workers(), "tasks of a run that is over go on"
    logs = list((case.work / "logs/embed/logs").iterdir())
    assert any("c.jsonl" in log.read_text() for log in logs)
    assert [log for log in logs if "bread" in log.read_text()] == []


def test_on_the_command_line_an_error_is_one_line(case: Case, cluster: Cluster, tmp_path: Path) -> None:
    pipeline = on(cluster, case, gpus=3, wait_seconds=0).pipeline
    ended = sot_filter(["run", pipeline], tmp_path, **AUTHENTICATION)
    assert (ended.code, ended.out) == (2, "")
    error = ended.err.splitlines()[-1]
    assert error.startswith("ConfigError: expected a Ray node with room for a task of stage embed (1 CPUs, 3 GPUs)")
    assert "Traceback" not in ended.err
    assert "ray" not in ended.err.replace(error, "").lower()


def test_without_an_address_a_cluster_of_its_own_does_it(case: Case, local: dict[str, bytes], tmp_path: Path) -> None:
    case.settings["executor"] = {"kind": "ray", "workers": 2, "stages": {"weigh": {"tasks": 2, "memory_gib": 0.5}}}
    ended = sot_filter(["run", case.pipeline], tmp_path, **AUTHENTICATION)
    assert ended.code == 0, ended.err
    assert outcome(case) == local
    assert "(raylet)" not in ended.out + ended.err


def test_a_node_that_never_comes_is_not_waited_for(case: Case, cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match=r"1000\.0 GiB"):
        on(cluster, case, memory_gib=1000, wait_seconds=1).run()
