"""Where rows come from: source files, found, counted, digested, and read by row range; never a row skipped."""

from sot_filter.sources.discovery import local_source
from sot_filter.sources.hub import hub_source, read_card
from sot_filter.sources.hub_cache import filesystem_of
from sot_filter.sources.source import Part, Source, SourceFile, has_values
from sot_filter.sources.storage import STORAGES, TABULAR, Storage, Tabular
from sot_filter.sources.survey import Row, Unreadable
from sot_filter.sources.tabular import with_columns

__all__ = [
    "STORAGES",
    "TABULAR",
    "Part",
    "Row",
    "Source",
    "SourceFile",
    "Storage",
    "Tabular",
    "Unreadable",
    "filesystem_of",
    "has_values",
    "hub_source",
    "local_source",
    "read_card",
    "with_columns",
]
