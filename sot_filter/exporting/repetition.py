"""Weights as repetition: a row is written as often as its weight says, in the mean exactly.

A row of weight w is written floor(m w) times, and once more with probability m w - floor(m w): the expected number of
copies is m w, the least variance that whole numbers allow. Known as systematic or residual resampling of each row for
itself; a row's draw depends on its id and the seed alone, so never on order, files or tasks.
"""

import hashlib
import math


def copies(row_id: str, weight: float, times: float = 1.0, seed: int = 0) -> int:
    """How often a row is written.

    Args:
        row_id: the row's id.
        weight: w, at least zero.
        times: m, the copies of a row of weight one.
        seed: of the draw.
    """
    wanted = times * weight
    whole = math.floor(wanted)
    return whole + (uniform(row_id, seed) < wanted - whole)


def uniform(row_id: str, seed: int = 0) -> float:
    """A number in [0, 1), uniform over ids and seeds, and always the same for the same two."""
    key = str(seed).encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    digest = hashlib.blake2b(row_id.encode(), digest_size=8, key=key, person=b"sot-export").digest()
    # The upper 53 bits, which a float holds exactly.
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53
