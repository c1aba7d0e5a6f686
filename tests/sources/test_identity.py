"""A source file that is replaced is noticed by whoever reads it next, or is reading it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sot_filter.errors import SourceError
from sot_filter.sources import Source, identity, local_source

LINES = "".join(f'{{"text": "line {i:03}"}}\n' for i in range(200))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(LINES)
    return path


@pytest.fixture
def source(path: Path) -> Source:
    return local_source(str(path))


def read(source: Source, start: int = 0, stop: int = 5) -> int:
    return len(list(source.read(source.files[0], start, stop)))


def other_rows(path: Path) -> None:
    path.write_text(LINES.replace("line 150", "line 151"))


def fewer_rows(path: Path) -> None:
    path.write_text(LINES[:-20])


def more_rows(path: Path) -> None:
    with path.open("a") as handle:
        handle.write(LINES)


def other_rows_with_the_old_time(path: Path) -> None:
    before = path.stat()
    other_rows(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "change", [other_rows, fewer_rows, more_rows, other_rows_with_the_old_time, gone], ids=lambda f: f.__name__
)
def test_another_file_is_refused_and_named(source: Source, path: Path, change: Callable[[Path], None]) -> None:
    assert read(source) == 5
    change(path)
    got = "none" if change is gone else "another one"
    assert "stamp" not in str(source.to_json())
    for again in (source, Source.from_json(source.to_json())):
        with pytest.raises(SourceError, match=rf"the source file rows\.jsonl as it was .*{path}; got {got}\. Put"):
            read(again)


@pytest.mark.parametrize("change", [other_rows, fewer_rows, more_rows], ids=lambda f: f.__name__)
def test_a_file_that_changes_while_it_is_read_is_refused(
    source: Source, path: Path, change: Callable[[Path], None]
) -> None:
    rows = source.read(source.files[0], 0, 5)
    next(rows)
    change(path)
    with pytest.raises(SourceError, match=r"the source file rows\.jsonl as it was"):
        list(rows)


def test_the_same_bytes_under_another_time_are_the_same_file_and_read_once(
    source: Source, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)
    digested: list[str] = []
    digest_of = identity.digest_of
    monkeypatch.setattr(identity, "digest_of", lambda *given: digested.append(given[1]) or digest_of(*given))
    for start in range(0, 200, 50):
        assert read(source, start, start + 50) == 50
    assert len(digested) == 1
    other_rows(path)
    with pytest.raises(SourceError, match="another one"):
        read(source)


def test_the_stamp_is_no_part_of_what_the_rows_are(source: Source, path: Path) -> None:
    assert source.files[0].stamp
    os.utime(path, ns=(0, 0))
    again = local_source(str(path))
    assert again.files[0].stamp != source.files[0].stamp
    assert again.digest == source.digest
