"""The stages of a run, each a row of pieces: build, methods (the fine-tuning), judge."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.miniature.build import make_aligned, make_base
from benchmarks.miniature.fine_tune import fine_tune
from benchmarks.miniature.ground import Ground
from benchmarks.miniature.judge import judge_folder
from benchmarks.miniature.methods import Defence
from benchmarks.miniature.pieces import Found, piece
from benchmarks.miniature.split import split

#: Set, name of a defence, seed.
Run = tuple[str, str, int]


def build(ground: Ground) -> dict[str, Found]:
    """Split the rows, train the base model, align it."""
    scale, parts = ground.scale, ground.parts
    aligned = scale.built | {"seed": ground.seed}
    base = {name: value for name, value in aligned.items() if not name.startswith("align")}

    def base_in(folder: Path) -> Found:
        return make_base(parts, folder, scale, ground.seed, ground.say)

    def aligned_in(folder: Path) -> Found:
        return make_aligned(parts, ground.base, folder, scale, ground.say)

    def split_in(folder: Path) -> Found:
        return split(ground.data, folder, scale)

    return {
        "split": piece(parts, scale.some("prompt_words", "answer_words", "custom", "utility"), split_in),
        "base": piece(ground.base, base, base_in, keep=True),
        "aligned": piece(ground.aligned, aligned, aligned_in, keep=True),
    }


def runs(defences: Mapping[str, Defence], sets: Iterable[str], seeds: Iterable[int]) -> Iterator[Run]:
    """All runs, the first seed of all of them first."""
    names = list(sets)
    for seed in seeds:
        for defence in defences:
            for name in names:
                yield name, defence, seed


def tune(ground: Ground, defences: Mapping[str, Defence], run: Run) -> Found:
    """Select the rows of a run, and fine-tune on them."""
    name, defence, seed = run

    def here(folder: Path) -> Found:
        ground.say(f"{name} {defence} seed {seed}")
        found = fine_tune(ground, name, defences[defence], seed, folder)
        gc.collect()
        return found

    return piece(ground.run(*run), ground.scale.tuned | defences[defence].made_with, here)


def judged_folder(ground: Ground, run: Run) -> Path:
    """The folder of `judged`."""
    name, defence, seed = run
    return ground.out / "judged" / name / f"{defence}-{seed}"


def judged(ground: Ground, defences: Mapping[str, Defence], run: Run) -> Found:
    """What a fine-tuned model is worth."""
    adapter = ground.run(*run) / "adapter"
    return piece(
        judged_folder(ground, run),
        ground.scale.tuned | defences[run[1]].made_with,
        lambda _: judge_folder(ground, ground.aligned, adapter),
    )


def judged_before(ground: Ground) -> dict[str, Found]:
    """What the base and the aligned model are worth."""

    def judged_alone(name: str, model: Path) -> Found:
        return piece(ground.out / "judged" / name, ground.scale.built, lambda _: judge_folder(ground, model, None))

    return {"base": judged_alone("base", ground.base), "aligned": judged_alone("aligned", ground.aligned)}
