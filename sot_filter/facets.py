"""Facets of a conversation by which a selection can be watched: language, length, format, code or no code."""

import functools
import re
from typing import Final, NamedTuple

from sot_filter.conversation import TEXT, Conversation

#: Language of a text that is too short, or too mixed, to tell.
UNDETERMINED: Final = "und"
#: Fewer letters than this do not tell a language.
_FEWEST_LETTERS: Final = 20
#: A language that is less likely than this is not told.
_LEAST_CONFIDENCE: Final = 0.5
#: Characters from which the language is told; more do not change the answer.
_MOST_CHARACTERS: Final = 2000
_FENCE: Final = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)
_FENCED: Final = re.compile(r"^[ \t]*(```|~~~).*?(^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
#: A line that hardly ever stands in prose.
_CODE_LINE: Final = re.compile(
    r"""^\s*(
        (async\s+)?def\s+\w+\s*\(.*\)\s*(->.*)?: | class\s+\w+.*[:{]\s*$ | from\s+[\w.]+\s+import\s+\S
        | import\s+[\w.{*]+(\s+as\s+\w+)?;?\s*$ | \#include\s*[<"] | (public|private|protected|static)\s+\w+
        | (function|func|fn)\s+\w*\s*\( | (var|let|const)\s+\w+\s*= | (if|for|while|switch)\s*\(.*\)\s*\{?\s*$
        | return\b.*;\s*$ | \w[\w.\[\]]*\s*[-+*/]?=\s*[^=].*;\s*$ | \w[\w.]*\(.*\);?\s*$ | [{}\])];?\s*$
        | (SELECT\s.+\sFROM|INSERT\s+INTO|CREATE\s+TABLE|UPDATE\s+\w+\s+SET)\b | </?[a-z][a-z0-9]*(\s[^<>]*)?>
        | \w[\w.]*\s*=\s*[\[{("'].*$
    )""",
    re.VERBOSE,
)
#: Lines that must look like code, of text without a fence.
_FEWEST_CODE_LINES: Final = 2


class Facets(NamedTuple):
    """What a conversation is like, apart from what it says.

    Attributes:
        language: ISO 639 code, or `UNDETERMINED`.
        characters: length of its text.
        format: ``text``, ``single turn`` or ``multi-turn``, and whether it has a system turn or tools.
        code: whether it holds code.
    """

    language: str
    characters: int
    format: str
    code: bool


def facets(conversation: Conversation) -> Facets:
    """Describe a conversation by its own text alone, so that the answer never depends on other rows."""
    text = conversation.text()
    return Facets(language(text), len(text), _format(conversation), has_code(text))


def language(text: str) -> str:
    """The language most of a text is in; what stands between code fences does not count.

    py3langid's naive Bayes over byte n-grams (Lui and Baldwin, 2012), which brings its model with it.
    """
    prose = _FENCED.sub("", text)[:_MOST_CHARACTERS]
    if sum(map(str.isalpha, prose)) < _FEWEST_LETTERS and not any(c > "\u2e7f" for c in prose):
        return UNDETERMINED
    found, confidence = _identifier().classify(prose)
    return str(found) if confidence >= _LEAST_CONFIDENCE else UNDETERMINED


def has_code(text: str) -> bool:
    """Whether there is a code fence, or at least two lines that look like code."""
    if _FENCE.search(text):
        return True
    return sum(bool(_CODE_LINE.match(line)) for line in text.splitlines()) >= _FEWEST_CODE_LINES


def _format(conversation: Conversation) -> str:
    roles = [message.role for message in conversation.messages]
    turns = sum(message.is_response for message in conversation.messages)
    kind = "text" if set(roles) == {TEXT} else "multi-turn" if turns > 1 else "single turn"
    extras = [
        name
        for name, there in (
            ("system", "system" in roles),
            ("tools", bool(conversation.tools) or "tool" in roles or any(m.extra for m in conversation.messages)),
        )
        if there
    ]
    return f"{kind} with {' and '.join(extras)}" if extras else kind


@functools.cache
def _identifier():  # type: ignore[no-untyped-def]
    # Half a second to load, so not before a text is there.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
