"""How far stages are, read off their artifacts, so that it is the same whoever does the work."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sot_filter.artifacts import finished
from sot_filter.plan import Stage

#: A context to run a stage in, as to show its progress.
Watch = Callable[[Stage], AbstractContextManager[Any]]


def rows_done(stage: Stage) -> int:
    """How many of a stage's rows are in finished artifacts, whoever made them; all only if no artifact is missing."""
    done = finished((url for url, _ in stage.artifacts), stage.key)
    if len(done) == len(stage.artifacts):
        return stage.rows
    # What is missing may be that of an empty file, which has no rows.
    return min(sum(rows for url, rows in stage.artifacts if url in done), stage.rows - 1)
