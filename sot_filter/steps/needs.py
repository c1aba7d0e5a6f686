"""What each stage needs of earlier ones, for what is left to do of a task: a function a stage, in a literal table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sot_filter.artifacts import Layout, finished
from sot_filter.sources import Part, Source
from sot_filter.steps.embed import my_share

#: Artifacts by url, with the rows each must have, or None where these follow from the data.
Artifacts = Mapping[str, int | None]
#: An earlier stage, and what is needed of it.
Need = tuple[str, Artifacts]


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
