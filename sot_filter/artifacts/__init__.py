"""What stages hand to each other: files that appear whole or not at all, each with a manifest that says what it is."""

from sot_filter.artifacts.files import (
    reached,
    reaching,
    read_bytes,
    read_json,
    remove,
    write_atomic,
    write_bytes,
    write_json,
)
from sot_filter.artifacts.inventory import read_inventory, write_inventory
from sot_filter.artifacts.layout import Layout
from sot_filter.artifacts.listing import finished
from sot_filter.artifacts.manifest import Manifest, announce, find_manifest, require_manifest
from sot_filter.artifacts.shards import digests, fixed_size_column, matrix, read_table, write_table
from sot_filter.artifacts.versions import version_difference, versions

__all__ = [
    "Layout",
    "Manifest",
    "announce",
    "digests",
    "find_manifest",
    "finished",
    "fixed_size_column",
    "matrix",
    "reached",
    "reaching",
    "read_bytes",
    "read_inventory",
    "read_json",
    "read_table",
    "remove",
    "require_manifest",
    "version_difference",
    "versions",
    "write_atomic",
    "write_bytes",
    "write_inventory",
    "write_json",
    "write_table",
]
