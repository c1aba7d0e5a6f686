"""What the parts of SOT bring: lines like those of `methods.py`, each with one thing changed."""

from typing import Final

from benchmarks.miniature.methods import MINILM, Defence
from benchmarks.miniature.split import NOISES

#: Push strengths of the sweep; 0 only pulls, 1 only pushes. The default is chosen on the references: .5 on these sets.
SWEEP: Final = (0.0, 0.25, 0.75, 1.0)


def _line(title: str, **changed: object) -> Defence:
    return Defence(title, "ablations", "product", MINILM, weights=True, **changed)  # type: ignore[arg-type]


_NAMES: Final = {0.0: "pull only, λ = 0", 1.0: "push only, λ = 1"}
ABLATIONS: Final[dict[str, Defence]] = {
    **{
        f"push_{push:g}": _line(_NAMES.get(push, f"λ = {push:g}"), pipeline={"solve": {"push_strength": push}})
        for push in SWEEP
    },
    "weights_only": _line("weights only, all rows", cut="all"),
    **{
        f"noise_{percent}": _line(
            f"{percent} % of each reference swapped", safe=f"safe_{percent}", harmful=f"same_{percent}"
        )
        for percent in NOISES
    },
}
