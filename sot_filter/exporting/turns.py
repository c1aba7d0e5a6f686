"""A conversation as chat messages: what the file of every trainer is made of."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sot_filter.conversation import TEXT, Conversation

#: A chat message as plain values: role, content, and what else `chat_turns` found.
Turn = dict[str, Any]

#: Roles that every trainer knows.
ROLES: Final = ("system", "user", "assistant", "tool")
#: What a turn may say beside its role, its text and its tool calls.
_BESIDE: Final = ("name", "tool_call_id", "reasoning_content")


class Inexpressible(ValueError):
    """A row that a trainer's format cannot hold; its message is one of few plain phrases and quotes nothing."""


def chat_turns(conversation: Conversation, padded: bool = False) -> list[Turn]:
    """The turns of a conversation, a tool call as ``{id, type, function: {name, arguments: {..}}}``.

    Args:
        conversation: one that is not raw text.
        padded: whether its objects come from Arrow, so that a key with nothing is no key.

    Raises:
        Inexpressible: there is nothing to learn, or tool calls are not what they should be.
    """
    turns = []
    for message in conversation.messages:
        turn: Turn = {"role": message.role, "content": message.content}
        calls = message.extra.get("tool_calls")
        if calls and message.content == json.dumps(calls, ensure_ascii=False, default=str):
            # The reader lets the calls stand for a text where there is none.
            turn["content"] = ""
        if not calls and isinstance(message.extra.get("function_call"), Mapping):
            calls = [{"function": message.extra["function_call"]}]
        turn |= {key: value for key in _BESIDE if isinstance(value := message.extra.get(key), str)}
        if calls:
            turn["tool_calls"] = [_call(call) for call in plain(_listed(calls), padded)]
        turns.append(turn)
    if not any(turn["role"] == "assistant" and (turn["content"].strip() or "tool_calls" in turn) for turn in turns):
        raise Inexpressible("no answer to learn from")
    return turns


def raw_text(conversation: Conversation) -> str | None:
    """The text of a row that is no conversation, None for one that is."""
    first = conversation.messages[0]
    return first.content if first.role == TEXT else None


def tools_of(conversation: Conversation, padded: bool = False) -> list[dict[str, Any]]:
    """The tools of a conversation as plain values, in the form ``{type: function, function: {name, ..}}``.

    Raises:
        Inexpressible: a tool has no name.
    """
    tools = []
    for tool in plain(conversation.tools, padded):
        function = tool.get("function", tool)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Inexpressible("a tool without a name")
        tools.append({"type": "function", "function": {k: v for k, v in function.items() if k != "type"}})
    return tools


def without(turn: Turn, *keys: str) -> Turn:
    """The turn less some keys."""
    return {key: value for key, value in turn.items() if key not in keys}


def check_roles(turns: Sequence[Turn], trainer: str) -> None:
    """Raises `Inexpressible` for a role that is none of `ROLES`, and for a system turn that is not the first."""
    if any(turn["role"] not in ROLES for turn in turns):
        raise Inexpressible(f"a role that {trainer} does not know")
    if any(turn["role"] == "system" for turn in turns[1:]):
        raise Inexpressible("a system turn that is not the first")


def check_ends_with_answer(turns: Sequence[Turn]) -> None:
    """Raises `Inexpressible` unless the last turn is the assistant's."""
    if turns[-1]["role"] != "assistant":
        raise Inexpressible("a last turn that is no answer")


def with_call_ids(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with an id for each tool call that has none, and the results of tools with that of their call.

    Raises:
        Inexpressible: a tool's result that follows no call.
    """
    numbered, numbers = [], itertools.count()
    open_calls: list[str] = []
    for turn in turns:
        if calls := turn.get("tool_calls"):
            calls = [{**call, "id": call.get("id") or f"call_{next(numbers)}"} for call in calls]
            open_calls = [call["id"] for call in calls]
            turn = {**turn, "tool_calls": calls}
        elif turn["role"] == "tool":
            answered = turn.get("tool_call_id") or (open_calls[0] if open_calls else None)
            if answered not in open_calls:
                raise Inexpressible("a tool's result without the call it belongs to")
            open_calls.remove(answered)
            turn = {**turn, "tool_call_id": answered}
        numbered.append(turn)
    return numbered


def plain(value: Any, padded: bool = False) -> Any:
    """As JSON would hold it. Raises `Inexpressible` for a number that it cannot spell."""
    try:
        value = json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_as_json))
    except ValueError:
        raise Inexpressible("tools or tool calls that JSON cannot spell") from None
    return _unpadded(value) if padded else value


def _as_json(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _unpadded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unpadded(item) for key, item in value.items() if item is not None}
    return [_unpadded(item) for item in value] if isinstance(value, list) else value


def _listed(calls: Any) -> Iterable[Any]:
    if isinstance(calls, str):
        calls = _parsed(calls)
    return calls if isinstance(calls, list) else [calls]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        raise Inexpressible("tool calls that are not valid JSON") from None


def _call(call: Any) -> dict[str, Any]:
    call = _parsed(call) if isinstance(call, str) else call
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Inexpressible("a tool call without a name")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = _parsed(arguments)
    if not isinstance(arguments, dict):
        raise Inexpressible("a tool call whose arguments are no object")
    head = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**head, "type": "function", "function": {"name": function["name"], "arguments": arguments}}
