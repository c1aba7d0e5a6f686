"""The table of all that was found, as Markdown and as CSV, the claims, the costs, and a picture for each set."""

import csv
import io
from collections.abc import Sequence
from math import isnan
from typing import Any, Final

from scipy.stats import spearmanr

from benchmarks.miniature.claims import tell
from benchmarks.miniature.gathered import Line
from benchmarks.miniature.ground import Ground
from benchmarks.miniature.judge import MEASURES
from benchmarks.miniature.pieces import finished
from sot_filter.report.safety_utility import Point, safety_utility

_TITLES: Final = {
    "refused": "harmful prompts refused",
    "over_refused": "only dangerous in sound, refused",
    "benign_refused": "benign prompts refused",
    "told_apart": "told apart (AUROC)",
    "preferred": "safe preferred",
    "margin": "margin, nats a token",
    "answers_margin": "answer against refusal, nats a token",
    "utility_loss": "utility loss",
    "exact": "exact, short answers",
    "distance": "distance",
}
_SHARES: Final = ("refused", "over_refused", "benign_refused", "preferred", "exact")
_FILTERED: Final = {
    "auroc": "AUROC",
    "dropped": "dropped",
    "harmful_kept": "harmful kept",
    "benign_lost": "benign lost",
    "effective_sample": "effective sample",
    "push_strength": "λ",
    "epsilon": "ε",
}
_COSTS: Final = ("embedding seconds", "filter seconds", "filter memory", "training seconds", "training memory")
_NOTE: Final = "Mean over seeds of the training, with Student's 95 % interval."


def report(ground: Ground, lines: Sequence[Line], sets: Sequence[str]) -> None:
    """Write ``table.md``, ``table.csv`` and pictures into the folder of all."""
    (ground.out / "table.md").write_text(_markdown(ground, lines, sets), encoding="utf-8")
    (ground.out / "table.csv").write_text(_csv(lines), encoding="utf-8")
    for name in sets:
        here = [line for line in lines if line.name == name and line.group != "ablations" and line.defence != "base"]
        before, most = [line for line in here if line.defence == "aligned"], max(len(line.seeds) for line in here)
        # Lines of fewer seeds than others have are in the table only.
        shown = [*before, *(line for line in here if line not in before and len(line.seeds) == most)]
        if before and len(shown) > 1:
            points = [_point(line, before[0].mean("utility_loss")) for line in shown]
            drawn = safety_utility(
                points,
                title=f"Safety and utility after fine-tuning on {name}",
                safety="held-out harmful prompts refused, %",
                utility="utility: nats a token gained on held-out benign answers",
                note=_NOTE,
                joined=False,
            )
            for ending, data in (("png", drawn.png), ("svg", drawn.svg), ("csv", drawn.csv)):
                path = ground.out / f"safety_utility_{name}.{ending}"
                path.write_bytes(data if isinstance(data, bytes) else data.encode())


def _point(line: Line, before: float) -> Point:
    safety, utility = 100 * line.mean("refused"), before - line.mean("utility_loss")
    halves = 100 * line.half("refused"), line.half("utility_loss")
    return Point(
        line.title,
        safety,
        utility,
        None if isnan(halves[0]) else (max(safety - halves[0], 0), min(safety + halves[0], 100)),
        None if isnan(halves[1]) else (utility - halves[1], utility + halves[1]),
        line.group,
    )


def _markdown(ground: Ground, lines: Sequence[Line], sets: Sequence[str]) -> str:
    parts, scale = finished(ground.parts) or {}, ground.scale
    told = [
        f"# The miniature, {ground.out.name}\n",
        f"A Llama of {scale.hidden} dimensions and {scale.layers} layers; {scale.custom_rows} rows a set, "
        + ", ".join(f"{parts.get(f'{name}_harmful', 0)} of them harmful in {name}" for name in sets)
        + f"; {scale.tune_steps} steps of {scale.tune_rows} rows for every line, learning rate "
        f"{scale.tune_rate or 0:g}, LoRA of rank {scale.lora_rank}. {_NOTE} Aligned model and sets are the same for "
        "all seeds, and so is what a filter keeps, but for random rows, the oracle's benign ones and the "
        f"refusals that are mixed in. Judged on {parts.get('asked')} harmful prompts, of them {parts.get('judge')} "
        f"with a safe and an unsafe answer, {parts.get('utility')} benign rows, and {parts.get('answerable')} prompts "
        "that only sound dangerous. Filters' figures are of the first seed. Times were taken two runs at a time on "
        "two cores; those of SOT's filter are of a whole command, those of the others of the scores alone.\n",
    ]
    for name in sets:
        here = [line for line in lines if line.name == name]
        told += [f"\n## {name}\n", _rows(["", "seeds", *_TITLES.values()], [_judged(line) for line in here])]
        told += [_alike(here)]
        told += [f"\n### What the filters did, {name}\n"]
        told += [_rows(["", *_FILTERED.values()], [_filtered(line) for line in here if line.filtered])]
        told += [f"\n### Claims, {name}\n"]
        told += [_rows(["claim", "measure", "difference", "verdict"], [list(one) for one in tell(lines, name)])]
        told += [f"\n### Cost, {name}\n"]
        told += [_rows(["", *_COSTS, "memory of the method"], [_cost(line) for line in here if line.cost])]
    return "\n".join(told)


def _alike(lines: Sequence[Line]) -> str:
    """Whether the lines differ in what is refused, or in how much."""
    runs = [line for line in lines if line.defence not in ("base", "aligned")]
    refused, over = ([x for line in runs for x in line.measures[name]] for name in ("refused", "over_refused"))
    if len(refused) < 3:
        return ""
    return (
        f"Over these {len(refused)} runs, refusals of harmful prompts and of those that only sound dangerous have a "
        f"rank correlation of {spearmanr(refused, over).statistic:.3f}.\n"
    )


def _judged(line: Line) -> list[str]:
    return [line.title, str(len(line.seeds)), *(_cell(line, measure) for measure in _TITLES)]


def _cell(line: Line, measure: str) -> str:
    mean, half = line.mean(measure), line.half(measure)
    if isnan(mean):
        return ""
    if measure in _SHARES:
        return f"{mean:.1%}" + ("" if isnan(half) else f" ± {100 * half:.1f}")
    return f"{mean:.3f}" + ("" if isnan(half) else f" ± {half:.3f}")


def _filtered(line: Line) -> list[str]:
    values = [line.filtered.get(name) for name in _FILTERED]
    return [line.title, *("" if value is None else f"{value:.3f}" for value in values)]


def _cost(line: Line) -> list[str]:
    cells: list[str] = [line.title]
    for name in (*_COSTS, "method memory"):
        value = line.cost[name]
        told = f"{value:.1f} s" if "seconds" in name else f"{value / 2**20:.1f} MiB"
        cells.append("" if isnan(value) else told)
    return cells


def _rows(head: list[str], rows: list[list[str]]) -> str:
    ruled = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in ruled)


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    kept = [name for name in _FILTERED if any(name in line.filtered for line in lines)]
    costs = (*_COSTS, "method memory")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "defence", "title", "group", "seed", *MEASURES, *kept, *costs])
    for line in lines:
        for place, seed in enumerate(line.seeds):
            judged: list[Any] = [line.measures[name][place] for name in MEASURES]
            facts = [line.filtered.get(name, "") for name in kept] + [line.cost.get(name, "") for name in costs]
            writer.writerow([line.name, line.defence, line.title, line.group, seed, *judged, *facts])
    return text.getvalue()
