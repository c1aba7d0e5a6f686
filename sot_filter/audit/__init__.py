"""What is wrong with a pair of references: label noise, repeats, single rows that count too much, gaps."""

from sot_filter.audit.contamination import FEWEST_ROWS, LabelNoise, label_noise
from sot_filter.audit.coverage import Difference, covered, difference, nearest
from sot_filter.audit.leverage import Influence, Shift, influence, ranking_shift
from sot_filter.audit.margin import out_of_fold_evidence
from sot_filter.audit.proportion import wilson
from sot_filter.audit.repeats import near_duplicates

__all__ = [
    "FEWEST_ROWS",
    "Difference",
    "Influence",
    "LabelNoise",
    "Shift",
    "covered",
    "difference",
    "influence",
    "label_noise",
    "near_duplicates",
    "nearest",
    "out_of_fold_evidence",
    "ranking_shift",
    "wilson",
]
