"""How fast to learn: looked at on the undefended run and on clean rows alone, never on a defended one.

A rate at which harmful rows wear refusals down and clean rows do not tells defences apart; one at which neither or
both do tells nothing. Looked at is how far these two runs on h30 differ in the refusals of prompts that judge nothing,
at rates at which clean rows make the model more useful than the aligned one. Taken is the smallest rate whose
difference is within one standard error of the largest: at a high rate, runs on the same rows in another order differ
as much as harmful and clean rows do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Final

from benchmarks.miniature.fine_tune import fine_tune
from benchmarks.miniature.ground import Ground
from benchmarks.miniature.judge import validate_folder
from benchmarks.miniature.methods import DEFENCES
from benchmarks.miniature.pieces import Found, piece, read_lines

RATES: Final = (5e-4, 1e-3, 2e-3, 4e-3)
_SET: Final = "h30"
_TRIED: Final = ("none", "clean")


def chosen_rate(ground: Ground, rates: Sequence[float] = RATES) -> float:
    """The learning rate of all runs: the scale's, or what the rule above finds on the aligned model."""
    if ground.scale.tune_rate is not None:
        return ground.scale.tune_rate
    before = piece(
        ground.out / "calibration" / "aligned",
        ground.scale.built,
        lambda _: validate_folder(ground, None),
    )
    asked = len(read_lines(ground.parts / "asked_first.jsonl"))
    return telling({rate: {one: _tried(ground, rate, one) for one in _TRIED} for rate in rates}, before, asked)


def telling(tried: Mapping[float, Mapping[str, Found]], before: Found, asked: int) -> float:
    """The rate that the rule takes, of those tried; the smallest where clean rows serve at none.

    Args:
        tried: by rate what came of the runs ``none`` and ``clean``.
        before: of the aligned model.
        asked: prompts that each was asked.
    """
    gaps = {
        rate: found["clean"]["refused"] - found["none"]["refused"]
        for rate, found in tried.items()
        if found["clean"]["utility_loss"] < before["utility_loss"]
    }
    if not gaps:
        return min(tried)
    largest = max(gaps, key=lambda rate: gaps[rate])
    # Of the difference of two shares of the same prompts, taken as independent.
    error = sqrt(sum(found["refused"] * (1 - found["refused"]) for found in tried[largest].values()) / asked)
    return min(rate for rate, gap in gaps.items() if gap >= gaps[largest] - error)


def _tried(ground: Ground, rate: float, defence: str) -> Found:
    """What a run with this learning rate is worth."""
    here = replace(ground, scale=replace(ground.scale, tune_rate=rate))

    def run(folder: Path) -> Found:
        found = fine_tune(here, _SET, DEFENCES[defence], 0, folder)
        return found | validate_folder(here, folder / "adapter")

    folder = ground.out / "calibration" / f"{rate:g}" / defence
    found = piece(folder, here.scale.built | here.scale.some("tune", "lora", "custom"), run)
    told = f"refused {found['refused']:.3f}, utility loss {found['utility_loss']:.3f}"
    ground.say(f"rate {rate:g}, {defence}: {told}")
    return found
