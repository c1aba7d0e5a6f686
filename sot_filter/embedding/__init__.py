"""Conversations into vectors: a frozen model's hidden states, one unit vector per view of a row.

Importing this package loads neither torch nor transformers; `load_embedder` does.
"""

from sot_filter.embedding.base import (
    BATCH_TOLERANCE,
    EMBEDDERS,
    VIEWS,
    Embedder,
    Embeddings,
    Rendered,
    load_embedder,
)
from sot_filter.embedding.models import ResolvedModel, read_config, resolve_model

__all__ = [
    "BATCH_TOLERANCE",
    "EMBEDDERS",
    "VIEWS",
    "Embedder",
    "Embeddings",
    "Rendered",
    "ResolvedModel",
    "load_embedder",
    "read_config",
    "resolve_model",
]
