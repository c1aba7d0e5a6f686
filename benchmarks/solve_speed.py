"""One outer step of the solve against OTT-JAX, POT and geomloss, on the same points, ε and number of iterations.

A step is 20 Sinkhorn iterations of given weights to each of two references, up to the gradient in the weights
(benchmarks/solve_peers.py has what each library is asked for). Each solver is a process of its own with one thread,
all on the same core; a peer and our cached pass make their steps in turns, and the ratio of their median CPU times
counts. Printed as well: how far the results differ, peak memory, and apart from that how many iterations a solve needs
until the rows are ranked as by the converged one, warm (one iteration for each change of the weights) and cold.

    pip install -c constraints.txt -e '.[cpu,bench]'
    python benchmarks/solve_speed.py                      # N = 1,000 and 10,000
    python benchmarks/solve_speed.py --rows 100000 --repeats 1 --only steps
    python benchmarks/solve_speed.py --quick              # everything, in miniature
    python benchmarks/solve_speed.py --device cuda --precision bf16 --rows 1000000 --references 20000

With --device, our passes alone, on that device and in that precision, against what its memory and its matrix product
allow.
"""

import argparse
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PEERS = ("ott", "ott-scaling", "pot", "pot-sinkhorn2", "geomloss", "tiled", "coupled")
NEEDS = {"ott": "ott", "ott-scaling": "ott", "pot": "ot", "pot-sinkhorn2": "ot", "geomloss": "geomloss"}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
#: A process may take this share of the memory that is free, and before anything is measured this many kernels.
SHARE, KERNELS = 0.6, 6
#: Cold solves change the weights this often at most, by a fixed part of the way: the best of these counts.
_OUTER, _STEPS = 25, (0.5, 0.35, 0.25)


def make_points(rows: int, references: int, dimension: int) -> dict[str, np.ndarray]:
    """Unit vectors of topics, a tenth of the rows with a harmful direction, and uneven weights; float32."""
    random = np.random.default_rng(0)

    def unit(*shape: int) -> np.ndarray:
        x = random.standard_normal(shape, dtype=np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    mean, topics, harm = unit(1, dimension), unit(30, dimension), unit(1, dimension)

    def sample(n: int, first: int, last: int, share: float) -> np.ndarray:
        z = mean + 0.7 * topics[random.integers(first, last, n)] + 0.35 * harm * (random.random((n, 1)) < share)
        z += 0.75 / math.sqrt(dimension) * random.standard_normal((n, dimension), dtype=np.float32)
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)

    weights = np.exp(0.5 * random.standard_normal(rows))
    return {
        "rows": sample(rows, 0, 20, 0.1),
        "safe": sample(references, 0, 20, 0.0),
        "harmful": sample(references, 10, 30, 1.0),
        "weights": (weights / weights.sum()).astype(np.float32),
    }


class Process:
    """A solver in its own process, pinned to one core."""

    def __init__(self, name: str, folder: Path, options: argparse.Namespace) -> None:
        self.name, self.times = name, []
        command = [
            sys.executable,
            HERE / "solve_peers.py",
            name,
            folder,
            str(options.iterations),
            str(options.epsilon),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": str(HERE.parent)},
        )  # fmt: skip
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, {options.core})
        self._read()

    def step(self) -> None:
        """Make a step and note its CPU time and wall time, in seconds."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self._read()
        self.times.append((line["cpu"], line["wall"]))

    def end(self) -> dict[str, Any]:
        """Its memory in bytes, and how many passes it took."""
        self.process.stdin.close()
        line = self._read()
        self.process.wait()
        return line

    def _read(self) -> dict[str, Any]:
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"{self.name} ended with {self.process.wait()} before it was done; see above.")
        return json.loads(line)


def compare(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Steps of our cached pass and of ``name`` in turns: ratios, memory and how far the results differ."""
    ours, peer = Process("cached", folder, options), Process(name, folder, options)
    for _ in range(options.repeats):
        ours.step()
        peer.step()
    (own, other), memory = (np.array(p.times) for p in (ours, peer)), (ours.end(), peer.end())
    ratios = other[:, 0] / own[:, 0]
    a, b = (np.load(folder / f"{solver}.npz") for solver in ("cached", name))
    difference = b["gradient"] - a["gradient"]
    cpu, wall = np.median(other, axis=0) / np.median(own, axis=0)
    return {
        "ratio": cpu,
        "low": ratios.min(),
        "high": ratios.max(),
        "wall": wall,
        "own memory": memory[0]["grown"],
        "memory": memory[1]["grown"],
        "passes": memory[1]["passes"],
        "spearman": spearman(a["gradient"], b["gradient"]),
        "difference": np.abs(difference - difference.mean()).max(),
        "values": np.abs(b["values"] - a["values"]).max(),
    }


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two arrays [n] without ties."""
    ranks = [np.argsort(np.argsort(x)).astype(float) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def against_peers(options: argparse.Namespace) -> None:
    """A table for each number of rows."""
    grown: dict[str, tuple[int, int]] = {}
    for n in options.rows:
        print(f"\nN = {n:,}, references {options.references:,} each, {options.iterations} iterations, "
              f"{options.repeats} steps in turns; time as a multiple of the cached pass's\n")  # fmt: skip
        print(
            "| solver | CPU time (lowest to highest) | wall | memory | gradient: Spearman, largest difference | OT |"
        )
        print("|---|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for key, array in make_points(n, options.references, options.dimension).items():
                np.save(folder / f"{key}.npy", array)
            for peer in options.peers:
                kernel = 2 * 4 * n * options.references
                before, at = grown.get(peer, (KERNELS * kernel, n))
                needed, free = before * n / at + 2 * kernel, SHARE * available_bytes()
                if importlib.util.find_spec(NEEDS.get(peer, "torch")) is None:
                    print(f"| {peer} | left out: not installed, install the extra `bench` | | | | |")
                elif needed > free:
                    print(
                        f"| {peer} | left out: about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free | | | | |"
                    )
                else:
                    found = compare(peer, folder, options)
                    grown[peer] = found["memory"], n
                    print(row(peer, found), flush=True)


def row(peer: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    agreement = f"{found['spearman']:.6f}, {found['difference']:.0e} | {found['values']:.0e}"
    if found["passes"]:
        # It finds weights of its own, so there is nothing to compare.
        peer, agreement = f"{peer}, a whole solve of {found['passes'][0]} iterations", "| "
    return (
        f"| {peer} | {found['ratio']:.1f} ({found['low']:.1f} to {found['high']:.1f}) | {found['wall']:.1f} | "
        f"{found['memory'] / 2**20:,.0f} MiB, cached {found['own memory'] / 2**20:,.0f} | {agreement} |"
    )


def available_bytes() -> float:
    """Memory that is free, or 8 GiB where the system does not say."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    return next((int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable")), 8 * 2.0**30)


def until_ranked(options: argparse.Namespace) -> None:
    """Print the Sinkhorn iterations that it takes to rank the rows as the converged solve does, warm and cold."""
    import torch

    from sot_filter.transport import Measure, PushPullProblem
    from sot_filter.transport.push_pull import solve_exact
    from sot_filter.transport.sinkhorn import fused_pass, kernels

    torch.set_num_threads(1)
    points = make_points(min(options.rows[0], 5000), options.references, options.dimension)
    measures = [Measure.uniform(torch.from_numpy(points[name]).double()) for name in ("rows", "safe", "harmful")]
    problem = PushPullProblem(*measures, epsilon=options.epsilon, tau=options.tau)
    goal = solve_exact(problem, threshold=1e-10, marginal_threshold=1e-7, max_iterations=3000).score.numpy()

    def warm() -> int | None:
        solves = (solve_exact(problem, threshold=0, max_iterations=count) for count in range(1, 101))
        return next((s.iterations for s in solves if spearman(s.score.numpy(), goal) >= options.agreement), None)

    def cold(inner: int, step: float) -> int | None:
        sides, log_base = kernels(problem, 4 << 30), measures[0].mass.log()
        log_w = log_base
        for outer in range(1, _OUTER + 1):
            psi = [torch.zeros_like(side.mass) for side in sides]
            for _ in range(inner):
                steps, _ = fused_pass(sides, psi, lambda part, *_, log_w=log_w: log_w[part])
                psi = [side.psi for side in steps]
            g = (steps[0].f - steps[1].f) / 2
            if spearman(-g.numpy(), goal) >= options.agreement:
                return outer * inner
            log_w = torch.log_softmax((1 - step) * log_w + step * (log_base - g / options.tau), 0)
        return None

    n = len(points["rows"])
    print(f"\nIterations until the ranking's Spearman with the converged one is {options.agreement}, N = {n:,}\n")
    print("| | iterations |\n|---|---|")
    print(f"| warm, one for each change of the weights (mode exact) | {warm()} |")
    for inner in (20, 50, 100):
        found = [count for step in _STEPS if (count := cold(inner, step))]
        least = min(found, default=f"more than {_OUTER * inner}")
        print(f"| cold, {inner} for each change of the weights | {least} |")


def on_device(options: argparse.Namespace) -> None:
    """Print our passes on a device against what its memory and its matrix product allow."""
    import torch
    from torch import Tensor

    from sot_filter.transport import Measure
    from sot_filter.transport.cost import kernel_bytes
    from sot_filter.transport.sinkhorn import CachedKernel, TiledKernel, fused_pass

    device = torch.device(options.device)
    cuda = device.type == "cuda"

    class InputsOf16Bits(TiledKernel):
        """Multiplies in bfloat16 and sums in float32."""

        def tile(self, part: slice) -> tuple[Tensor, Tensor]:
            """The same as `TiledKernel.tile`, from rounded points."""
            a, b = self.rows[part].bfloat16(), self.support.bfloat16()
            # Without a device that sums in float32, the same figures from rounded factors.
            tile = torch.mm(a, b.T, out_dtype=torch.float32) if cuda else a.float() @ b.float().T
            tile.sub_(1).div_(self.epsilon).add_(self._offset)
            shift = tile.amax(1)
            return tile.sub_(shift[:, None]).exp_(), shift

    def seconds(work: Callable[[], object]) -> float:
        times = []
        for _ in range(options.repeats + 1):
            if cuda:
                torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            if cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    @contextmanager
    def matmul_precision() -> Iterator[None]:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    n, m, d = options.rows[0], options.references, options.dimension
    points = {key: torch.from_numpy(array).to(device) for key, array in make_points(n, m, d).items()}
    log_w = points["weights"].log()
    stored = torch.bfloat16 if options.precision == "bf16" else torch.float32
    rows, *references = (Measure.uniform(points[name].to(stored)) for name in ("rows", "safe", "harmful"))
    room = 2 * kernel_bytes(n, m, torch.float32)
    free = torch.cuda.mem_get_info()[0] if cuda else available_bytes()
    kinds = {"tiled": InputsOf16Bits if options.precision == "bf16" else TiledKernel}
    if room < SHARE * free:
        kinds["cached"] = CachedKernel
    else:
        print(f"cached: left out, needs {room / 2**30:.1f} GiB of {SHARE * free / 2**30:.1f}")

    with matmul_precision():
        # What the device can do: read memory, and multiply in this precision on the shapes of a tile.
        block = torch.ones(min(1 << 28, max(n * m // 4, 1 << 22)), device=device)
        bandwidth = block.nbytes / seconds(block.sum)
        height = min(n, 1 << 15)
        factors = rows.points[:height], references[0].points.T.contiguous()
        rate = 2 * height * m * d / seconds(lambda: factors[0] @ factors[1])
        least = {
            "tiled": max(2 * (2 * n * m * d) / rate, (n + 2 * m) * d * rows.points.itemsize / bandwidth),
            "cached": room / bandwidth,
        }
        exact = None
        print(f"\nN = {n:,}, references {m:,} each, d = {d}, {options.precision} on {device.type}\n")
        print("| pass | share of the roofline | largest difference of f from float32 |\n|---|---|---|")
        for name, kind in kinds.items():
            sides = [kind(rows, reference, options.epsilon, math.inf, torch.float32) for reference in references]
            psi = [torch.zeros_like(side.mass) for side in sides]

            def one(sides: list = sides, psi: list = psi) -> list:
                return fused_pass(sides, psi, lambda part, *_: log_w[part])[0]

            took, f = seconds(one), one()[0].f
            if exact is None:
                whole = TiledKernel(
                    Measure.uniform(points["rows"][:height]), Measure.uniform(points["safe"]), options.epsilon,
                    math.inf, torch.float32,
                )  # fmt: skip
                torch.set_float32_matmul_precision("highest")
                exact = fused_pass([whole], [psi[0]], lambda part, _: log_w[:height][part])[0][0].f
                torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
            print(f"| {name} | {least[name] / took:.0%} | {float((f[:height] - exact).abs().max()):.0e} |", flush=True)
        if cuda:
            print(f"\npeak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--references", type=int, default=2000, help="points of each reference")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=20, help="of a step")
    parser.add_argument("--epsilon", type=float, default=0.05)
    parser.add_argument("--tau", type=float, default=0.02, help="for the iterations until ranked")
    parser.add_argument("--agreement", type=float, default=0.9999, help="Spearman of the iterations until ranked")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=["steps", "ranking"], help="one of the two parts")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--core", type=int, default=(os.cpu_count() or 1) - 1, help="where all processes are pinned to"
    )
    parser.add_argument("--quick", action="store_true", help="miniature of everything, to see that it runs")
    parser.add_argument("--device", help="measure our passes on this device instead: cuda, cpu")
    parser.add_argument("--precision", choices=["float32", "tf32", "bf16"], default="float32", help="with --device")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rows, options.references, options.dimension, options.repeats = [300], 100, 32, 2
    if options.device:
        on_device(options)
        return
    if options.only != "ranking":
        against_peers(options)
    if options.only != "steps":
        until_ranked(options)


if __name__ == "__main__":
    main()
