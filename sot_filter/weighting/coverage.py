"""Which rows the references say nothing about: far from both, written unlike both, or in a language of neither.

Three measures of likeness, and a threshold for each below which a row is unknown. The thresholds are found on the
references' own rows, each held out of what it is measured against, so that of rows that are like them about a share of
`ALPHA` is called unknown: conformal quantiles with the finite-sample correction (Vovk et al., 2005), all three at one
common rank, the highest that leaves few enough of the held-out rows below any. For one measure the chance is at most
`ALPHA`; that the rank is picked over three costs a little of it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sot_filter.weighting.typicality import PairModel

#: Share of reference-like rows that may be called unknown.
ALPHA: Final = 0.01
#: Reference rows held out at most.
_HELD_OUT: Final = 4000
#: Language of a text that tells none, which proves nothing.
_UNDETERMINED: Final = "und"
#: What may make a row unknown, as bits of `Coverage.judge`.
FAR, UNLIKE_TEXT, OTHER_LANGUAGE = 1, 2, 4


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the references cover.

    Attributes:
        pairs: their character pairs.
        languages: how many of their rows are in each language.
        similarity: lowest similarity to the nearest reference row that is not unknown; None where no row ever is.
        surprise: highest surprise, bits per character, that is not; None as well.
        language_share: lowest share of a row's language among the references that is not; None as well.
    """

    pairs: PairModel
    languages: dict[str, int]
    similarity: float | None = None
    surprise: float | None = None
    language_share: float | None = None

    @property
    def thresholds(self) -> dict[str, float | None]:
        """The thresholds as plain values."""
        return {name: getattr(self, name) for name in ("similarity", "surprise", "language_share")}

    def share_of(self, languages: Sequence[str]) -> NDArray[np.float64]:
        """Share of the references' rows in each of these languages [n]; 1 where it is not told."""
        rows = max(sum(self.languages.values()), 1)
        return np.asarray([1.0 if name == _UNDETERMINED else self.languages.get(name, 0) / rows for name in languages])

    def judge(
        self, similarity: NDArray[np.float32], surprise: NDArray[np.float32], languages: Sequence[str]
    ) -> NDArray[np.int8]:
        """For each row [n] the sum of `FAR`, `UNLIKE_TEXT` and `OTHER_LANGUAGE` as they hold; 0 for a known row."""
        found = np.zeros(len(similarity), np.int8)
        if self.similarity is None or self.surprise is None or self.language_share is None:
            return found
        found += FAR * (similarity < np.float32(self.similarity))
        found += UNLIKE_TEXT * (surprise > np.float32(self.surprise))
        found += OTHER_LANGUAGE * (self.share_of(languages) < self.language_share)
        return found


def likeness(points: Tensor, nearest_similarity: Tensor) -> NDArray[np.float32]:
    """Similarity to the nearest row, per unit of the row's own length: rows that lack a view are not far for that.

    Args:
        points: the rows [n, d].
        nearest_similarity: <z, y> with the nearest reference row [n].
    """
    length: Tensor = torch.linalg.vector_norm(points, dim=1, dtype=torch.float64).square().clamp(min=1e-6)
    return (nearest_similarity.double() / length).float().numpy()


def fit_coverage(
    points: Tensor, digests: NDArray[np.void], sides: Sequence[Sequence[NDArray[np.uint32]]], languages: Sequence[str]
) -> Coverage:
    """Measure each reference row against all others and set the thresholds.

    With fewer than 1 / `ALPHA` - 1 rows no threshold is low enough, and none is set.

    Args:
        points: the rows of both references [m, d].
        digests: digests of their texts [m]; rows of one text are held out together.
        sides: for each row the character pairs of its prompt and its response.
        languages: the language of each row.
    """
    counts = Counter(languages)
    covered = Coverage(
        PairModel.fit([side for row in sides for side in row]), {name: counts[name] for name in sorted(counts)}
    )
    held_out = np.arange(0, len(points), max(-(-len(points) // _HELD_OUT), 1))
    similarity = likeness(points[held_out], _nearest_other(points, digests, held_out))
    surprise = np.asarray([covered.pairs.surprise(sides[i], held_out=True) for i in held_out.tolist()], np.float32)
    spoken = [languages[i] for i in held_out.tolist()]
    told = np.asarray([name != _UNDETERMINED for name in spoken])
    rows = len(points)
    share = np.where(told, (covered.share_of(spoken) * rows - 1) / max(rows - 1, 1), 1.0)
    found = common_thresholds(np.stack([similarity, -surprise, share], 1), ALPHA)
    if found is None:
        return covered
    return Coverage(covered.pairs, covered.languages, float(found[0]), -float(found[1]), float(found[2]))


def common_thresholds(likeness: NDArray[np.floating], alpha: float) -> NDArray[np.floating] | None:
    """For each measure its k-th lowest value, k the highest rank that leaves few enough rows below any of them.

    Args:
        likeness: measures [n, t] of n held-out rows, higher = more alike.
        alpha: share of rows like these that may fall below any threshold.

    Returns:
        Thresholds [t], or None where n is too small for any.
    """
    allowed = int(np.floor(alpha * (len(likeness) + 1) + 1e-9)) - 1
    if allowed < 0:
        return None
    in_order = np.sort(likeness, axis=0)
    k = 0
    while k + 1 < len(likeness) and (likeness < in_order[k + 1]).any(1).sum() <= allowed:
        k += 1
    thresholds: NDArray[np.floating] = in_order[k]
    return thresholds


def unknown_words(flags: int, measured: Mapping[str, Any], thresholds: Mapping[str, float]) -> str:
    """Why a row is unknown, in words.

    Args:
        flags: from `Coverage.judge`, not 0.
        measured: the row's ``coverage``, ``surprise`` and ``language``.
        thresholds: from `Coverage.thresholds`.
    """
    said = []
    if flags & FAR:
        near, least = measured["coverage"], thresholds["similarity"]
        said.append(f"far from both references (nearest similarity {near:.2f}, below {least:.2f})")
    if flags & UNLIKE_TEXT:
        bits, most = measured["surprise"], thresholds["surprise"]
        said.append(f"written unlike both references ({bits:.1f} bits per character, above {most:.1f})")
    if flags & OTHER_LANGUAGE:
        said.append(f"in a language that the references hardly have ({measured['language']})")
    return " and ".join(said)


def _nearest_other(points: Tensor, digests: NDArray[np.void], held_out: NDArray[np.int64]) -> Tensor:
    """<z, y> of held-out rows with the nearest row of another text; that of no row, 0, where all texts are one."""
    _, text = np.unique(digests, return_inverse=True)
    of_text = torch.from_numpy(text.reshape(-1))
    found = torch.zeros(len(held_out))
    for start in range(0, len(held_out), 1024):
        rows = torch.from_numpy(held_out[start : start + 1024])
        block = (points[rows] @ points.T).masked_fill_(of_text[rows][:, None] == of_text[None], -torch.inf)
        nearest = block.max(1).values
        found[start : start + 1024] = torch.where(nearest.isfinite(), nearest, 0.0)
    return found
