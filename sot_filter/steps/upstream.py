"""The first step of every stage: the plan, the code and the earlier stages' artifacts are those of this run.

Schedulers may start a stage after another that failed, on a host that does not see the work folder, or days later with
other code. So a task looks for itself, before it does anything: at what it needs, and only if something is left to do.
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import Layout, finished, read_inventory, read_json, version_difference, versions
from sot_filter.errors import ArtifactError
from sot_filter.sources import Part, Source
from sot_filter.steps.embed import my_share

#: Artifacts by url, with the rows each must have, or None where these follow from the data.
Artifacts = Mapping[str, int | None]
#: An earlier stage, and what is needed of it.
Need = tuple[str, Artifacts]


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


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a stage: which run, and its share.

    Attributes:
        layout: the run's folder.
        sources: the run's sources by role.
        part_rows: rows per part.
        keys: key of every stage, by name.
        rank: the task's number.
        world_size: number of tasks.
        number: of the pass over all rows, of stages that are one.
    """

    layout: Layout
    sources: dict[str, Source]
    part_rows: int
    keys: Mapping[str, str]
    rank: int
    world_size: int
    number: int = 0

    @property
    def parts(self) -> list[Part]:
        """All parts of the input."""
        return self.sources["input"].parts(self.part_rows)

    def share(self, items: list[Any]) -> list[Any]:
        """The task's share of them."""
        return my_share(items, self.rank, self.world_size)

    def is_done(self, stage: str, url: str) -> bool:
        """Whether an artifact of the task's own stage is finished."""
        return bool(finished([url], self.keys[stage]))

    def embeddings(self, role: str, parts: Sequence[Part] | None = None) -> dict[str, int]:
        """Embeddings of parts of a source, by default of all."""
        source = self.sources[role]
        parts = source.parts(self.part_rows) if parts is None else parts
        return {self.layout.embeddings(role, source, part): part.rows for part in parts}

    def scores(self, parts: Sequence[Part]) -> dict[str, int]:
        """Scores of parts of the input."""
        return {self.layout.scores(part): part.rows for part in parts}

    @property
    def centroids(self) -> dict[str, None]:
        """What the cluster stage leaves."""
        return dict.fromkeys((self.layout.choice, self.layout.sampled, self.layout.centroids))

    @property
    def passes(self) -> int:
        """Passes over all rows that follow the solve."""
        return sum(stage.startswith("polish-") for stage in self.keys)

    @property
    def solved(self) -> str:
        """What the solve leaves last."""
        return self.layout.unpolished if self.passes else self.layout.solution

    @property
    def solution(self) -> dict[str, None]:
        """What the solve leaves in any case."""
        return dict.fromkeys((self.solved, self.layout.duplicates, self.layout.map))

    def settled(self, number: int) -> Iterator[Need]:
        """What the solve and the passes up to the given one leave."""
        yield "solve", self.solution
        if number:
            yield f"settle-{number}", {self.corrected(number): None}

    def corrected(self, number: int) -> str:
        """The solution that a pass leaves."""
        return self.layout.solution if number == self.passes else self.layout.settled(number)


def _embed(task: Task) -> Iterator[Need]:
    yield from ()


def _sample(task: Task) -> Iterator[Need]:
    mine = task.share(task.parts)
    done = finished([task.layout.sample(part) for part in mine], task.keys["sample"])
    if left := [part for part in mine if task.layout.sample(part) not in done]:
        yield "embed", task.embeddings("input", left)


def _cluster(task: Task) -> Iterator[Need]:
    if not task.is_done("cluster", task.layout.centroids):
        yield "embed", task.embeddings("safe")
        yield "embed", task.embeddings("harmful")
        yield "sample", dict.fromkeys(task.layout.sample(part) for part in task.parts)


def _assign(task: Task) -> Iterator[Need]:
    mine = task.share(task.parts)
    done = finished([task.layout.cells(part) for part in mine], task.keys["assign"])
    if left := [part for part in mine if task.layout.cells(part) not in done]:
        yield "cluster", task.centroids
        yield "embed", task.embeddings("input", left)


def _solve(task: Task) -> Iterator[Need]:
    if not task.is_done("solve", task.solved):
        for role in task.sources:
            yield "embed", task.embeddings(role)
        if "assign" in task.keys:
            yield "cluster", task.centroids
            yield "assign", {task.layout.cells(part): part.rows for part in task.parts}
            yield "assign", dict.fromkeys(task.layout.sums(part) for part in task.parts)


def _polish(task: Task) -> Iterator[Need]:
    mine, stage = task.share(task.parts), f"polish-{task.number}"
    done = finished([task.layout.gathered(task.number, part) for part in mine], task.keys[stage])
    if left := [part for part in mine if task.layout.gathered(task.number, part) not in done]:
        yield from task.settled(task.number - 1)
        yield "embed", task.embeddings("input", left)
        yield "assign", {task.layout.cells(part): part.rows for part in left}


def _settle(task: Task) -> Iterator[Need]:
    if not task.is_done(f"settle-{task.number}", task.corrected(task.number)):
        yield from task.settled(task.number - 1)
        yield f"polish-{task.number}", dict.fromkeys(task.layout.gathered(task.number, part) for part in task.parts)


def _weigh(task: Task) -> Iterator[Need]:
    mine = task.share(task.parts)
    done = finished(task.scores(mine), task.keys["weigh"])
    if left := [part for part in mine if task.layout.scores(part) not in done]:
        yield from task.settled(task.passes)
        yield "embed", task.embeddings("input", left)
        if "assign" in task.keys:
            yield "assign", {task.layout.cells(part): part.rows for part in left}


def _select(task: Task) -> Iterator[Need]:
    if not task.is_done("select", task.layout.selection):
        yield from task.settled(task.passes)
        yield "weigh", task.scores(task.parts)


def _publish(task: Task) -> Iterator[Need]:
    urls = {task.layout.published(file.name): file.name for file in task.share(list(task.sources["input"].files))}
    done = finished(urls, task.keys["publish"])
    if left := {name for url, name in urls.items() if url not in done}:
        yield "select", {task.layout.selection: task.sources["input"].rows}
        yield "weigh", task.scores([part for part in task.parts if part.file.name in left])


def _report(task: Task) -> Iterator[Need]:
    if not task.is_done("report", task.layout.report):
        source = task.sources["input"]
        yield "embed", task.embeddings("input")
        yield from task.settled(task.passes)
        yield "weigh", task.scores(task.parts)
        yield "select", {task.layout.selection: source.rows}
        yield "publish", {task.layout.published(file.name): file.rows for file in source.files}


def _upload(task: Task) -> Iterator[Need]:
    urls = {task.layout.uploaded(file.name): file for file in task.share(list(task.sources["input"].files))}
    done = finished(urls, task.keys["upload"])
    if left := {file.name: file.rows for url, file in urls.items() if url not in done}:
        source = task.sources["input"]
        yield "select", {task.layout.selection: source.rows}
        yield "weigh", task.scores([part for part in task.parts if part.file.name in left])
        yield "publish", {task.layout.published(name): rows for name, rows in left.items()}
        # Its checks come first: nothing is to be sent that they refuse.
        yield "report", {task.layout.report: source.rows}


def _commit(task: Task) -> Iterator[Need]:
    if not task.is_done("commit", task.layout.committed):
        source = task.sources["input"]
        yield "report", {task.layout.report: source.rows}
        yield "upload", {task.layout.uploaded(file.name): file.rows for file in source.files}


#: For each stage, what a task needs of earlier ones for what is left to do; polish-1, polish-2 are both polish.
NEEDS: Final[dict[str, Callable[[Task], Iterator[Need]]]] = {
    "embed": _embed,
    "sample": _sample,
    "cluster": _cluster,
    "assign": _assign,
    "solve": _solve,
    "polish": _polish,
    "settle": _settle,
    "weigh": _weigh,
    "select": _select,
    "publish": _publish,
    "report": _report,
    "upload": _upload,
    "commit": _commit,
}
