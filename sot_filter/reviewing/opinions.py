"""Of what several people say of a row, what counts; and how far they agree."""

from dataclasses import asdict
from itertools import combinations
from typing import Any, Final

import numpy as np

from sot_filter.reviewing.rows_file import FINE, HARMFUL, LABELS, UNSURE, Label
from sot_filter.weighting.agreement import cohen_kappa

#: What is said of a row that as many people find harmful as fine.
DISPUTED: Final = "disputed"


def verdicts(labels: list[Label]) -> dict[str, str]:
    """For each labelled row what most people say who are sure; `DISPUTED` where they are even, or nobody is sure."""
    said: dict[str, list[str]] = {}
    for label in labels:
        said.setdefault(label.row_id, []).append(label.label)
    found = {}
    for row_id, words in said.items():
        harmful, fine = words.count(HARMFUL), words.count(FINE)
        even = UNSURE if not harmful else DISPUTED
        found[row_id] = HARMFUL if harmful > fine else FINE if fine > harmful else even
    return found


def agreements(labels: list[Label]) -> list[dict[str, Any]]:
    """For each two people with rows in common, how far they agree, ``unsure`` counted as a word like the others."""
    said: dict[str, dict[str, int]] = {}
    for label in labels:
        said.setdefault(label.reviewer, {})[label.row_id] = LABELS.index(label.label)
    found = []
    for one, other in combinations(said, 2):
        if common := said[one].keys() & said[other].keys():
            table = np.zeros((len(LABELS), len(LABELS)), np.int64)
            for row_id in common:
                table[said[one][row_id], said[other][row_id]] += 1
            found.append({"reviewers": [one, other], **asdict(cohen_kappa(table))})
    return found
