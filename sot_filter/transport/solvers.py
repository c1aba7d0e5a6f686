"""One door to the solvers; a new one is a file and a line here."""

import inspect
from collections.abc import Callable
from typing import Any

from sot_filter.errors import SolverError
from sot_filter.transport.centroid import solve_centroid
from sot_filter.transport.coupled import solve_coupled
from sot_filter.transport.minibatch import solve_minibatch
from sot_filter.transport.online import solve_online
from sot_filter.transport.paper import solve_paper
from sot_filter.transport.problem import PushPullProblem
from sot_filter.transport.push_pull import solve_exact
from sot_filter.transport.solution import Solution

SOLVERS: dict[str, Callable[..., Solution]] = {
    "coupled": solve_coupled,
    "centroid": solve_centroid,
    "minibatch": solve_minibatch,
    "online": solve_online,
    "exact": solve_exact,
    "paper": solve_paper,
}


def solve(problem: PushPullProblem, *, mode: str = "exact", **options: Any) -> Solution:
    """Solve ``problem``. A solve that ends badly is a `Solution` whose outcome says so, not an error.

    Args:
        problem: rows, references and parameters.
        mode: a name of `SOLVERS`.
        options: the keyword arguments of that solver (`solve_coupled`, `solve_exact`, `solve_paper`).

    Raises:
        SolverError: an unknown mode or option, or a problem the mode cannot take.
    """
    if mode not in SOLVERS:
        raise SolverError(f"a mode among {', '.join(SOLVERS)}", repr(mode), "Choose one of these.")
    known = list(inspect.signature(SOLVERS[mode]).parameters)[1:]
    if unknown := set(options) - set(known):
        raise SolverError(
            f"options of mode {mode}: {', '.join(known)}", ", ".join(sorted(unknown)), "Leave out the others."
        )
    return SOLVERS[mode](problem, **options)
