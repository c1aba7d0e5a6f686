"""People look at some rows of a finished run, and what they say of these is made to say something of all."""

from sot_filter.reviewing.assess import assess_labels
from sot_filter.reviewing.sample import write_sample

__all__ = ["assess_labels", "write_sample"]
