"""What a row is called and which columns it gains: identity, column types, statuses."""

from typing import Final, NamedTuple

from sot_filter.errors import SourceError


class RowKey(NamedTuple):
    """Identity of a row at a pinned revision. It never depends on tasks, order of reading, or rows skipped."""

    config: str
    split: str
    file: str
    row: int

    @property
    def id(self) -> str:
        """The key as text, ``config/split/file#row``."""
        return f"{self.config}/{self.split}/{self.file}#{self.row}"

    @classmethod
    def parse(cls, row_id: str) -> "RowKey":
        """Read a key back from its text. Raises `SourceError` when the text is no row id."""
        head, hash_sign, row = row_id.rpartition("#")
        parts = head.split("/", 2)
        if not hash_sign or len(parts) != 3 or not row.isdecimal():
            raise SourceError(
                "a row id as config/split/file#row", repr(row_id), "Copy one from the sot_row_id column."
            )
        config, split, file = parts
        return cls(config, split, file, int(row))


KEPT: Final = "kept"
DROPPED: Final = "dropped"
UNKNOWN: Final = "unknown"
DUPLICATE: Final = "duplicate"
EMPTY: Final = "empty"
INVALID: Final = "invalid"
STATUSES: Final = (KEPT, DROPPED, UNKNOWN, DUPLICATE, EMPTY, INVALID)

#: The columns a dataset gains, in order, with their Hugging Face (and Arrow) types. Flat scalars, never null.
COLUMNS: Final[dict[str, str]] = {
    "sot_row_id": "string",
    "sot_score": "float32",
    "sot_weight": "float32",
    "sot_keep": "bool",
    "sot_pull": "float32",
    "sot_push": "float32",
    "sot_status": "string",
    "sot_reason": "string",
    "sot_nearest_safe": "string",
    "sot_nearest_harmful": "string",
}

#: How the names of all columns begin, unless another prefix is asked for.
PREFIX: Final = "sot_"
#: In a sidecar only, which has no text: the digest of the row's text, by which a row is known without an id.
DIGEST: Final = "sot_digest"


def named(column: str, prefix: str = PREFIX) -> str:
    """What a column of `COLUMNS`, or `DIGEST`, is called where its name begins otherwise."""
    return prefix + column.removeprefix(PREFIX)


def published_name(file: str, mode: str) -> str:
    """Where the columns of a source file's rows lie in the output: in the file of its name, or beside the data.

    Args:
        file: the source file's name.
        mode: ``columns`` or ``sidecar``.
    """
    return f"sot/{file}.parquet" if mode == "sidecar" else file


#: Modes of the solve whose scores are log-odds: different ways to solve one coupled problem.
COUPLED_MODES: Final = ("coupled", "centroid", "minibatch", "online")
#: Score of a row that has no embedding (empty, invalid): below every real score, so that any cut drops it first.
UNSCORED: Final = -100.0
