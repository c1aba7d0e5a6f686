"""The stages between embeddings and the cut, for real, on 10^5 to 10^7 rows that no model embedded.

Fabricates what the embed stage would have left (see benchmarks/fabricated.py), runs the product's own stages on it,
each task in a process of its own with one thread, and prints for each stage: seconds, rows per second and per second
of a core, peak memory, bytes read and written; how well the planted rows are told from the others (AUROC); and how the
weigh stage compares with the bare matrix products of the same shapes, in processes like its own: rows with references
once, and rows with the rows of the cells they look into once, with and without the reading of the embeddings. After
several sizes a cost for each stage is fitted and extrapolated.

Seconds are counted from when a task's libraries are loaded. Memory is all that is resident, the libraries (some
400 MiB) and mapped files among it. Bytes read are those of the files that were opened, of which a stage may need a
few columns only; they mostly come from the page cache, as they have just been written.

A row takes 1.05 kB of disk to fabricate and 0.4 kB more once it is scored: 1.5 GB for 1,000,000 rows, 15 GB for
10,000,000. Memory while fabricating is that of a part, 0.3 GiB a task.

    OMP_NUM_THREADS=1 python benchmarks/at_size.py --tasks 2 --rows 100000 300000 1000000
    OMP_NUM_THREADS=1 python benchmarks/at_size.py --tasks 2 --rows 10000000 --work FOLDER
"""

import argparse
import importlib
import multiprocessing
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from fabricated import VIEWS, World
from numpy.typing import NDArray
from scipy.optimize import nnls

from sot_filter.artifacts import matrix, read_table, require_manifest
from sot_filter.config import Pipeline
from sot_filter.errors import SotFilterError
from sot_filter.plan import Plan, build_stages
from sot_filter.references import Reference
from sot_filter.steps.embed import EMBEDDED, my_share
from sot_filter.workspace import claim

#: What is measured, in order; a mode may lack some.
STAGES: Final = ("sample", "cluster", "assign", "solve", "weigh", "select")
#: Those that are spread over tasks.
SHARDED: Final = ("sample", "assign", "weigh")
#: What a stage's task loads when it starts to work.
LOADED: Final = {
    "cluster": ("sot_filter.steps.clustered",),
    "assign": ("sot_filter.steps.clustered",),
    "solve": ("sot_filter.steps.solving",),
    "weigh": ("sot_filter.steps.scoring", "sot_filter.steps.slicing"),
    "select": ("sot_filter.steps.selecting",),
}
GIB: Final = 2.0**30
EXTRAPOLATED: Final = 1_000_000_000


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Args:
        world: the rows.
        work: folder of this size.
        mode: centroid or coupled.
        sample: texts that the solve sees.
        centroids: at most.
        probes: cells a row looks into.
        replicates: of the references.
        memory_gib: of the solve.
        part_rows: rows of a part; None for as many as the product takes.
        tasks: of a stage, at the same time.
    """

    world: World
    work: str
    mode: str
    sample: int
    centroids: int
    probes: int
    replicates: int
    memory_gib: float
    part_rows: int | None
    tasks: int

    def plan(self) -> Plan:
        """The run as it would be planned, but for the rows."""
        config = Pipeline.model_validate(
            {
                "name": "at-size",
                "input": {"files": "input-*.parquet"},
                "references": {"safe": "safe.parquet", "harmful": "harmful.parquet"},
                "embed": {"model": "fabricated", "views": VIEWS},
                "cluster": {"sample": self.sample, "centroids": self.centroids, "probes": self.probes},
                "solve": {
                    "mode": self.mode,
                    "threads": 1,
                    "device": "cpu",
                    "memory_gib": self.memory_gib,
                    "replicates": self.replicates,
                },
                "output": {"folder": f"{self.work}/out"},
                "work_dir": f"{self.work}/run",
                "executor": {"kind": "local", "workers": self.tasks},
                "seed": self.world.seed,
            }
        )
        sources = {role: self.world.source(role) for role in ("input", "safe", "harmful")}
        references = {role: Reference((), (), self.world.digest, {}) for role in ("safe", "harmful")}
        return _Cut(config, sources, references, "fabricated", self.world.dimension, self.part_rows)


@dataclass(frozen=True)
class _Cut(Plan):
    """A plan whose parts may have another size than the product would give them."""

    rows_of_part: int | None = None

    @property
    def part_rows(self) -> int:
        return self.rows_of_part or super().part_rows


class Task(NamedTuple):
    """What one process took; stages are sums or maxima over their tasks.

    Args:
        seconds: from the common start to its end.
        core: seconds of processor time.
        memory: bytes that were resident at most.
        read: bytes.
        written: bytes.
        found: what it has to tell beside.
    """

    seconds: float
    core: float
    memory: float
    read: float
    written: float
    found: Any

    @classmethod
    def joined(cls, tasks: Sequence["Task"]) -> "Task":
        """A stage from its tasks."""
        return cls(
            max(task.seconds for task in tasks),
            sum(task.core for task in tasks),
            max(task.memory for task in tasks),
            sum(task.read for task in tasks),
            sum(task.written for task in tasks),
            [task.found for task in tasks],
        )


# ---------------------------------------------------------------------------------------------------------- in a task


def fabricate(setup: Setup, rank: int, tasks: int) -> int:
    """Write a share of all parts; says how many bytes they have."""
    plan = setup.plan()
    every = [
        (role, number)
        for role, source in plan.sources.items()
        for number in range(len(source.parts(plan.part_rows)))
    ]  # fmt: skip
    mine = my_share(every, rank, tasks)
    return sum(setup.world.write(plan.layout, role, plan.part_rows, plan.keys["embed"], n) for role, n in mine)


def run_stage(name: str, setup: Setup, rank: int, tasks: int) -> None:
    """Run a task of a stage, as datatrove does."""
    stage = next(stage for stage in build_stages(setup.plan()) if stage.name == name)
    data = None
    for step in stage.steps:
        data = step(data, rank, tasks)
    deque(data or (), maxlen=0)


def bare(rows: int, setup: Setup, rank: int, tasks: int) -> dict[str, float]:
    """The matrix products that weigh cannot do without, of a share of the parts that have some ``rows`` rows in all.

    Returns:
        Rows, seconds of a core for reading and for products, operations, and rows met by a row in cells.
    """
    import torch

    from sot_filter.steps.clustered import read_centroids
    from sot_filter.transport.cost import rows_per_tile, tiles

    torch.set_num_threads(1)
    plan = setup.plan()
    layout, source, keys = plan.layout, plan.sources["input"], plan.keys
    parts = source.parts(plan.part_rows)
    spread = np.unique(np.linspace(0, len(parts) - 1, min(-(-rows // plan.part_rows), len(parts))).astype(int))
    generator = torch.Generator().manual_seed(rank)

    def unit(n: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(n, dimension, generator=generator), dim=1)

    dimension = setup.world.dimension * len(VIEWS)
    references = [unit(setup.world.references) for _ in range(2)]
    if plan.sampled:
        cell = read_table(layout.sampled, keys["cluster"], ["cell"])["cell"].to_numpy()
        sizes = np.bincount(cell, minlength=len(read_centroids(layout, keys["cluster"])))
    else:
        sizes = np.asarray([require_manifest(layout.solution, keys["solve"]).facts["solved_rows"]])
    anchors, stops = unit(int(sizes.sum())), np.cumsum(sizes)
    room = torch.empty(8 << 20)
    took = {"rows": 0.0, "read": 0.0, "products": 0.0, "operations": 0.0, "met": 0.0}

    def multiply(points: torch.Tensor, among: torch.Tensor) -> None:
        for part in tiles(len(points), rows_per_tile(len(among), among.dtype, among.device)):
            out = room[: (part.stop - part.start) * len(among)].view(-1, len(among))
            torch.mm(points[part], among.T, out=out)
        took["operations"] += 2.0 * len(points) * len(among) * dimension

    for part in my_share([parts[i] for i in spread], rank, tasks):
        start = time.thread_time()
        table = read_table(layout.embeddings("input", source, part), keys["embed"])
        points = torch.cat([torch.from_numpy(matrix(table[f"view:{v}"]).astype(np.float32)) for v in VIEWS], 1)
        took["read"] += time.thread_time() - start
        found = np.asarray(table["status"].to_pylist()) == EMBEDDED
        visitors = np.asarray([found.sum()])
        if plan.sampled:
            cells = matrix(read_table(layout.cells(part), keys["assign"])["cells"])[found]
            visitors = np.bincount(cells.reshape(-1), minlength=len(sizes))
        start = time.thread_time()
        for reference in references:
            multiply(points, reference)
        for count, size, stop in zip(visitors.tolist(), sizes.tolist(), stops.tolist(), strict=True):
            if count:
                multiply(points[:count], anchors[stop - size : stop])
        took["products"] += time.thread_time() - start
        took["rows"] += part.rows
        took["met"] += float(visitors @ sizes)
    return took


def told_apart(setup: Setup, rank: int, tasks: int) -> dict[str, float]:
    """How well the score tells the planted rows from the others."""
    plan = setup.plan()
    parts = plan.sources["input"].parts(plan.part_rows)
    scores, planted = [], []
    for number, part in enumerate(parts):
        table = read_table(plan.layout.scores(part), plan.keys["weigh"], ["status", "score"])
        found = np.asarray(table["status"].to_pylist()) == EMBEDDED
        scores.append(table["score"].to_numpy()[found])
        planted.append(setup.world.kinds(number, part.rows, len(parts)).planted[found])
    score, harmful = np.concatenate(scores), np.concatenate(planted)
    return {"auroc": auroc(-score, harmful), "rows": float(len(score)), "planted": float(harmful.sum())}


def auroc(values: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive row has a higher value than another, ties by half."""
    others, mine = np.sort(values[~positive]), values[positive]
    below = np.searchsorted(others, mine) + np.searchsorted(others, mine, side="right")
    return float(below.mean() / 2 / len(others))


def _measured(
    work: Callable[[int, int], Any], modules: Sequence[str], rank: int, tasks: int, start: Any, answer: Any
) -> None:
    """Do a task's work in this process and answer with a `Task`, or with the error; its time begins after loading."""
    try:
        for module in modules:
            importlib.import_module(module)
        mapped = [0]
        _count_mapped(mapped)
        start.wait()
        began, core, before = time.perf_counter(), time.process_time(), _io()
        found = work(rank, tasks)
        seconds, core, after = time.perf_counter() - began, time.process_time() - core, _io()
        # What is written is read back once, which is no input.
        written = after[1] - before[1]
        read = mapped[0] + max(after[0] - before[0] - written, 0)
        answer.send(Task(seconds, core, _peak(), read, written, found))
    except BaseException as error:
        start.abort()
        answer.send(f"{type(error).__name__}: {error}")
        raise


def _count_mapped(total: list[int]) -> None:
    """Add the sizes of mapped files to a total: no system call tells of their bytes."""
    map_file = pa.memory_map

    def counted(path: str, *arguments: Any) -> pa.MemoryMappedFile:
        total[0] += os.path.getsize(path)
        return map_file(path, *arguments)

    pa.memory_map = counted


def _io() -> tuple[int, int]:
    """Bytes that this process has read and written by system calls; 0 where the system does not tell."""
    try:
        lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    except OSError:
        return 0, 0
    return int(lines["rchar"]), int(lines["wchar"])


def _peak() -> float:
    """Bytes that were resident at most."""
    try:
        # Unlike ru_maxrss, not that of the process this one was forked from, if that was larger.
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return float(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):
        import resource

        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


# ------------------------------------------------------------------------------------------------------- all the tasks


def spawn(work: Callable[[int, int], Any], tasks: int, *modules: str) -> Task:
    """Do some work in as many processes at the same time, which load modules first, and wait for all."""
    context = multiprocessing.get_context("spawn")
    start, running = context.Barrier(tasks), []
    for rank in range(tasks):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_measured, args=(work, modules, rank, tasks, start, theirs))
        process.start()
        theirs.close()
        running.append((process, mine))
    answers = []
    for process, pipe in running:
        try:
            answers.append(pipe.recv())
        except EOFError:
            answers.append("a process that ended without a word; it may have had too little memory")
        process.join()
    if failed := [answer for answer in answers if not isinstance(answer, Task)]:
        sys.exit(f"a task failed: {next((f for f in failed if 'BrokenBarrier' not in f), failed[0])}")
    return Task.joined(answers)


def measure(setup: Setup, bare_rows: int) -> dict[str, Task]:
    """Fabricate the rows of one size, run its stages, and print."""
    plan, rows = setup.plan(), setup.world.rows
    claim(plan, redo=True)
    for name in STAGES:
        shutil.rmtree(f"{plan.layout.root}/{name}", ignore_errors=True)
    fabricated = spawn(partial(fabricate, setup), setup.tasks)
    gib = sum(fabricated.found) / GIB
    print(f"\n{rows:,} rows in {len(plan.sources['input'].parts(plan.part_rows)):,} parts of {plan.part_rows:,}")
    print(f"\nmode {plan.mode[0]}; fabricated: {gib:.2f} GiB, {fabricated.seconds:.0f} s")
    took = {}
    stages = {stage.name: stage for stage in build_stages(plan)}
    print(
        "\n| stage | tasks | s | rows/s | rows per core-s | peak MiB | read MiB | written MiB |\n|---"
        + "|--:" * 7
        + "|"
    )
    for name in (name for name in STAGES if name in stages):
        tasks = stages[name].tasks
        took[name] = task = spawn(partial(run_stage, name, setup), tasks, *LOADED.get(name, ()))
        print(
            f"| {name} | {tasks} | {task.seconds:.1f} | {rows / task.seconds:,.0f} | {rows / task.core:,.0f} "
            f"| {task.memory / 2**20:,.0f} | {task.read / 2**20:,.0f} | {task.written / 2**20:,.0f} |",
            flush=True,
        )
    products = spawn(partial(bare, bare_rows, setup), stages["weigh"].tasks, *LOADED["weigh"])
    print(f"\n{_against_products(plan, took['weigh'].core / rows, products)}")
    apart = spawn(partial(told_apart, setup), 1).found[0]
    facts = require_manifest(plan.layout.solution, plan.keys["solve"]).facts
    print(
        f"\nAUROC of {apart['planted']:,.0f} planted rows among {apart['rows']:,.0f}: {apart['auroc']:.4f}; "
        f"solved {facts['solved_rows']:,} of {facts['distinct_rows']:,} distinct texts, {facts['outcome']}",
        flush=True,
    )
    return took


def _against_products(plan: Plan, weigh: float, products: Task) -> str:
    """The ratio of weigh's time to that of the products, in words; ``weigh`` in seconds of a core for each row."""
    total = {name: sum(found[name] for found in products.found) for name in products.found[0]}
    multiplied, read = total["products"] / total["rows"], total["read"] / total["rows"]
    work = plan.work
    expected = min(work.probes / work.centroids, 1) * work.sample if plan.sampled else work.rows
    return (
        f"weigh takes {weigh / multiplied:.2f} times the bare products' processor time, "
        f"{weigh / (multiplied + read):.2f} times that of products and reading "
        f"(reading is {read / multiplied:.2f} of the products). Products of {total['rows']:,.0f} rows ran at "
        f"{total['operations'] / total['products'] / 1e9:.0f} GFLOP/s of a core; a row meets "
        f"{total['met'] / total['rows']:,.0f} rows in its cells, where sot_filter.costs counts {expected:,.0f}."
    )


# ---------------------------------------------------------------------------------------------------------- cost model


def fitted(features: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors [k] >= 0 of features [sizes, k], by least squares of the relative errors."""
    scale = np.where(features.any(0), features.max(0), 1.0)
    found: NDArray[np.float64] = nnls(features / scale / values[:, None], np.ones(len(values)))[0] / scale
    return found


def features(plan: Plan, stage: str, sizes: int) -> list[float]:
    """Something fixed, the rows, and the operations of a stage: what its time is made of.

    What as few ``sizes`` do not tell apart is left out, as zeros.
    """
    rows, operations = float(plan.work.rows), plan.cost.flops.get(stage, 0.0)
    if sizes == 1:
        return [0.0, 0.0 if operations else rows, operations]
    if sizes == 2 and operations:
        return [1.0, 0.0, operations] if stage in SHARDED else [0.0, rows, operations]
    return [1.0, rows, operations]


def extrapolate(setups: Sequence[Setup], took: Sequence[dict[str, Task]], rows: int, tasks: int, speed: float) -> None:
    """Fit a cost to each stage and print what it says of ``rows`` rows on ``tasks`` cores; ``speed`` in GB/s."""
    plans = [setup.plan() for setup in setups]
    last = setups[-1]
    large = Setup(**{**vars(last), "world": World(**{**asdict(last.world), "rows": rows})}).plan()
    print(
        f"\n{rows:,} rows, extrapolated: seconds of a core = fixed + a · rows + b · operations as sot_filter.costs "
        "counts them, with factors that are not negative and fit best in relative squares. Assumed: the same settings "
        f"(a sample of {large.work.sample:,} texts and {large.work.centroids:,} centroids); rows of the same kind; "
        f"{', '.join(SHARDED)} spread over {tasks:,} cores that do not wait for each other or for a slow one; reading "
        f"and writing at {speed:g} GB/s for all tasks together, not overlapped with arithmetic; the same cores."
    )
    if len(setups) < 3:
        print(
            "Fitted to fewer than three sizes: what is fixed, for each row and for each operation is not told apart."
        )
    print(
        "\n| stage | fixed core-s | core-s per million rows | core-s per TFLOP | worst error of the fit | core-hours "
        "| cores | hours | TB read | TB written | peak MiB gained per million rows |\n|---" + "|--:" * 10 + "|"
    )
    for stage in took[0]:
        inputs = np.asarray([features(plan, stage, len(took)) for plan in plans])
        core = np.asarray([one[stage].core for one in took])
        fixed, per_row, per_operation = fitted(inputs, core)
        error = np.abs(inputs @ [fixed, per_row, per_operation] / core - 1).max()
        # What is fixed is so for each task.
        fixed /= last.tasks if stage in SHARDED else 1
        cores = tasks if stage in SHARDED else 1
        seconds = float(np.dot([fixed * cores, per_row, per_operation], features(large, stage, 3)))
        read, written = (
            linear(rows, plans, [getattr(one[stage], kind) for one in took]) for kind in ("read", "written")
        )
        hours = seconds / cores / 3600 + (read + written) / (speed * 1e9) / 3600
        grown = "-"
        if len(took) > 1:
            more = took[-1][stage].memory - took[-2][stage].memory
            grown = f"{more / 2**20 / (plans[-1].work.rows - plans[-2].work.rows) * 1e6:+,.0f}"
        cells = [
            stage, f"{fixed:.1f}", f"{per_row * 1e6:.2f}", f"{per_operation * 1e12:.2f}", f"{error:.0%}",
            f"{seconds / 3600:,.1f}", f"{cores:,}", f"{hours:,.2f}", f"{read / 1e12:.2f}", f"{written / 1e12:.2f}",
            grown,
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |")


def linear(rows: int, plans: Sequence[Plan], values: Sequence[float]) -> float:
    """What grows as something fixed and something for each row, at a number of rows."""
    sizes = np.asarray([[float(len(plans) > 1), plan.work.rows] for plan in plans])
    return float(fitted(sizes, np.maximum(values, 1.0)) @ [1.0, rows])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000], help="sizes, one by one")
    parser.add_argument(
        "--mode", choices=["centroid", "coupled"], default="centroid", help="coupled for few rows only"
    )
    parser.add_argument("--references", type=int, default=1000, help="rows of each of the two")
    parser.add_argument("--dimension", type=int, default=192, help="of each of the two views")
    parser.add_argument("--sample", type=int, default=250_000, help="texts that the solve sees")
    parser.add_argument("--centroids", type=int, default=4096, help="at most; one for 64 texts of the sample")
    parser.add_argument("--probes", type=int, default=64, help="cells that a row looks into")
    parser.add_argument("--replicates", type=int, default=16, help="halves of the references; 0 for none")
    parser.add_argument("--memory-gib", type=float, default=2.0, help="of the solve")
    parser.add_argument("--pairs", type=int, nargs=2, default=[16, 32], help="character pairs of prompt and response")
    parser.add_argument("--files", type=int, default=8, help="files of the input")
    parser.add_argument("--part-rows", type=int, help="rows of a part; by default as many as the product takes")
    parser.add_argument("--tasks", type=int, default=1, help="processes of a sharded stage, all at the same time")
    parser.add_argument(
        "--bare-rows", type=int, default=200_000, help="rows that the bare products are timed on, about"
    )
    parser.add_argument("--cores", type=int, default=1000, help="cores of the extrapolation")
    parser.add_argument("--reading", type=float, default=10.0, help="GB/s of the extrapolation, all tasks together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder to keep; rows that it has are not fabricated again")
    options = parser.parse_args()
    if min(options.rows) < options.files:
        parser.error(f"--rows of at least one for each of the {options.files} files; got {min(options.rows)}")
    # Before a process is started that loads a library which asks for it.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    print(f"command: {shlex.join(['python', *sys.argv])}")
    setups, took = [], []
    work = options.work or Path(tempfile.mkdtemp(prefix="at-size-"))
    try:
        for rows in sorted(set(options.rows)):
            world = World(
                rows, options.references, options.dimension, tuple(options.pairs), options.files, options.seed
            )
            setup = Setup(
                world,
                str(work.absolute() / str(rows)),
                options.mode,
                options.sample,
                options.centroids,
                options.probes,
                options.replicates,
                options.memory_gib,
                options.part_rows,
                options.tasks,
            )
            took.append(measure(setup, options.bare_rows))
            setups.append(setup)
            if options.work is None:
                shutil.rmtree(setup.work, ignore_errors=True)
    except SotFilterError as error:
        sys.exit(str(error))
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    if options.mode == "centroid":
        extrapolate(setups, took, EXTRAPOLATED, options.cores, options.reading)


if __name__ == "__main__":
    main()
