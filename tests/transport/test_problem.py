import math
from collections.abc import Callable

import pytest
import torch

from sot_filter.errors import SolverError
from sot_filter.transport import Measure, PushPullProblem, find_neighbours, fold_duplicates


def test_uniform_and_counted_masses() -> None:
    points = torch.eye(4)
    assert Measure.uniform(points).mass.tolist() == [0.25] * 4
    assert Measure.of_counts(points, torch.tensor([1, 1, 2, 4])).mass.tolist() == [0.125, 0.125, 0.25, 0.5]
    assert len(Measure.uniform(points)) == 4


def test_masses_are_rescaled_to_sum_to_one() -> None:
    mass = torch.tensor([0.5, 0.50004], dtype=torch.float64)
    assert float(Measure(torch.eye(2).double(), mass).mass.sum()) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    "mass", [[0.5, 0.5, 0.0], [0.6, 0.6, -0.2], [0.5, 0.4, 0.2], [math.nan, 0.5, 0.5], [0.5, 0.5]]
)
def test_masses_that_are_none_are_refused(mass: list[float]) -> None:
    with pytest.raises(SolverError, match="positive masses"):
        Measure(torch.eye(3), torch.tensor(mass))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,)])
def test_no_points_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SolverError, match="at least one row"):
        Measure.uniform(torch.zeros(shape))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_points_that_are_not_finite_are_named(value: float) -> None:
    points = torch.eye(3)
    points[1, 2] = value
    with pytest.raises(SolverError, match="first at 1"):
        Measure.uniform(points)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("push_strength", -0.1),
        ("push_strength", 1.1),
        ("push_strength", math.nan),
        ("epsilon", 0.0),
        ("epsilon", -0.05),
        ("epsilon", 1e-9),
        ("epsilon", math.inf),
        ("tau", -0.1),
        ("tau", math.nan),
        ("rho_safe", -1.0),
        ("rho_harmful", math.nan),
        ("rho_harmful", 1e-30),
    ],
)
def test_parameters_out_of_range_are_named(toy: Callable, name: str, value: float) -> None:
    with pytest.raises(SolverError, match=name):
        toy(5, 5).problem(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("rho_safe", 0.0), ("rho_safe", math.inf), ("tau", 0.0)])
def test_limits_are_allowed(toy: Callable, name: str, value: float) -> None:
    assert getattr(toy(5, 5).problem(**{name: value}), name) == value


def test_parts_must_fit_together() -> None:
    a, b = Measure.uniform(torch.eye(3)), Measure.uniform(torch.eye(4))
    with pytest.raises(SolverError, match="one dimension"):
        PushPullProblem(a, a, b)


@pytest.mark.parametrize("tilt", [torch.zeros(4), torch.zeros(3, 1), torch.tensor([0.0, math.nan, 0.0])])
def test_a_tilt_is_finite_and_of_the_rows(tilt: torch.Tensor) -> None:
    a = Measure.uniform(torch.eye(3))
    with pytest.raises(SolverError, match="finite tilt of 3 rows"):
        PushPullProblem(a, a, a, tilt=tilt)
    assert PushPullProblem(a, a, a, tilt=torch.ones(3)).tilt is not None


def test_a_coupling_is_of_the_rows() -> None:
    a, b = Measure.uniform(torch.eye(3)), Measure.uniform(torch.eye(3)[:2])
    with pytest.raises(SolverError, match="coupling of 3 rows"):
        PushPullProblem(a, b, b, coupling=find_neighbours(b, 2))
    assert PushPullProblem(a, b, b, coupling=find_neighbours(a, 2)).coupling is not None


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_computing_dtype(dtype: torch.dtype, expected: torch.dtype) -> None:
    a, b = Measure.uniform(torch.eye(3)), Measure.uniform(torch.eye(3, dtype=dtype))
    assert PushPullProblem(a, b, a).dtype == expected


def test_fold_duplicates_sums_masses_and_unfolds() -> None:
    points = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 0.5]])
    mass = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.3])
    distinct, folded, index = fold_duplicates(points, mass)
    assert len(distinct) == 3
    assert torch.equal(distinct[index], points)
    torch.testing.assert_close(folded[index], torch.tensor([0.4, 0.3, 0.4, 0.3, 0.3]))
