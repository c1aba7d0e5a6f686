"""The first step of every stage: the plan, the code and the earlier stages' artifacts are those of this run.

Schedulers may start a stage after another that failed, on a host that does not see the work folder, or days later with
other code. So a task looks for itself, before it does anything: at what it needs, and only if something is left to do.
"""

import socket

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import Layout, finished, read_inventory, read_json, version_difference, versions
from sot_filter.errors import ArtifactError
from sot_filter.steps.needs import NEEDS, Artifacts, Task


class CheckUpstream(PipelineStep):
    """Stops a task that would run on wrong ground.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        keys: key of every stage, by name.
        stage: the stage that is about to start.
    """

    type = "CHECK"
    name = "what earlier stages left"

    def __init__(self, work_dir: str, part_rows: int, keys: dict[str, str], stage: str) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.keys, self.stage = work_dir, part_rows, keys, stage

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Check at once, not when documents are asked for, and pass ``data`` on.

        Raises:
            ArtifactError: no plan or another one under work_dir, other versions, or an earlier stage is not finished.
        """
        layout = Layout(self.work_dir)
        check_plan(layout, self.stage, self.keys[self.stage])
        family, _, number = self.stage.partition("-")
        task = Task(
            layout, read_inventory(layout.inventory), self.part_rows, self.keys, rank, world_size, int(number or 0)
        )
        for stage, artifacts in NEEDS[family](task):
            check_finished(layout, stage, artifacts, self.keys[stage])
        return data


def check_plan(layout: Layout, stage: str, key: str) -> None:
    """Find that work_dir is that of the run and the code is that of its launch.

    Args:
        layout: the run's folder.
        stage: the stage that is about to start.
        key: its key.

    Raises:
        ArtifactError: it is not; the message names this host.
    """
    plan, host = read_json(layout.plan), socket.gethostname()
    if not isinstance(plan, dict) or "keys" not in plan:
        raise ArtifactError(
            f"the plan of this run at {layout.plan}",
            f"none on host {host}",
            "Set work_dir to a folder that all workers see, or to a URL, and start with `sot-filter run`.",
        )
    if plan["keys"].get(stage) != key:
        raise ArtifactError(
            f"the plan of this run at {layout.plan}",
            f"one of another run, or with other settings for stage {stage}, on host {host}",
            "Cancel what is left of the earlier launch, or set a work_dir that all workers share.",
        )
    if plan.get("versions") != versions():
        raise ArtifactError(
            f"the versions that the run was launched with, as {layout.plan} lists them",
            f"on host {host} {version_difference(plan.get('versions'), versions())}",
            "Install the same on every worker, or launch again with `sot-filter run --redo`.",
        )


def check_finished(layout: Layout, stage: str, artifacts: Artifacts, key: str) -> None:
    """Find that artifacts of an earlier stage are all there, of this plan, with the rows and bytes they should have.

    Args:
        layout: the run's folder.
        stage: the earlier stage.
        artifacts: what is needed of it.
        key: its key.

    Raises:
        ArtifactError: they are not; the message names the first that is missing, and this host.
    """
    found = finished(artifacts, key)
    missing = [url for url, rows in artifacts.items() if url not in found or rows not in (None, found[url])]
    if missing:
        # The solution is written last of its stage; without the rest, the stage would never be done again.
        last = layout.unpolished if layout.unpolished in artifacts else layout.solution
        damaged = stage == "solve" and last not in missing
        do = f"Remove {last}.json and run" if damaged else "Run"
        raise ArtifactError(
            f"all of stage {stage} finished before what follows it ({len(artifacts):,} artifacts)",
            f"{len(missing):,} missing, incomplete or of another run, as host {socket.gethostname()} sees it: "
            f"{missing[0]}{' and others' if len(missing) > 1 else ''}",
            f"{do} `sot-filter run` again, it does what is missing; all workers must see the same work_dir.",
        )
