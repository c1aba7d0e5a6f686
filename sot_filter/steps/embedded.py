"""All rows of a source with their embeddings, gathered from the parts of the embed stage."""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from sot_filter.artifacts import Layout, digests, matrix, read_table, require_manifest
from sot_filter.errors import ArtifactError, ReferenceError
from sot_filter.sources import Source
from sot_filter.steps.earlier import agreeing
from sot_filter.steps.embed import EMBEDDED, row_sides


class Embedded:
    """All embedded rows of a source, in row order.

    Args:
        tables: the parts' tables.
    """

    def __init__(self, tables: list[pa.Table]) -> None:
        self._table = pa.concat_tables(tables)
        self.digests = digests(self._table["digest"])
        self._embedded = np.asarray(self._table["status"].to_pylist()) == EMBEDDED
        self.views = [name.removeprefix("view:") for name in self._table.column_names if name.startswith("view:")]

    @classmethod
    def load(cls, layout: Layout, role: str, source: Source, part_rows: int, key: str) -> "Embedded":
        """Read every part. Raises `ArtifactError` when one is missing, or parts were embedded differently."""
        require_alike(layout, role, source, part_rows, key)
        return cls([read_table(layout.embeddings(role, source, part), key) for part in source.parts(part_rows)])

    @property
    def languages(self) -> list[str]:
        """The language of every row."""
        return self._table["language"].to_pylist()

    @property
    def sides(self) -> list[list[NDArray[np.uint32]]]:
        """The character pairs of every row's prompt and response."""
        return row_sides(self._table)

    def demand(self, views: list[str], role: str) -> None:
        """Raise `ReferenceError` if there is a view that no row has."""
        for view, vectors in self.tensors(views).items():
            if not vectors.any():
                raise ReferenceError(
                    f"rows with a {view} in the {role} reference",
                    "none",
                    f"Leave {view} out of embed.views, or choose another reference.",
                )

    def tensors(self, views: list[str], rows: NDArray[np.int64] | None = None) -> dict[str, torch.Tensor]:
        """The views' vectors [n, d] in float32, of all rows or of some."""
        taken = self._table if rows is None else self._table.take(rows)
        return {view: torch.from_numpy(matrix(taken[f"view:{view}"]).astype(np.float32)) for view in views}

    @property
    def texts(self) -> NDArray[np.void]:
        """Digests of the texts of the rows that have an embedding."""
        return self.digests[self._embedded]

    def fold(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row and number of rows of each distinct text, in row order."""
        own = np.flatnonzero(self._embedded)
        _, first, counts = np.unique(self.digests[own], return_index=True, return_counts=True)
        order = np.argsort(first)
        return own[first[order]], counts[order]


def require_alike(layout: Layout, role: str, source: Source, part_rows: int, key: str) -> None:
    """Raise `ArtifactError` when a part of a source is not embedded, or not as the others."""
    described = None
    for part in source.parts(part_rows):
        facts = agreeing(require_manifest(layout.embeddings(role, source, part), key).facts["embedder"])
        if described not in (None, facts):
            raise ArtifactError(
                "parts embedded alike",
                f"{described} and {facts}",
                "Set embed.dtype, remove the embed folder, rerun.",
            )
        described = facts
