"""The rows to train on as tokens, labels and weights, and the report of what became of each of them.

The result is a map-style dataset for `sot_filter.training.trainer.WeightedTrainer` (or TRL's own, which takes rows of
tokens and labels as they are), with the columns ``input_ids``, ``labels``, ``sot_weight`` and ``sot_row_id``, in the
rows' own order.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from sot_filter.conversation import FORMATS, detect_format, format_of_columns, resolve_columns
from sot_filter.errors import ModelError, SourceError
from sot_filter.rows import PREFIX, named
from sot_filter.training.data_report import NOT_KEPT, REASONS, USED, ZERO_WEIGHT, DataReport, LeftOut
from sot_filter.training.examples import ID, WEIGHT, make_examples
from sot_filter.training.origin import Origin, open_rows
from sot_filter.training.render import PLAIN, Renderer
from sot_filter.training.weights import RowIds, Weights, read_weights

#: Rows whose turns help to tell the format.
_SAMPLE = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows ready to train on, and the report of what became of all of them."""

    rows: datasets.Dataset
    report: DataReport


def load_rows(
    tokenizer: Any,
    *,
    dataset: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    split: str = "train",
    files: str | Sequence[str] | None = None,
    **rest: Any,
) -> Loaded:
    """Open rows and prepare them; ``load_rows(tokenizer, **recipe.rows.model_dump())`` reads those of a recipe.

    Args:
        tokenizer: the model's; a fast one.
        dataset: a Hub dataset's id; this or ``files``.
        config: its configuration.
        revision: its branch, tag or commit.
        split: the split.
        files: the output folder of a run, or paths and globs.
        rest: the other arguments of `prepare_rows`.

    Raises:
        SourceError: rows that cannot be found or read, and what `prepare_rows` raises.
        HubError: the Hub did not answer.
    """
    return prepare_rows(tokenizer, open_rows(dataset, config, revision, split, files), **rest)


def prepare_rows(
    tokenizer: Any,
    origin: Origin,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    weight: str | None = None,
    keep: str | None = None,
    max_length: int = 1024,
    completion_only: bool = True,
) -> Loaded:
    """Make rows into tokens, labels and weights, and say what became of them.

    Args:
        tokenizer: the model's; a fast one.
        origin: the rows.
        format: a name of `sot_filter.conversation.FORMATS`, or ``auto``.
        columns: your column for a field of the format.
        weight: the weight column; None gives every row the weight 1.
        keep: the column that says whether a row is used; None uses all.
        max_length: tokens of a row at most; what comes after is cut off.
        completion_only: whether only assistants' turns are learned.

    Raises:
        SourceError: columns of no known format, weights that cannot be used, nothing left to learn.
        ModelError: no chat template, or one whose turns cannot be told apart.
    """
    rows = origin.rows
    shape, mapped = _shape(rows, format, columns or {})
    ids = RowIds(rows, _id_columns(weight, keep), origin.split)
    weights = read_weights(rows, weight, keep, ids)
    renderer = Renderer(tokenizer, completion_only)
    if renderer.way is None and shape != "text":
        raise ModelError(
            "a model with a chat template",
            "a tokenizer without one",
            "Fine-tune an aligned chat model, or give rows of the format text.",
        )
    used = weights.used
    made = make_examples(rows, used, weights.weights[used], ids, shape, mapped, renderer, max_length)
    fates = _column(made, "fate")
    left_out = _left_out(weights, made, fates, ids)
    chosen = made.select(np.flatnonzero(fates == USED))
    if not len(chosen):
        told = "; ".join(f"{reason}: {one}" for reason, one in left_out.items())
        raise SourceError(
            "rows with something to learn",
            f"none of {len(rows)} ({told})",
            "Look at the rows' format, the model's chat template and max_length.",
        )
    total, lengths = math.fsum(_column(chosen, WEIGHT)), _column(chosen, "length")
    report = DataReport(
        source=origin.name,
        revision=origin.revision,
        config=origin.config,
        split=origin.split,
        format=shape,
        columns=mapped,
        weight_column=weight,
        keep_column=keep,
        template=PLAIN if shape == "text" else renderer.way,
        stops=bool(tokenizer.eos_token) if shape == "text" else renderer.stops,
        rows=len(rows),
        used=len(chosen),
        weight=total,
        effective_rows=total**2 / math.fsum(_column(chosen, WEIGHT) ** 2),
        left_out=left_out,
        tokens=int(np.minimum(lengths, max_length).sum()),
        learned=int(_column(chosen, "learned").sum()),
        cut_rows=int((lengths > max_length).sum()),
        cut_tokens=int(np.maximum(lengths - max_length, 0).sum()),
        max_length=max_length,
        digest=_digest(chosen),
    )
    return Loaded(chosen.select_columns(["input_ids", "labels", WEIGHT, ID]), report)


def _shape(rows: datasets.Dataset, format: str, columns: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The rows' format, and the column for each of its fields."""
    names = rows.column_names
    try:
        if format not in (*FORMATS, "auto"):
            raise SourceError(f"a format among auto, {', '.join(FORMATS)}", repr(format), "Correct rows.format.")
        if format == "auto":
            sample = [rows[place] for place in range(min(len(rows), _SAMPLE))]
            format = format_of_columns(columns) or detect_format(names, sample)  # noqa: A001
        return format, resolve_columns(format, names, columns)
    except SourceError as error:
        do = error.do.replace("input.", "rows.")
        if names and all(name.startswith(PREFIX) for name in names):
            do = "A sidecar holds no texts: train on an output with `mode: columns`."
        raise SourceError(error.expected, error.got, do) from None


def _id_columns(weight: str | None, keep: str | None) -> list[str]:
    """Where the rows' ids may be: beside the weights, however these columns' names begin."""
    ends = ((weight, "weight"), (keep, "keep"))
    beside = [name.removesuffix(end) for name, end in ends if name and name.endswith(end)]
    return [named(ID, prefix) for prefix in (*beside, PREFIX)]


def _left_out(weights: Weights, made: datasets.Dataset, fates: NDArray[Any], ids: RowIds) -> dict[str, LeftOut]:
    """The rows that are not used, by reason."""
    used, left_out = weights.used, {}
    groups = {NOT_KEPT: ~weights.kept, ZERO_WEIGHT: weights.kept & (weights.weights == 0)}
    for reason in REASONS:
        within = np.flatnonzero(fates == reason)
        places = np.flatnonzero(groups[reason]) if reason in groups else used[within]
        if len(places):
            why = made[int(within[0])]["why"] if len(within) else None
            left_out[reason] = LeftOut(len(places), math.fsum(weights.weights[places]), ids.of(places[:1])[0], why)
    return left_out


def _column(rows: datasets.Dataset, name: str) -> NDArray[Any]:
    # By Arrow: the library's own NumPy format would make single precision of the weights.
    return np.asarray(rows.select_columns([name]).with_format("arrow")[:].column(name).to_numpy())


def _digest(rows: datasets.Dataset) -> str:
    digest = hashlib.blake2b(digest_size=16)
    columns = (rows.select_columns([name])[name] for name in (ID, WEIGHT, "digest"))
    for row, mass, text in zip(*columns, strict=True):
        digest.update(f"{row}\t{mass.hex()}\t{text}\n".encode())
    return digest.hexdigest()
