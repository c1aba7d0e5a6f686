"""The folder of an export: it is claimed before anything is written, so that nobody's files are replaced."""

from typing import Any, Final

import yaml

from sot_filter.artifacts import reached, reaching, read_bytes, write_bytes
from sot_filter.errors import ArtifactError

#: What tells that a folder holds an export, and of what. YAML, since `datasets` would read JSON as rows.
CLAIM: Final = "export.yaml"


def claim(folder: str, about: dict[str, Any]) -> None:
    """Take a folder for an export; one that was stopped, or the same one, is continued.

    Args:
        folder: where it goes.
        about: what is exported, of what: plain values.

    Raises:
        ArtifactError: the folder holds something else, or is a file.
    """
    fs, path = reached(folder)
    text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True).encode()
    found = read_bytes(f"{folder}/{CLAIM}")
    if found == text:
        return
    with reaching(fs, folder):
        if fs.isfile(path):
            raise ArtifactError(f"a folder for the export at {folder}", "a file", "Give another folder.")
        names = (
            sorted(name.rstrip("/").rpartition("/")[2] for name in fs.ls(path, detail=False))
            if fs.exists(path)
            else []
        )
    if found is not None:
        raise ArtifactError(
            f"the same export in {folder}, or nothing",
            "another one: of other rows, or with other options",
            "Give another folder, or remove that one.",
        )
    # A hidden file is what a stopped write leaves, or an editor.
    if others := [name for name in names if not name.startswith(".")]:
        raise ArtifactError(
            f"an empty folder for the export at {folder}",
            f"{len(others)} files, as {others[0]}",
            "Give another folder: no file of yours is replaced.",
        )
    write_bytes(f"{folder}/{CLAIM}", text)
