"""Rows into examples: tokens, labels and weight of each, or why there is nothing to learn from it.

The result lies in a file that is mapped into memory, named by all that went into it, so that it is made again only
where rows, weights, settings, template, tokenizer or this code are others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import datasets
import numpy as np
from numpy.typing import NDArray

from sot_filter import conversation
from sot_filter.conversation import Conversation, InvalidRow, read_conversation
from sot_filter.errors import ModelError
from sot_filter.training import render
from sot_filter.training.data_report import CUT_AWAY, EMPTY, INVALID, NO_RESPONSE, REFUSED, USED
from sot_filter.training.render import IGNORED, Refused, Renderer, Tokens, Unstable
from sot_filter.training.weights import RowIds

ID: Final = "sot_row_id"
WEIGHT: Final = "sot_weight"
_BATCH: Final = 256
_FEATURES: Final = datasets.Features(
    {
        "input_ids": datasets.List(datasets.Value("int32")),
        "labels": datasets.List(datasets.Value("int32")),
        "length": datasets.Value("int64"),
        "learned": datasets.Value("int64"),
        "fate": datasets.Value("string"),
        "why": datasets.Value("string"),
        "digest": datasets.Value("string"),
        WEIGHT: datasets.Value("float64"),
        ID: datasets.Value("string"),
    }
)


def make_examples(
    rows: datasets.Dataset,
    places: NDArray[np.int64],
    weights: NDArray[np.float64],
    ids: RowIds,
    format: str,
    columns: Mapping[str, str],
    renderer: Renderer,
    max_length: int,
) -> datasets.Dataset:
    """An example for each of some rows, in their order.

    Args:
        rows: all rows.
        places: which of them [n].
        weights: theirs [n].
        ids: what to call a row.
        format: a name of `sot_filter.conversation.FORMATS`.
        columns: the column for each field.
        renderer: makes tokens.
        max_length: tokens of a row at most.

    Returns:
        ``input_ids`` and ``labels`` [at most max_length], ``length`` before the cut, how many tokens are ``learned``,
        ``fate`` (a word of `data_report`) and ``why``, the text's ``digest``, weight and row id.

    Raises:
        ModelError: the chat template's turns cannot be told apart; it names the row.
    """
    needed = rows.select_columns(sorted(set(columns.values()))).select(places)

    def make(batch: Mapping[str, list[Any]], at: list[int]) -> dict[str, list[Any]]:
        names = ids.of(places[at])
        told = [_read({name: batch[name][i] for name in batch}, format, columns) for i in range(len(at))]
        talks = [one for one in told if isinstance(one, Conversation)]
        try:
            tokens = iter(renderer.tokens(talks))
        except Unstable:
            raise _unstable(renderer, told, names) from None
        made = [
            _example(one, next(tokens), max_length) if isinstance(one, Conversation) else _nothing(*one)
            for one in told
        ]
        return {
            **{name: [example[name] for example in made] for name in _FEATURES if name not in (WEIGHT, ID)},
            WEIGHT: weights[at].tolist(),
            ID: names,
        }

    told_apart = (format, sorted(columns.items()), max_length, ids.column, renderer.digest())
    made: datasets.Dataset = needed.map(
        make,
        batched=True,
        batch_size=_BATCH,
        with_indices=True,
        remove_columns=needed.column_names,
        features=_FEATURES,
        new_fingerprint=_fingerprint(rows, places.tobytes(), weights.tobytes(), repr(told_apart).encode()),
        desc="Making tokens",
    )
    return made


def _read(row: Mapping[str, Any], format: str, columns: Mapping[str, str]) -> Conversation | tuple[str, str | None]:
    """The conversation of a row, or its fate and why."""
    try:
        talk = read_conversation(row, format, columns)
    except InvalidRow as error:
        return INVALID, str(error)
    if talk.is_empty:
        return EMPTY, None
    if not any(turn.is_response and turn.content.strip() for turn in talk.messages):
        return NO_RESPONSE, None
    return talk


def _example(talk: Conversation, tokens: Tokens | Refused, max_length: int) -> dict[str, Any]:
    if isinstance(tokens, Refused):
        return _nothing(REFUSED, str(tokens))
    labels = tokens.labels[:max_length]
    # A first token is never predicted.
    learned = sum(label != IGNORED for label in labels[1:])
    return {
        "input_ids": tokens.input_ids[:max_length],
        "labels": labels,
        "length": len(tokens.input_ids),
        "learned": learned,
        "fate": USED if learned else CUT_AWAY,
        "why": None,
        "digest": talk.digest().hex(),
    }


def _nothing(fate: str, why: str | None) -> dict[str, Any]:
    return {"input_ids": [], "labels": [], "length": 0, "learned": 0, "fate": fate, "why": why, "digest": ""}


def _unstable(renderer: Renderer, told: Sequence[Any], ids: Sequence[str]) -> ModelError:
    """Which of a batch's rows it was."""
    for row, talk in zip(ids, told, strict=True):
        try:
            renderer.tokens([talk] if isinstance(talk, Conversation) else [])
        except Unstable as error:
            return ModelError(
                "a chat template that renders a turn the same whatever follows it, or marks {% generation %}",
                f"one that changes {error}, in row {row}",
                "Save the model with a template that has generation tags, or train on single answers only.",
            )
    raise AssertionError("a batch is as stable as its rows")


def _fingerprint(rows: datasets.Dataset, *told: bytes) -> str:
    code = [Path(module).read_bytes() for module in (__file__, str(render.__file__), str(conversation.__file__))]
    digest = hashlib.blake2b(digest_size=16)
    for one in (str(rows._fingerprint).encode(), *told, *code):
        digest.update(hashlib.blake2b(one).digest())
    return digest.hexdigest()
