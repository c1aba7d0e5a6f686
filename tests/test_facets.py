"""Facets: told by a conversation's own text, and only where there is enough of it."""

import base64
import random

import pytest

from sot_filter.conversation import TEXT, Conversation, Message
from sot_filter.facets import UNDETERMINED, facets, has_code, language

ENGLISH = "Bake the bread for an hour, and let it cool before you cut it."
PROSE = (
    ENGLISH,
    "Dear team,\n\nI will be late (about an hour).\nSee you soon!\n\nBest wishes",
    "Total: 12 + 30 = 42.\nSo x = 5 and y = 7.\nThe answer is 42 (forty-two)",
    "1. Import the goods.\n2. Return them if they are broken;\n3. For more, ask (politely).",
    "Two lists:\n- one\n- two\n* three",
)
CODE = (
    "Like this:\n```\nx\n```",
    "~~~python\nprint(1)\n~~~",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))",
    "#include <stdio.h>\nint main() {\n  int x = 5;\n  return x;\n}",
    "SELECT name FROM people\nINSERT INTO people VALUES (1)",
    "<ul>\n  <li>one</li>\n</ul>",
    "const x = 1;\nlet y = 2;",
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ENGLISH, "en"),
        ("Backe das Brot eine Stunde lang und lass es abkühlen, bevor du es schneidest.", "de"),
        ("Hornea el pan durante una hora y déjalo enfriar antes de cortarlo.", "es"),
        ("Выпекайте хлеб один час и дайте ему остыть.", "ru"),
        ("把面包烤一个小时。", "zh"),
    ],
)
def test_a_sentence_tells_its_language(text: str, code: str) -> None:
    assert language(text) == code


@pytest.mark.parametrize("text", ["", "42", "ok", "Berlin", "12 + 30 = 42\n" * 40])
def test_too_little_text_tells_no_language(text: str) -> None:
    assert language(text) == UNDETERMINED


def test_what_is_no_language_is_not_taken_for_english() -> None:
    rng = random.Random(0)
    assert language(base64.b64encode(ENGLISH.encode()).decode()) != "en"
    assert language("".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=200))) != "en"


def test_code_between_fences_does_not_hide_the_language() -> None:
    assert language("```python\n" + "import numpy as np\n" * 20 + "```\nDas Programm lädt eine Bibliothek.") == "de"


@pytest.mark.parametrize("text", CODE)
def test_code_is_seen(text: str) -> None:
    assert has_code(text)


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_no_code(text: str) -> None:
    assert not has_code(text)


@pytest.mark.parametrize(
    ("conversation", "format"),
    [
        (Conversation((Message(TEXT, "a"),)), "text"),
        (Conversation((Message("user", "a"), Message("assistant", "b"))), "single turn"),
        (Conversation((Message("user", "a"),)), "single turn"),
        (Conversation((Message("user", "a"), Message("assistant", "b")) * 2), "multi-turn"),
        (Conversation((Message("system", "s"), Message("user", "a"))), "single turn with system"),
        (Conversation((Message("user", "a"),), ({"name": "t"},)), "single turn with tools"),
        (
            Conversation((Message("system", "s"), *(Message("assistant", "b", {"tool_calls": [1]}),) * 2)),
            "multi-turn with system and tools",
        ),
    ],
)
def test_the_format_is_that_of_the_turns(conversation: Conversation, format: str) -> None:
    assert facets(conversation).format == format


def test_characters_are_those_of_the_text_that_is_embedded() -> None:
    assert facets(Conversation((Message("user", "four"), Message("assistant", "and six")))).characters == 4 + 1 + 7


def test_the_same_text_has_the_same_facets_whatever_came_before() -> None:
    rows = [Conversation((Message(TEXT, text),)) for text in (*PROSE, *CODE)]
    assert [facets(row) for row in rows] == [facets(row) for row in reversed(rows)][::-1]
