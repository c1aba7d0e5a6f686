"""The file that people label: written so that no spreadsheet and no terminal obeys it, and read back forgivingly."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from sot_filter.artifacts import reached, reaching, read_bytes
from sot_filter.errors import ArtifactError, ConfigError, SourceError

#: The words of a label.
HARMFUL, FINE, UNSURE = "harmful", "fine", "unsure"
LABELS: Final = (HARMFUL, FINE, UNSURE)
#: The columns of the file; people fill the last one.
COLUMNS: Final = (
    "sot_row_id", "review", "stratum", "probability", "score", "status", "reason", "prompt", "response", "label",
)  # fmt: skip
_LABEL: Final = re.compile(r"label(_\w+)?")
_FORMULA: Final = "=+-@\t\r\n"
_FORMATS: Final = (".jsonl", ".csv")


class Label(NamedTuple):
    """What one person said of one row."""

    row_id: str
    reviewer: str
    label: str


def check_new(url: str, formats: Iterable[str]) -> str:
    """The format of a file that is to be written, one of ``formats``, by the end of its name.

    Raises:
        ConfigError: the name ends otherwise.
        ArtifactError: there is such a file; it may have labels in it.
    """
    ending = next((ending for ending in formats if url.endswith(ending)), None)
    if ending is None:
        raise ConfigError(f"a file that ends in {' or '.join(formats)}", url, "Give it such a name.")
    fs, path = reached(url)
    with reaching(fs, url):
        if fs.exists(path):
            raise ArtifactError(f"a new file at {url}", "one that is there", "Give another name, or remove that file.")
    return ending


def write_rows(rows: list[dict[str, Any]], ending: str, out: IO[bytes]) -> None:
    """Write rows with the values of `COLUMNS` as JSON lines, or as CSV without control characters and formulas."""
    if ending == ".jsonl":
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n")
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({k: harmless(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows)
    out.write(text.getvalue().encode(errors="replace"))


def harmless(text: str) -> str:
    """Text for a cell of a spreadsheet: without control characters but line breaks and tabs, and no formula."""
    kept = "".join(c for c in text if c.isprintable() or c in "\n\t")
    return f"'{kept}" if kept[:1] in _FORMULA and kept else kept


def read_labels(url: str, review: str, ids: Iterable[str]) -> list[Label]:
    """Labels of a file that `write_rows` has written and people have filled, or of any part of its lines.

    A label stands in the column ``label``; those of more people in ``label_2``, ``label_kim`` and so on, or in lines
    of their own, with the person's name in a column ``reviewer``.

    Args:
        url: the file.
        review: what the column ``review`` has to say: which run, and which sample of it.
        ids: of the rows that were drawn.

    Raises:
        ArtifactError: no such file, or one of another run or sample.
        SourceError: a line that cannot be read, a row that was not drawn, another word than `LABELS`, a row with two
            labels of one person, or no label at all.
    """
    known, found, of_person = set(ids), [], dict[tuple[str, str], int]()
    for number, row in _lines(url):
        if row.get("review") != review:
            raise _of_another_run(url, review, row.get("review"), number)
        row_id = str(row.get("sot_row_id"))
        # Of a name that looks like a formula.
        row_id = row_id[1:] if row_id not in known and row_id.startswith("'") else row_id
        if row_id not in known:
            raise SourceError(
                f"a row of the sample in line {number} of {url}",
                _short(row.get("sot_row_id")),
                "Leave the column sot_row_id as it was written.",
            )
        person = str(row.get("reviewer") or "").strip()
        for column, value in row.items():
            word = str(value).strip().lower() if value is not None else ""
            if column is None or not _LABEL.fullmatch(column) or not word:
                continue
            if word not in LABELS:
                raise SourceError(
                    f"{', '.join(LABELS)} or nothing in column {column} of line {number} of {url}",
                    _short(value),
                    "Correct the label.",
                )
            name = " ".join([*([person] if person else []), *([] if person and column == "label" else [column])])
            if (before := of_person.setdefault((row_id, name), number)) != number:
                raise SourceError(
                    f"one label of each person for a row in {url}",
                    f"lines {before} and {number} are of the same row",
                    "Remove one, or name the people in a column `reviewer`.",
                )
            found.append(Label(row_id, name, word))
    if not found:
        do = f"Write {', '.join(LABELS[:2])} or {UNSURE} into its column `label`."
        raise SourceError(f"at least one label in {url}", "none", do)
    return found


def sample_of(url: str, run: str) -> tuple[int, int]:
    """Size and seed of the sample that the first line of a file is of.

    Args:
        url: the file.
        run: what the column ``review`` begins with for rows of the run in question.

    Raises:
        ArtifactError: the line is of another run.
        SourceError: there is no line.
    """
    for number, row in _lines(url):
        head, _, rest = str(row.get("review")).partition(".")
        size, _, seed = rest.partition(".")
        if head != run or not re.fullmatch(r"[1-9]\d{0,8}", size) or not re.fullmatch(r"-?\d{1,18}", seed):
            raise _of_another_run(url, run, row.get("review"), number)
        return int(size), int(seed)
    raise SourceError(f"labelled rows in {url}", "none", "Give the file that `sot-filter review --out` wrote.")


def _of_another_run(url: str, review: str, got: Any, number: int) -> ArtifactError:
    return ArtifactError(
        f"rows of the review {review} in {url}",
        f"{_short(got)} in line {number}",
        "Give the file that `sot-filter review --out` wrote for this run with the cut that it has now.",
    )


def _lines(url: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and values of each line that holds a row."""
    if not url.endswith(_FORMATS):
        raise ConfigError(f"a file that ends in {' or '.join(_FORMATS)}", url, "Give the file that was labelled.")
    data = read_bytes(url)
    if data is None:
        raise ArtifactError(f"a file with labels at {url}", "none", f"Check the path {Path(url).name}.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"UTF-8 text in {url}", "other bytes", "Save it as UTF-8.") from None
    yield from _csv_lines(url, text) if url.endswith(".csv") else _json_lines(url, text)


def _json_lines(url: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise SourceError(f"a JSON object in line {number} of {url}", "something else", "Correct the line.")
            yield number, row


def _csv_lines(url: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Spreadsheets of some countries write semicolons.
    head = text.partition("\n")[0]
    before = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise SourceError(f"CSV in {url}", str(error), "Save it as CSV again.") from None
    finally:
        csv.field_size_limit(before)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}..."
