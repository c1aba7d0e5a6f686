"""Mode centroid against mode coupled: how near the ranking by a sample and centroids comes to that by all rows.

Three kinds of custom set: points around topics, points whose variance falls off slowly over all directions (so that no
clustering fits them, as with real text), and real text where a folder with ready vectors is given: Parquet files of
instruct_h10, instruct_h30 and the references, with `.prompt.npy` and `.response.npy` beside them. The references
choose the settings, as in a run; `--rho` sets the relaxations of both marginals instead. `--polish` adds passes over
all rows that correct the potentials of the sample, as `cluster.polish` does.

    python benchmarks/centroids.py --rows 20000 --centroids 256
    python benchmarks/centroids.py --data FOLDER/sub --rows 0
    python benchmarks/centroids.py --data FOLDER/sub --rows 0 --rho 0.1 --sample 0.25 --centroids 62 --polish 0 1 3
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.clustering import ClusterSums, assign, kmeans
from sot_filter.transport import (
    Cells,
    Choice,
    Measure,
    choose,
    column_sums,
    find_neighbours,
    log_odds,
    next_potential,
    score_rows,
    solve,
    stratified,
)
from sot_filter.transport.coupled import Field

DIMENSION, REFERENCE = 384, 1000
Views = dict[str, Tensor]


def topics(n: int, generator: torch.Generator, poles: Tensor, pole: Tensor) -> Tensor:
    """Unit vectors [n, d]: a topic, the pole of each row [n], and noise."""
    around = normalize(torch.randn(200, DIMENSION, generator=torch.Generator().manual_seed(7)), dim=1)
    topic = torch.randint(0, len(around), (n,), generator=generator)
    noise = torch.randn(n, DIMENSION, generator=generator) * 1.5 / DIMENSION**0.5
    return normalize(around[topic] + 0.4 * poles[pole] + noise, dim=1)


def diffuse(n: int, generator: torch.Generator, poles: Tensor, pole: Tensor) -> Tensor:
    """Unit vectors [n, d] whose standard deviation along the i-th direction falls as i^-0.6, and the pole of each."""
    spectrum = torch.arange(1, DIMENSION + 1) ** -0.6
    return normalize(torch.randn(n, DIMENSION, generator=generator) * spectrum + 0.6 * poles[pole], dim=1)


def made(kind: str, n: int) -> Iterator[tuple[str, Views, Views, Views]]:
    """Name, custom rows of which a tenth leans to the harmful pole, safe and harmful reference."""
    shape = {"topics": topics, "diffuse": diffuse}[kind]
    generator = torch.Generator().manual_seed(0)
    poles = normalize(torch.randn(2, DIMENSION, generator=generator), dim=1)
    pole = (torch.rand(n, generator=generator) < 0.1).long()
    rows = shape(n, generator, poles, pole)
    safe, harmful = (
        shape(REFERENCE, generator, poles, torch.full((REFERENCE,), side, dtype=torch.int64)) for side in (0, 1)
    )
    yield f"{kind}, {n:,} rows", {"pair": rows}, {"pair": safe}, {"pair": harmful}


def real(folder: Path) -> Iterator[tuple[str, Views, Views, Views]]:
    """The same of the ready vectors of real text."""

    def views(name: str) -> Views:
        return {
            view: torch.from_numpy(np.load(folder / f"{name}.{view}.npy").astype(np.float32))
            for view in ("prompt", "response")
        }

    for harmful in ("harmful_ref_same", "harmful_ref_cross"):
        for name in ("instruct_h10", "instruct_h30"):
            yield f"{name}, {harmful}", views(name), views("instruct_safe_ref"), views(harmful)


def compare(choice: Choice, points: Tensor, k: int, probes: int, share: float, polish: list[int]) -> None:
    """Print a line for each number of passes: the ranking by mode centroid against that by mode coupled."""
    started = time.perf_counter()
    every = Measure.uniform(points)
    exact = solve(choice.pose(every, coupling=find_neighbours(every, 8)), mode="coupled")
    exact_seconds, started = time.perf_counter() - started, time.perf_counter()
    drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(1))[: round(share * len(points))]
    centroids = kmeans(points[drawn], k)
    cell = assign(points, centroids)
    sums = ClusterSums.zeros(k, points.shape[1])
    sums.add(points, cell)
    sizes = torch.bincount(cell[drawn], minlength=k)
    found = sizes > 0
    drawn = drawn[cell[drawn].argsort(stable=True)]
    membership = (found.cumsum(0) - 1)[cell[drawn]]
    cells = Cells(centroids[found], sizes[found], probes)
    mass = stratified(torch.ones(len(drawn)), membership, sums.mass[found])
    rows = Measure(points[drawn], mass.float())
    problem = choice.pose(rows, coupling=find_neighbours(rows, 8, cells))
    means = Measure.of_counts(sums.means[found].float(), sums.mass[found])
    solution = solve(problem, mode="centroid", centroids=means, membership=membership)
    assert problem.coupling is not None
    assert solution.local_log_odds is not None
    seconds, setting = time.perf_counter() - started, choice.setting
    alone = (setting.push_strength * exact.push - (1 - setting.push_strength) * exact.pull) / problem.tau
    psi, local = [solution.psi_safe, solution.psi_harmful], solution.local_log_odds
    field, rhos = Field(problem), (setting.rho_safe, setting.rho_harmful)
    started = time.perf_counter()
    plan = problem.coupling.plan(points)

    def own_of(these: Tensor) -> tuple[Tensor, Tensor]:
        """Potentials, and the log-odds without neighbours, of rows at the present ψ."""
        score = score_rows(
            these, choice.safe, psi[0], choice.harmful, psi[1], setting.epsilon, setting.push_strength
        ).score
        return score, (score + choice.tilt(these)) / problem.tau

    for passes in range(max(polish) + 1):
        potentials, own = own_of(points)
        score = log_odds(own, plan, local, rows.mass)
        kept = torch.sigmoid(score)
        steps = [
            next_potential(
                column_sums(points, kept, side, psi[i], setting.epsilon),
                float(kept.double().sum()),
                side,
                psi[i],
                setting.epsilon,
                rhos[i],
            )
            for i, side in enumerate((choice.safe, choice.harmful))
        ]
        if passes in polish:
            taken = (seconds + time.perf_counter() - started) / exact_seconds
            print(
                f"    K {k:5,}  probes {probes:3}  sample {share:4.0%}  polish {passes}  "
                f"Spearman {spearman(score, exact.score):.5f}  top half {overlap(score, exact.score):.4f}  "
                f"potentials alone {spearman(potentials, alone):.5f}  "
                f"marginal errors {steps[0][1]:.4f} {steps[1][1]:.4f}  time {taken:.2f} of coupled",
                flush=True,
            )
        psi = [step[0] for step in steps]
        _, own = own_of(rows.points)
        local = field.local(field.settle(own + field.share(local), own))


def spearman(a: Tensor, b: Tensor) -> float:
    """Correlation of the ranks of ``a`` and ``b`` [n]."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def overlap(a: Tensor, b: Tensor) -> float:
    """The share that the upper halves of ``a`` and ``b`` [n] have in common."""
    n = len(a) // 2
    return len(np.intersect1d(a.topk(n).indices.numpy(), b.topk(n).indices.numpy())) / n


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the made sets; 0 leaves them out")
    parser.add_argument("--centroids", type=int, nargs="+", default=[256])
    parser.add_argument("--probes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--sample", type=float, nargs="+", default=[1.0], help="shares of the rows")
    parser.add_argument("--polish", type=int, nargs="+", default=[0], help="passes over all rows afterwards")
    parser.add_argument("--rho", type=float, default=None, help="relaxation of both marginals, inf for balanced")
    parser.add_argument("--data", type=Path, help="folder with ready vectors of real text")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = [one for kind in ("topics", "diffuse") for one in made(kind, options.rows)] if options.rows else []
    sets += list(real(options.data)) if options.data else []
    for name, rows, safe, harmful in sets:
        choice = choose(safe, harmful, rho_safe=options.rho, rho_harmful=options.rho)
        points = torch.unique(choice.geometry.points(rows), dim=0)
        print(f"{name}: {len(points):,} distinct, ρ {choice.setting.rho_safe:g} and {choice.setting.rho_harmful:g}")
        for share in options.sample:
            for k in options.centroids:
                for probes in options.probes:
                    compare(choice, points, min(k, int(share * len(points)) // 8), probes, share, options.polish)


if __name__ == "__main__":
    main()
