"""What a trainer's file is: how a row is written, where its weight goes, and what is lost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sot_filter.exporting.turns import Turn

#: A line of a file: columns and their values.
Line = dict[str, Any]
#: Formats in which prompt and answer are apart.
APART: Final = ("prompt_completion", "alpaca")


@dataclass(frozen=True, slots=True)
class Example:
    """A row that is kept.

    Attributes:
        id: its row id.
        weight: its weight, None where it is written as often as its weight says.
        format: the format its source has, one of `sot_filter.conversation.FORMATS`.
        text: its text, if it is raw text.
        turns: its turns, if it is a conversation.
        tools: the tools they may call.
    """

    id: str
    weight: float | None
    format: str
    text: str | None
    turns: list[Turn] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """What all lines of a file have between them.

    Attributes:
        columns: their columns.
        keys: the keys of their messages.
    """

    columns: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def add(self, line: Line) -> None:
        """Take a line in."""
        self.columns |= line.keys()
        for messages in (line.get(name) for name in ("messages", "prompt", "completion")):
            self.keys |= {key for message in messages or () for key in message}


@dataclass(frozen=True, slots=True)
class Written:
    """A finished data file.

    Attributes:
        name: of the export, a word that may name a dataset.
        file: the file's name.
        seen: what its lines have between them.
        texts: whether it holds raw text, not conversations.
        weights: whether it holds weights.
    """

    name: str
    file: str
    seen: Seen
    texts: bool
    weights: bool


def nothing_beside(written: Written) -> Mapping[str, str]:
    """No other files."""
    return {}


def as_it_is(line: Line, seen: Seen) -> Line:
    """The line, whatever others have."""
    return line


@dataclass(frozen=True, slots=True)
class Exporter:
    """How rows are written for one trainer.

    Attributes:
        writes: what it writes, one sentence.
        ending: of the data file.
        weights: where a row's weight stands in the file, nothing if it can stand nowhere.
        weights_lost: what of the weights is lost unless rows are repeated, a phrase; empty if nothing.
        cannot_carry: what else of the run's output is lost, a phrase each.
        line: a kept row as a line; raises `Inexpressible`. None copies every row with all of its columns.
        loading: how the trainer reads the file, as the lines of a Markdown code block, its language first.
        settled: a line once all lines are known.
        beside: other files, name to text.
        texts: whether it takes raw text that is no conversation.
    """

    writes: str
    ending: Literal["jsonl", "parquet"]
    weights: str
    weights_lost: str
    cannot_carry: tuple[str, ...]
    line: Callable[[Example], Line] | None
    loading: Callable[[Written], str]
    settled: Callable[[Line, Seen], Line] = as_it_is
    beside: Callable[[Written], Mapping[str, str]] = nothing_beside
    texts: bool = True
