"""The plan of a run: every input pinned, every setting resolved, and `build_stages`, the whole story on one page."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import Layout
from sot_filter.config import Pipeline
from sot_filter.references import Reference
from sot_filter.sources import Source
from sot_filter.steps.embed import EmbedRows, ReadRows
from sot_filter.steps.publish import WriteColumns
from sot_filter.steps.report import WriteReport
from sot_filter.steps.select import SelectRows
from sot_filter.steps.solve import SolvePushPull
from sot_filter.steps.weigh import WeighRows

#: Raised when an artifact's content changes its meaning, so that old ones are not taken for new ones.
_ARTIFACT_VERSION: Final = 3
_VERSIONS: Final = ("sot-filter", "datatrove", "datasets", "torch", "transformers", "numpy", "pyarrow")


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


@dataclass(frozen=True)
class Plan:
    """A run, pinned.

    Attributes:
        config: the pipeline with every revision a sha and every digest filled in.
        sources: the sources by role: input, safe, harmful.
        references: the rows of the two references, by role.
        model_digest: digest of the embedding model's files.
    """

    config: Pipeline
    sources: dict[str, Source]
    references: dict[str, Reference]
    model_digest: str

    @property
    def layout(self) -> Layout:
        """Where the artifacts are."""
        return Layout(str(self.config.work_dir))

    @property
    def part_rows(self) -> int:
        """Rows per part: fine enough to resume and to spread, coarse enough to keep artifacts in the thousands."""
        rows = self.sources["input"].rows
        return min(max(1 << (rows // 500).bit_length(), 512), 65536)

    @property
    def mode(self) -> tuple[str, str]:
        """The solver, and why it is that one."""
        solve = self.config.solve
        if solve.mode != "auto":
            return solve.mode, "as set"
        gib = self.kernel_bytes / 2**30
        how = "kept in memory" if gib <= solve.memory_gib else "recomputed in tiles"
        return "coupled", f"a kernel of {gib:.2f} GiB at most, {how} (solve.memory_gib is {solve.memory_gib:g})"

    @property
    def kernel_bytes(self) -> int:
        """Size of the two cached kernels, if no row is a duplicate."""
        return 4 * self.sources["input"].rows * (self.sources["safe"].rows + self.sources["harmful"].rows)

    @property
    def view_weights(self) -> dict[str, float]:
        """Share of each view in the cost: as given, or equal, summing to one."""
        given = self.config.solve.view_weights
        raw = {view: given.get(view, 0.0) if given else 1.0 for view in self.config.embed.views}
        return {view: weight / sum(raw.values()) for view, weight in raw.items()}

    @property
    def choice(self) -> dict[str, Any]:
        """The problem's settings; None where held-out rows of the references choose."""
        solve, paper = self.config.solve, self.mode[0] == "paper"
        chosen = {
            name: None if (value := getattr(solve, name)) == "auto" else value
            for name in ("epsilon", "push_strength", "rho_safe", "rho_harmful")
        }
        if paper:
            literal = {"epsilon": 0.05, "push_strength": 0.5, "rho_safe": float("inf"), "rho_harmful": float("inf")}
            chosen = {name: literal[name] if value is None else value for name, value in chosen.items()}
        fixed = solve.view_weights or paper or len(self.view_weights) == 1
        return {
            **chosen,
            "view_weights": self.view_weights if fixed else None,
            "centre": solve.centre,
            "direction": solve.direction and self.mode[0] == "coupled",
            "seed": self.config.seed,
        }

    @property
    def tau(self) -> float | None:
        """Strength of the entropy; None where it follows from the others."""
        return None if self.config.solve.tau == "auto" else self.config.solve.tau

    @property
    def solver(self) -> dict[str, Any]:
        """The solver's own options."""
        solve, memory = self.config.solve, int(self.config.solve.memory_gib * 2**30)
        mode = self.mode[0]
        if mode == "paper":
            return {"mode": "paper", "memory_budget": memory, **solve.paper.model_dump()}
        options = {
            "mode": mode,
            "memory_budget": memory,
            "threshold": solve.threshold,
            "max_iterations": solve.max_iterations,
        }
        return {**options, "effective_share": 0.5 if self.tau is None else None} if mode == "exact" else options

    @property
    def neighbours(self) -> int:
        """How many neighbours share a row's fate, itself among them; 0 where rows are judged alone."""
        return self.config.solve.neighbours if self.mode[0] == "coupled" else 0

    @property
    def replicates(self) -> int:
        """Half-samples of the references that are scored by."""
        return self.config.solve.replicates if self.mode[0] == "coupled" else 0

    @property
    def rule(self) -> dict[str, Any]:
        """The selection rule and its value."""
        return self.config.select.model_dump(exclude_none=True, exclude={"unknown", "minimum_retention"})

    @property
    def selection(self) -> dict[str, Any]:
        """The rule, the policy for unknown rows, the minimum retention of slices, and how stability is told."""
        select = self.config.select.model_dump(include={"unknown", "minimum_retention"})
        return {"rule": self.rule, **select, "replicates": self.replicates}

    @cached_property
    def keys(self) -> dict[str, str]:
        """For each stage, the hash of everything its artifacts depend on: its settings and the stage before."""
        embed = self.config.embed
        digests = {role: source.digest for role, source in self.sources.items()}
        reads = embed.model_dump(include={"pooling", "layer", "max_length", "views", "dtype"})
        # Which rows were embedded is in the names of the embed stage's artifacts.
        keys = {"embed": _key(_ARTIFACT_VERSION, self.model_digest, reads)}
        solver = {k: v for k, v in self.solver.items() if k != "memory_budget"}
        problem = [self.choice, self.tau, self.neighbours, self.replicates, solver]
        keys["solve"] = _key(keys["embed"], digests, self.part_rows, problem)
        keys["weigh"] = _key(keys["solve"], "weigh", self.config.input.slices)
        keys["select"] = _key(keys["weigh"], self.selection)
        keys["publish"] = _key(keys["select"], self.config.output.folder)
        label = self.config.input.model_dump(include={"label"})
        keys["report"] = _key(keys["publish"], self.config.name, label, self.config.seed)
        return keys

    @property
    def about(self) -> dict[str, Any]:
        """What the summary says of the run as planned."""
        return {
            "name": self.config.name,
            "plan": self.keys["report"],
            "mode": {"solver": self.mode[0], "why": self.mode[1]},
            "references": {
                role: {"rows": len(r.ids), "left_out": r.left_out, "digest": r.digest}
                for role, r in self.references.items()
            },
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        }


def build_stages(plan: Plan) -> list[Stage]:
    """The whole story: what each stage reads, does and leaves behind.

    Args:
        plan: from `sot_filter.planning.make_plan`.
    """
    config, keys, layout = plan.config, plan.keys, plan.layout
    work, rows, folder = layout.root, plan.part_rows, str(config.output.folder)
    source = plan.sources["input"]
    parts = source.parts(rows)
    embedded = [(role, s, part) for role, s in plan.sources.items() for part in s.parts(rows)]
    workers, slices = config.executor.workers, list(config.input.slices)
    return [
        Stage(
            "embed",
            f"{', '.join(config.embed.views)} of rows and references, by {config.embed.model}",
            [ReadRows(work, rows, keys["embed"]), EmbedRows(work, keys["embed"], config.embed.model_dump())],
            min(workers, len(embedded)),
            [(layout.embeddings(role, s, part), part.rows) for role, s, part in embedded],
            keys["embed"],
        ),
        Stage(
            "solve",
            f"push-pull transport, mode {plan.mode[0]}: {plan.mode[1]}{_held_out(plan.choice)}",
            [
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
                )
            ],
            1,
            [(layout.solution, source.rows)],
            keys["solve"],
        ),
        Stage(
            "weigh",
            f"every row's potentials{', neighbours' if plan.neighbours else ''} and nearest reference rows",
            [WeighRows(work, rows, keys["embed"], keys["solve"], keys["weigh"], config.solve.threads, slices)],
            min(workers, len(parts)),
            [(layout.scores(part), part.rows) for part in parts],
            keys["weigh"],
        ),
        Stage(
            "select",
            "the cut: " + _in_words(plan.rule),
            [SelectRows(work, rows, keys["solve"], keys["weigh"], keys["select"], plan.selection)],
            1,
            [(layout.selection, source.rows)],
            keys["select"],
        ),
        Stage(
            "publish",
            f"the source files with their new columns, to {folder}",
            [WriteColumns(work, rows, keys["weigh"], keys["select"], keys["publish"], folder)],
            min(workers, len(source.files)),
            [(layout.published(file.name), file.rows) for file in source.files],
            keys["publish"],
        ),
        Stage(
            "report",
            f"checks, picture and summary, to {folder}",
            [WriteReport(work, rows, keys, folder, plan.about, dict(config.input.label), config.seed)],
            1,
            [(layout.report, source.rows)],
            keys["report"],
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


def _key(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no plain form of a {type(value).__name__}")
