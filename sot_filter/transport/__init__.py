"""The push-pull solve: from points in one space to a potential that scores any row."""

from sot_filter.transport.c_transform import c_transform
from sot_filter.transport.choice import Choice, choose
from sot_filter.transport.clusters import Clusters, find_clusters
from sot_filter.transport.coupled import log_odds
from sot_filter.transport.geometry import Geometry, fit_geometry
from sot_filter.transport.neighbours import Neighbours, find_neighbours
from sot_filter.transport.problem import Measure, PushPullProblem, fold_duplicates
from sot_filter.transport.replicates import draw_halves, replicate_scores, score_range
from sot_filter.transport.score import RowScores, conditional_plan, score_rows
from sot_filter.transport.solution import Outcome, Solution
from sot_filter.transport.solvers import SOLVERS, solve

__all__ = [
    "SOLVERS",
    "Choice",
    "Clusters",
    "Geometry",
    "Measure",
    "Neighbours",
    "Outcome",
    "PushPullProblem",
    "RowScores",
    "Solution",
    "c_transform",
    "choose",
    "conditional_plan",
    "draw_halves",
    "find_clusters",
    "find_neighbours",
    "fit_geometry",
    "fold_duplicates",
    "log_odds",
    "replicate_scores",
    "score_range",
    "score_rows",
    "solve",
]
