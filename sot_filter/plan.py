"""The plan of a run: `build_stages`, the whole story on one page, over a run that is pinned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from datatrove.pipeline.base import PipelineStep

from sot_filter.hub import Target
from sot_filter.pinned import Plan
from sot_filter.steps.cluster import AssignRows, FindCentroids, SampleRows
from sot_filter.steps.commit import CommitDataset
from sot_filter.steps.embed import EmbedRows, ReadRows
from sot_filter.steps.polish import GatherRows, SettlePotentials
from sot_filter.steps.publish import WriteColumns
from sot_filter.steps.report import WriteReport
from sot_filter.steps.select import SelectRows
from sot_filter.steps.solve import SolvePushPull
from sot_filter.steps.upload import UploadFiles
from sot_filter.steps.upstream import CheckUpstream
from sot_filter.steps.weigh import WeighRows

__all__ = ["Plan", "Stage", "build_stages"]

#: What is in an output, by its mode.
_WRITTEN: Final = {
    "columns": "the source files with their new columns",
    "sidecar": "row ids, new columns and digests of the texts for each source file",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it does, the steps that do it, in how many tasks, and the artifacts it leaves.

    Attributes:
        artifacts: url and rows of each artifact.
        key: what the artifacts' manifests carry.
    """

    name: str
    does: str
    steps: list[PipelineStep]
    tasks: int
    artifacts: list[tuple[str, int]]
    key: str

    @property
    def rows(self) -> int:
        """Rows of all artifacts."""
        return sum(rows for _, rows in self.artifacts)


def build_stages(plan: Plan) -> list[Stage]:
    """The whole story: what each stage reads, does and leaves behind.

    Args:
        plan: from `sot_filter.planning.make_plan`.
    """
    config, keys, layout = plan.config, plan.keys, plan.layout
    work, rows, output = layout.root, plan.part_rows, config.output
    source, folder = plan.sources["input"], str(output.folder)
    parts = source.parts(rows)
    embedded = [(role, s, part) for role, s in plan.sources.items() for part in s.parts(rows)]
    ground = partial(CheckUpstream, work, rows, keys)
    tasks_of, slices = config.executor.tasks_of, list(config.input.slices)
    return [
        Stage(
            "embed",
            f"{', '.join(config.embed.views)} of rows and references, by {config.embed.model}",
            [
                ground("embed"),
                ReadRows(work, rows, keys["embed"]),
                EmbedRows(work, keys["embed"], config.embed.model_dump()),
            ],
            min(tasks_of("embed"), len(embedded)),
            [(layout.embeddings(role, s, part), part.rows) for role, s, part in embedded],
            keys["embed"],
        ),
        *(_clustering(plan, ground) if plan.sampled else ()),
        Stage(
            "solve",
            f"push-pull transport, mode {plan.mode[0]}: {plan.mode[1]}"
            + ("" if plan.sampled else _held_out(plan.choice)),
            [
                ground("solve"),
                SolvePushPull(
                    work,
                    rows,
                    keys["embed"],
                    keys["solve"],
                    plan.choice,
                    plan.tau,
                    plan.neighbours,
                    plan.replicates,
                    plan.solver,
                    config.solve.threads,
                    config.solve.device,
                    {"cluster_key": keys["cluster"], "assign_key": keys["assign"], "probes": config.cluster.probes}
                    if plan.sampled
                    else None,
                    plan.polish > 0,
                ),
            ],
            1,
            [(layout.unpolished if plan.polish else layout.solution, source.rows)],
            keys["solve"],
        ),
        *(stage for number in range(1, plan.polish + 1) for stage in _polishing(plan, ground, number)),
        Stage(
            "weigh",
            f"every row's potentials{', neighbours' if plan.neighbours else ''} and nearest reference rows",
            [
                ground("weigh"),
                WeighRows(
                    work,
                    rows,
                    keys["embed"],
                    keys.get("assign"),
                    keys["solve"],
                    keys["weigh"],
                    config.solve.threads,
                    slices,
                    config.solve.device,
                ),
            ],
            min(tasks_of("weigh"), len(parts)),
            [(layout.scores(part), part.rows) for part in parts],
            keys["weigh"],
        ),
        Stage(
            "select",
            "the cut: " + _in_words(plan.rule),
            [ground("select"), SelectRows(work, rows, keys["solve"], keys["weigh"], keys["select"], plan.selection)],
            1,
            [(layout.selection, source.rows)],
            keys["select"],
        ),
        Stage(
            "publish",
            f"{_WRITTEN[output.mode]}, to {folder}",
            [ground("publish"), WriteColumns(work, rows, keys, folder, output.mode, output.prefix)],
            min(tasks_of("publish"), len(source.files)),
            [(layout.published(file.name), file.rows) for file in source.files],
            keys["publish"],
        ),
        Stage(
            "report",
            f"checks, picture and summary, to {folder}",
            [
                ground("report"),
                WriteReport(work, rows, keys, folder, output.mode, plan.about, dict(config.input.label), config.seed),
            ],
            1,
            [(layout.report, source.rows)],
            keys["report"],
        ),
        *(_to_the_hub(plan, plan.target, ground) if plan.target else ()),
    ]


def _clustering(plan: Plan, ground: Callable[[str], PipelineStep]) -> list[Stage]:
    """The stages by which a sample and centroids come to stand for rows too many to be solved all."""
    config, keys, layout = plan.config, plan.keys, plan.layout
    work, rows, threads = layout.root, plan.part_rows, config.solve.threads
    source, cluster = plan.sources["input"], config.cluster
    parts = source.parts(rows)
    return [
        Stage(
            "sample",
            "all rows" if plan.share == 1 else f"{plan.share:.3g} of the rows, by a hash of their texts",
            [ground("sample"), SampleRows(work, rows, keys["embed"], keys["sample"], plan.share, config.seed)],
            min(config.executor.tasks_of("sample"), len(parts)),
            [(layout.sample(part), part.rows) for part in parts],
            keys["sample"],
        ),
        Stage(
            "cluster",
            f"at most {cluster.centroids:,} centroids of the sample{_held_out(plan.choice)}",
            [
                ground("cluster"),
                FindCentroids(
                    work,
                    rows,
                    keys["embed"],
                    keys["sample"],
                    keys["cluster"],
                    plan.choice,
                    cluster.centroids,
                    threads,
                    config.solve.device,
                ),
            ],
            1,
            [(layout.centroids, source.rows)],
            keys["cluster"],
        ),
        Stage(
            "assign",
            f"every row's {cluster.probes} nearest centroids; means and masses of all rows",
            [
                ground("assign"),
                AssignRows(
                    work,
                    rows,
                    keys["embed"],
                    keys["cluster"],
                    keys["assign"],
                    cluster.probes,
                    threads,
                    config.solve.device,
                ),
            ],
            min(config.executor.tasks_of("assign"), len(parts)),
            [(layout.cells(part), part.rows) for part in parts],
            keys["assign"],
        ),
    ]


def _polishing(plan: Plan, ground: Callable[[str], PipelineStep], number: int) -> list[Stage]:
    """A pass over all rows that corrects the potentials of the sample, and what follows from it."""
    config, keys, layout, last = plan.config, plan.keys, plan.layout, plan.polish
    work, rows, source = layout.root, plan.part_rows, plan.sources["input"]
    gather, settle = f"polish-{number}", f"settle-{number}"
    before = (
        (layout.unpolished, keys["solve"])
        if number == 1
        else (layout.settled(number - 1), keys[f"settle-{number - 1}"])
    )
    after = layout.solution if number == last else layout.settled(number)
    parts = source.parts(rows)
    return [
        Stage(
            gather,
            f"pass {number} of {last} over all rows: what they gather on the references",
            [
                ground(gather),
                GatherRows(work, rows, keys, number, before, config.solve.threads, config.solve.device),
            ],
            min(config.executor.tasks_of(gather), len(parts)),
            [(layout.gathered(number, part), part.rows) for part in parts],
            keys[gather],
        ),
        Stage(
            settle,
            "the potentials that follow, and the keep shares of the sample at them",
            [
                ground(settle),
                SettlePotentials(
                    work,
                    rows,
                    keys,
                    number,
                    before,
                    after,
                    config.cluster.probes,
                    config.solve.threads,
                    config.solve.device,
                ),
            ],
            1,
            [(after, source.rows)],
            keys[settle],
        ),
    ]


def _to_the_hub(plan: Plan, target: Target, ground: Callable[[str], PipelineStep]) -> list[Stage]:
    """The stages by which the output folder becomes one commit on the Hub."""
    config, keys, layout, output = plan.config, plan.keys, plan.layout, plan.config.output
    work, folder, source = layout.root, str(output.folder), plan.sources["input"]
    where = "a pull request" if target.create_pr else f"branch {target.name}"
    return [
        Stage(
            "upload",
            f"each output file compared with its source again, and sent to {target.repo}",
            [
                ground("upload"),
                UploadFiles(work, plan.part_rows, keys, folder, output.mode, output.prefix, target.to_json()),
            ],
            min(config.executor.tasks_of("upload"), len(source.files)),
            [(layout.uploaded(file.name), file.rows) for file in source.files],
            keys["upload"],
        ),
        Stage(
            "commit",
            f"one commit with data and card: {target.repo}, {where}",
            [ground("commit"), CommitDataset(work, keys, folder, config.name, target.to_json())],
            1,
            [(layout.committed, source.rows)],
            keys["commit"],
        ),
    ]


def _held_out(choice: Mapping[str, Any]) -> str:
    """Which settings are left to held-out rows of the references."""
    left = [name for name, value in choice.items() if value is None]
    return f"; held-out reference rows choose {', '.join(left)}" if left else ""


def _in_words(rule: Mapping[str, Any]) -> str:
    """A selection rule, as ``retention 0.8`` or ``auto, harmful_kept 0.01``."""
    return ", ".join(
        ", ".join(filter(None, (name, _in_words(value)))) if isinstance(value, Mapping) else f"{name} {value:g}"
        for name, value in rule.items()
    )
