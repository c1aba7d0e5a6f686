"""How unlike the references a text is written: its surprise per character under their character pairs.

A first-order Markov chain over characters (Shannon, 1948), fitted on both references: the surprise of a character b
after a is -log2 p(b | a). Encoded, enciphered, random and foreign text is surprising even where its embedding is not.
Texts are kept as counts of pairs, so that a model can be fitted, and a row left out of it, without any text at hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Printable ASCII in classes of its own, all other characters in as many as are left.
CLASSES: Final = 128
_PRINTABLE: Final = 96
#: Characters of ordinary text that a short text is eked out with, so that few characters prove nothing.
_PRIOR_CHARACTERS: Final = 32
#: How many characters' worth of the plain frequencies stand behind those after a given character.
_SMOOTHING: Final = 4.0


def character_pairs(text: str) -> NDArray[np.uint32]:
    """The neighbouring characters of a text: for each pair, ``(class * CLASSES + class of the next) << 16 | count``.

    White space is folded; a count stops at 65,535.
    """
    codes = np.frombuffer(" ".join(text.split()).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)
    printable = (codes >= 32) & (codes < 32 + _PRINTABLE)
    classes = np.where(printable, codes - 32, _PRINTABLE + codes % (CLASSES - _PRINTABLE))
    if len(classes) < 2:
        return np.empty(0, np.uint32)
    counts = np.bincount(classes[:-1] * CLASSES + classes[1:])
    pairs = np.flatnonzero(counts)
    return (pairs << 16 | np.minimum(counts[pairs], 0xFFFF)).astype(np.uint32)


@dataclass(frozen=True, eq=False)
class PairModel:
    """The references' character pairs.

    Attributes:
        counts: how often each class follows each [CLASSES, CLASSES].
    """

    counts: NDArray[np.int64]

    @classmethod
    def fit(cls, texts: Sequence[NDArray[np.uint32]]) -> "PairModel":
        """Count the pairs of texts, each from `character_pairs`."""
        counts = np.zeros(CLASSES * CLASSES, np.int64)
        for text in texts:
            counts[text >> 16] += text & 0xFFFF
        return cls(counts.reshape(CLASSES, CLASSES))

    @cached_property
    def ordinary(self) -> float:
        """Mean surprise of the references' own pairs, bits per character."""
        before, after = np.nonzero(self.counts)
        times = self.counts[before, after]
        return float(times @ self._bits(before, after) / max(times.sum(), 1))

    def surprise(self, sides: Sequence[NDArray[np.uint32]], held_out: bool = False) -> float:
        """Bits per character of the most surprising side of a row, such as its prompt or its response.

        A side of n characters is eked out with k ordinary ones: (n · mean + k · mean of the references) / (n + k).

        Args:
            sides: the row's texts, from `character_pairs`.
            held_out: whether the row is one of those counted, and is to be left out of the counts.
        """
        model = PairModel(self.counts - PairModel.fit(sides).counts) if held_out else self
        found = []
        for side in sides:
            pairs, times = (side >> 16).astype(np.int64), (side & 0xFFFF).astype(np.float64)
            bits = float(times @ model._bits(pairs // CLASSES, pairs % CLASSES))
            found.append((bits + _PRIOR_CHARACTERS * self.ordinary) / (times.sum() + _PRIOR_CHARACTERS))
        return max(found, default=self.ordinary)

    def surprises(self, sides: Sequence[tuple[NDArray[np.uint32], NDArray[np.int64]]]) -> NDArray[np.float64]:
        """`surprise` of n rows, none of them held out.

        Args:
            sides: for each side the texts of all rows one after another, and where each begins, and the last ends, in
                these [n + 1].
        """
        found = []
        for pairs, ends in sides:
            # A last pair that counts nothing, so that texts without pairs at the end have a place as well.
            pairs = np.append(pairs, np.uint32(0))
            times = (pairs & 0xFFFF).astype(np.float64)
            bits, characters = (
                np.where(ends[1:] > ends[:-1], np.add.reduceat(values, ends)[:-1], 0)
                for values in (times * self._table[pairs >> 16], times)
            )
            found.append((bits + _PRIOR_CHARACTERS * self.ordinary) / (characters + _PRIOR_CHARACTERS))
        most: NDArray[np.float64] = np.max(found, axis=0)
        return most

    @cached_property
    def _table(self) -> NDArray[np.float64]:
        """Bits of every pair [CLASSES²]."""
        before, after = np.divmod(np.arange(CLASSES * CLASSES), CLASSES)
        return self._bits(before, after)

    def _bits(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.float64]:
        """-log2 p(after | before) of pairs, smoothed by how frequent ``after`` is anywhere (Dirichlet prior)."""
        followed, preceded = self._totals
        plain = (preceded[after] + 1) / (followed.sum() + CLASSES)
        likely = (self.counts[before, after] + _SMOOTHING * plain) / (followed[before] + _SMOOTHING)
        bits: NDArray[np.float64] = -np.log2(likely)
        return bits

    @cached_property
    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.counts.sum(1), self.counts.sum(0)
