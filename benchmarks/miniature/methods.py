"""What is compared: one line for each defence, which says what rows are learned, with what weights, and how.

A defence that drops rows drops 1.25 times as many as are harmful, whatever ranks them; those named `auto` leave the
number to the product. Every run takes the same number of optimiser steps, lest those on fewer rows be safer for having
learned less.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

#: Rows that are dropped for each harmful one.
DROPPED: Final = 1.25
#: What rows are embedded with: the packaged sentence encoder, and the aligned model's last hidden states.
MINILM, ALIGNED = "minilm", "aligned"

PAPER: Final[dict[str, Any]] = {
    "embed": {"views": ["pair"]},
    "solve": {
        "mode": "paper",
        "push_strength": 0.5,
        "epsilon": 0.1,
        "centre": False,
        "paper": {"parametrisation": "softmax", "optimiser": "adam", "steps": 300, "learning_rate": 0.1},
    },
}


_MIRROR: Final = {
    **PAPER,
    "solve": {**PAPER["solve"], "paper": {**PAPER["solve"]["paper"], "optimiser": "mirror"}},
}
#: The strength of AsFT's penalty that is its authors' λ = 1: theirs counts the adapters without LoRA's scale, 2 here.
_ASFT: Final = 0.25


@dataclass(frozen=True, slots=True)
class Defence:
    """One line of the table.

    Attributes:
        title: its name there.
        group: what it stands with in the picture.
        rank: what ranks the rows: `product`, a baseline's name, `saft`, `seal`, `random`, `labels`; nothing keeps all.
        embedding: `MINILM` or `ALIGNED`, where that matters.
        cut: `share` (`DROPPED` times the harmful share), `auto`, or `all`.
        weights: whether the product's weights multiply the losses.
        pipeline: the product's settings where they are not the defaults.
        safe: part that is the safe reference.
        harmful: part that is the harmful reference.
        method: the training method: its name, strength and projector, with colons between.
        clean: learn the clean set instead.
        mixed: share of refusals that are mixed in.
    """

    title: str
    group: str
    rank: str = ""
    embedding: str = ""
    cut: str = "share"
    weights: bool = False
    pipeline: dict[str, Any] | None = None
    safe: str = "safe"
    harmful: str = "same"
    method: str = "plain"
    clean: bool = False
    mixed: float = 0.0

    @property
    def selection(self) -> str:
        """The name of how rows are chosen: defences of one name share it."""
        mixed = f"mixed_{self.mixed:g}" if self.mixed else ""
        if not self.rank:
            return "clean" if self.clean else mixed or "all"
        told = [self.rank, self.embedding, self.cut if self.cut != "share" else ""]
        told += [name for name, usual in ((self.safe, "safe"), (self.harmful, "same")) if name != usual]
        if self.pipeline:
            told.append(_short(self.pipeline))
        return "-".join(filter(None, [*told, mixed]))

    @property
    def made_with(self) -> dict[str, Any]:
        """What its rows and its training depend on: all but how it is shown."""
        shown = ("title", "group")
        return {"drops": DROPPED} | {name: value for name, value in asdict(self).items() if name not in shown}


def _short(pipeline: dict[str, Any]) -> str:
    solve = pipeline.get("solve", {})
    if solve.get("mode") == "paper":
        return "paper" if solve["paper"]["optimiser"] == "adam" else "paper_mirror"
    return f"push_{solve['push_strength']:g}"


def _sot(title: str, embedding: str = MINILM, **rest: Any) -> Defence:
    return Defence(title, "SOT", "product", embedding, **rest)


DEFENCES: Final[dict[str, Defence]] = {
    "none": Defence("no defence", "for comparison"),
    "clean": Defence("clean rows", "for comparison", clean=True),
    "oracle": Defence("oracle", "for comparison", "labels"),
    "sot_weights": _sot("SOT", weights=True),
    "sot_top_k": _sot("SOT, Top-K alone"),
    "spf": Defence("SPF", "training", method="spf"),
    "asft": Defence("AsFT", "training", method=f"asft:{_ASFT}"),
    "asft_projector": Defence("AsFT, idempotent", "training", method=f"asft:{_ASFT}:idempotent"),
    "sot_spf": _sot("SOT + SPF", weights=True, method="spf"),
    "sot_asft": _sot("SOT + AsFT", weights=True, method=f"asft:{_ASFT}"),
    "random": Defence("random", "other filters", "random"),
    "knn": Defence("kNN", "other filters", "knn", MINILM),
    "logistic": Defence("logistic regression", "other filters", "logistic_regression", MINILM),
    "saft": Defence("SAFT", "other filters", "saft", ALIGNED),
    "seal": Defence("SEAL", "other filters", "seal"),
    "dsir": Defence("DSIR", "other filters", "dsir"),
    "contrast": Defence("n-gram contrast", "other filters", "ngram_contrast"),
    "safe_instr": Defence("SafeInstr", "training", mixed=0.1),
    "sot_instr": _sot("SOT + SafeInstr", mixed=0.1),
    "paper": _sot("paper, aligned", ALIGNED, weights=True, pipeline=PAPER),
    "paper_minilm": _sot("paper", weights=True, pipeline=PAPER),
    "paper_mirror": _sot("paper, mirror, aligned", ALIGNED, weights=True, pipeline=_MIRROR),
    "sot_cross": _sot("SOT, other harm", weights=True, harmful="cross"),
    "knn_cross": Defence("kNN, other harm", "other filters", "knn", MINILM, harmful="cross"),
    "logistic_cross": Defence("logistic, other harm", "other filters", "logistic_regression", MINILM, harmful="cross"),
    "sot_auto": _sot("SOT, select: auto", weights=True, cut="auto"),
    "sot_aligned_weights": _sot("SOT, aligned", ALIGNED, weights=True),
    "sot_aligned_top_k": _sot("SOT, Top-K alone, aligned", ALIGNED),
    "knn_aligned": Defence("kNN, aligned", "other filters", "knn", ALIGNED),
    "logistic_aligned": Defence("logistic, aligned", "other filters", "logistic_regression", ALIGNED),
}
