"""From scores to weights: selection, weights over the kept rows, evidence in words, and quality against labels."""

from sot_filter.weighting.coverage import Coverage, fit_coverage, likeness, unknown_words
from sot_filter.weighting.drop_count import Canaries, DropCount, count_to_drop
from sot_filter.weighting.evidence import reason
from sot_filter.weighting.exact_sum import ExactSum
from sot_filter.weighting.flips import (
    keeping_push_strengths,
    least_retention,
    nearest_flip,
    rank_of,
    retention_ranks,
)
from sot_filter.weighting.harmful_share import RESOLUTION, HarmCounts, HarmfulShare, estimate_share
from sot_filter.weighting.ordered_counts import OrderedCounts, Ranked
from sot_filter.weighting.quality import Quality, measure_quality
from sot_filter.weighting.rows_below import RowsBelow
from sot_filter.weighting.score_counts import ScoreCounts
from sot_filter.weighting.selection import Cut, apply_rule, select_rows
from sot_filter.weighting.slices import Slice, judge_slices, length_bucket, rows_to_keep
from sot_filter.weighting.stability import on_edge, replicate_cuts, times_kept
from sot_filter.weighting.typicality import PairModel, character_pairs
from sot_filter.weighting.weights import UNKNOWN_WEIGHT, WeightSums, log_weights, weights

__all__ = [
    "RESOLUTION",
    "UNKNOWN_WEIGHT",
    "Canaries",
    "Coverage",
    "Cut",
    "DropCount",
    "ExactSum",
    "HarmCounts",
    "HarmfulShare",
    "OrderedCounts",
    "PairModel",
    "Quality",
    "Ranked",
    "RowsBelow",
    "ScoreCounts",
    "Slice",
    "WeightSums",
    "apply_rule",
    "character_pairs",
    "count_to_drop",
    "estimate_share",
    "fit_coverage",
    "judge_slices",
    "keeping_push_strengths",
    "least_retention",
    "length_bucket",
    "likeness",
    "log_weights",
    "measure_quality",
    "nearest_flip",
    "on_edge",
    "rank_of",
    "reason",
    "replicate_cuts",
    "retention_ranks",
    "rows_to_keep",
    "select_rows",
    "times_kept",
    "unknown_words",
    "weights",
]
