"""How far minibatch and online potentials, and compressed references, are from the converged exact solve.

Of a toy (20,000 rows in 12 topics, d = 384, references of 1,000) in mode exact, and of real sets in mode coupled with
direction, calibration and neighbours as held-out rows give them, at rho = 0.1 and balanced: Spearman correlation of
the scores, how much the better halves overlap, the largest error of a potential (but for a constant; cost units), the
marginal errors that the approximation reports, and rows read over the rows there are, counting each look at a batch.

Then each reference is replaced by the raw means of k-means clusters of it, at 2 to 20 points a cluster; beside it the
potentials so found, on all points of the reference, and as many points drawn at random. "Held out": all settings are
those chosen on the references, else epsilon is 0.05, push_strength 0.5 and rho as it says.

The real sets need a folder with vectors of their views (NAME.prompt.npy, NAME.response.npy): instruct_h10,
instruct_h30, instruct_safe_ref, harmful_ref_same, harmful_ref_cross.

    OMP_NUM_THREADS=1 python benchmarks/approximations.py --data FOLDER/sub
"""

import argparse
import dataclasses
import math
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.clustering import assign, kmeans
from sot_filter.transport import (
    Choice,
    Measure,
    PushPullProblem,
    Solution,
    choose,
    compress,
    find_neighbours,
    score_rows,
    solve,
)

NEIGHBOURS = 8
RATIOS = (2, 5, 10, 20)
RHOS = (0.1, math.inf)
CONVERGED = {"threshold": 1e-10, "marginal_threshold": 1e-6, "max_iterations": 500}
APPROXIMATIONS: tuple[tuple[str, dict[str, int]], ...] = (
    ("minibatch", {"batch_rows": 256, "batches": 8}),
    ("minibatch", {"batch_rows": 256, "batches": 64}),
    ("minibatch", {"batch_rows": 1024, "batches": 2}),
    ("minibatch", {"batch_rows": 1024, "batches": 16}),
    ("minibatch", {"batch_rows": 1024, "batches": 16, "polish": 1}),
    ("online", {"epochs": 1}),
    ("online", {"epochs": 2}),
    ("online", {"epochs": 2, "polish": 1}),
    ("online", {"epochs": 8}),
)
Views = dict[str, Tensor]


def toy(n: int, m: int, d: int = 384, seed: int = 0) -> PushPullProblem:
    """Unit vectors: rows and safe reference share 8 topics, the harmful reference has 4 of them and 4 more."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    mean, topics, direction = normalize(normal(1, d)), normalize(normal(12, d)), normalize(normal(1, d))

    def sample(k: int, low: int, high: int, share: float) -> Measure:
        topic = torch.randint(low, high, (k,), generator=generator)
        harm = (torch.rand(k, generator=generator) < share)[:, None]
        points = mean + 0.7 * topics[topic] + 0.4 * harm * direction + 0.75 * normal(k, d) / d**0.5
        return Measure.uniform(normalize(points))

    return PushPullProblem(sample(n, 0, 8, 0.1), sample(m, 0, 8, 0.0), sample(m, 4, 12, 1.0))


def spread(a: Tensor, b: Tensor) -> float:
    """The largest difference of two potentials, but for a constant."""
    return float((a - b - (a - b).mean()).abs().max())


def agreement(found: Tensor, exact: Tensor) -> list[str]:
    """Spearman correlation and overlap of the better halves, as cells."""
    half = len(exact) // 2
    best = [set(score.argsort(descending=True)[:half].tolist()) for score in (found, exact)]
    return [f"{spearmanr(found, exact).statistic:.4f}", f"{len(best[0] & best[1]) / half:.4f}"]


def row(name: str, cells: list[str]) -> None:
    """A line of a table."""
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def approximate(title: str, problem: PushPullProblem, objective: str) -> None:
    """One block: every approximation against the exact solve."""
    exact = solve(problem, mode=objective, **CONVERGED)
    print(f"\n{title} (exact: {exact.outcome.value}, {exact.iterations} iterations)\n")
    row("", ["Spearman", "top half", "error of psi, safe / harmful", "marginal error", "rows read"])
    print("|---" * 6 + "|")
    free = dataclasses.replace(problem, rho_safe=0.0, rho_harmful=0.0)
    nothing = solve(free, mode=objective)
    row("psi = 0", [*agreement(nothing.score, exact.score), *_errors(nothing, exact), "", "1"])
    for mode, options in APPROXIMATIONS:
        size = options.get("batch_rows", 64)
        if size * options.get("batches", 1) > 4 * len(problem.rows) and size > 256:
            continue
        found = solve(problem, mode=mode, objective=objective, **options)
        passes = options.get("polish", 0) + (options.get("epochs", 2) if objective == "coupled" else 1)
        read = (found.iterations - passes) * size / len(problem.rows) + passes
        named = ", ".join(f"{name} {value}" for name, value in options.items())
        errors = f"{found.marginal_error_safe:.3f} / {found.marginal_error_harmful:.3f}"
        row(f"{mode}, {named}", [*agreement(found.score, exact.score), *_errors(found, exact), errors, f"{read:.1f}"])


def _errors(found: Solution, exact: Solution) -> list[str]:
    pairs = (found.psi_safe, exact.psi_safe), (found.psi_harmful, exact.psi_harmful)
    return [" / ".join(f"{spread(ours, theirs):.4f}" for ours, theirs in pairs)]


def smaller(problem: PushPullProblem, ratio: int) -> Iterator[tuple[str, PushPullProblem, list[Tensor] | None]]:
    """The problem with k-means centroids of both references, and with as many points drawn at random."""
    sides, indices, drawn = [], [], []
    for reference in (problem.safe, problem.harmful):
        k = len(reference) // ratio
        side, index = compress(reference, assign(reference.points, kmeans(reference.points, k, seed=0)))
        sides.append(side)
        indices.append(index)
        order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(0))[:k]
        drawn.append(Measure.uniform(reference.points[order]))
    yield "centroids", dataclasses.replace(problem, safe=sides[0], harmful=sides[1]), indices
    yield "random points", dataclasses.replace(problem, safe=drawn[0], harmful=drawn[1]), None


def compressed(title: str, problem: PushPullProblem, objective: str) -> None:
    """One block: smaller references against the full ones."""
    full = solve(problem, mode=objective, **CONVERGED)
    print(f"\n{title}\n")
    row("points to one", ["kind", "Spearman", "top half", "error of psi, safe / harmful"])
    print("|---" * 5 + "|")
    for ratio in RATIOS:
        for kind, fewer, indices in smaller(problem, ratio):
            found = solve(fewer, mode=objective, **CONVERGED)
            if indices is None:
                row(str(ratio), [kind, *agreement(found.score, full.score), ""])
                continue
            lifted = found.psi_safe[indices[0]], found.psi_harmful[indices[1]]
            pairs = zip(lifted, (full.psi_safe, full.psi_harmful), strict=True)
            errors = " / ".join(f"{spread(ours, theirs):.4f}" for ours, theirs in pairs)
            row(str(ratio), [kind, *agreement(found.score, full.score), errors])
            row(str(ratio), ["their psi, all points", *agreement(at(problem, objective, lifted), full.score), errors])


def at(problem: PushPullProblem, objective: str, psi: tuple[Tensor, Tensor]) -> Tensor:
    """Scores at given potentials of the full references."""
    if objective == "coupled":
        return solve(problem, mode="coupled", potentials=psi, max_iterations=1).score
    points, balance = problem.rows.points, problem.push_strength
    return score_rows(points, problem.safe, psi[0], problem.harmful, psi[1], problem.epsilon, balance).score


def posed(choice: Choice, rows: Views) -> PushPullProblem:
    """The coupled problem of some rows."""
    custom = Measure.uniform(choice.geometry.points(rows))
    return choice.pose(custom, coupling=find_neighbours(custom, NEIGHBOURS))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the vectors of the views; without it, the toy alone")
    parser.add_argument("--custom", nargs="+", default=["instruct_h10", "instruct_h30"])
    parser.add_argument("--harmful", nargs="+", default=["cross", "same"])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the toy")
    options = parser.parse_args()
    torch.set_num_threads(1)

    def read(name: str) -> Views:
        files = {view: options.data / f"{name}.{view}.npy" for view in ("prompt", "response")}
        if missing := [str(file) for file in files.values() if not file.is_file()]:
            parser.error(f"no {', '.join(missing)}; give the folder that holds them as --data")
        return {view: torch.from_numpy(np.load(file).astype(np.float32)) for view, file in files.items()}

    print(f"command: {shlex.join(['python', *sys.argv])}")
    for rho in RHOS:
        problem = dataclasses.replace(toy(options.rows, 1000), rho_safe=rho, rho_harmful=rho)
        approximate(f"toy, rho {rho}", problem, "exact")
        compressed(f"toy, rho {rho}, smaller references", problem, "exact")
    if options.data is None:
        return
    safe = read("instruct_safe_ref")
    for custom, side in zip(options.custom, options.harmful, strict=False):
        rows, harmful, name = read(custom), read(f"harmful_ref_{side}"), f"{custom}, {side}"
        for rho in RHOS:
            fixed = choose(safe, harmful, epsilon=0.05, push_strength=0.5, rho_safe=rho, rho_harmful=rho)
            problem = posed(fixed, rows)
            approximate(f"{name}, rho {rho}", problem, "coupled")
            compressed(f"{name}, rho {rho}, smaller references", problem, "coupled")
        held_out = posed(choose(safe, harmful), rows)
        free = held_out.rho_safe == held_out.rho_harmful == 0
        title = f"epsilon {held_out.epsilon}, rho {held_out.rho_safe} and {held_out.rho_harmful}"
        compressed(f"{name}, held out: {title}{' (no potentials)' if free else ''}", held_out, "coupled")


if __name__ == "__main__":
    main()
