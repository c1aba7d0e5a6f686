"""What the stages between embeddings and scores cost, by mode: the arithmetic that `mode: auto` decides by.

Counted are the inner products between rows, references and centroids, each 2 d operations; what else is done to them
costs about as much again. Memory is that of the one task that solves.
"""

from dataclasses import dataclass
from typing import Final

#: Lloyd's iterations, and the rows of the sample per centroid that they see at most.
_ITERATIONS: Final = 10
_TRAINED: Final = 256
#: Settings that held-out rows of the references decide between.
_TRIALS: Final = 15
#: Bytes of the neighbour graph for each row: some twelve entries, and room to sort them.
_GRAPH: Final = 1000
#: Arithmetic that nobody minds: a few minutes of one core, seconds of a GPU.
_PATIENCE: Final = {"cpu": 1e13, "cuda": 1e15}


@dataclass(frozen=True, slots=True)
class Work:
    """How much there is to do.

    Attributes:
        rows: N.
        references: rows of both references, m.
        dimension: of a point, d.
        neighbours: whether rows share their fate with neighbours.
        sample: rows that the solve sees in mode centroid, n.
        centroids: K.
        probes: cells that a row looks into.
        kernel_budget: bytes that a cached kernel may take.
    """

    rows: int
    references: int
    dimension: int
    neighbours: bool
    sample: int
    centroids: int
    probes: int
    kernel_budget: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a mode costs.

    Attributes:
        flops: operations of each stage.
        memory: bytes that the solve holds.
    """

    flops: dict[str, float]
    memory: float

    @property
    def total(self) -> float:
        """Operations of all stages."""
        return sum(self.flops.values())


def coupled_cost(work: Work) -> Cost:
    """Of mode coupled: every row is compared with every row, twice to make their graph and once more to be weighed."""
    pairs = float(work.rows**2 * work.neighbours)
    products = {
        "solve": 2 * pairs + work.rows * work.references + _TRIALS * work.references**2,
        "weigh": pairs + work.rows * work.references,
    }
    return _cost(work, products, work.rows)


def centroid_cost(work: Work) -> Cost:
    """Of mode centroid: a row is compared with the centroids, and with the rows of a few cells of the sample."""
    met = min(work.probes / work.centroids, 1) * work.sample * work.neighbours
    trained = min(work.sample, _TRAINED * work.centroids)
    products = {
        "cluster": _ITERATIONS * trained * work.centroids + _TRIALS * work.references**2,
        "assign": work.rows * work.centroids,
        "solve": work.sample * (2 * met + work.centroids + work.references),
        "weigh": work.rows * (met + work.references),
    }
    return _cost(work, products, work.sample)


def prefers_coupled(work: Work, device: str) -> bool:
    """Whether the rows are few enough for mode coupled, which is exact, to be worth its while.

    Args:
        work: how much there is to do.
        device: ``cpu`` or ``cuda``.
    """
    exact = coupled_cost(work).total
    return exact <= _PATIENCE[device] or exact <= centroid_cost(work).total


def _cost(work: Work, products: dict[str, float], solved: int) -> Cost:
    flops = {stage: 2.0 * work.dimension * count for stage, count in products.items()}
    points = 8.0 * (solved + work.references) * work.dimension
    kernel = min(4.0 * solved * work.references, work.kernel_budget)
    return Cost(flops, points + kernel + _GRAPH * solved * work.neighbours)
