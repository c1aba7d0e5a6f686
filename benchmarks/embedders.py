"""Embedders for benchmarks, which ask for the same texts again and again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sot_filter.conversation import Conversation, read_conversation
from sot_filter.embedding import Embeddings, load_embedder

FIELDS = {"prompt": "prompt", "completion": "response"}


class Remembering:
    """An embedder that asks another one only for texts it has not seen."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._inner = load_embedder(**settings)
        self._seen: dict[str, tuple[dict[str, NDArray[np.float16]], np.int32, np.bool_]] = {}
        self.views, self.dimension = self._inner.views, self._inner.dimension
        self.describe, self.render = self._inner.describe, self._inner.render

    def embed(self, conversations: Sequence[Conversation]) -> Embeddings:
        """Embed conversations, keeping their order."""
        keys = [repr(conversation) for conversation in conversations]
        new = {key: row for key, row in zip(keys, conversations, strict=True) if key not in self._seen}
        if new:
            found = self._inner.embed(list(new.values()))
            for i, key in enumerate(new):
                vectors = {view: found.vectors[view][i] for view in self.views}
                self._seen[key] = vectors, found.tokens[i], found.truncated[i]
        rows = [self._seen[key] for key in keys]
        return Embeddings(
            {view: np.stack([row[0][view] for row in rows]) for view in self.views},
            np.asarray([row[1] for row in rows], np.int32),
            np.asarray([row[2] for row in rows], bool),
        )


class Ready(Remembering):
    """An embedder that asks for texts only where no vectors lie beside their file."""

    def __init__(self, settings: dict[str, Any], files: Sequence[Path]) -> None:
        super().__init__(settings)
        self._ready: dict[bytes, tuple[NDArray[np.float16], ...]] = {}
        for file in files:
            stored = [file.with_suffix(f".{view}.npy") for view in self.views]
            if all(path.is_file() for path in stored):
                vectors = [np.load(path, allow_pickle=False) for path in stored]
                for row, found in zip(pq.read_table(file).to_pylist(), zip(*vectors, strict=True), strict=True):
                    self._ready[read_conversation(row, "prompt_completion", FIELDS).digest()] = found

    def embed(self, conversations: Sequence[Conversation]) -> Embeddings:
        """Vectors that are ready, and those of the model for the rest."""
        known = [self._ready.get(conversation.digest()) for conversation in conversations]
        if any(found is None for found in known):
            return super().embed(conversations)
        vectors = {view: np.stack([found[v] for found in known if found]) for v, view in enumerate(self.views)}
        return Embeddings(vectors, np.ones(len(known), np.int32), np.zeros(len(known), bool))
