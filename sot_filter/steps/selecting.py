"""From scores to the facts of the selection, in passes over the parts: memory does not grow with the rows."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.errors import ConfigError
from sot_filter.sources import Source
from sot_filter.steps.select import (
    above_slice_cut,
    decide,
    file_starts,
    is_repeated,
    judged,
    may_be_kept,
    places,
    resolve_counted,
    row_log_weights,
)
from sot_filter.steps.stability import RESEEDED, replicate_columns, replicate_matrix
from sot_filter.weighting import (
    Canaries,
    Cut,
    HarmCounts,
    OrderedCounts,
    RowsBelow,
    WeightSums,
    apply_rule,
    on_edge,
    retention_ranks,
    rows_to_keep,
    times_kept,
)


def selection(
    parts: Iterable[pa.Table],
    source: Source,
    solve: dict[str, Any],
    settings: dict[str, Any],
    canaries: Canaries | None = None,
    repeats: pa.ChunkedArray | None = None,
) -> dict[str, Any]:
    """The cuts and what they do to the rows of ``source``, all of them with their scores, as plain values.

    Each row's fate follows from these facts and its own scores, see `sot_filter.steps.select.decide`.

    Args:
        parts: the rows' tables of the weigh stage in row order, with `sot_filter.steps.select.columns_read`; they are
            gone through several times.
        source: the rows' source.
        solve: facts of the solve stage.
        settings: as for `sot_filter.steps.select.SelectRows`.
        canaries: from `sot_filter.steps.select.read_canaries`.
        repeats: how many rows share each text that several rows share, ordered by the first of them; needed with
            canaries.
    """
    rows = Rows(parts, source, settings["unknown"])
    first = _First(rows, solve["temperature"], settings, canaries, repeats)
    if not first.allowed and first.judged:
        raise ConfigError(
            "rows that one of the references is like",
            f"none: all {first.judged:,} are unknown",
            "Add references that cover them, or set select.unknown to keep.",
        )
    rule, harm = resolve_counted(settings["rule"], first.allowed, first.harm, canaries)
    wanted = apply_rule(first.allowed, first.best, **rule)
    ranks = retention_ranks(first.allowed)
    first.score.want(np.append(ranks, wanted) if isinstance(wanted, int) else ranks)
    rows.rank([first.score], "score")
    ranked = first.score.found
    if isinstance(wanted, Cut):
        cut, above = wanted, first.allowed - int(first.below.below(np.asarray([wanted.score]))[0])
    else:
        cut, above = Cut(float(ranked.score[-1]), int(ranked.place[-1])), int(ranked.rows[-1])
    rates = None if canaries is None or first.harm is None else canaries.rates(first.harm.own, first.allowed - above)
    names = list(first.replicates)
    for name in names:
        first.replicates[name].want(np.asarray([max(above, 1)]))
    rows.rank(list(first.replicates.values()), *names)
    found = {name: counts.found for name, counts in first.replicates.items()}
    other = {name: Cut(float(one.score[0]), int(one.place[0])) for name, one in found.items()}
    replicate_cuts = [(other[name].score, other[name].last) for name in replicate_columns(settings["replicates"])]
    facts = {
        **settings,
        **harm,
        "canaries": rates,
        "replicate_cuts": [list(pair) for pair in replicate_cuts],
        "cut": cut.score,
        "last": cut.last,
        "slice_cuts": _slice_cuts(rows, settings["minimum_retention"], cut),
        "kept_texts": {},
        "unlike": solve["unlike"],
        "scored": first.judged,
        "allowed": first.allowed,
        "temperature": solve["temperature"],
        # For the sentence that says what would have kept a row.
        "retention_cuts": {"score": ranked.score[: len(ranks)].tolist(), "last": ranked.place[: len(ranks)].tolist()},
    }
    if facts["slice_cuts"]:
        facts["kept_texts"] = _kept_texts(rows, cut, facts)
    return {**facts, **_outcome(rows, cut, replicate_cuts, other.get(RESEEDED), first.top, facts)}


class Taken(NamedTuple):
    """The rows of a part, and those of them that may be kept.

    Attributes:
        table: the part's table of n rows.
        position: position of the first of them among all rows.
        place: their places [n].
        allowed: which of them may be kept [n].
    """

    table: pa.Table
    position: int
    place: NDArray[np.int64]
    allowed: NDArray[np.bool_]

    def scores(self, name: str) -> NDArray[np.float32]:
        """A column of those that may be kept."""
        values: NDArray[np.float32] = self.table[name].to_numpy()[self.allowed]
        return values


class Rows:
    """All rows, part by part, as often as they are asked for.

    Args:
        parts: their tables.
        source: their source.
        policy: for unknown rows.
    """

    def __init__(self, parts: Iterable[pa.Table], source: Source, policy: str) -> None:
        self._parts, self._policy = parts, policy
        self._starts, self.count = file_starts(source), source.rows

    def __iter__(self) -> Iterator[Taken]:
        position = 0
        for table in self._parts:
            place = places(table["duplicate_of"], position, self._starts)
            yield Taken(table, position, place, may_be_kept(table, self._policy))
            position += len(table)

    def rank(self, counts: list[OrderedCounts], *names: str) -> None:
        """Make the passes that find the wanted ranks, each by the scores in the column of this name."""
        while still := [(one, name) for one, name in zip(counts, names, strict=True) if one.open]:
            for rows in self:
                for one, name in still:
                    one.add(rows.scores(name), rows.place[rows.allowed])
            for one, _ in still:
                one.turn()


class _First:
    """What the first pass finds: all that no cut is needed for."""

    def __init__(
        self,
        rows: Rows,
        temperature: float | None,
        settings: dict[str, Any],
        canaries: Canaries | None,
        repeats: pa.ChunkedArray | None,
    ) -> None:
        self.judged = self.allowed = repeated = 0
        self.best = self.top = -np.inf
        self.score = OrderedCounts(rows.count)
        self.below = RowsBelow(np.asarray([settings["rule"].get("threshold", 0.0)], np.float32))
        names = [RESEEDED, *replicate_columns(settings["replicates"])] if settings["replicates"] else []
        self.replicates = {name: OrderedCounts(rows.count) for name in names}
        self.harm = None if canaries is None else HarmCounts(canaries.every)
        for part in rows:
            score, place = part.scores("score"), part.place[part.allowed]
            self.judged += int(judged(part.table).sum())
            self.allowed += len(score)
            self.score.add(score, place)
            self.below.add(score)
            for name, counts in self.replicates.items():
                counts.add(part.scores(name), place)
            if len(score):
                self.best = max(self.best, float(score.max()))
                logs = row_log_weights(part.table, temperature, settings["unknown"])
                self.top = max(self.top, float(logs[part.allowed].max()))
            if self.harm is not None and repeats is not None:
                own_place = part.place == np.arange(part.position, part.position + len(part.table))
                firsts = np.flatnonzero(is_repeated(part.table["duplicate_of"]) & own_place)
                sizes = repeats.slice(repeated, len(firsts)).to_numpy().astype(np.int64)
                self.harm.add(score, part.scores("own"), sizes[part.allowed[firsts]])
                repeated += len(firsts)


def _slice_cuts(rows: Rows, minimum_retention: dict[str, float], cut: Cut) -> dict[str, dict[str, list[float | int]]]:
    """For each facet with a minimum, the own cuts of those slices that would keep less of their rows."""
    if not minimum_retention:
        return {}
    sizes: dict[str, dict[str, list[int]]] = {facet: {} for facet in sorted(minimum_retention)}
    for part in rows:
        kept = cut.keeps(part.scores("score"), part.place[part.allowed])
        for facet, values in sizes.items():
            names, index = _sliced(part, facet)
            counts = np.bincount(index, minlength=len(names)), np.bincount(index[kept], minlength=len(names))
            for name, size, above in zip(names, *(count.tolist() for count in counts), strict=True):
                known = values.setdefault(name, [0, 0])
                known[0], known[1] = known[0] + size, known[1] + above
    found = {}
    for facet, values in sizes.items():
        minimum = minimum_retention[facet]
        amounts = {name: rows_to_keep(size, above, minimum) for name, (size, above) in sorted(values.items())}
        found[facet] = _cuts_of(rows, facet, {name: n for name, n in amounts.items() if n is not None})
    return found


def _cuts_of(rows: Rows, facet: str, amounts: dict[str, int]) -> dict[str, list[float | int]]:
    """The cuts that keep so many rows of each of some slices."""
    if not amounts:
        return {}
    counts, group = OrderedCounts(rows.count, len(amounts)), {name: i for i, name in enumerate(amounts)}

    def go() -> None:
        for part in rows:
            names, index = _sliced(part, facet)
            own = np.asarray([group.get(name, -1) for name in names], np.intp)[index]
            mine = own >= 0
            counts.add(part.scores("score")[mine], part.place[part.allowed][mine], own[mine])

    go()
    counts.want(np.asarray(list(amounts.values())), np.arange(len(amounts)))
    while counts.open:
        go()
        counts.turn()
    found = counts.found
    return {name: [float(found.score[i]), int(found.place[i])] for i, name in enumerate(amounts)}


def _sliced(part: Taken, facet: str) -> tuple[list[str], NDArray[np.intp]]:
    """The slices in a part, and the index of its slice for each row that may be kept."""
    column = part.table[f"slice:{facet}"].filter(part.allowed).combine_chunks().dictionary_encode()
    return column.dictionary.to_pylist(), column.indices.to_numpy().astype(np.intp)


def _kept_texts(rows: Rows, cut: Cut, facts: dict[str, Any]) -> dict[str, str]:
    """By the place of each text that is below the cut, what its rows are kept for.

    Rows of one text may lie in different slices: what one of them is kept for, all are.
    """
    found: dict[str, str] = {}
    for part in rows:
        below = is_repeated(part.table["duplicate_of"]) & ~cut.keeps(part.table["score"].to_numpy(), part.place)
        if below.any():
            kept_for = above_slice_cut(part.table, part.place, facts)
            for i in np.flatnonzero(below & (kept_for != "")):
                found.setdefault(str(part.place[i]), kept_for[i])
    return found


def _outcome(
    rows: Rows,
    cut: Cut,
    replicate_cuts: list[tuple[float, int]],
    reseeded: Cut | None,
    top: float,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """The last pass: how many rows are kept, what scales their weights, and whether replicates agree.

    Args:
        rows: all of them.
        cut: over all rows.
        replicate_cuts: the cut of each replicate.
        reseeded: the cut of the solve by another seed; None without replicates.
        top: log weight of the row that weighs most.
        facts: all that decides the rows.
    """
    kept = kept_for = edges = kept_edges = agreed = above = 0
    sums = WeightSums(top)
    for part in rows:
        fate = decide(part.table, part.place, facts)
        kept += int(fate.kept.sum())
        kept_for += int((fate.kept_for != "").sum())
        sums.add(fate.log_weight[fate.kept])
        if reseeded is not None:
            place = part.place[part.allowed]
            own = cut.keeps(part.scores("score"), place)
            scores = replicate_matrix(part.table, len(replicate_cuts))[part.allowed]
            edge = on_edge(times_kept(scores, place, replicate_cuts), len(replicate_cuts), own)
            edges, kept_edges = edges + int(edge.sum()), kept_edges + int((edge & own).sum())
            agreed += int((reseeded.keeps(part.scores(RESEEDED), place) & own).sum())
            above += int(own.sum())
    stability = {"on_edge": edges, "kept_on_edge": kept_edges, "seeds_agree": agreed / max(above, 1)}
    return {
        "stability": None if reseeded is None else stability,
        "kept": kept,
        "kept_for_slices": kept_for,
        "log_normaliser": sums.log_normaliser,
        "effective_sample_size": sums.effective_sample_size,
    }
