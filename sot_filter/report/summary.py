"""The summary of a run: what was kept, how the solve ended, and what a reader should be wary of."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sot_filter.rows import EMPTY, INVALID
from sot_filter.weighting import RESOLUTION, ExactSum, OrderedCounts, Quality, ScoreCounts, judge_slices

#: Slices of a facet that are listed by name; the others are counted together.
_NAMED_SLICES = 100
#: Unknown rows of all that have a score from which on a reader should look at the references.
_MANY_UNKNOWN = 0.05
#: Rows on the edge of all that are selected from, from which on the references are too few or too alike.
_MANY_ON_EDGE = 0.2
#: Share of the kept rows that another seed should keep as well.
_SEEDS_AGREE = 0.98
#: Times as many rows unlike the safe reference as look harmful from which on a reader should look at the references.
_UNLIKE_SAFE = 3
#: Estimated harmful share from which on the references are in doubt.
_MOST_HARMFUL = 0.5
#: Share of the dropped rows from which on another score drops the same.
_SAME = 0.99


class Tally:
    """Counts over the new columns, fed part by part in passes over all rows: memory does not grow with the rows.

    As long as it is `open`, a pass follows: `add` every part in row order, then `turn`.

    Args:
        rows: how many rows there are in all.
    """

    def __init__(self, rows: int) -> None:
        self._first, self._position = True, 0
        self._status: Counter[str] = Counter()
        self._judged = self._kept = 0
        self._weights, self._squares = ExactSum(), ExactSum()
        self._smallest, self._largest = np.inf, -np.inf
        self._slices: dict[str, Counter[tuple[str, bool]]] = {}
        self._unknown: Counter[bool] = Counter()
        self._simple, self._labelled = OrderedCounts(rows), OrderedCounts(rows)
        self._simple_wanted = self._labels = False
        self._harmful: Counter[tuple[bool, bool]] = Counter()
        self._scores = ScoreCounts()

    @property
    def open(self) -> bool:
        """Whether another pass is needed."""
        return self._first or any(counts.open for counts in self._ranked)

    @property
    def judged(self) -> int:
        """Rows that have a score."""
        return self._judged

    def add(self, columns: pa.Table, scored: pa.Table, harmful: NDArray[np.bool_] | None = None) -> None:
        """Take in a part of n rows.

        Args:
            columns: their new columns, at least status, score, weight and keep.
            scored: what the weigh stage knows of the same rows.
            harmful: which of them are labelled harmful [n], if labels are given.
        """
        judged = pc.invert(pc.is_in(columns["sot_status"], value_set=pa.array([EMPTY, INVALID]))).to_numpy()
        kept = columns["sot_keep"].to_numpy()
        if self._first:
            self._count(columns, scored, judged, kept, harmful)
        position = np.flatnonzero(judged) + self._position
        self._position += len(columns)
        # The lowest first: a score is turned round.
        if self._first or (self._simple_wanted and self._simple.open):
            self._simple.add(-scored["simple"].to_numpy()[judged], position, marked=~kept[judged])
        if harmful is not None and (self._first or self._labelled.open):
            self._labelled.add(-columns["sot_score"].to_numpy()[judged], position, marked=harmful[judged])

    def turn(self) -> None:
        """End a pass."""
        still = [counts for counts in self._ranked if counts.open and not self._first]
        if self._first:
            if dropped := self._judged - self._kept:
                self._simple.want(np.asarray([dropped]))
                self._simple_wanted = True
            if self._scores.harmful and self._scores.benign:
                wanted = [round(times * self._scores.harmful) for times in (1, 1.5)]
                self._labelled.want(np.minimum(wanted, self._judged))
                self._labels = True
        for counts in still:
            counts.turn()
        self._first, self._position = False, 0

    @property
    def _ranked(self) -> list[OrderedCounts]:
        """What has something to find."""
        return [self._simple] * self._simple_wanted + [self._labelled] * self._labels

    def _count(
        self,
        columns: pa.Table,
        scored: pa.Table,
        judged: NDArray[np.bool_],
        kept: NDArray[np.bool_],
        harmful: NDArray[np.bool_] | None,
    ) -> None:
        for pair in pc.value_counts(columns["sot_status"]).to_pylist():
            self._status[pair["values"]] += pair["counts"]
        self._judged += int(judged.sum())
        self._kept += int(kept.sum())
        weights = columns["sot_weight"].to_numpy()[kept].astype(np.float64)
        self._weights.add(weights)
        self._squares.add(weights**2)
        self._smallest = min(self._smallest, float(weights.min(initial=np.inf)))
        self._largest = max(self._largest, float(weights.max(initial=-np.inf)))
        for name in scored.column_names:
            if name.startswith("slice:"):
                values = scored[name].filter(judged).combine_chunks().dictionary_encode()
                cell = 2 * values.indices.to_numpy().astype(np.intp) + kept[judged]
                sizes = np.bincount(cell, minlength=2 * len(values.dictionary)).reshape(-1, 2).tolist()
                counts = self._slices.setdefault(name.removeprefix("slice:"), Counter())
                for value, (dropped, above) in zip(values.dictionary.to_pylist(), sizes, strict=True):
                    counts[value, False] += dropped
                    counts[value, True] += above
        self._unknown.update(kept[scored["unknown"].to_numpy() != 0].tolist())
        if harmful is not None:
            for known in (False, True):
                for above in (False, True):
                    self._harmful[known, above] += int(((harmful == known) & (kept == above)).sum())
            self._scores.add(columns["sot_score"].to_numpy()[judged], harmful[judged])

    def rows(self) -> dict[str, int]:
        """Rows by status, and in all."""
        return {"total": sum(self._status.values()), **dict(sorted(self._status.items()))}

    def weights(self) -> dict[str, float]:
        """Kept rows, their share, and the spread of their weights."""
        return {
            "rows": self._kept,
            "share": self._kept / sum(self._status.values()),
            "effective_sample_size": self._weights.value**2 / self._squares.value,
            "smallest_weight": self._smallest,
            "largest_weight": self._largest,
        }

    def unknown(self) -> dict[str, int]:
        """Rows that are unknown to the references, copies of a text among them, and how many of these are kept."""
        return {"rows": self._unknown.total(), "kept": self._unknown[True]}

    def simple(self) -> dict[str, int]:
        """How many rows are dropped, and how many of them a simple score that drops as many would drop as well."""
        in_common = int(self._simple.found.marked[0]) if self._simple_wanted else 0
        return {"dropped": self._judged - self._kept, "in_common": in_common}

    def slices(self) -> list[dict[str, Any]]:
        """Rows and retention of every slice, facet by facet, and whether it loses more than the rest."""
        counts = {
            facet: {value: (pairs[value, True] + pairs[value, False], pairs[value, True]) for value, _ in pairs}
            for facet, pairs in self._slices.items()
        }
        found = judge_slices({facet: _named(values) for facet, values in counts.items()})
        return [{**one._asdict(), "retention": one.kept / one.rows} for one in found]

    def quality(self) -> dict[str, Any] | None:
        """What the cut and the scores do to rows known to be harmful; None without such rows or without others.

        The measures are those of `sot_filter.weighting.Quality`, ``exact`` but for ties where there are more than a
        million different scores.
        """
        if not self._labels:
            return None
        scores, counts = self._scores, self._harmful
        (lowest, more), (_, rows) = self._labelled.found.marked.tolist(), self._labelled.found.rows.tolist()
        found = Quality(
            auroc=scores.auroc,
            average_precision=scores.average_precision,
            recall_1x=lowest / scores.harmful,
            recall_1_5x=more / scores.harmful,
            benign_lost_1_5x=(rows - more) / scores.benign,
        )
        return {
            "harmful": counts[True, False] + counts[True, True],
            "harmful_dropped": counts[True, False],
            "benign": counts[False, False] + counts[False, True],
            "benign_dropped": counts[False, False],
            **dataclasses.asdict(found),
            "exact": scores.exact,
        }


def warnings(summary: dict[str, Any]) -> list[str]:
    """Sentences on what a reader of the summary should be wary of."""
    said = []
    solve, kept, rows = summary["solve"], summary["kept"], summary["rows"]
    if solve["outcome"] not in ("converged", "stopped"):
        said.append(f"The solve ended as {solve['outcome']}: {solve['message']}")
    if (share := kept["effective_sample_size"] / kept["rows"]) < 0.1:
        said.append(
            f"The kept weights are worth {share:.0%} of as many equal ones; raise solve.tau for more even weights."
        )
    for pair, n in solve["overlap"].items():
        if n:
            one, other = pair.split("_")
            said.append(f"{n:,} rows of the {_noun(one)} are, word for word, in the {_noun(other)} too.")
    simple = summary["simple"]
    if simple["sot_auroc"] <= simple["auroc"]:
        said.append(
            f"On held-out reference rows the solve tells safe from harmful no better than {simple['score']} does "
            f"(AUROC {simple['sot_auroc']:.3f} and {simple['auroc']:.3f}): between these references it adds nothing."
        )
    elif simple["dropped"] and simple["in_common"] >= _SAME * simple["dropped"]:
        said.append(f"The simple score {simple['score']} would drop the same rows: the solve adds nothing here.")
    for one in summary["slices"]:
        if one["alarm"]:
            rest = _rest(one, summary["slices"])
            said.append(
                f"Of the {one['rows']:,} rows of the slice {one['facet']} {one['value']} {one['retention']:.0%} are "
                f"kept, of the others {rest:.0%}; select.minimum_retention can keep more of them."
            )
    said += _of_harm(summary["selection"])
    scored, unknown = summary["selection"]["scored"], summary["unknown"]["rows"]
    if unknown > _MANY_UNKNOWN * scored:
        said.append(
            f"{unknown:,} of {scored:,} rows are unlike both references, which say little about them; add references "
            f"that cover them, or set select.unknown."
        )
    if stability := summary["selection"]["stability"]:
        edge, among = stability["on_edge"], summary["selection"]["allowed"]
        if edge > _MANY_ON_EDGE * among:
            said.append(
                f"{edge:,} of {among:,} rows are on the edge: halves of the references disagree on them; add "
                f"reference rows, or read sot_reason before you trust them."
            )
        if stability["seeds_agree"] < _SEEDS_AGREE:
            said.append(
                f"Another seed keeps {stability['seeds_agree']:.1%} of the kept rows; below {_SEEDS_AGREE:.0%}, the "
                f"references are too few for one cut: add rows to them."
            )
    if summary["unknown"]["similarity"] is None and summary["selection"]["unknown"] != "keep":
        said.append("The references have too few rows to tell which rows are unknown, so none is.")
    if unreadable := rows.get(EMPTY, 0) + rows.get(INVALID, 0):
        said.append(f"{unreadable:,} rows are empty or unreadable; they are in the output, never kept.")
    if summary["embedding"]["truncated"]:
        n = summary["embedding"]["truncated"]
        said.append(f"Of {n:,} rows only a part was embedded; raise embed.max_length if the model allows.")
    return said


def _of_harm(selection: dict[str, Any]) -> list[str]:
    """Sentences on the estimated share of harmful rows, and on how many were dropped for it."""
    share, auto = selection["harmful_share"], selection["auto"]
    if share is None:
        return []
    said = []
    by_share = auto is not None and selection["rule"]["auto"].get("harmful_kept") is None
    looks = f"{share['looks_harmful']:,} rows look harmful"
    if by_share and not share["found"]:
        said.append(
            f"{looks} one by one, no more than may in a set without harm; the lowest {auto['dropped']:,} are dropped."
            if share["looks_harmful"]
            else "No harm found: nothing dropped."
        )
    if share["unlike_safe"] > _UNLIKE_SAFE * share["looks_harmful"] / share["rows"] + RESOLUTION:
        said.append(
            f"At least {share['unlike_safe']:.0%} of the rows are unlike the safe reference's held-out rows, though "
            f"{looks if share['looks_harmful'] else 'none looks harmful'}: either that reference is unlike the "
            f"input's safe rows, or there is harm that the harmful reference does not know."
        )
    elif share["estimate"] > _MOST_HARMFUL:
        said.append(
            f"{share['estimate']:.0%} of the rows seem harmful, by two references that may both be unlike them: the "
            f"safe one should be like the rows that you want to keep."
        )
    rates = selection["canaries"]
    for goal in [] if auto is None else auto["missed"]:
        limit = selection["rule"]["auto"][goal]
        what = "harmful reference rows would be kept" if goal == "harmful_kept" else "safe reference rows be dropped"
        said.append(
            f"The goal that at most {limit:.1%} of held-out {what} cannot be met with these references: by their "
            f"number of rows, or within select.auto.safe_lost; it is {rates[goal]:.1%} here."
        )
    return said


def _named(values: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The largest slices of a facet, and the others as one."""
    if len(values) <= _NAMED_SLICES:
        return values
    order = sorted(values, key=lambda value: (-values[value][0], value))
    others = order[_NAMED_SLICES - 1 :]
    rows, kept = (sum(values[value][i] for value in others) for i in (0, 1))
    named = {value: values[value] for value in order[: _NAMED_SLICES - 1]}
    return {**named, f"({len(others):,} others)": (rows, kept)}


def _rest(one: dict[str, Any], slices: list[dict[str, Any]]) -> float:
    """Retention of all rows that are not in a slice."""
    rest = [other for other in slices if other["facet"] == one["facet"] and other is not one]
    return float(sum(other["kept"] for other in rest) / sum(other["rows"] for other in rest))


def _noun(role: str) -> str:
    return "input" if role == "input" else f"{role} reference"
