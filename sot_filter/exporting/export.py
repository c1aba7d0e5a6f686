"""An export: the rows of a finished run in the format of a trainer, with a page that says what is in it and what not.

Rows are read twice, once to count them and to learn what their lines have between them, once to be written, so memory
does not grow with their number. The same request of the same output gives the same bytes.
"""

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import IO, Any, Final

from sot_filter.artifacts import write_atomic, write_bytes
from sot_filter.conversation import InvalidRow, read_conversation
from sot_filter.errors import ConfigError, SourceError
from sot_filter.exporting.destination import claim
from sot_filter.exporting.exporter import Example, Exporter, Line, Seen, Written
from sot_filter.exporting.exporters import EXPORTERS
from sot_filter.exporting.output import Output, WeighedRow, find_output, weighed_rows
from sot_filter.exporting.page import page
from sot_filter.exporting.parquet import write_all
from sot_filter.exporting.repetition import copies
from sot_filter.exporting.turns import Inexpressible, chat_turns, raw_text, tools_of
from sot_filter.exporting.typed import Columns
from sot_filter.rows import DROPPED, EMPTY, INVALID, KEPT

#: What a row is left out for when its weight asks for none of it.
_NEVER_DRAWN: Final = "drawn 0 times"
#: Types of the columns that a typed file has beside the rows' own.
_FIXED: Final = {"sot_weight": "float32", "sot_row_id": "string"}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        target: a key of `EXPORTERS`.
        repeat: write a row as often as its weight says, instead of once.
        times: copies of a row of weight one.
        seed: of the draw of the last copy.
    """

    target: str
    repeat: bool = False
    times: float = 1.0
    seed: int = 0


@dataclass(slots=True)
class _Tally:
    """Counts over all rows."""

    read: int = 0
    written: int = 0
    lines: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    eligible: int = 0
    weights: float = 0.0
    squares: float = 0.0
    largest: float = 0.0

    def weigh(self, weight: float) -> None:
        self.eligible += 1
        self.weights, self.squares = self.weights + weight, self.squares + weight * weight
        self.largest = max(self.largest, weight)

    @property
    def effective(self) -> float:
        """Effective sample size of the weights, (Σw)² / Σw²."""
        return self.weights**2 / self.squares if self.squares else 0.0


def export_output(url: str, out: str, request: Request) -> dict[str, Any]:
    """Write the rows of a run's output for a trainer.

    Args:
        url: the output folder of a run in mode ``columns``, or one data file of it.
        out: folder to write to; empty, not there yet, or one that holds the same export.
        request: what is asked for.

    Returns:
        Plain values: ``target``, ``folder``, ``files``, ``rows`` (read, written, lines), ``left_out`` (rows by
        reason), ``weights``, ``cannot_carry`` and ``loading``.

    Raises:
        ConfigError: an unknown target, options that contradict each other, or rows that the target has no form for.
        SourceError: no output of a run at ``url``, or no row that can be written.
        ArtifactError: files of the output are missing, or ``out`` holds something else.
    """
    exporter = _exporter(request)
    output = find_output(url)
    texts = output.source.format == "text"
    if texts and not exporter.texts:
        known = ", ".join(name for name, other in EXPORTERS.items() if other.texts)
        raise ConfigError(f"conversations for --to {request.target}", "rows of raw text", f"Choose one of {known}.")
    tally, seen, columns = _survey(output, exporter, request)
    if not tally.lines:
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in tally.left_out.items()) or "no rows"
        do = "Keep more rows with `sot-filter select`, or choose another trainer."
        raise SourceError(f"at least one row that {request.target} can take in {url}", reasons, do)
    of = {"name": output.name, "rows": output.source.rows, "digest": output.source.digest}
    claim(out, {"export": asdict(request), "of": of})
    data = f"{_word(output.source.split, 'train')}.{exporter.ending}"
    weights = bool(exporter.weights) and not request.repeat
    written = Written(_word(output.name, "rows"), data, seen, texts, weights)
    digest, size = write_atomic(f"{out}/{data}", partial(_write, output, exporter, request, seen, columns))
    for name, text in exporter.beside(written).items():
        write_bytes(f"{out}/{name}", text.encode())
    result = {
        "target": request.target,
        "files": [{"name": data, "bytes": size, "sha256": digest}, *({"name": n} for n in exporter.beside(written))],
        "rows": {"read": tally.read, "written": tally.written, "lines": tally.lines},
        "left_out": dict(sorted(tally.left_out.items())),
        "weights": {
            "how": _how(exporter, request),
            "rows": tally.eligible,
            "effective_sample_size": tally.effective,
            "largest": tally.largest,
        },
        "cannot_carry": _lost(exporter, request),
        "loading": exporter.loading(written),
    }
    write_bytes(f"{out}/EXPORT.md", page(output.name, exporter.writes, asdict(request), result).encode())
    return {**result, "folder": out}


def _exporter(request: Request) -> Exporter:
    if request.target not in EXPORTERS:
        near = difflib.get_close_matches(request.target, EXPORTERS, 1, 0.5)
        do = f"Did you mean {near[0]}?" if near else "Name one of them."
        raise ConfigError(f"one of {', '.join(EXPORTERS)}", f"--to {request.target}", do)
    exporter = EXPORTERS[request.target]
    if not (math.isfinite(request.times) and request.times > 0):
        raise ConfigError("a number of copies above zero", f"--times {request.times:g}", "Correct it.")
    if request.times != 1 and not request.repeat:
        raise ConfigError("--repeat with --times", "--times alone", "Add --repeat, or leave --times out.")
    if request.repeat and exporter.line is None:
        raise ConfigError(
            f"all rows once for --to {request.target}",
            "--repeat",
            "Leave it out: that file has the weights themselves.",
        )
    return exporter


def _survey(output: Output, exporter: Exporter, request: Request) -> tuple[_Tally, Seen, Columns]:
    """What there is to write, and what the lines have between them."""
    tally, seen, columns = _Tally(), Seen(), Columns(_fixed(request))
    if exporter.line is None:
        for row in weighed_rows(output):
            tally.read += 1
            if row.kept:
                tally.weigh(row.weight)
        tally.written = tally.lines = tally.read
        return tally, seen, columns
    for line, _ in _lines(output, exporter, request, tally):
        seen.add(line)
        if exporter.ending == "parquet":
            columns.add(line)
    return tally, seen, columns


def _lines(output: Output, exporter: Exporter, request: Request, tally: _Tally) -> Iterator[tuple[Line, int]]:
    """Each line that is written, and how often; the tally counts them and what is left out."""
    assert exporter.line is not None
    for row in weighed_rows(output):
        tally.read += 1
        if not row.kept or row.status in (EMPTY, INVALID):
            tally.left_out[DROPPED if row.status == KEPT else row.status] += 1
            continue
        try:
            line = exporter.line(_example(output, row, request))
        except InvalidRow:
            tally.left_out[INVALID] += 1
            continue
        except Inexpressible as problem:
            tally.left_out[str(problem)] += 1
            continue
        tally.weigh(row.weight)
        number = copies(row.id, row.weight, request.times, request.seed) if request.repeat else 1
        if number == 0:
            tally.left_out[_NEVER_DRAWN] += 1
            continue
        tally.written, tally.lines = tally.written + 1, tally.lines + number
        yield line, number


def _example(output: Output, row: WeighedRow, request: Request) -> Example:
    source, padded = output.source, output.padded
    conversation = read_conversation(row.values, source.format, source.columns)
    if conversation.is_empty:
        raise Inexpressible("no text")
    weight = None if request.repeat else row.weight
    if (text := raw_text(conversation)) is not None:
        return Example(row.id, weight, source.format, text)
    turns, tools = chat_turns(conversation, padded), tools_of(conversation, padded)
    return Example(row.id, weight, source.format, None, turns, tools)


def _write(output: Output, exporter: Exporter, request: Request, seen: Seen, columns: Columns, out: IO[bytes]) -> None:
    if exporter.line is None:
        write_all(output, out)
        return
    lines = (
        exporter.settled(line, seen)
        for line, number in _lines(output, exporter, request, _Tally())
        for _ in range(number)
    )
    if exporter.ending == "parquet":
        columns.write(out, lines)
        return
    for line in lines:
        out.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _fixed(request: Request) -> dict[str, str]:
    return {name: kind for name, kind in _FIXED.items() if not (request.repeat and name == "sot_weight")}


def _how(exporter: Exporter, request: Request) -> str:
    if request.repeat:
        return "repetition"
    return exporter.weights or "lost"


def _lost(exporter: Exporter, request: Request) -> list[str]:
    of_copies = "weights other than in the mean: a row's number of copies is a whole number"
    lost = of_copies if request.repeat else exporter.weights_lost
    return [*([lost] if lost else []), *exporter.cannot_carry]


def _word(name: str, otherwise: str) -> str:
    """The name as a word that any file system and command line takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or otherwise
