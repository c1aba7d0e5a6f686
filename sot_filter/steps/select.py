"""Stage select: the cut over all scores, and the number that gives the kept rows' weights mean one."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from sot_filter.steps.stability import RESEEDED, replicate_columns
from sot_filter.weighting import (
    UNKNOWN_WEIGHT,
    Canaries,
    Cut,
    HarmCounts,
    count_to_drop,
    estimate_share,
    log_weights,
)

#: Rows whose tables are opened once for all passes; those of more rows are opened anew.
_HELD: Final = 1 << 17


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
            from sot_filter.steps.selecting import selection

            source = read_inventory(layout.inventory)["input"]
            solve = require_manifest(layout.solution, self.solve_key).facts
            facts = selection(
                Scores(layout, source, self.part_rows, self.weigh_key, columns_read(self.settings)),
                source,
                solve,
                self.settings,
                read_canaries(layout, self.solve_key, solve),
                read_table(layout.duplicates, self.solve_key, ["rows"])["rows"],
            )
            announce(layout.selection, Manifest(self.key, source.rows, facts=facts))
        yield from ()


class Scores:
    """The parts' tables of the weigh stage in row order, as often as they are asked for.

    Args:
        layout: where they are.
        source: the rows' source.
        part_rows: rows per part.
        weigh_key: key of the weigh stage.
        columns: the columns to read, or None for all.

    Raises:
        ArtifactError: while reading, when one is missing.
    """

    def __init__(
        self, layout: Layout, source: Source, part_rows: int, weigh_key: str, columns: list[str] | None = None
    ) -> None:
        self._urls = [layout.scores(part) for part in source.parts(part_rows)]
        self._read = partial(read_table, key=weigh_key, columns=columns)
        self._held = list(map(self._read, self._urls)) if source.rows <= _HELD else None

    def __iter__(self) -> Iterator[pa.Table]:
        return iter(self._held) if self._held is not None else map(self._read, self._urls)


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
        facts: ``harmful_share`` and ``auto`` as plain values, each None where it does not apply.
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
    """As `resolve_counted`, of rows at hand.

    Args:
        rule: from `sot_filter.plan.Plan.rule`.
        score: scores of the rows that may be kept [n].
        own: their scores by the references alone [n].
        place: their places [n], from `places`.
        canaries: from `read_canaries`.
    """
    counts = None
    if canaries is not None:
        counts = HarmCounts(canaries.every)
        counts.add(score, own, np.unique(place, return_counts=True)[1])
    return resolve_counted(rule, len(score), counts, canaries)


def resolve_counted(rule: dict[str, Any], rows: int, counts: HarmCounts | None, canaries: Canaries | None) -> Rule:
    """Turn ``auto`` into a number of rows, and estimate the share of harmful rows whatever the rule.

    Args:
        rule: from `sot_filter.plan.Plan.rule`.
        rows: how many rows may be kept.
        counts: of these rows, made for the canaries; None without.
        canaries: from `read_canaries`.

    Raises:
        ConfigError: ``auto`` without canaries.
    """
    auto = rule.get("auto")
    if canaries is None or counts is None or not rows:
        if auto is not None and rows:
            raise ConfigError("log-odds as scores", "a solve of another mode", "Set solve.mode to coupled.")
        # Without rows there is nothing to count; `apply_rule` says so.
        return Rule({"top_k": 1} if auto is not None else rule, {"harmful_share": None, "auto": None})
    share = estimate_share(counts, canaries.safe)
    facts: dict[str, Any] = {"harmful_share": {**asdict(share), "found": share.found}, "auto": None}
    if auto is not None:
        amount = count_to_drop(share, counts.own, canaries, **auto)
        rule = {"top_k": max(rows - amount.rows, 1)}
        facts["auto"] = {"dropped": amount.rows, "missed": list(amount.missed)}
    return Rule(rule, facts)


def decide(scored: pa.Table, place: NDArray[np.int64], facts: dict[str, Any]) -> Fate:
    """Decide n rows.

    Args:
        scored: their table of the weigh stage, with `columns_read`.
        place: where they stand [n] among all rows, from `places`.
        facts: from `sot_filter.steps.selecting.selection`.
    """
    allowed = may_be_kept(scored, facts["unknown"])
    above = allowed & Cut(facts["cut"], facts["last"]).keeps(scored["score"].to_numpy(), place)
    kept_for = np.full(len(scored), "", object)
    if facts["slice_cuts"]:
        below = allowed & ~above
        kept_for = np.where(below, above_slice_cut(scored, place, facts), "")
        repeated = is_repeated(scored["duplicate_of"])
        kept_for[repeated] = ""
        for i in np.flatnonzero(repeated & below):
            kept_for[i] = facts["kept_texts"].get(str(place[i]), "")
    return Fate(above | (kept_for != ""), kept_for, row_log_weights(scored, facts["temperature"], facts["unknown"]))


def row_log_weights(scored: pa.Table, temperature: float | None, policy: str) -> NDArray[np.float64]:
    """Logs [n] of the weights of n rows, not yet scaled; ``policy`` is that for unknown rows."""
    logs = log_weights(scored["score"].to_numpy(), temperature)
    if policy == "down_weight":
        logs = np.where(scored["unknown"].to_numpy() != 0, logs + np.log(UNKNOWN_WEIGHT), logs)
    return logs


def judged(scored: pa.Table) -> NDArray[np.bool_]:
    """Which rows [n] have a score."""
    without = pc.is_in(scored["status"], value_set=pa.array([EMPTY, INVALID]))
    found: NDArray[np.bool_] = pc.invert(without).to_numpy()
    return found


def may_be_kept(scored: pa.Table, policy: str) -> NDArray[np.bool_]:
    """Which rows [n] are selected from: those with a score, without unknown ones where these are never kept."""
    if policy in ("drop", "review"):
        return judged(scored) & (scored["unknown"].to_numpy() == 0)
    return judged(scored)


def above_slice_cut(scored: pa.Table, place: NDArray[np.int64], facts: dict[str, Any]) -> NDArray[Any]:
    """For each row [n] the first slice of its own whose cut it reaches, as ``facet value``, or nothing."""
    found = np.full(len(scored), "", object)
    allowed, score = may_be_kept(scored, facts["unknown"]), scored["score"].to_numpy()
    for facet, cuts in facts["slice_cuts"].items():
        values = scored[f"slice:{facet}"].to_numpy()
        for value, (lowest, last) in cuts.items():
            reached = allowed & (values == value) & Cut(lowest, last).keeps(score, place)
            found[reached & (found == "")] = f"{facet} {value}"
    return found


def is_repeated(duplicate_of: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which rows [n] share their text with others."""
    found: NDArray[np.bool_] = pc.not_equal(duplicate_of, "").to_numpy()
    return found


def places(duplicate_of: pa.ChunkedArray | NDArray[Any], position: int, starts: dict[str, int]) -> NDArray[np.int64]:
    """Where n rows stand among all rows: each in its own place, but for those that share their text.

    These have one score; by standing where the first of them stands, they are kept or dropped together as well.

    Args:
        duplicate_of: id [n] of the first row with the same text, or nothing.
        position: position of the first of the n rows.
        starts: from `file_starts`.
    """
    column = duplicate_of
    if not isinstance(column, pa.ChunkedArray):
        column = pa.chunked_array([column.tolist()], pa.string())
    place = np.arange(position, position + len(column))
    repeated = is_repeated(column)
    if repeated.any():
        # A row's number stands behind the last # of its id, and few different files before it.
        ends = pc.split_pattern(column.filter(repeated).combine_chunks(), "#", max_splits=1, reverse=True).flatten()
        files = ends[::2].dictionary_encode()
        first = np.asarray([starts[RowKey.parse(f"{file}#0").file] for file in files.dictionary.to_pylist()])
        place[repeated] = first[files.indices.to_numpy()] + ends[1::2].cast(pa.int64()).to_numpy()
    return place


def file_starts(source: Source) -> dict[str, int]:
    """For each file, the position of its first row among all rows."""
    starts = np.cumsum([0, *(file.rows for file in source.files)])
    return {file.name: int(start) for file, start in zip(source.files, starts, strict=False)}
