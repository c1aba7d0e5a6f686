"""Does the weigh pass stay within twice the time of the bare matrix product of the same shapes?

For each dimension and size of the references, on one thread and in one process, interleaved: the product of the rows
with both references alone, each into a tile that is thrown away; `score_rows`; the same with clusters; with 16
replicates and the solution of another seed read off the same kernel as well; and with the simple score that costs most
read off the same similarities. Figures are ratios of processor time to the bare product: the median of the rounds, and
their range.

    OMP_NUM_THREADS=1 python benchmarks/weigh_speed.py
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.steps.simple import Simple
from sot_filter.transport import Clusters, Measure, draw_halves, score_rows
from sot_filter.transport.cost import rows_per_tile, tiles

EPSILON, BALANCE, REPLICATES, CLUSTERS = 0.05, 0.5, 16, 50


def passes(rows: Tensor, safe: Measure, harmful: Measure) -> dict[str, Callable[[], object]]:
    """What is timed, by name; the first is the bare product."""
    psi = torch.zeros_like(safe.mass), 0.05 * torch.randn_like(harmful.mass)
    clusters = Clusters(torch.arange(len(harmful)) % CLUSTERS, torch.arange(CLUSTERS))
    halves = draw_halves(len(safe), len(harmful), REPLICATES, 0)
    columns = halves[: len(safe)], halves[len(safe) :]
    columns = tuple(torch.cat([half / half.mean(0), torch.ones(len(half), 1)], 1) for half in columns)
    knn = Simple.prepare("knn", safe.points, harmful.points).read
    step = rows_per_tile(max(len(safe), len(harmful)), rows.dtype, rows.device)
    room = torch.empty(step, max(len(safe), len(harmful)))

    def bare() -> None:
        for part in tiles(len(rows), step):
            for side in (safe, harmful):
                out = room.flatten()[: (part.stop - part.start) * len(side)].view(-1, len(side))
                torch.mm(rows[part], side.points.T, out=out)

    def score(**options: object) -> Callable[[], object]:
        return lambda: score_rows(rows, safe, psi[0], harmful, psi[1], EPSILON, BALANCE, **options)

    return {
        "bare product": bare,
        "potentials and nearest rows": score(),
        "and clusters": score(clusters=clusters),
        "and 16 replicates, other seed": score(clusters=clusters, columns=columns),
        "and the 10 nearest of each": score(clusters=clusters, columns=columns, read=knn),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[384, 768])
    parser.add_argument("--references", type=int, nargs="+", default=[1000, 5000], help="rows of each of the two")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"command: {shlex.join(['python', *sys.argv])}\n")
    columns = {}
    for d in options.dimensions:
        for m in options.references:
            points = [normalize(torch.randn(n, d)) for n in (options.rows, m, m)]
            timed = passes(points[0], *(Measure.uniform(reference) for reference in points[1:]))
            seconds: dict[str, list[float]] = {name: [] for name in timed}
            for _ in range(options.rounds + 1):
                for name, run in timed.items():
                    start = time.process_time()
                    run()
                    seconds[name].append(time.process_time() - start)
            bare, *_ = seconds.values()
            # The first round warms up.
            columns[f"d {d}, 2 x {m:,}"] = {n: np.divide(s, bare)[1:] for n, s in seconds.items()}
            print(f"d {d}, m {m} done", file=sys.stderr, flush=True)
    print("| | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in list(next(iter(columns.values())))[1:]:
        cells = (f"{np.median(r[name]):.2f} ({r[name].min():.2f}-{r[name].max():.2f})" for r in columns.values())
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
