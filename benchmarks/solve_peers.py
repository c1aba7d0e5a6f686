"""One solver of benchmarks/solve_speed.py in a process of its own: it prepares, then makes a step whenever it is told.

A step is 20 Sinkhorn iterations of fixed weights w to each of two references, from nothing to the gradient in w. What
every solver may keep from step to step (costs, kernels, compiled code) is made before the clock starts.

    python benchmarks/solve_peers.py NAME FOLDER ITERATIONS EPSILON

Lines of JSON go out: one when it is ready, one for each line that comes in, and at the end the peak memory. Results
of the last step lie in FOLDER/NAME.npz: the gradient of OT(w, safe) - OT(w, harmful) over two, and the values.
"""

import importlib
import json
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

#: What a step returns for each reference: the gradient of OT in w, but for a constant [n], and OT, cost units.
Side = tuple[np.ndarray, float]
Solver = Callable[[], list[Side]]


class Points:
    """Rows [n, d], their weights [n], and both references [m, d], of float32, as the parent wrote them."""

    def __init__(self, folder: Path) -> None:
        self.rows, self.weights, *self.references = (
            np.load(folder / f"{name}.npy") for name in ("rows", "weights", "safe", "harmful")
        )


def ours(points: Points, iterations: int, epsilon: float, kind: str) -> Solver:
    """Our fused pass, on cached kernels or on kernels made anew in each pass."""
    import torch

    from sot_filter.transport import Measure
    from sot_filter.transport.sinkhorn import CachedKernel, TiledKernel, fused_pass

    rows, w = Measure.uniform(torch.from_numpy(points.rows)), torch.from_numpy(points.weights)
    make = {"cached": CachedKernel, "tiled": TiledKernel}[kind]
    sides = [
        make(rows, Measure.uniform(torch.from_numpy(y)), epsilon, math.inf, torch.float32) for y in points.references
    ]
    log_w = w.log()

    def step() -> list[Side]:
        psi = [torch.zeros_like(side.mass) for side in sides]
        for _ in range(iterations):
            steps, _ = fused_pass(sides, psi, lambda part, *_: log_w[part])
            psi = [side.psi for side in steps]
        # The gauge makes the reference's own part of the dual value nothing.
        return [(side.f.numpy(), float(w @ side.f)) for side in steps]

    return step


def coupled(points: Points, iterations: int, epsilon: float) -> Solver:
    """A whole solve of mode coupled to its thresholds, on the rows' own neighbour graph (which is made beforehand)."""
    import torch

    from sot_filter.transport import Measure, PushPullProblem
    from sot_filter.transport.coupled import solve_coupled
    from sot_filter.transport.neighbours import find_neighbours

    rows, *references = (Measure.uniform(torch.from_numpy(y)) for y in (points.rows, *points.references))
    problem = PushPullProblem(rows, *references, epsilon=epsilon, tau=0.02, coupling=find_neighbours(rows, 15))

    def solve() -> list[Side]:
        solution = solve_coupled(problem)
        passes.append(solution.iterations)
        return [(solution.pull.numpy(), float("nan")), (solution.push.numpy(), float("nan"))]

    return solve


#: Passes that each whole solve of `coupled` took.
passes: list[int] = []


def ott(points: Points, iterations: int, epsilon: float, log_domain: bool) -> Solver:
    """OTT-JAX, dense and compiled: in the log domain (its default), or on scalings."""
    import jax
    import jax.numpy as jnp
    from ott.geometry import geometry
    from ott.solvers import linear

    rows, w = jnp.asarray(points.rows), jnp.asarray(points.weights)
    costs = [1 - rows @ jnp.asarray(y).T for y in points.references]

    @jax.jit
    def one(cost: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = linear.solve(
            geometry.Geometry(cost_matrix=cost, epsilon=epsilon), a=weights, lse_mode=log_domain, threshold=0.0,
            min_iterations=iterations, max_iterations=iterations, inner_iterations=iterations,
        )  # fmt: skip
        return out.f, out.g

    # Its potentials are those of exp((f + g - c)/ε), ours those of w b exp((f + ψ - c)/ε).
    own, other = epsilon * np.log(points.weights), [-epsilon * math.log(len(y)) for y in points.references]

    def step() -> list[Side]:
        found = [jax.block_until_ready(one(cost, w)) for cost in costs]
        return [
            (
                np.asarray(f) - own,
                float(points.weights @ (np.asarray(f) - own)) + float((np.asarray(g) - log_b).mean()),
            )
            for (f, g), log_b in zip(found, other, strict=True)
        ]

    return step


def pot_envelope(points: Points, iterations: int, epsilon: float) -> Solver:
    """POT's `ot.solve` with the envelope gradient: log domain."""
    import ot
    import torch

    costs, w, b = _torch_costs(points)

    def step() -> list[Side]:
        sides = []
        for cost in costs:
            free = w.clone().requires_grad_()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # It says that it did not converge, which nobody asked of it.
                found = ot.solve(
                    cost, free, b, reg=epsilon, reg_type="KL", max_iter=iterations, tol=0.0, grad="envelope"
                )
            (gradient,) = torch.autograd.grad(found.value, free)
            sides.append(((gradient - epsilon * w.log()).numpy(), float(found.value.detach())))
        return sides

    return step


def pot_autograd(points: Points, iterations: int, epsilon: float) -> Solver:
    """POT's `ot.sinkhorn2`, scalings, differentiated through its iterations: the gradient of the sharp cost <c, P>."""
    import ot
    import torch

    costs, w, b = _torch_costs(points)

    def step() -> list[Side]:
        sides = []
        for cost in costs:
            free = w.clone().requires_grad_()
            value = ot.sinkhorn2(free, b, cost, epsilon, numItermax=iterations, stopThr=0.0, warn=False)
            (gradient,) = torch.autograd.grad(value, free)
            sides.append((gradient.numpy(), float(value.detach())))
        return sides

    return step


def geomloss(points: Points, iterations: int, epsilon: float) -> Solver:
    """geomloss, tensorized, its ε falling to ours so that it makes as many iterations; costs are given to it ready."""
    import torch
    from geomloss import SamplesLoss

    costs, w, b = _torch_costs(points)
    rows, references = torch.from_numpy(points.rows), [torch.from_numpy(y) for y in points.references]
    diameter, blur = 2.0, math.sqrt(epsilon)
    losses = []
    for cost in costs:
        ready = {True: cost[None], False: cost.T.contiguous()[None]}
        losses.append(
            SamplesLoss(
                "sinkhorn", p=2, blur=blur, diameter=diameter, debias=False, backend="tensorized",
                # Its schedule has the diameter, then a power of the scaling for each further iteration, then the blur.
                scaling=(blur / diameter) ** (1 / (iterations - 2)),
                cost=lambda x, y, ready=ready: ready[x.data_ptr() == rows.data_ptr()],
            )
        )  # fmt: skip

    def step() -> list[Side]:
        sides = []
        for loss, reference in zip(losses, references, strict=True):
            free = w.clone().requires_grad_()
            value = loss(free[None], rows[None], b[None], reference[None])
            (gradient,) = torch.autograd.grad(value.sum(), free)
            sides.append((gradient.numpy(), float(value.detach().sum())))
        return sides

    return step


def _torch_costs(points: Points) -> tuple[list, "torch.Tensor", "torch.Tensor"]:  # type: ignore[name-defined] # noqa: F821
    import torch

    rows, m = torch.from_numpy(points.rows), len(points.references[0])
    costs = [torch.addmm(torch.ones(()), rows, torch.from_numpy(y).T, alpha=-1) for y in points.references]
    return costs, torch.from_numpy(points.weights), torch.full((m,), 1 / m)


#: Each makes a `Solver` from points, iterations and ε.
SOLVERS: dict[str, Callable[[Points, int, float], Solver]] = {
    "cached": lambda *problem: ours(*problem, "cached"),
    "tiled": lambda *problem: ours(*problem, "tiled"),
    "coupled": coupled,
    "ott": lambda *problem: ott(*problem, log_domain=True),
    "ott-scaling": lambda *problem: ott(*problem, log_domain=False),
    "pot": pot_envelope,
    "pot-sinkhorn2": pot_autograd,
    "geomloss": geomloss,
}


#: What a solver imports, so that its memory is not counted as the solve's.
MODULES = {
    "cached": "sot_filter.transport",
    "tiled": "sot_filter.transport",
    "coupled": "sot_filter.transport.coupled",
    "ott": "ott.solvers.linear",
    "ott-scaling": "ott.solvers.linear",
    "pot": "ot",
    "pot-sinkhorn2": "ot",
    "geomloss": "geomloss",
}


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux counts what the parent had before this program took its place into getrusage's figure.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(name: str, folder: Path, iterations: int, epsilon: float, orders: Iterable[str]) -> None:
    """Prepare ``name``, make one step unmeasured, and then a measured one for each of ``orders``."""
    importlib.import_module(MODULES[name])
    points = Points(folder)
    before = peak_bytes()
    step = SOLVERS[name](points, iterations, epsilon)
    sides = step()
    print(json.dumps({"ready": name}), flush=True)
    for _ in orders:
        wall, cpu = time.perf_counter(), time.process_time()
        sides = step()
        print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}), flush=True)
    (pull, safe), (push, harmful) = sides
    np.savez(folder / f"{name}.npz", gradient=(pull.astype(np.float64) - push) / 2, values=[safe, harmful])
    grown = peak_bytes() - before
    print(json.dumps({"peak": peak_bytes(), "grown": grown, "passes": passes[-1:]}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.stdin)
