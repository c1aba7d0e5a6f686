"""The audit of a run's references: what `sot-filter refs audit` shows. It reads the embeddings and writes nothing."""

from sot_filter.auditing.run import audit_references
from sot_filter.auditing.sides import Side, audit_sides

__all__ = ["Side", "audit_references", "audit_sides"]
