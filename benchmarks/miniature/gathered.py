"""What all finished runs found: for each set and defence the mean over seeds, with its interval, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan, sqrt
from typing import Any

import numpy as np
from scipy.stats import t

from benchmarks.miniature.ground import Ground
from benchmarks.miniature.judge import MEASURES
from benchmarks.miniature.methods import Defence
from benchmarks.miniature.pieces import Found, finished
from benchmarks.miniature.selecting import selected
from benchmarks.miniature.stages import judged_folder


@dataclass(frozen=True, slots=True)
class Line:
    """A defence on a set.

    Attributes:
        name: of the set.
        defence: its name.
        title: its name for people.
        group: what it stands with.
        seeds: the seeds that are finished.
        measures: values of each measure, one for each seed.
        filtered: what its selection found, of the first seed.
        cost: seconds and bytes by name.
    """

    name: str
    defence: str
    title: str
    group: str
    seeds: tuple[int, ...]
    measures: dict[str, list[float]]
    filtered: Found = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)

    def mean(self, measure: str) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.measures[measure]))

    def half(self, measure: str) -> float:
        """Half the width of its interval."""
        return half_width(self.measures[measure])


def half_width(values: Sequence[float]) -> float:
    """Half the width of Student's 95 % interval of a mean; NaN for a single value."""
    count = len(values)
    return nan if count < 2 else float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / sqrt(count))


def gather(ground: Ground, defences: Mapping[str, Defence], sets: Sequence[str], seeds: int) -> list[Line]:
    """The lines of all defences that have a judged run, before them those of base and aligned model."""
    lines = []
    for name in sets:
        for before in ("base", "aligned"):
            found = finished(ground.out / "judged" / before)
            if found is not None:
                lines.append(Line(name, before, f"{before} model", "for comparison", (0,), _measures([found])))
        for defence, how in defences.items():
            judged = {seed: finished(judged_folder(ground, (name, defence, seed))) for seed in range(seeds)}
            there = {seed: found for seed, found in judged.items() if found is not None}
            if there:
                lines.append(_line(ground, name, defence, how, there))
    return lines


def _line(ground: Ground, name: str, defence: str, how: Defence, there: dict[int, Found]) -> Line:
    first = min(there)
    filtered = selected(ground, name, how, first) or {}
    trained = [finished(ground.run(name, defence, seed)) or {} for seed in there]
    cost = {
        "embedding seconds": filtered.get("embedding_seconds", 0.0),
        "filter seconds": filtered.get("seconds", nan),
        "filter memory": nan if filtered.get("memory") is None else filtered["memory"],
        "training seconds": float(np.mean([one["seconds"] for one in trained])),
        "training memory": trained[0]["memory"],
        "method memory": trained[0]["method_memory"],
    }
    return Line(name, defence, how.title, how.group, tuple(there), _measures(list(there.values())), filtered, cost)


def _measures(found: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {name: [nan if one[name] is None else one[name] for one in found] for name in MEASURES}
