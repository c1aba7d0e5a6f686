"""What was seen while training, as JSON lines: ``{"step": 40, "epoch": 0.5, "safety": {...}}``, one kind to a line.

The kinds are `SAFETY` (a look of `sot_filter.training.probe`), `UTILITY` (the loss on evaluation rows) and `TRAINING`
(the mean training loss since the line before). A line is written at once and is on the disk before the checkpoint of
its step. So where a run is killed and goes on from a checkpoint, every line up to that step is there, and what lies
beyond it is cut away and seen again.
"""

import json
import math
import os
from pathlib import Path
from typing import Any, Final

from sot_filter.errors import ArtifactError

SAFETY: Final = "safety"
UTILITY: Final = "utility"
TRAINING: Final = "training"
KINDS: Final = (SAFETY, UTILITY, TRAINING)
Record = dict[str, Any]


class History:
    """The lines of a run, one of a kind for each step.

    Args:
        path: the file.

    Attributes:
        records: what it holds, in its order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []

    def begin(self, step: int) -> None:
        """Read what a run has seen up to the step that it goes on from; 0 is a new run, and has seen nothing.

        Raises:
            ArtifactError: the file cannot be read or written.
        """
        self.records = [r for r in read_history(self.path) if r["step"] <= step] if step and self.path.exists() else []
        text = "".join(_line(record) for record in self.records)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace(self.path, text.encode())
        except OSError as error:
            raise _unwritten(self.path, error) from None

    def has(self, kind: str, step: int) -> bool:
        """Whether something of this kind was seen at this step."""
        return any(kind in record and record["step"] == step for record in self.records)

    def add(self, kind: str, step: int, epoch: float, value: Any) -> None:
        """Append a line, unless there is one of its kind and step. Numbers that are not finite become null.

        Raises:
            ArtifactError: the file cannot be written.
        """
        if self.has(kind, step):
            return
        record = _finite({"step": step, "epoch": epoch, kind: value})
        try:
            # One write at the file's end: a reader sees all of the line or, after a crash, a torn last one.
            with self.path.open("ab", buffering=0) as handle:
                handle.write(_line(record).encode())
                os.fsync(handle.fileno())
        except OSError as error:
            raise _unwritten(self.path, error) from None
        self.records.append(record)


def read_history(path: Path) -> list[Record]:
    """The records of a file; a last line that a crash has torn is left out.

    Raises:
        ArtifactError: no such file, or a line that is none of a history.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ArtifactError("a history of a training run", f"{path}: {error.strerror}", "Name its file.") from None
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            right = isinstance(record["step"], int) and isinstance(record["epoch"], float)
        except (ValueError, TypeError, LookupError):
            right = False
        if not right or sum(kind in record for kind in KINDS) != 1:
            raise ArtifactError(
                "a step, an epoch and what was seen", f"something else in line {number} of {path}", "Remove that line."
            )
        records.append(record)
    return records


def replace(path: Path, data: bytes) -> None:
    """Write a file whole: what was there before stands until all of the new one is on the disk."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(beside, path)


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _unwritten(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        "a file for what is seen while training", f"{path}: {error.strerror}", "Make its folder writable."
    )
