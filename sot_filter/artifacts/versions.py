"""Which code does the work: the versions that two workers of a run must have in common."""

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Final

from sot_filter import __version__

_LIBRARIES: Final = ("torch", "transformers", "datatrove")


def code_digest(folder: Path) -> str:
    """Twelve digits that differ when any Python file below a folder does."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()[:12]


#: Taken when the code is loaded: what is installed over it later is not what runs here.
_CODE: Final = code_digest(Path(__file__).resolve().parent.parent)


@cache
def versions() -> dict[str, str]:
    """By name the versions of this package and of what it computes with, and a digest of the package's own code.

    A build of a library for another device (``2.9+cpu``, ``2.9+cu128``) is the same version: a launch from a machine
    without a GPU is no other code than its workers'.
    """
    libraries = {name: importlib.metadata.version(name).partition("+")[0] for name in _LIBRARIES}
    return {"sot-filter": __version__, "code": _CODE, **libraries}


def version_difference(before: dict[str, str] | None, now: dict[str, str]) -> str:
    """In what the versions now differ from those before, as ``torch 2.13.0, not 2.12.0``."""
    if not before:
        return "; ".join(f"{name} {version}" for name, version in now.items())
    return "; ".join(
        f"{name} {now.get(name)}, not {before.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    )
