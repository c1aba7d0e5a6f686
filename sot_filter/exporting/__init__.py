"""Rows of a finished run for trainers other than ours: one file per trainer, and what each cannot carry."""

from sot_filter.exporting.export import Request, export_output
from sot_filter.exporting.exporters import EXPORTERS

__all__ = ["EXPORTERS", "Request", "export_output"]
