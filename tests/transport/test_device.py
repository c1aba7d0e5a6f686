"""Moving to a device: every tensor, whatever it is in; and nothing is made anew where nothing moves."""

import pytest
import torch

from sot_filter.transport import Cells, Measure, PushPullProblem, find_neighbours, solve
from sot_filter.transport.device import move


def problem() -> PushPullProblem:
    generator = torch.Generator().manual_seed(0)
    rows, safe, harmful = (Measure.uniform(torch.randn(n, 4, generator=generator)) for n in (30, 9, 8))
    return PushPullProblem(rows, safe, harmful, tau=0.5, coupling=find_neighbours(rows, 4))


def tensors(value, found=None) -> list[torch.Tensor]:
    found = [] if found is None else found
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            tensors(getattr(value, name), found)
    elif isinstance(value, tuple | list):
        for item in value:
            tensors(item, found)
    return found


def test_what_is_there_already_stays_the_same_object() -> None:
    posed = problem()
    assert move(posed, "cpu") is posed
    several = {"a": (posed, 1), "b": [torch.zeros(2)]}
    assert move(several, "cpu") is several


def test_every_tensor_of_a_graph_goes_along() -> None:
    # The meta device holds no values, so what it takes was moved and not looked at.
    cells = Cells(torch.randn(3, 4), torch.tensor([10, 10, 10]), 2)
    moved = move((cells, [torch.zeros(2)], {"x": torch.ones(1)}, "word", None), "meta")
    assert [t.device.type for t in [*tensors(moved[:2]), moved[2]["x"]]] == ["meta"] * 4
    assert moved[0].probes == 2
    assert moved[3:] == ("word", None)


@pytest.mark.gpu
def test_a_solve_on_a_gpu_is_the_solve_on_the_cpu() -> None:
    posed = problem()
    here, there = solve(posed, mode="coupled"), move(solve(move(posed, "cuda"), mode="coupled"), "cpu")
    torch.testing.assert_close(there.score, here.score, atol=1e-3, rtol=1e-3)
