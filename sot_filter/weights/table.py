"""The weights of a run's rows as one table: loaded from where they were published, checked, and kept in a file."""

import dataclasses
import hashlib
import json
import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sot_filter.artifacts import reached, reaching, write_atomic
from sot_filter.errors import SourceError
from sot_filter.rows import COLUMNS, DIGEST, PREFIX, named
from sot_filter.sources.hub_errors import hub_errors
from sot_filter.weights.places import Place, find_place
from sot_filter.weights.reading import TYPES, read_weights, without_rows
from sot_filter.weights.texts import Reading, read_digests

#: Key of a Parquet file's metadata under which `Weights.to_parquet` says where the weights come from.
_ABOUT: Final = b"sot_filter"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where weights come from.

    Attributes:
        where: the folder, file or Hub dataset that they were published in.
        revision: the commit there, if that is the Hub.
        config: the configuration there.
        split: the split.
        prefix: how the columns' names begin.
        reading: format and columns by which the run read the rows, if that is known.
        dataset: the Hub dataset that was weighed, if it was one.
        dataset_revision: its commit.
    """

    where: str
    revision: str | None = None
    config: str = ""
    split: str = ""
    prefix: str = PREFIX
    reading: Reading | None = None
    dataset: str | None = None
    dataset_revision: str | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Origin":
        """Back from `dataclasses.asdict`."""
        return cls(**{**data, "reading": Reading(**data["reading"]) if data["reading"] else None})


@dataclass(frozen=True, repr=False)
class Weights:
    """What a run says of each row.

    Attributes:
        table: a row for each row of the source, in its order, with columns of `sot_filter.rows.COLUMNS` and, where it
            is known, `DIGEST`: the digest of the row's text in hexadecimal. Called so whatever prefix they have.
        origin: where they come from.
        files: URLs of the files they were read from.
    """

    table: pa.Table
    origin: Origin
    files: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Raises `SourceError` when they are not weights of distinct rows."""
        ids, weight = self.table["sot_row_id"], self.table["sot_weight"]
        if repeated := len(ids) - pc.count_distinct(ids).as_py():
            counts = ids.value_counts()
            example = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
            raise self._error("row ids that are all different", f"{repeated:,} repeated, as {example}")
        total = pc.sum(weight.cast(pa.float64())).as_py() or 0.0
        if not math.isfinite(total) or (len(weight) and pc.min(weight).as_py() < 0):
            raise self._error("weights of zero or more", "others")

    def _error(self, expected: str, got: str) -> SourceError:
        return SourceError(f"{expected} in {self.origin.where}", got, "Something else has written it: run again.")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        at = f" at {self.origin.revision}" if self.origin.revision else ""
        return f"Weights({len(self):,} rows of {self.origin.where}{at}, {self.kept:,} kept)"

    @property
    def kept(self) -> int:
        """Number of rows that are kept."""
        return int(pc.sum(self.table["sot_keep"]).as_py() or 0)

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return float(pc.sum(self.table["sot_weight"].cast(pa.float64())).as_py() or 0.0)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all columns: equal exactly when all rows have the same weights, in the same order."""
        total = hashlib.sha256()
        for name in self.table.column_names:
            total.update(f"{name}\0".encode())
            for batch in self.table.select([name]).combine_chunks().to_batches(max_chunksize=1 << 16):
                column = batch.column(0)
                if pa.types.is_string(column.type):
                    # The lengths, or two texts could be cut elsewhere and still be the same bytes.
                    total.update(np.asarray(pc.binary_length(column)).tobytes())
                    total.update("".join(column.to_pylist()).encode())
                else:
                    total.update(column.to_numpy(zero_copy_only=False).tobytes())
        return total.hexdigest()

    def with_digests(self) -> "Weights":
        """The same with `DIGEST`: read from the texts beside the weights, unless it is there already.

        Raises:
            SourceError: there are no texts to read.
        """
        if DIGEST in self.table.column_names:
            return self
        ours = [named(column, self.origin.prefix) for column in TYPES]
        with hub_errors(self.origin.where) if self.origin.revision else nullcontext():
            digests = [digest.hex() for digest in read_digests(self.files, ours, self.origin.reading)]
        if len(digests) != len(self):
            raise SourceError(
                f"the text of each row that is weighed in {self.origin.where}",
                f"{len(digests):,} texts for {len(self):,} rows" if digests else "a file of weights without them",
                "Pull them with `sot-filter pull-weights --content`, or join by row id.",
            )
        return dataclasses.replace(self, table=self.table.append_column(DIGEST, pa.array(digests, pa.string())))

    def to_parquet(self, url: str) -> tuple[str, int]:
        """Write them to one Parquet file, whole or not at all, called as they were published.

        Returns:
            SHA-256 of the file and its size in bytes.

        Raises:
            ArtifactError: no room, or the place cannot be written.
        """
        return write_atomic(url, partial(_write, self))


def load_weights(
    where: str, *, revision: str | None = None, config: str | None = None, split: str = "train", prefix: str = PREFIX
) -> Weights:
    """Load the weights of a finished run, of Parquet files nothing but these.

    Args:
        where: the run's output folder, the Hub dataset it was published as, or a file from `sot-filter pull-weights`.
        revision: a branch, tag or commit of the Hub dataset; it is resolved to a commit once.
        config: the configuration of the rows, or of their sidecar; by default the only one, or ``default``.
        split: the split.
        prefix: how the columns' names begin.

    Raises:
        SourceError: no such place, configuration or split, no weights in it, or not of distinct rows.
        ConfigError: a revision of something that is not on the Hub.
        HubError: the Hub did not answer, or is switched off.
    """
    place = find_place(where, revision, config, split)
    if place.revision is not None:
        with hub_errors(f"{place.where} at {place.revision}"):
            return _loaded(place, prefix)
    return _loaded(place, prefix)


def _loaded(place: Place, prefix: str) -> Weights:
    known = _known_origin(place.files[0]) if not place.config else None
    if known is not None:
        prefix = known.prefix
    tables = [table for url in place.files if (table := read_weights(url, prefix)) is not None]
    if not tables:
        raise without_rows(place.files[0], prefix)
    if len(kinds := {tuple(table.column_names) for table in tables}) > 1:
        differing = set.union(*map(set, kinds)) - set.intersection(*map(set, kinds))
        raise SourceError(
            f"the same columns in all files of {place.where}",
            f"{', '.join(named(name, prefix) for name in sorted(differing))} in some only",
            "Publish the run anew.",
        )
    source = place.source
    reading = Reading(source["format"], source["columns"]) if source else None
    origin = known or Origin(
        place.where,
        place.revision,
        place.config,
        place.split,
        prefix,
        reading,
        source.get("dataset"),
        source.get("revision"),
    )
    return Weights(pa.concat_tables(tables), origin, () if known else place.files)


def _known_origin(url: str) -> Origin | None:
    """What a file says of its origin, if `Weights.to_parquet` wrote it."""
    if not url.endswith(".parquet"):
        return None
    fs, path = reached(url)
    try:
        with reaching(fs, url), fs.open(path, "rb") as handle:
            told = (pq.read_schema(handle).metadata or {}).get(_ABOUT)
    except (pa.ArrowException, OSError):
        # Whoever reads its rows says what is wrong with it.
        return None
    return Origin.from_json(json.loads(told)["origin"]) if told else None


def _write(weights: Weights, out: IO[bytes]) -> None:
    table, prefix = weights.table, weights.origin.prefix
    table = table.rename_columns([named(name, prefix) for name in table.column_names])
    features = {
        named(name, prefix): {"dtype": COLUMNS.get(name, "string"), "_type": "Value"}
        for name in weights.table.column_names
    }
    about = {"origin": dataclasses.asdict(weights.origin), "rows": len(weights), "digest": weights.digest}
    metadata = {
        _ABOUT: json.dumps(about, ensure_ascii=False).encode(),
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
    }
    pq.write_table(table.replace_schema_metadata(metadata), out, row_group_size=1 << 17, compression="zstd")
