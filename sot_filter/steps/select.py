"""Stage select: the cut over all scores, and the number that gives the kept rows' weights mean one."""

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from numpy.typing import NDArray

from sot_filter.artifacts import (
    Layout,
    Manifest,
    announce,
    find_manifest,
    read_inventory,
    read_table,
    require_manifest,
)
from sot_filter.errors import ConfigError
from sot_filter.rows import EMPTY, INVALID, RowKey
from sot_filter.sources import Source
from sot_filter.steps.stability import RESEEDED, judge_stability, replicate_columns
from sot_filter.weighting import (
    UNKNOWN_WEIGHT,
    Canaries,
    Cut,
    count_to_drop,
    effective_sample_size,
    estimate_share,
    log_normaliser,
    log_weights,
    minimum_cuts,
    retention_cuts,
    select_rows,
)


class SelectRows(PipelineStep):
    """Finds the cut.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        solve_key: key of the solve stage, whose temperature turns scores into weights.
        weigh_key: key of the weigh stage.
        key: key of this stage.
        settings: from `sot_filter.plan.Plan.selection`: the rule, the policy for unknown rows, minimum retentions.
    """

    type = "SELECTOR"
    name = "the cut over all scores"

    def __init__(
        self, work_dir: str, part_rows: int, solve_key: str, weigh_key: str, key: str, settings: dict[str, Any]
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.settings = work_dir, part_rows, settings
        self.solve_key, self.weigh_key, self.key = solve_key, weigh_key, key

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Select, unless it is done. Raises `ArtifactError` when scores are missing, else as `select_rows`."""
        layout = Layout(self.work_dir)
        if rank == 0 and not find_manifest(layout.selection, self.key):
            source = read_inventory(layout.inventory)["input"]
            columns = columns_read(self.settings)
            parts = source.parts(self.part_rows)
            table = pa.concat_tables(read_table(layout.scores(part), self.weigh_key, columns) for part in parts)
            solve = require_manifest(layout.solution, self.solve_key).facts
            facts = selection(table, source, solve, self.settings, read_canaries(layout, self.solve_key, solve))
            announce(layout.selection, Manifest(self.key, len(table), facts=facts))
        yield from ()


class Fate(NamedTuple):
    """What is decided of n rows; every field is [n].

    Attributes:
        kept: whether the row is kept.
        kept_for: the slice it is kept for although it is below the cut, as ``language de``; else nothing.
        log_weight: log of its weight, not yet scaled.
    """

    kept: NDArray[np.bool_]
    kept_for: NDArray[Any]
    log_weight: NDArray[np.float64]


def columns_read(settings: dict[str, Any]) -> list[str]:
    """The columns of the weigh stage that `selection` needs; ``settings`` as for `SelectRows`."""
    slices = (f"slice:{name}" for name in settings["minimum_retention"])
    replicates = [RESEEDED, *replicate_columns(settings["replicates"])] if settings["replicates"] else []
    return ["status", "score", "own", "duplicate_of", "unknown", *slices, *replicates]


def read_canaries(layout: Layout, solve_key: str, solve: dict[str, Any]) -> Canaries | None:
    """The references' held-out rows; None where scores are no log-odds. ``solve`` are the facts of that stage."""
    if solve["temperature"] is not None:
        return None
    references = read_table(layout.map, solve_key, ["role", "held_out"])
    role, held_out = references["role"].to_numpy(), references["held_out"].to_numpy()
    return Canaries(held_out[role == "safe"], held_out[role == "harmful"])


class Rule(NamedTuple):
    """A rule for `select_rows`, and what is known of the harm among the rows.

    Attributes:
        rule: the rule; never ``auto``.
        facts: ``harmful_share``, ``canaries`` and ``auto`` as plain values, each None where it does not apply.
    """

    rule: dict[str, Any]
    facts: dict[str, Any]


def resolve_rule(
    rule: dict[str, Any],
    score: NDArray[np.float32],
    own: NDArray[np.float32],
    place: NDArray[np.int64],
    canaries: Canaries | None,
) -> Rule:
    """Turn ``auto`` into a number of rows, and estimate the share of harmful rows whatever the rule.

    Args:
        rule: from `sot_filter.plan.Plan.rule`.
        score: scores of the rows that may be kept [n].
        own: their scores by the references alone [n].
        place: their places [n], from `places`.
        canaries: from `read_canaries`.

    Raises:
        ConfigError: ``auto`` without canaries, or a rule that would keep nothing.
    """
    auto = rule.get("auto")
    if canaries is None or not len(score):
        if auto is not None and len(score):
            raise ConfigError("log-odds as scores", "a solve of another mode", "Set solve.mode to coupled.")
        # Without rows there is nothing to count; `select_rows` says so.
        nothing = dict.fromkeys(("harmful_share", "canaries", "auto"))
        return Rule({"top_k": 1} if auto is not None else rule, nothing)
    share = estimate_share(score, own, canaries.safe, place)
    amount = None
    if auto is not None:
        amount = count_to_drop(share, own, canaries, **auto)
        rule = {"top_k": max(len(score) - amount.rows, 1)}
    dropped = int((~select_rows(score, place, **rule).keeps(score, place)).sum())
    facts = {
        "harmful_share": {**asdict(share), "found": share.found},
        "canaries": canaries.rates(own, dropped),
        "auto": None if amount is None else {"dropped": amount.rows, "missed": list(amount.missed)},
    }
    return Rule(rule, facts)


def selection(
    scored: pa.Table,
    source: Source,
    solve: dict[str, Any],
    settings: dict[str, Any],
    canaries: Canaries | None = None,
) -> dict[str, Any]:
    """The cuts and what they do to the rows of ``source``, all of them with their scores, as plain values.

    Each row's fate follows from these facts and its own scores, see `decide`.

    Args:
        scored: the rows' table of the weigh stage, with `columns_read`.
        source: the rows' source.
        solve: facts of the solve stage.
        settings: as for `SelectRows`.
        canaries: from `read_canaries`.
    """
    score = scored["score"].to_numpy()
    place = places(scored["duplicate_of"].to_numpy(), 0, file_starts(source))
    allowed = np.flatnonzero(may_be_kept(scored, settings["unknown"]))
    if not len(allowed) and judged(scored).any():
        raise ConfigError(
            "rows that one of the references is like",
            f"none: all {int(judged(scored).sum()):,} are unknown",
            "Add references that cover them, or set select.unknown to keep.",
        )
    allowed = allowed[np.argsort(place[allowed], kind="stable")]
    own_score = scored["own"].to_numpy()[allowed]
    rule, harm = resolve_rule(settings["rule"], score[allowed], own_score, place[allowed], canaries)
    cut = select_rows(score[allowed], place[allowed], **rule)
    stability = judge_stability(scored.take(allowed), place[allowed], cut, settings["replicates"])
    slice_cuts = {
        facet: minimum_cuts(scored[f"slice:{facet}"].to_numpy()[allowed], score[allowed], place[allowed], minimum, cut)
        for facet, minimum in sorted(settings["minimum_retention"].items())
    }
    facts = {
        **settings,
        **harm,
        **stability,
        "cut": cut.score,
        "last": cut.last,
        "slice_cuts": {
            facet: {value: [own.score, own.last] for value, own in cuts.items()} for facet, cuts in slice_cuts.items()
        },
        "kept_texts": {},
        "unlike": solve["unlike"],
        "scored": int(judged(scored).sum()),
        "allowed": len(allowed),
        "temperature": solve["temperature"],
    }
    # Rows of one text may lie in different slices: what one of them is kept for, all are.
    repeated = scored["duplicate_of"].to_numpy() != ""
    own = _above_slice_cut(scored, place, facts)
    for i in np.flatnonzero(repeated & (own != "") & ~cut.keeps(score, place)):
        facts["kept_texts"].setdefault(str(place[i]), own[i])
    fate = decide(scored, place, facts)
    logs = fate.log_weight[fate.kept]
    return {
        **facts,
        "kept": int(fate.kept.sum()),
        "kept_for_slices": int((fate.kept_for != "").sum()),
        "log_normaliser": log_normaliser(logs),
        "effective_sample_size": effective_sample_size(logs),
        # For the sentence that says what would have kept a row.
        "retention_cuts": retention_cuts(score[allowed], place[allowed]),
    }


def decide(scored: pa.Table, place: NDArray[np.int64], facts: dict[str, Any]) -> Fate:
    """Decide n rows.

    Args:
        scored: their table of the weigh stage, with `columns_read`.
        place: where they stand [n] among all rows, from `places`.
        facts: from `selection`.
    """
    score, unknown = scored["score"].to_numpy(), scored["unknown"].to_numpy() != 0
    allowed = may_be_kept(scored, facts["unknown"])
    above = allowed & Cut(facts["cut"], facts["last"]).keeps(score, place)
    kept_for = np.where(allowed & ~above, _above_slice_cut(scored, place, facts), "")
    repeated = scored["duplicate_of"].to_numpy() != ""
    kept_for[repeated] = ""
    if facts["kept_texts"]:
        for i in np.flatnonzero(repeated & allowed & ~above):
            kept_for[i] = facts["kept_texts"].get(str(place[i]), "")
    logs = log_weights(score, facts["temperature"])
    if facts["unknown"] == "down_weight":
        logs = np.where(unknown, logs + np.log(UNKNOWN_WEIGHT), logs)
    return Fate(above | (kept_for != ""), kept_for, logs)


def judged(scored: pa.Table) -> NDArray[np.bool_]:
    """Which rows [n] have a score."""
    status = scored["status"].to_numpy()
    found: NDArray[np.bool_] = (status != EMPTY) & (status != INVALID)
    return found


def may_be_kept(scored: pa.Table, policy: str) -> NDArray[np.bool_]:
    """Which rows [n] are selected from: those with a score, without unknown ones where these are never kept."""
    if policy in ("drop", "review"):
        return judged(scored) & (scored["unknown"].to_numpy() == 0)
    return judged(scored)


def _above_slice_cut(scored: pa.Table, place: NDArray[np.int64], facts: dict[str, Any]) -> NDArray[Any]:
    """For each row [n] the first slice of its own whose cut it reaches, as ``facet value``, or nothing."""
    found = np.full(len(scored), "", object)
    allowed, score = may_be_kept(scored, facts["unknown"]), scored["score"].to_numpy()
    for facet, cuts in facts["slice_cuts"].items():
        values = scored[f"slice:{facet}"].to_numpy()
        for value, (lowest, last) in cuts.items():
            reached = allowed & (values == value) & Cut(lowest, last).keeps(score, place)
            found[reached & (found == "")] = f"{facet} {value}"
    return found


def places(duplicate_of: NDArray[Any], position: int, starts: dict[str, int]) -> NDArray[np.int64]:
    """Where n rows stand among all rows: each in its own place, but for those that share their text.

    These have one score; by standing where the first of them stands, they are kept or dropped together as well.

    Args:
        duplicate_of: id [n] of the first row with the same text, or nothing.
        position: position of the first of the n rows.
        starts: from `file_starts`.
    """
    place = np.arange(position, position + len(duplicate_of))
    for i in np.flatnonzero(duplicate_of != ""):
        first = RowKey.parse(duplicate_of[i])
        place[i] = starts[first.file] + first.row
    return place


def file_starts(source: Source) -> dict[str, int]:
    """For each file, the position of its first row among all rows."""
    starts = np.cumsum([0, *(file.rows for file in source.files)])
    return {file.name: int(start) for file, start in zip(source.files, starts, strict=False)}
