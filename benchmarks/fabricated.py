"""Embeddings that no model made: rows in topics, some of them harmful, as the embed stage would have left them.

A row is a topic's centre plus noise that varies in a few directions more than in the others, so that a row's nearest
neighbours are its own and not any rows of its topic. Harmful rows, and the harmful reference, lie around themes
between the topics; harmless rows and the safe reference around the topics, with manners that overlap with theirs.
Some texts are repeated, in the part and in another one, and some rows are empty. A part follows from the seed and its
number alone, so parts can be made in any order and at the same time, in the memory of one.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.artifacts import Layout, find_manifest, fixed_size_column, write_table
from sot_filter.sources import Part, Source, SourceFile

ROLES: Final = ("input", "safe", "harmful")
VIEWS: Final = ("prompt", "response")
_TOPICS, _THEMES, _DIRECTIONS = 300, 24, 24
#: Noise in the few directions and in all, and the shift and spread of a row's manners, for centres of length 1.
_SPREAD, _NOISE, _MANNER, _MANNER_SPREAD = 0.9, 0.5, 0.25, 0.4
#: Shares of the input: planted harm, rows whose text is repeated, rows without text.
_PLANTED, _REPEATED, _EMPTY = 0.02, 0.01, 0.003
#: Repeated texts that a part draws from, for each of its rows that repeats one.
_POOL: Final = 0.75
_BYTES_OF_NOTHING: Final = hashlib.sha256(b"").digest()[:16]
#: The last of the character pairs that texts are made of.
_PAIRS: Final = 8192

Vectors = dict[str, NDArray[np.float16]]


class Kinds(NamedTuple):
    """What the n rows of a part are.

    Args:
        planted: harmful rows [n].
        empty: rows without text [n].
        repeats: for each row the text of the pool that it repeats [n], or -1.
    """

    planted: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    repeats: NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Where rows come from.

    Args:
        rows: of the input.
        references: rows of either reference.
        dimension: of each of the two views.
        pairs: different character pairs of a prompt and of a response.
        files: files of the input.
        seed: of everything.
    """

    rows: int
    references: int = 1000
    dimension: int = 192
    pairs: tuple[int, int] = (16, 32)
    files: int = 8
    seed: int = 0

    @property
    def digest(self) -> str:
        """Differs when any row does."""
        return "sha256:" + hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()

    def source(self, role: str) -> Source:
        """A source whose files nobody has; stages between embed and select do not read them."""
        rows, files = (self.rows, self.files) if role == "input" else (self.references, 1)
        cut = [rows * i // files for i in range(files + 1)]
        pinned = (
            SourceFile(f"{role}-{i:04}.parquet", f"/nowhere/{role}-{i:04}.parquet", ".parquet", n, 0, self.digest)
            for i, n in enumerate(np.diff(cut).tolist())
        )
        return Source("default", "train", "prompt_completion", {}, tuple(file for file in pinned if file.rows))

    def parts(self, role: str, part_rows: int) -> list[Part]:
        """The parts of a source; a part's number is its place here."""
        return self.source(role).parts(part_rows)

    def kinds(self, number: int, rows: int, parts: int) -> Kinds:
        """What the rows of a part of the input are."""
        rng = self._random("input", number, "kinds")
        empty = rng.random(rows) < _EMPTY
        repeating = ~empty & (rng.random(rows) < _REPEATED)
        pool = max(int(_POOL * _REPEATED * rows), 1)
        repeats = np.where(repeating, rng.integers(0, pool, rows), -1)
        planted = ~empty & (rng.random(rows) < _PLANTED)
        # Rows of one text are harmful together.
        in_pool = self._random("input", self._pool(number, parts), "planted").random(pool) < _PLANTED
        return Kinds(np.where(repeating, in_pool[repeats], planted), empty, repeats)

    def table(self, role: str, number: int, rows: int, parts: int) -> pa.Table:
        """A part's table of the embed stage."""
        rng = self._random(role, number, "rows")
        if role != "input":
            kinds = Kinds(np.full(rows, role == "harmful"), np.zeros(rows, np.bool_), np.full(rows, -1))
            manner = -_MANNER if role == "safe" else _MANNER
        else:
            kinds, manner = self.kinds(number, rows, parts), 0.0
        vectors, texts = self._vectors(rng, kinds.planted, manner), _Texts.draw(rng, rows, self.pairs)
        again = kinds.repeats >= 0
        if again.any():
            pool = self._pool(number, parts)
            size = max(int(_POOL * _REPEATED * rows), 1)
            harmful = self._random("input", pool, "planted").random(size) < _PLANTED
            theirs = self._random("input", pool, "pool")
            first = self._vectors(theirs, harmful, 0.0), _Texts.draw(theirs, size, self.pairs)
            taken = kinds.repeats[again]
            for view in VIEWS:
                vectors[view][again] = first[0][view][taken]
            for mine, other in zip(texts.columns(), first[1].columns(), strict=True):
                mine[again] = other[taken]
        for view in VIEWS:
            vectors[view][kinds.empty] = 0
        return _table(kinds.empty, texts, vectors)

    def write(self, layout: Layout, role: str, part_rows: int, key: str, number: int) -> int:
        """Write a part, unless it is there, and say how many bytes it has."""
        source = self.source(role)
        parts = source.parts(part_rows)
        url = layout.embeddings(role, source, parts[number])
        if found := find_manifest(url, key):
            return found.bytes
        facts: dict[str, Any] = {"embedder": {"name": "fabricated"}, "tokens": 0, "taken": 0, "seconds": 0.0}
        write_table(url, self.table(role, number, parts[number].rows, len(parts)), key, **facts)
        written = find_manifest(url, key)
        assert written is not None
        return written.bytes

    def _vectors(self, rng: np.random.Generator, harmful: NDArray[np.bool_], manner: float) -> Vectors:
        """Vectors of length 1 for n rows, of which some are harmful."""
        n, d, places = len(harmful), self.dimension, self._places
        topic = rng.choice(_TOPICS, n, p=places.popular)
        theme = _TOPICS + rng.integers(0, _THEMES, n)
        around = np.where(harmful, theme, topic)
        # Harmful rows and their reference are alike in manner.
        mean = np.where(harmful, _MANNER, manner)
        manners = (mean + _MANNER_SPREAD * rng.standard_normal(n, np.float32)).astype(np.float32)
        latent = rng.standard_normal((n, _DIRECTIONS), np.float32)
        found = {}
        for i, view in enumerate(VIEWS):
            vectors = rng.standard_normal((n, d), np.float32)
            vectors *= np.float32(_NOISE / d**0.5)
            vectors += places.centres[i, around]
            vectors += latent @ places.directions[i]
            # A prompt says little of the manners of its response.
            vectors += (manners * np.float32(i or 0.3))[:, None] * places.manner[i]
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            found[view] = vectors.astype(np.float16)
            latent = 0.6 * latent + 0.8 * rng.standard_normal((n, _DIRECTIONS), np.float32)
        return found

    @cached_property
    def _places(self) -> "_Places":
        rng = np.random.default_rng([self.seed, 1 << 20])
        d = self.dimension
        topics = _unit(rng.standard_normal((2, _TOPICS, d)))
        beside = _unit(rng.standard_normal((2, _THEMES, d)))
        themes = _unit(0.85 * topics[:, rng.choice(_TOPICS, _THEMES, replace=False)] + 0.5 * beside)
        directions = _unit(rng.standard_normal((2, _DIRECTIONS, d))) * (_SPREAD / _DIRECTIONS**0.5)
        popular = 1 / (np.arange(_TOPICS) + 20.0)
        return _Places(
            np.concatenate([topics, themes], 1).astype(np.float32),
            directions.astype(np.float32),
            _unit(rng.standard_normal((2, d))).astype(np.float32),
            popular / popular.sum(),
        )

    def _pool(self, number: int, parts: int) -> int:
        """The pool of repeated texts that a part draws from; each serves two parts, far from each other."""
        return number % max(-(-parts // 2), 1)

    def _random(self, role: str, number: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, ROLES.index(role), number, *purpose.encode()])


class _Places(NamedTuple):
    """What all rows have in common: centres [2, topics + themes, d], directions [2, k, d], the manner [2, d]."""

    centres: NDArray[np.float32]
    directions: NDArray[np.float32]
    manner: NDArray[np.float32]
    popular: NDArray[np.float64]


class _Texts(NamedTuple):
    """What is kept of n texts beside their vectors."""

    digest: NDArray[np.uint8]
    characters: NDArray[np.int64]
    language: NDArray[np.int64]
    code: NDArray[np.bool_]
    prompt: NDArray[np.uint32]
    response: NDArray[np.uint32]

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int, pairs: tuple[int, int]) -> "_Texts":
        digest = np.frombuffer(rng.bytes(16 * n), np.uint8).reshape(n, 16).copy()
        characters = np.exp(rng.normal(6.5, 1.0, n)).astype(np.int64) + 1
        language = rng.choice(3, n, p=(0.94, 0.03, 0.03))
        sides = []
        for count in pairs:
            # Increasing, so that no pair comes twice in a text.
            steps = rng.integers(1, max(_PAIRS // count, 2), (n, count), np.uint32)
            places = np.cumsum(steps, axis=1, dtype=np.uint32)
            sides.append(places << np.uint32(16) | rng.integers(1, 9, (n, count), np.uint32))
        return cls(digest, characters, language, rng.random(n) < 0.1, *sides)

    def columns(self) -> tuple[NDArray[Any], ...]:
        return tuple(self)


def _table(empty: NDArray[np.bool_], texts: _Texts, vectors: Vectors) -> pa.Table:
    n = len(empty)
    texts.digest[empty] = np.frombuffer(_BYTES_OF_NOTHING, np.uint8)
    texts.characters[empty] = 0
    digest = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), n, [None, pa.py_buffer(texts.digest.tobytes())])
    return pa.table(
        {
            "status": _words(empty, ("embedded", "empty")),
            "detail": pa.array([""] * n, pa.string()),
            "digest": digest,
            "content": digest,
            "tokens": (texts.characters // 4).astype(np.int32),
            "truncated": np.zeros(n, np.bool_),
            "language": _words(np.where(empty, 3, texts.language), ("en", "de", "fr", "und")),
            "characters": texts.characters,
            "format": _words(np.zeros(n, np.int64), ("single turn",)),
            "code": texts.code & ~empty,
            "pairs:prompt": _lists(texts.prompt, ~empty),
            "pairs:response": _lists(texts.response, ~empty),
            **{f"view:{view}": fixed_size_column(values) for view, values in vectors.items()},
        }
    )


def _words(which: NDArray[Any], words: tuple[str, ...]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(words)).cast(pa.string())


def _lists(values: NDArray[np.uint32], there: NDArray[np.bool_]) -> pa.Array:
    ends = np.concatenate([[0], np.cumsum(there * values.shape[1])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values[there].reshape(-1)))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
