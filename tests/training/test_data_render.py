import time
from pathlib import Path
from typing import Any

import pytest
import trl.chat_template_utils as trl_templates
from hypothesis import given, settings
from hypothesis import strategies as st

from sot_filter.conversation import Conversation, Message, read_conversation
from sot_filter.errors import ModelError
from sot_filter.training.render import PREFIXES, TAGS, TRAINING, Refused, Renderer, Unstable
from tests.tiny_models import CHAT_TEMPLATE
from tests.training.templates import (
    DATED,
    FORGETFUL,
    PLAIN,
    REFUSING,
    TAGGED,
    TAGGED_ENDLESS,
    TOOLS,
    learned,
    with_template,
)


def talk(*turns: tuple[str, str], tools: tuple[dict[str, Any], ...] = ()) -> Conversation:
    return Conversation(tuple(Message(role, content) for role, content in turns), tools)


TWO = talk(("user", "how do I bake"), ("assistant", "mix flour"), ("user", "then"), ("assistant", "heat it"))
WITH_SYSTEM = talk(("system", "please tell a story"), *((m.role, m.content) for m in TWO.messages))


@pytest.mark.parametrize(("template", "way"), [(PLAIN, PREFIXES), (TAGGED, TAGS), (CHAT_TEMPLATE, PREFIXES)])
def test_every_answer_is_learned_with_its_end_and_nothing_else(tiny_chat: Path, template: str, way: str) -> None:
    tokenizer = with_template(tiny_chat, template)
    renderer = Renderer(tokenizer)
    [tokens] = renderer.tokens([TWO])
    assert renderer.way == way
    assert renderer.stops is True
    assert learned(tokenizer, tokens) == ["mix flour<|end|>\n", "heat it<|end|>\n"]
    chat = [{"role": m.role, "content": m.content} for m in TWO.messages]
    assert tokens.input_ids == tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=6), st.booleans())
def test_prefixes_find_what_tags_and_transformers_find(tiny_chat: Path, texts: list[str], system: bool) -> None:
    roles = ["system"] * system + ["user", "assistant"] * 3
    conversation = talk(*zip(roles, texts, strict=False))
    tagged = with_template(tiny_chat, TAGGED)
    [by_prefix] = Renderer(with_template(tiny_chat, PLAIN)).tokens([conversation])
    [by_tags] = Renderer(tagged).tokens([conversation])
    assert by_prefix == by_tags
    chat = [{"role": m.role, "content": m.content} for m in conversation.messages]
    theirs = tagged.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    assert [label != -100 for label in by_tags.labels] == [mask == 1 for mask in theirs["assistant_masks"]]
    assert by_tags.input_ids == theirs["input_ids"]


def test_a_batch_is_its_rows(tiny_chat: Path) -> None:
    renderer = Renderer(with_template(tiny_chat, REFUSING))
    rows = [TWO, WITH_SYSTEM, talk(("text", "raw text")), talk(("user", "a"), ("assistant", "b"))]
    together = renderer.tokens(rows)
    alone = [one for row in rows for one in renderer.tokens([row])]
    assert [str(one) for one in together] == [str(one) for one in alone]
    assert isinstance(together[1], Refused)


def test_a_template_that_trims_is_taken_at_its_word(tiny_chat: Path) -> None:
    tokenizer = with_template(tiny_chat, CHAT_TEMPLATE)
    [tokens] = Renderer(tokenizer).tokens([talk(("user", " a \n"), ("assistant", "  b  \n"), ("user", "c"))])
    assert learned(tokenizer, tokens) == ["b<|end|>\n"]


def test_a_system_turn_is_read_but_not_learned(tiny_chat: Path) -> None:
    tokenizer = with_template(tiny_chat, PLAIN)
    [tokens] = Renderer(tokenizer).tokens([WITH_SYSTEM])
    assert "please tell a story" in tokenizer.decode(tokens.input_ids)
    assert learned(tokenizer, tokens) == ["mix flour<|end|>\n", "heat it<|end|>\n"]


def test_a_refusal_says_why(tiny_chat: Path) -> None:
    [refusal] = Renderer(with_template(tiny_chat, REFUSING)).tokens([WITH_SYSTEM])
    assert str(refusal) == "no system turn"


def test_a_template_that_breaks_says_nothing_of_the_text(tiny_chat: Path) -> None:
    template = PLAIN.replace("{{ message.content }}", "{{ message.content + 1 }}")
    [refusal] = Renderer(with_template(tiny_chat, template)).tokens([talk(("user", "secret"), ("assistant", "x"))])
    assert isinstance(refusal, Refused)
    assert "secret" not in str(refusal)


def test_a_template_that_changes_earlier_turns_is_seen(tiny_chat: Path) -> None:
    renderer = Renderer(with_template(tiny_chat, FORGETFUL))
    with pytest.raises(Unstable, match="turn 2 of 4"):
        renderer.tokens([TWO])
    single = talk(("user", "how"), ("assistant", "so"))
    [tokens] = renderer.tokens([single])
    assert learned(with_template(tiny_chat, FORGETFUL), tokens) == ["<think></think>so<|end|>\n"]


def test_trl_s_template_is_taken_for_a_model_that_needs_it(tiny_chat: Path) -> None:
    tokenizer = with_template(tiny_chat, trl_templates.qwen3_chat_template)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    renderer = Renderer(tokenizer)
    assert (renderer.way, renderer.stops) == (TRAINING, True)
    [tokens] = renderer.tokens([TWO])
    first, second = learned(tokenizer, tokens)
    assert first.endswith("mix flour<|im_end|>\n")
    assert second.endswith("heat it<|im_end|>\n")
    tokenizer.chat_template = trl_templates.qwen2_5_chat_template
    assert Renderer(tokenizer).way == PREFIXES


def test_tags_without_the_end_are_told(tiny_chat: Path) -> None:
    assert Renderer(with_template(tiny_chat, TAGGED_ENDLESS)).stops is False


def test_without_completion_only_everything_is_learned(tiny_chat: Path) -> None:
    for template in (PLAIN, TAGGED, FORGETFUL):
        [tokens] = Renderer(with_template(tiny_chat, template), completion_only=False).tokens([TWO])
        assert tokens.labels == tokens.input_ids


def test_tools_are_rendered_without_the_nulls_of_arrow(tiny_chat: Path) -> None:
    tokenizer = with_template(tiny_chat, TOOLS)
    row = {
        "messages": [
            {"role": "user", "content": "the capital", "tool_calls": None},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "look", "arguments": {"of": "sea", "at": None}}}],
            },
            {"role": "tool", "content": "warm", "tool_calls": None},
            {"role": "assistant", "content": "it is warm", "tool_calls": None},
        ],
        "tools": [{"function": {"name": "look", "parameters": {"of": {"type": "string"}, "other": None}}}],
    }
    conversation = read_conversation(row, "messages", {"messages": "messages", "tools": "tools"})
    [tokens] = Renderer(tokenizer).tokens([conversation])
    text = tokenizer.decode(tokens.input_ids)
    assert text.startswith('tools [{"function": {"name": "look", "parameters": {"of": {"type": "string"}}}}]\n')
    assert learned(tokenizer, tokens) == [
        'calls [{"function": {"name": "look", "arguments": {"of": "sea"}}}]<|end|>\n',
        "it is warm<|end|>\n",
    ]


def test_calls_stay_text_where_the_template_knows_none(tiny_chat: Path) -> None:
    tokenizer = with_template(tiny_chat, PLAIN)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"name": "look"}]}]
    conversation = read_conversation({"messages": turns}, "messages", {"messages": "messages"})
    [tokens] = Renderer(tokenizer).tokens([conversation])
    assert learned(tokenizer, tokens) == ['[{"name": "look"}]<|end|>\n']


def test_raw_text_is_learned_as_the_tokenizer_frames_it(tiny_chat: Path) -> None:
    for template in (None, PLAIN):
        tokenizer = with_template(tiny_chat, template)
        [tokens] = Renderer(tokenizer).tokens([talk(("text", "flour water salt"))])
        assert tokens.labels == tokens.input_ids
        assert tokenizer.decode(tokens.input_ids) == "<s>flour water salt</s>"


def test_the_date_of_training_changes_no_token(tiny_chat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = with_template(tiny_chat, DATED)
    [tokens] = Renderer(tokenizer).tokens([TWO])
    assert time.strftime("%d %b %Y") not in tokenizer.decode(tokens.input_ids)
    assert "26 Jul 2024" in tokenizer.decode(tokens.input_ids)


def test_a_model_that_does_not_chat_is_refused(tiny_chat: Path) -> None:
    renderer = Renderer(with_template(tiny_chat, None))
    assert renderer.way is None
    with pytest.raises(ModelError, match="chat template"):
        renderer.tokens([TWO])


def test_of_several_templates_the_default_is_used(tiny_chat: Path) -> None:
    tokenizer = with_template(tiny_chat, PLAIN)
    wanted = Renderer(tokenizer).tokens([TWO])
    tokenizer.chat_template = {"other": FORGETFUL, "default": PLAIN}
    assert Renderer(tokenizer).tokens([TWO]) == wanted
    tokenizer.chat_template = {"other": PLAIN, "third": PLAIN}
    with pytest.raises(ModelError, match="other, third"):
        Renderer(tokenizer)


def test_a_template_that_is_no_template_refuses_every_row(tiny_chat: Path) -> None:
    [refusal] = Renderer(with_template(tiny_chat, "{% if %}")).tokens([TWO])
    assert isinstance(refusal, Refused)


def test_a_tokenizer_that_knows_no_characters_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="fast tokenizer"):
        Renderer(Slow())


def test_the_digest_tells_what_makes_other_tokens(tiny_chat: Path) -> None:
    tokenizer = with_template(tiny_chat, PLAIN)
    same = Renderer(tokenizer).digest()
    assert Renderer(with_template(tiny_chat, PLAIN)).digest() == same
    assert Renderer(with_template(tiny_chat, TAGGED)).digest() != same
    assert Renderer(tokenizer, completion_only=False).digest() != same
    tokenizer.add_tokens(["flour"])
    assert Renderer(tokenizer).digest() != same
