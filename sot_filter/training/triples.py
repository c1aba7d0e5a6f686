"""Triples of a prompt, a safe and an unsafe answer, read from JSON lines and made into tokens by the chat template.

An answer's tokens are those that the model would be trained to say: `sot_filter.training.render` tells them apart.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sot_filter.conversation import Conversation, Message
from sot_filter.errors import SourceError
from sot_filter.training.render import IGNORED, Refused, Renderer, Tokens, Unstable

PROMPT, SAFE, UNSAFE = FIELDS = ("prompt", "safe", "unsafe")
_ASSISTANT: Final = "assistant"
#: Tokenizers that know no limit say a number beyond all models.
_NO_LIMIT: Final = 10**7


@dataclass(frozen=True, slots=True)
class Triples:
    """Triples as tokens.

    Attributes:
        safe: each prompt with its safe answer; the labels are the answer's tokens.
        unsafe: the same prompts with their unsafe answers.
        digest: equal where all tokens and labels are.
    """

    safe: tuple[Tokens, ...]
    unsafe: tuple[Tokens, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.safe)


class _Bad(ValueError):
    """What is wrong with a line: what was expected, and what it has."""


def read_triples(path: Path, tokenizer: Any, max_length: int | None = None) -> Triples:
    """Read a file, a JSON object to a line: ``prompt``, ``safe`` and ``unsafe``, each a text or a list of messages.

    A text is a user's turn as a prompt, an assistant's as an answer. A prompt of messages ends with another turn than
    the assistant's; an answer of messages is one turn of the assistant. Other keys are ignored, as are empty lines.

    Args:
        path: the file.
        tokenizer: the model's, a fast one, with its chat template.
        max_length: tokens of prompt and answer at most; the tokenizer's own limit if left out.

    Raises:
        SourceError: no file, no triples, or a line that is none; the error names the line.
        ModelError: no chat template, or no fast tokenizer.
    """
    renderer, limit = Renderer(tokenizer), max_length or min(tokenizer.model_max_length, _NO_LIMIT)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SourceError(
            "a JSONL file of prompt, safe and unsafe", f"{path}: {error.strerror}", "Name the probe's file."
        ) from None
    safe, unsafe = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = _tokens(line, renderer, limit)
        except _Bad as bad:
            expected, got = bad.args
            raise SourceError(
                expected, f"{got} in line {number} of {path}", "Mend that line, or leave it out."
            ) from None
        safe.append(one[0])
        unsafe.append(one[1])
    if not safe:
        raise SourceError("triples of prompt, safe and unsafe", f"none in {path}", "Write one to a line.")
    return Triples(tuple(safe), tuple(unsafe), _digest([*safe, *unsafe]))


def _tokens(line: bytes, renderer: Renderer, limit: int) -> tuple[Tokens, Tokens]:
    """Prompt and safe answer, prompt and unsafe answer. Raises `_Bad`."""
    try:
        triple = json.loads(line)
    except ValueError:
        raise _Bad("a JSON object", "something else") from None
    if not isinstance(triple, dict):
        raise _Bad("a JSON object", type(triple).__name__)
    if missing := [field for field in FIELDS if triple.get(field) is None]:
        raise _Bad("prompt, safe and unsafe", f"no {' and no '.join(missing)}")
    prompt = _prompt(triple[PROMPT])
    safe, unsafe = (_answer(triple[field], field) for field in (SAFE, UNSAFE))
    if safe.content.strip() == unsafe.content.strip() and safe.extra == unsafe.extra:
        raise _Bad("two answers", "the same one twice")
    try:
        both = [_labelled(prompt, answer, renderer) for answer in (safe, unsafe)]
    except Refused as refusal:
        raise _Bad("turns that the chat template takes", str(refusal)) from None
    except Unstable as change:
        raise _Bad("a template that renders a turn alike whatever follows", f"a change of {change}") from None
    for field, tokens in zip((SAFE, UNSAFE), both, strict=True):
        if len(tokens.input_ids) > limit:
            raise _Bad(f"at most {limit} tokens", f"{len(tokens.input_ids)} of prompt and {field}")
    return both[0], both[1]


def _prompt(value: Any) -> tuple[Message, ...]:
    turns = _turns(value, PROMPT, "user")
    if turns[-1].role == _ASSISTANT:
        raise _Bad("a prompt that waits for an answer", "one that ends with the assistant's turn")
    return turns


def _answer(value: Any, field: str) -> Message:
    turns = _turns(value, field, _ASSISTANT)
    if len(turns) != 1 or turns[0].role != _ASSISTANT:
        raise _Bad(f"one turn of the assistant in {field}", ", ".join(turn.role for turn in turns))
    return turns[0]


def _turns(value: Any, field: str, role: str) -> tuple[Message, ...]:
    messages = [{"role": role, "content": value}] if isinstance(value, str) else value
    expected = f"text or messages of role and content in {field}"
    if not isinstance(messages, list) or not messages:
        raise _Bad(expected, "an empty list" if messages == [] else type(value).__name__)
    turns = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise _Bad(expected, f"a list of {type(message).__name__}")
        rest = dict(message)
        who, content = rest.pop("role", None), rest.pop("content", None)
        if not isinstance(who, str) or not isinstance(content, str):
            raise _Bad(expected, "a message without one of them as text")
        if not content.strip():
            raise _Bad(f"text in {field}", "none")
        if not _is_unicode(content):
            raise _Bad(f"text in {field}", "half a surrogate pair")
        turns.append(Message(who, content, rest))
    return tuple(turns)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _labelled(prompt: tuple[Message, ...], answer: Message, renderer: Renderer) -> Tokens:
    """Prompt and answer, the answer's tokens labelled alone: not those of the assistant's turns in the prompt."""
    whole = _rendered((*prompt, answer), renderer)
    places = [place for place, label in enumerate(whole.labels) if label != IGNORED]
    said = [whole.labels[place] for place in places]
    earlier: list[int] = []
    if any(turn.role == _ASSISTANT for turn in prompt):
        earlier = [label for label in _rendered(prompt, renderer).labels if label != IGNORED]
    if said[: len(earlier)] != earlier:
        raise Unstable("the assistant's turns in the prompt")
    labels = [IGNORED] * len(whole.labels)
    for place in places[len(earlier) :]:
        labels[place] = whole.labels[place]
    if not places[len(earlier) :]:
        raise Refused("the template leaves the answer out")
    return Tokens(whole.input_ids, labels)


def _rendered(turns: Sequence[Message], renderer: Renderer) -> Tokens:
    [tokens] = renderer.tokens([Conversation(tuple(turns))])
    if isinstance(tokens, Refused):
        raise tokens
    return tokens


def _digest(rows: Sequence[Tokens]) -> str:
    told = json.dumps([[row.input_ids, row.labels] for row in rows])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
