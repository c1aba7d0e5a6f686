"""Sums that depend on what is summed and not on its order: each float64 counts exactly, in one large integer.

The same rows then give the same sum, to the last bit, in parts of any size. Known equivalent: `math.fsum`, which
needs all numbers at once; the idea is the long accumulator of Kulisch (1981).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: The sum is counted in units of two to minus this many: the smallest float64 is 2^-1074.
_UNIT: Final = 1127
#: Bits of a mantissa, and of its upper half.
_BITS, _UPPER = 53, 26


class ExactSum:
    """A sum that numbers are added to, many at a time."""

    def __init__(self) -> None:
        self._units = 0

    def add(self, values: NDArray[np.floating]) -> None:
        """Add numbers [n], none of them infinite; n at most 2^26."""
        mantissas, exponents = np.frexp(values.astype(np.float64, copy=False))
        if not len(exponents):
            return
        lowest = int(exponents.min())
        at = exponents - lowest
        whole = np.ldexp(mantissas, _UPPER)
        upper = np.floor(whole)
        # Sums of 2^26 such halves are below 2^53, and so exact.
        lower = np.ldexp(whole - upper, _BITS - _UPPER)
        for half, bits in ((upper, _UPPER), (lower, _BITS)):
            for i, total in enumerate(np.bincount(at, weights=half).tolist()):
                if total:
                    self._units += int(total) << (_UNIT + lowest + i - bits)

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return self._units / (1 << _UNIT)
