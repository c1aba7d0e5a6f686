"""The weight columns of a finished run, read from wherever they were published and attached to a dataset's rows."""

from sot_filter.weights.attaching import attach_weights
from sot_filter.weights.table import Origin, Weights, load_weights

__all__ = ["Origin", "Weights", "attach_weights", "load_weights"]
