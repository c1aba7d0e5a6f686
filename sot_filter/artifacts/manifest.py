"""The manifest beside every artifact: written last, so what has one is complete, and it says of what."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from sot_filter.artifacts.files import reached, reaching, read_json, write_json
from sot_filter.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artifact is.

    Attributes:
        key: hash of every setting and input that the artifact depends on.
        rows: how many rows it holds.
        digest: SHA-256 of its bytes; empty where the manifest's facts are all there is.
        bytes: its size.
        facts: what else the stage that made it has to say (counts, seconds, how the embedding came about).
    """

    key: str
    rows: int
    digest: str = ""
    bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def announce(url: str, manifest: Manifest) -> None:
    """Declare the artifact at ``url`` complete."""
    write_json(f"{url}.json", dataclasses.asdict(manifest))


def find_manifest(url: str, key: str) -> Manifest | None:
    """The manifest of the artifact at ``url`` if it is complete, of this key, and of the size it should have."""
    data = read_json(f"{url}.json")
    if not isinstance(data, dict) or data.get("key") != key:
        return None
    manifest = Manifest(**data)
    if not manifest.digest:
        return manifest
    fs, path = reached(url)
    try:
        with reaching(fs, url):
            size = fs.size(path)
    except FileNotFoundError:
        return None
    return manifest if size == manifest.bytes else None


def require_manifest(url: str, key: str) -> Manifest:
    """As `find_manifest`. Raises `ArtifactError` when an earlier stage did not finish the artifact."""
    manifest = find_manifest(url, key)
    if manifest is None:
        raise ArtifactError(
            f"a finished artifact of this run at {url}", "none", "Run `sot-filter run` again; it continues."
        )
    return manifest
