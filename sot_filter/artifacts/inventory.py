"""The inventory: which source plays which role in a run, pinned, in one file that every worker reads."""

import dataclasses

from sot_filter.artifacts.files import read_json, write_json
from sot_filter.errors import ArtifactError
from sot_filter.sources import Source


def write_inventory(url: str, sources: dict[str, Source]) -> None:
    """Write the sources by role (``input``, ``safe``, ``harmful``), with what tells that a file is replaced."""
    write_json(url, {role: dataclasses.asdict(source) for role, source in sources.items()})


def read_inventory(url: str) -> dict[str, Source]:
    """Read them back. Raises `ArtifactError` when there is no inventory."""
    data = read_json(url)
    if data is None:
        raise ArtifactError(f"an inventory at {url}", "none", "Start the run with `sot-filter run`.")
    return {role: Source.from_json(source) for role, source in data.items()}
