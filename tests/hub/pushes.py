"""What the tests of publishing push, and how: functions to call in a client's process."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from sot_filter.hub import Published, Target, Upload, check_target, commit, ensure_repository, upload_file
from tests.hub.rows import as_jsonl, as_parquet, pairs

KEY = "0123456789abcdef"
_NUMBERS = count()
OTHERS = {"sot/book/summary.json": b'{"rows": 40}\n', "sot/book/map.png": b"\x89PNG\r\n\x00\x00 a picture"}
OURS = "\n<!-- ours -->\nWeighed.\n"


def new_name() -> str:
    """The name of a dataset that no other test has."""
    return f"org/pushed-{next(_NUMBERS)}"


def card(existing: str | None) -> str:
    """Our text below whatever is there; given back unchanged where it is there already."""
    existing = "---\nlicense: mit\n---\n" if existing is None else existing
    return existing if OURS in existing else existing + OURS


def target(repo: str, **how: Any) -> Target:
    """A target with the usual settings."""
    return Target(
        **{"repo": repo, "branch": None, "create_pr": False, "private": True, "dataset": None, "revision": None, **how}
    )


def output(folder: Path, salt: str = "rye") -> dict[str, str]:
    """Three files of an output: two that the Hub stores aside, one that it wants in the commit."""
    contents = {
        "data/train-0.parquet": as_parquet(pairs(5, salt)),
        "data/train-1.parquet": as_parquet(pairs(4, salt, first=5)),
        "data/test.jsonl": as_jsonl(pairs(3, salt)),
    }
    return written(folder, contents)


def written(folder: Path, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Write files; their URLs by path."""
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return {path: str(folder / path) for path in contents}


def uploaded(where: Target, files: Mapping[str, str]) -> list[tuple[Upload, str]]:
    """What workers do."""
    ensure_repository(where)
    return [(upload_file(where, path, url), url) for path, url in files.items()]


def committed(where: Target, uploads: list[tuple[Upload, str]], key: str = KEY) -> Published:
    """What the last task does."""
    # It is another process, so all it has is what travels in JSON.
    travelled = [(Upload.from_json(upload.to_json()), url) for upload, url in uploads]
    return commit(
        Target.from_json(where.to_json()), travelled, OTHERS, card, key=key, title="Weigh 12 rows", description="How."
    )


def push(where: Target, files: Mapping[str, str], key: str = KEY) -> Published:
    """All of it."""
    return committed(where, uploaded(where, files), key)


def words(where: Target) -> tuple[bool, str | None, str]:
    """What `check_target` says."""
    standing = check_target(where)
    return standing.exists, standing.head, standing.words
