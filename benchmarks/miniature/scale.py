"""How large everything is: one line for each scale."""

from dataclasses import asdict, dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of texts, model, sets and trainings.

    Attributes:
        prompt_words: the last words of a prompt that are used.
        answer_words: the first words of an answer that are used.
        longest: tokens after which a row is cut off.
        vocabulary: tokens of the tokenizer, at most.
        hidden: width of the model, a multiple of its heads.
        layers: of the model.
        heads: of the model.
        base_steps: optimiser steps of the base model.
        align_steps: optimiser steps of the alignment.
        build_rows: rows of an optimiser step of both.
        build_rate: peak learning rate of both.
        custom_rows: rows of a fine-tuning set.
        utility_rows: benign rows held out to judge utility.
        tune_steps: optimiser steps of a fine-tuning run, the same for every method.
        tune_rate: its peak learning rate; none leaves it to `calibrate.py`.
        tune_rows: rows of its optimiser step.
        lora_rank: rank of the adapters.
        seal_epochs: passes of SEAL's selector over the rows.
    """

    prompt_words: int = 24
    answer_words: int = 32
    longest: int = 160
    vocabulary: int = 3072
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    base_steps: int = 1500
    align_steps: int = 1200
    build_rows: int = 16
    build_rate: float = 2e-3
    custom_rows: int = 1000
    utility_rows: int = 300
    tune_steps: int = 150
    tune_rate: float | None = None
    tune_rows: int = 8
    lora_rank: int = 8
    seal_epochs: int = 3

    @property
    def built(self) -> dict[str, float | None]:
        """What the aligned model depends on, beside data and seed."""
        return self.some(
            *("prompt_words", "answer_words", "longest", "vocabulary", "hidden", "layers", "heads"),
            *("base", "build", "align"),
        )

    @property
    def selected(self) -> dict[str, float | None]:
        """What a choice of rows depends on, beside the defence, data and seed."""
        return self.built | self.some("custom", "utility", "seal")

    @property
    def tuned(self) -> dict[str, float | None]:
        """What a fine-tuned model depends on, beside the defence, data and seed."""
        return self.selected | self.some("tune", "lora")

    def some(self, *kinds: str) -> dict[str, float | None]:
        """The settings of some kinds by name: a kind is how their names begin."""
        return {name: value for name, value in asdict(self).items() if name.startswith(kinds)}


SCALES: Final = {
    "tiny": Scale(
        answer_words=24,
        longest=256,
        vocabulary=1024,
        hidden=64,
        layers=2,
        base_steps=120,
        align_steps=120,
        build_rate=4e-3,
        custom_rows=200,
        utility_rows=40,
        tune_steps=40,
        tune_rate=5e-3,
        seal_epochs=1,
    ),
    "small": Scale(),
    "gpu": Scale(
        prompt_words=96,
        answer_words=160,
        longest=512,
        vocabulary=8192,
        hidden=512,
        layers=8,
        heads=8,
        base_steps=4000,
        align_steps=1500,
        build_rows=64,
        build_rate=6e-4,
        custom_rows=1500,
        tune_steps=190,
        tune_rows=16,
        lora_rank=16,
    ),
}
