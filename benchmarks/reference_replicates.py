"""Do the cheap replicates of the references tell what other references would have done, and what do they cost?

For each choice of fine-tuning set and harmful reference: the time of the default 16 replicates against that of one
solve, in one process; the replicates against as many whole solves of the same halves (centres, direction and its
strength, folds, calibration and keep shares anew; settings as chosen); and against a solve on references of other
rows: the references are cut in two, the replicates drawn of one half, and the other half tells who is kept.

Needs a folder with Parquet files of columns source and label, and beside each the vectors of its views
(NAME.prompt.npy, NAME.response.npy): instruct_h10, instruct_h30, instruct_safe_ref, harmful_ref_same,
harmful_ref_cross.

    OMP_NUM_THREADS=1 python benchmarks/reference_replicates.py --data FOLDER/sub
"""

import argparse
import itertools
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sot_filter.transport import (
    Choice,
    Measure,
    PushPullProblem,
    Solution,
    choose,
    draw_halves,
    find_neighbours,
    replicate_scores,
    score_range,
    solve,
)
from sot_filter.weighting import on_edge, replicate_cuts, select_rows, times_kept

NEIGHBOURS, REPLICATES, RETENTION = 8, 16, 0.8
Views = dict[str, Tensor]


def pose(choice: Choice, rows: Views) -> tuple[PushPullProblem, Solution]:
    """The coupled problem of the rows, and its solution."""
    custom = Measure.uniform(choice.geometry.points(rows))
    problem = choice.pose(custom, coupling=find_neighbours(custom, NEIGHBOURS))
    return problem, solve(problem, mode="coupled")


def replicates(choice: Choice, problem: PushPullProblem, solution: Solution, counts: Tensor) -> Tensor:
    """Scores [n, r] in the replicates of ``counts``."""
    return replicate_scores(problem, solution, choice.direction, choice.folds, counts)


def fates(score: Tensor, scores: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether each row is kept, the share of replicates that keep it, and whether it is on the edge."""
    own, many, places = score.numpy(), scores.numpy(), np.arange(len(score))
    kept = select_rows(own, places, retention=RETENTION).keeps(own, places)
    times = times_kept(many, places, replicate_cuts(many, places, int(kept.sum())))
    return kept, times / many.shape[1], on_edge(times, many.shape[1], kept)


def taken(views: Views, rows: Tensor) -> Views:
    """Some of the rows."""
    return {view: vectors[rows] for view, vectors in views.items()}


def correlation(a: np.ndarray | Tensor, b: np.ndarray | Tensor) -> float:
    """Of two lists of figures."""
    return float(np.corrcoef(np.asarray(a), np.asarray(b))[0, 1])


def measure(rows: Views, safe: Views, harmful: Views, seed: int) -> dict[str, float]:
    """All figures of one set."""
    m, total = len(next(iter(safe.values()))), len(next(iter(harmful.values())))
    clock = [time.process_time()]
    choice = choose(safe, harmful, seed=seed)
    clock.append(time.process_time())
    problem, solution = pose(choice, rows)
    clock.append(time.process_time())
    counts = draw_halves(m, total, REPLICATES, seed)
    cheap = replicates(choice, problem, solution, counts)
    clock.append(time.process_time())
    chosen, solved, replicated = np.diff(clock)
    settings, whole = asdict(choice.setting), []
    for r in range(REPLICATES):
        half = counts[:, r] >= 1
        again = choose(taken(safe, half[:m]), taken(harmful, half[m:]), **settings, seed=seed)
        whole.append(pose(again, rows)[1].score)
    refits = torch.stack(whole, 1)
    kept, share, _ = fates(solution.score, cheap)
    _, share_refit, _ = fates(solution.score, refits)
    low, high = score_range(cheap)
    found = {
        "solve, s": chosen + solved,
        "of it choosing, s": chosen,
        "replicates, s": replicated,
        "cost, solves": replicated / (chosen + solved),
        "cost, solves without choosing": replicated / solved,
        "correlation of deviations": correlation(cheap.std(1), refits.std(1)),
        "ratio of deviations": float(cheap.std(1).mean() / refits.std(1).mean()),
        "correlation of keep shares": correlation(share, share_refit),
        "refits inside the range (0.90)": float(((refits >= low[:, None]) & (refits <= high[:, None])).float().mean()),
    }
    other = draw_halves(m, total, 1, seed + 1)[:, 0] >= 1
    parts = [choose(taken(safe, half[:m]), taken(harmful, half[m:]), seed=seed) for half in (other, ~other)]
    (problem, solution), (_, judge) = (pose(part, rows) for part in parts)
    sizes = len(problem.safe), len(problem.harmful)
    scores = replicates(parts[0], problem, solution, draw_halves(*sizes, REPLICATES, seed))
    kept, _, edge = fates(solution.score, scores)
    kept_by_other, _, _ = fates(judge.score, scores)
    low, high = score_range(scores)
    # Two draws of references differ by the deviation of both.
    middle, reach = (low + high) / 2, (high - low) / 2 * 2**0.5
    same = kept == kept_by_other
    return found | {
        "other rows: on the edge": float(edge.mean()),
        "other rows: same fate, on the edge": float(same[edge].mean()),
        "other rows: same fate, elsewhere": float(same[~edge].mean()),
        "other rows: inside the range of both (0.90)": float(((judge.score - middle).abs() <= reach).float().mean()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the vectors of the views")
    parser.add_argument("--custom", nargs="+", default=["instruct_h10", "instruct_h30"])
    parser.add_argument("--harmful", nargs="+", default=["same", "cross"])
    parser.add_argument("--safe", default="instruct_safe_ref")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    def read(name: str) -> Views:
        files = {view: options.data / f"{name}.{view}.npy" for view in ("prompt", "response")}
        if missing := [str(file) for file in files.values() if not file.is_file()]:
            parser.error(f"no {', '.join(missing)}; give the folder that holds them as --data")
        return {view: torch.from_numpy(np.load(file).astype(np.float32)) for view, file in files.items()}

    print(f"command: {shlex.join(['python', *sys.argv])}\n")
    columns = {}
    for custom, harmful in itertools.product(options.custom, options.harmful):
        sets = read(custom), read(options.safe), read(f"harmful_ref_{harmful}")
        columns[f"{custom}, {harmful}"] = measure(*sets, options.seed)
        print(f"{custom} {harmful} done", file=sys.stderr, flush=True)
    print("| | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(f"{found[name]:.3g}" for found in columns.values()) + " |")


if __name__ == "__main__":
    main()
