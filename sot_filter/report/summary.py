"""The summary of a run: what was kept, how the solve ended, and what a reader should be wary of."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.rows import EMPTY, INVALID
from sot_filter.weighting import RESOLUTION, judge_slices, measure_quality

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
    """Counts over the new columns, fed table by table, so that memory does not grow with the rows' texts."""

    def __init__(self) -> None:
        self._status: Counter[str] = Counter()
        self._kept = 0
        self._scores: list[NDArray[np.float32]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._keep: list[NDArray[np.bool_]] = []
        self._judged: list[NDArray[np.bool_]] = []
        self._slices: dict[str, Counter[tuple[str, bool]]] = {}
        self._unknown: Counter[bool] = Counter()
        self._simple: list[NDArray[np.float32]] = []

    def add(self, columns: pa.Table, scored: pa.Table) -> None:
        """Take in the new columns of some rows, and what the weigh stage knows of the same rows."""
        status = columns["sot_status"].to_pylist()
        self._status.update(status)
        self._judged.append(np.asarray([s not in (EMPTY, INVALID) for s in status]))
        self._scores.append(columns["sot_score"].to_numpy())
        self._weights.append(columns["sot_weight"].to_numpy())
        self._keep.append(columns["sot_keep"].to_numpy(zero_copy_only=False))
        self._simple.append(scored["simple"].to_numpy())
        judged, kept = self._judged[-1], self._keep[-1].tolist()
        for name in scored.column_names:
            if name.startswith("slice:"):
                pairs = zip(scored[name].to_pylist(), kept, judged.tolist(), strict=True)
                counts = self._slices.setdefault(name.removeprefix("slice:"), Counter())
                counts.update((value, keep) for value, keep, judge in pairs if judge)
        self._unknown.update(self._keep[-1][scored["unknown"].to_numpy() != 0].tolist())

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores [n] of all rows, in row order."""
        return np.concatenate(self._scores)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each row [n] is kept."""
        return np.concatenate(self._keep)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Whether each row [n] has a score."""
        return np.concatenate(self._judged)

    def rows(self) -> dict[str, int]:
        """Rows by status, and in all."""
        return {"total": sum(self._status.values()), **dict(sorted(self._status.items()))}

    def weights(self) -> dict[str, float]:
        """Kept rows, their share, and the spread of their weights."""
        kept, weights = self.kept, np.concatenate(self._weights).astype(np.float64)
        chosen = weights[kept]
        return {
            "rows": int(kept.sum()),
            "share": float(kept.mean()),
            "effective_sample_size": float(chosen.sum() ** 2 / (chosen**2).sum()),
            "smallest_weight": float(chosen.min()),
            "largest_weight": float(chosen.max()),
        }

    def unknown(self) -> dict[str, int]:
        """Rows that are unknown to the references, copies of a text among them, and how many of these are kept."""
        return {"rows": self._unknown.total(), "kept": self._unknown[True]}

    def simple(self) -> dict[str, int]:
        """How many rows are dropped, and how many of them a simple score that drops as many would drop as well."""
        dropped = ~self.kept[self.judged]
        order = np.argsort(np.concatenate(self._simple)[self.judged], kind="stable")
        return {"dropped": int(dropped.sum()), "in_common": int(dropped[order[: int(dropped.sum())]].sum())}

    def slices(self) -> list[dict[str, Any]]:
        """Rows and retention of every slice, facet by facet, and whether it loses more than the rest."""
        counts = {
            facet: {value: (pairs[value, True] + pairs[value, False], pairs[value, True]) for value, _ in pairs}
            for facet, pairs in self._slices.items()
        }
        found = judge_slices({facet: _named(values) for facet, values in counts.items()})
        return [{**one._asdict(), "retention": one.kept / one.rows} for one in found]

    def quality(self, harmful: NDArray[np.bool_]) -> dict[str, Any] | None:
        """What the cut and the scores do to rows known to be harmful; None without such rows or without others."""
        found = measure_quality(self.scores[self.judged], harmful[self.judged])
        if found is None:
            return None
        kept = self.kept
        return {
            "harmful": int(harmful.sum()),
            "harmful_dropped": int((harmful & ~kept).sum()),
            "benign": int((~harmful).sum()),
            "benign_dropped": int((~harmful & ~kept).sum()),
            **dataclasses.asdict(found),
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
