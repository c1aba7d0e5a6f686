"""The cost model: counted by hand in the small, and the choice of the mode that follows from it."""

import dataclasses

import pytest

from sot_filter.costs import Work, centroid_cost, coupled_cost, prefers_coupled

WORK = Work(
    rows=1000,
    references=100,
    dimension=10,
    neighbours=True,
    sample=500,
    centroids=20,
    probes=5,
    kernel_budget=1 << 30,
)


def test_the_products_of_mode_coupled() -> None:
    flops = coupled_cost(WORK).flops
    # All pairs, and each row against each reference row.
    assert flops["weigh"] == 20 * (1000**2 + 1000 * 100)
    assert flops["solve"] == 20 * (2 * 1000**2 + 1000 * 100 + 15 * 100**2)


def test_the_products_of_mode_centroid() -> None:
    flops = centroid_cost(WORK).flops
    # A quarter of the cells, so a quarter of the sample; twice where the graph is made.
    assert flops["weigh"] == 20 * 1000 * (125 + 100)
    assert flops["solve"] == 20 * 500 * (2 * 125 + 20 + 100)
    assert flops["assign"] == 20 * 1000 * 20
    assert flops["cluster"] == 20 * (10 * 500 * 20 + 15 * 100**2)


def test_rows_alone_need_no_graph() -> None:
    alone = dataclasses.replace(WORK, neighbours=False)
    assert coupled_cost(alone).flops["weigh"] == centroid_cost(alone).flops["weigh"] == 20 * 1000 * 100


@pytest.mark.parametrize(("rows", "device", "coupled"), [
    (1_000, "cpu", True),
    (30_000, "cpu", True),
    (100_000, "cpu", False),
    (100_000, "cuda", True),
    (10_000_000, "cpu", False),
    (10_000_000, "cuda", False),
])  # fmt: skip
def test_few_rows_are_all_compared_and_a_gpu_makes_more_of_them_few(rows: int, device: str, coupled: bool) -> None:
    sample = min(rows, 250_000)
    work = Work(rows, 2000, 768, True, sample, max(1, min(4096, sample // 64)), 32, 2 << 30)
    assert prefers_coupled(work, device) is coupled


def test_memory_of_mode_centroid_does_not_grow_with_the_rows() -> None:
    many = dataclasses.replace(WORK, rows=10**9)
    assert centroid_cost(many).memory == centroid_cost(WORK).memory
    assert coupled_cost(many).memory > 10**5 * coupled_cost(WORK).memory
