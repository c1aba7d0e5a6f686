"""The table of trainers that rows can be exported for."""

from typing import Final

from sot_filter.exporting.axolotl import AXOLOTL
from sot_filter.exporting.exporter import Exporter
from sot_filter.exporting.llama_factory import LLAMA_FACTORY
from sot_filter.exporting.ms_swift import MS_SWIFT
from sot_filter.exporting.openai import OPENAI
from sot_filter.exporting.parquet import PARQUET
from sot_filter.exporting.trl import TRL

#: Exporters by the name of what reads them. A new one is one file and one line here.
EXPORTERS: Final[dict[str, Exporter]] = {
    "trl": TRL,
    "ms-swift": MS_SWIFT,
    "axolotl": AXOLOTL,
    "llama-factory": LLAMA_FACTORY,
    "openai": OPENAI,
    "parquet": PARQUET,
}
