"""Conversations into tokens by the model's own chat template, and which of them are learned: the assistants' turns.

Which characters of a rendering are an assistant's turn is known in one of two ways:

- **tags**: the template marks what an assistant generates by ``{% generation %}``, as transformers wants it for
  ``return_assistant_tokens_mask``;
- **prefixes**: what stands between the rendering up to a turn, with the prompt to generate it, and the rendering up
  to its end. That is trusted only where each of these is, letter by letter, how the whole rendering begins: it is what
  the model will see, and what it will have to say.

Where a template changes earlier turns once later ones follow (it cuts their reasoning, say) the second way fails. TRL
has a template for training for some models of that kind; it is taken then. Otherwise the conversation is an error.
A token that lies partly in a turn is learned: it is where the tokens of prompt and whole diverge.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template
from trl.chat_template_utils import get_training_chat_template, has_generation_markers

from sot_filter.conversation import TEXT, Conversation, Message
from sot_filter.errors import ModelError

TAGS: Final = "generation tags"
PREFIXES: Final = "prefixes"
TRAINING: Final = "TRL's training template"
#: Rows of raw text are no chat: all of it is learned.
PLAIN: Final = "plain text"
#: The label of a token that is not learned.
IGNORED: Final = -100
# Some templates print today's date; a resumed run must see the same tokens. A macro hides the global of its name.
_FIXED_DATE: Final = "{%- macro strftime_now(format) %}26 Jul 2024{% endmacro +%}"
#: Two exchanges, to see what a template does with an earlier turn.
_PROBE: Final = tuple({"role": role, "content": f"{role} {i}"} for i in "12" for role in ("user", "assistant"))
Spans = list[tuple[int, int]]
Chat = Sequence[dict[str, Any]]


class Refused(ValueError):
    """The template does not take a conversation; the message says why and holds no text of it."""


class Unstable(ValueError):
    """The template renders a turn otherwise once later ones follow; the message says which turn."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A row as tokens, and their labels: the token where it is learned, else `IGNORED`."""

    input_ids: list[int]
    labels: list[int]


class Renderer:
    """Makes conversations into tokens.

    Args:
        tokenizer: of the model; a fast one, since turns are found by their characters.
        completion_only: whether only assistants' turns are learned, or everything.

    Attributes:
        way: how turns are found: `TAGS`, `PREFIXES` or `TRAINING`; None where the model has no chat template.
        stops: whether the special token that ends a turn is learned too; None where that cannot be told.

    Raises:
        ModelError: the tokenizer does not say which characters a token stands for, or which template is to be used.
    """

    def __init__(self, tokenizer: Any, completion_only: bool = True) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                "a fast tokenizer, which knows the characters of a token",
                type(tokenizer).__name__,
                "Use a model with a tokenizer.json.",
            )
        self._tokenizer, self._completion_only = tokenizer, completion_only
        self.way, self._template = _way(tokenizer)
        # A text ends with the special token for it, unless the tokenizer sets one by itself.
        end = tokenizer.eos_token or ""
        self._end = "" if tokenizer("")["input_ids"][-1:] == [tokenizer.eos_token_id] else end
        self.stops = self._learns_to_stop()

    def digest(self) -> str:
        """Equal where any conversation becomes the same tokens."""
        told = [self._template, self._completion_only, self._tokenizer.special_tokens_map]
        digest = hashlib.blake2b(json.dumps(told, default=str, sort_keys=True).encode(), digest_size=16)
        digest.update(self._tokenizer.backend_tokenizer.to_str().encode())
        return digest.hexdigest()

    def tokens(self, conversations: Iterable[Conversation]) -> list[Tokens | Refused]:
        """Tokens of each conversation, or why the template refuses it.

        Raises:
            Unstable: the template does not keep to what it rendered.
            ModelError: no chat template, and a conversation that is no plain text.
        """
        told: list[tuple[str, Spans] | Refused] = []
        raw = []
        for conversation in conversations:
            is_text = any(message.role == TEXT for message in conversation.messages)
            try:
                told.append(self._plain(conversation) if is_text else self._chat(conversation))
                raw.append(is_text)
            except Refused as refusal:
                told.append(refusal)
        rendered = [one for one in told if not isinstance(one, Refused)]
        tokens = iter(
            self._labelled(ids, offsets, spans)
            for special, group in groupby(zip(raw, rendered, strict=True), key=itemgetter(0))
            for (ids, offsets), spans in self._encoded([one for _, one in group], special)
        )
        return [one if isinstance(one, Refused) else next(tokens) for one in told]

    def _plain(self, conversation: Conversation) -> tuple[str, Spans]:
        """Raw text, which is learned as a whole."""
        text = "\n".join(message.content for message in conversation.messages)
        text += "" if text.endswith(self._end) else self._end
        return text, [(0, len(text))]

    def _chat(self, conversation: Conversation) -> tuple[str, Spans]:
        if self._template is None:
            raise ModelError(
                "a model with a chat template",
                "a tokenizer without one",
                "Fine-tune an aligned chat model, or give rows of the format text.",
            )
        chat = [_turn(message, self._template) for message in conversation.messages]
        tools = [_without_nulls(tool) for tool in conversation.tools] or None
        if not self._completion_only:
            return _rendered(self._tokenizer, self._template, chat, tools), []
        if self.way == PREFIXES:
            return _by_prefixes(self._tokenizer, self._template, chat, tools)
        return _by_tags(self._tokenizer, self._template, chat, tools)

    def _encoded(
        self, rendered: Sequence[tuple[str, Spans]], special: bool
    ) -> Iterable[tuple[tuple[list[int], Spans], Spans]]:
        """Ids and characters of the tokens, and what is to be learned; a chat has its special tokens already."""
        encoded = self._tokenizer(
            [text for text, _ in rendered],
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        tokens = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return zip(tokens, (spans for _, spans in rendered), strict=True)

    def _labelled(self, ids: list[int], offsets: Spans, spans: Spans) -> Tokens:
        if not self._completion_only:
            return Tokens(ids, list(ids))
        labels, rest, current = [IGNORED] * len(ids), iter(spans), (-1, -1)
        for place, (start, end) in enumerate(offsets):
            while current is not None and start >= current[1]:
                current = next(rest, None)  # type: ignore[assignment]
            if current is None:
                break
            if max(end, start + 1) > current[0]:
                labels[place] = ids[place]
        return Tokens(ids, labels)

    def _learns_to_stop(self) -> bool | None:
        asked = Conversation(tuple(Message(turn["role"], turn["content"]) for turn in _PROBE[:2]))
        if self._template is None:
            return None
        try:
            [tokens] = self.tokens([asked])
        except Unstable:
            return None
        if isinstance(tokens, Refused):
            return None
        special = {*self._tokenizer.all_special_ids, *self._tokenizer.get_added_vocab().values()}
        return any(label in special - {self._tokenizer.unk_token_id} for label in tokens.labels)


def _way(tokenizer: Any) -> tuple[str | None, str | None]:
    """How to find turns, and by which template."""
    if not tokenizer.chat_template:
        return None, None
    try:
        template = tokenizer.get_chat_template()
    except ValueError:  # of several, none is the one to use
        names = ", ".join(tokenizer.chat_template)
        raise ModelError("a chat template named default", f"templates {names}", "Save the model with one.") from None
    if has_generation_markers(template):
        return TAGS, _dated(template)
    if not _is_stable(tokenizer, template):
        try:
            training = get_training_chat_template(tokenizer)
        except Exception:  # TRL knows the model's template, or says in one way or another that it does not
            training = None
        if training is not None:
            return TRAINING, _dated(training)
    return PREFIXES, _dated(template)


def _is_stable(tokenizer: Any, template: str) -> bool:
    """Whether a template keeps to what it rendered of an earlier turn; True where it refuses the question."""
    try:
        _by_prefixes(tokenizer, _dated(template), _PROBE, None)
    except Refused:
        return True
    except Unstable:
        return False
    return True


def _by_prefixes(tokenizer: Any, template: str, chat: Chat, tools: Any) -> tuple[str, Spans]:
    whole, spans = _rendered(tokenizer, template, chat, tools), []
    for turn, message in enumerate(chat):
        if message["role"] == "assistant":
            before = _rendered(tokenizer, template, chat[:turn], tools, prompt=True)
            through = whole if turn + 1 == len(chat) else _rendered(tokenizer, template, chat[: turn + 1], tools)
            if not (through.startswith(before) and whole.startswith(through)):
                raise Unstable(f"turn {turn + 1} of {len(chat)}")
            spans.append((len(before), len(through)))
    return whole, spans


def _by_tags(tokenizer: Any, template: str, chat: Chat, tools: Any) -> tuple[str, Spans]:
    [text], [spans] = _template_call(tokenizer, template, chat, tools, return_assistant_tokens_mask=True)
    return text, [(start, end) for start, end in spans]


def _rendered(tokenizer: Any, template: str, chat: Chat, tools: Any, prompt: bool = False) -> str:
    [text], _ = _template_call(tokenizer, template, chat, tools, add_generation_prompt=prompt)
    return str(text)


def _template_call(tokenizer: Any, template: str, chat: Chat, tools: Any, **settings: Any) -> Any:
    """The rendering in a list, and a list of the stretches in generation tags. Raises `Refused`."""
    given = {**tokenizer.special_tokens_map, **settings}
    try:
        return render_jinja_template(conversations=[list(chat)], tools=tools, chat_template=template, **given)
    except TemplateError as refusal:
        raise Refused(" ".join(str(refusal).split())[:120] or type(refusal).__name__) from None
    except Exception as refusal:  # a template is the model's own code, and may raise anything
        raise Refused(f"{type(refusal).__name__} in the chat template") from None


def _dated(template: str) -> str:
    return _FIXED_DATE + template if "strftime_now" in template else template


def _turn(message: Message, template: str) -> dict[str, Any]:
    """A turn as templates take it."""
    extra = _without_nulls(message.extra)
    calls, content = message.extra.get("tool_calls"), message.content
    # A turn of nothing but calls was given their JSON as its text; templates that know calls write them their own way.
    if calls and "tool_calls" in template and content == json.dumps(calls, ensure_ascii=False, default=str):
        content = ""
    return {**extra, "role": message.role, "content": content}


def _without_nulls(value: Any) -> Any:
    """Arrow gives every object of a column the keys of all others, as nulls."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list | tuple) else value
