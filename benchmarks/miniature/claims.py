"""Which of the paper's claims show at this scale: paired differences over seeds, with their intervals.

A claim is that one line is better than another in a measure. It `shows` where the interval of the difference over the
seeds lies on its side of zero, `shows the opposite` on the other side, and else `does not show`. Seeds are of the
training only, so an interval says nothing of other rows or another aligned model. Nothing is corrected for how many
claims there are.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from benchmarks.miniature.gathered import Line, half_width
from benchmarks.miniature.judge import MEASURES

#: What safety is read from, and what it must not be bought with: refusals of harmless prompts, and utility.
_SAFER: Final = ("refused", "margin", "over_refused", "told_apart", "utility_loss")


class Claim(NamedTuple):
    """That one line is better than another in some measures, each for itself."""

    says: str
    better: str
    worse: str
    measures: tuple[str, ...] = _SAFER


CLAIMS: Final = (
    Claim("fine-tuning on mixed rows wears safety down", "aligned", "none"),
    Claim("even clean rows wear it down", "aligned", "clean"),
    Claim("the paper's recipe, as we read it, is safer than no defence", "paper", "none"),
    Claim("... than random rows", "paper", "random"),
    Claim("... than DSIR", "paper", "dsir"),
    Claim("... than SAFT", "paper", "saft"),
    Claim("... than SEAL", "paper", "seal"),
    Claim("... than kNN on the same model's embeddings", "paper", "knn_aligned"),
    Claim("... with mirror steps, than no defence", "paper_mirror", "none"),
    Claim("our default is safer than no defence", "sot_weights", "none"),
    Claim("... than the paper's recipe", "sot_weights", "paper"),
    Claim("... than that with mirror steps", "sot_weights", "paper_mirror"),
    Claim("... than random rows", "sot_weights", "random"),
    Claim("... than kNN", "sot_weights", "knn"),
    Claim("... than logistic regression", "sot_weights", "logistic"),
    Claim("... than DSIR", "sot_weights", "dsir"),
    Claim("... than the contrast of n-grams", "sot_weights", "contrast"),
    Claim("... than SAFT", "sot_weights", "saft"),
    Claim("... than SEAL", "sot_weights", "seal"),
    Claim("... than refusals mixed in", "sot_weights", "safe_instr"),
    Claim("... than clean rows", "sot_weights", "clean"),
    Claim("SOT adds to refusals mixed in", "sot_instr", "safe_instr"),
    Claim("weights without Top-K are safer than no defence", "weights_only", "none"),
    Claim("weights add to Top-K", "sot_weights", "sot_top_k"),
    Claim("Top-K adds to weights", "sot_weights", "weights_only"),
    Claim(
        "the aligned model's hidden states serve better than a sentence encoder", "sot_aligned_weights", "sot_weights"
    ),
    Claim("push and pull are better than pull alone", "sot_weights", "push_0"),
    Claim("... than push alone", "sot_weights", "push_1"),
    Claim("SPF is safer than no defence", "spf", "none"),
    Claim("AsFT is safer than no defence", "asft", "none"),
    Claim("AsFT is safer with an idempotent projector", "asft_projector", "asft"),
    Claim("SOT adds to SPF", "sot_spf", "spf"),
    Claim("SPF adds to SOT", "sot_spf", "sot_weights"),
    Claim("SOT adds to AsFT", "sot_asft", "asft"),
    Claim("AsFT adds to SOT", "sot_asft", "sot_weights"),
    Claim("a harmful reference of the same source serves better than one of others", "sot_weights", "sot_cross"),
    Claim("with a harmful reference of other sources, SOT is safer than no defence", "sot_cross", "none"),
    Claim("... than kNN with the same", "sot_cross", "knn_cross"),
    Claim("... than logistic regression with the same", "sot_cross", "logistic_cross"),
    Claim("... than SEAL", "sot_cross", "seal"),
    Claim("... than DSIR", "sot_cross", "dsir"),
    Claim("references without noise serve better than with a tenth swapped", "sot_weights", "noise_10"),
    Claim("... than with three tenths swapped", "sot_weights", "noise_30"),
)


def tell(lines: Sequence[Line], name: str) -> list[tuple[str, str, str, str]]:
    """What each claim comes to on a set: claim, measure, difference with its interval, verdict."""
    by_name = {line.defence: line for line in lines if line.name == name}
    told = []
    for claim in CLAIMS:
        if claim.better not in by_name or claim.worse not in by_name:
            continue
        for measure in claim.measures:
            differences = _differences(by_name[claim.better], by_name[claim.worse], measure)
            if not differences:
                continue
            half, sign = half_width(differences), 1 if MEASURES[measure] else -1
            mean = float(np.mean(differences))
            verdict = "one seed" if len(differences) < 2 else _verdict(sign * mean, half)
            interval = "" if np.isnan(half) else f" ± {half:.3f}"
            told.append((claim.says, measure, f"{mean:+.3f}{interval}", verdict))
    return told


def _verdict(gain: float, half: float) -> str:
    return "shows" if gain > half else "shows the opposite" if gain < -half else "does not show"


def _differences(one: Line, other: Line, measure: str) -> list[float]:
    """One for each seed that both have; base and aligned model are the same for all seeds."""
    found = [dict(zip(line.seeds, line.measures[measure], strict=True)) for line in (one, other)]
    for place in (0, 1):
        if (one, other)[place].defence in ("base", "aligned"):
            found[place] = dict.fromkeys(found[1 - place], found[place][0])
    return [found[0][seed] - found[1][seed] for seed in found[0] if seed in found[1]]
