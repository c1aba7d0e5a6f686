"""The output folder: who may write to it, what is in it, and which checkpoint of it is whole.

``run.json`` is written first, as ``started``, and last, as ``finished``, each time whole or not at all. It holds the
recipe as given and as resolved, so that the same command continues and another recipe is refused. A checkpoint counts
once ``whole.json`` in it lists its files with their sizes; what a kill left half-written is removed.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError

from sot_filter.errors import ArtifactError

RUN: Final = "run.json"
RECIPE: Final = "recipe.yaml"
LOG: Final = "log.jsonl"
HISTORY: Final = "history.jsonl"
CARD: Final = "README.md"
CHECKPOINTS: Final = "checkpoints"
STARTED: Final = "started"
FINISHED: Final = "finished"
_WHOLE: Final = "whole.json"
_LOCK: Final = ".lock"
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, for this process alone. Raises `ArtifactError` where it is another's, or one trains into it."""
    try:
        refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / _LOCK).open("w")
    except OSError as error:
        raise ArtifactError(f"to be able to write {folder}", str(error.strerror).lower(), "Check the path.") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ArtifactError(
                f"{folder} to itself", "another training into it", "Wait for that one, or give another `output`."
            ) from None
        yield


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say what a full disk means, or a folder that cannot be written, to those who train into it: `ArtifactError`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in _UNWRITABLE:
            raise
        raise ArtifactError(
            f"room and leave to write in {folder}",
            " ".join(str(error).split())[:160],
            "Free some space and run the same command again; whole checkpoints are kept.",
        ) from None


def read_run(folder: Path) -> dict[str, Any] | None:
    """What ``run.json`` says; None without one. Raises `ArtifactError` where it is not one of ours."""
    path = folder / RUN
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if {"status", "given", "recipe"} <= told.keys():
            return dict(told)
    except (ValueError, AttributeError):
        pass
    raise ArtifactError(f"a run.json of `sot-filter train` in {folder}", "another file", "Give another `output`.")


def refuse_foreign(folder: Path) -> None:
    """Raise `ArtifactError` where there are files, but no run; nothing is written."""
    foreign = sorted(path.name for path in folder.iterdir() if path.name != _LOCK) if folder.is_dir() else []
    if foreign and read_run(folder) is None:
        raise ArtifactError(
            f"an empty or new output folder, not {folder}", ", ".join(foreign[:3]), "Give another `output`."
        )


def check_folder(folder: Path, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Whether a run may write here: the folder is new or empty, or holds a run of this recipe.

    Args:
        folder: the output folder.
        given: the recipe as given, as plain JSON; the one that the run has resolved counts as the same.

    Returns:
        What ``run.json`` says of a run of this recipe; None where there is nothing to continue.

    Raises:
        ArtifactError: files that are no run, or a run of another recipe that has got somewhere.
    """
    run = read_run(folder)
    if run is None:
        refuse_foreign(folder)
        return None
    if given in (run["given"], run["recipe"]):
        return run
    if run["status"] != FINISHED and last_whole(folder / CHECKPOINTS) is None:
        return None
    changed = ", ".join(_changed(run["given"], given))
    raise ArtifactError(
        f"the recipe that the run in {folder} began with",
        f"another {changed}",
        "Set it back to continue, or give another `output`.",
    )


def write_json(path: Path, data: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(path)


def file_facts(path: Path) -> dict[str, Any]:
    """A file's size and SHA-256."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def mark_whole(checkpoint: Path) -> None:
    """Say that all files of a checkpoint are written."""
    files = {p.relative_to(checkpoint).as_posix(): p.stat().st_size for p in checkpoint.rglob("*") if p.is_file()}
    write_json(checkpoint / _WHOLE, files)


def last_whole(checkpoints: Path) -> Path | None:
    """The whole checkpoint of the highest step."""
    found = [path for path in checkpoints.glob("checkpoint-*") if _step(path) is not None and _is_whole(path)]
    return max(found, key=lambda path: _step(path) or 0, default=None)


def remove_broken(checkpoints: Path) -> None:
    """Remove the checkpoints that a kill left half-written."""
    for path in checkpoints.glob("checkpoint-*"):
        if not _is_whole(path):
            shutil.rmtree(path, ignore_errors=True)


def _step(checkpoint: Path) -> int | None:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        files: dict[str, int] = json.loads((checkpoint / _WHOLE).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError):
        return False


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[str]:
    """Keys whose values differ, dotted."""
    found = []
    for key in dict.fromkeys((*before, *now)):
        one, other = before.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _changed(one, other, f"{above}{key}.")
        elif one != other:
            found.append(f"{above}{key}")
    return found
