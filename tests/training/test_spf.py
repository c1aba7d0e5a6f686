"""SPF's projection against dense float64 algebra, and on a problem whose safety must not fall."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from sot_filter.errors import ArtifactError, ConfigError, ModelError
from sot_filter.training.low_rank import truncated_svd
from sot_filter.training.spf import FILE, Basis, Spf, safety_gradients

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def a_matrix(rows: int, columns: int, seed: int = 0, rank: int | None = None) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    if rank is None:
        return torch.randn(rows, columns, generator=random, dtype=torch.float64)
    return a_matrix(rows, rank, seed) @ a_matrix(rank, columns, seed + 1)


def dense(safety: Tensor, gradient: Tensor, rank: int, strength: float = 1.0) -> Tensor:
    """The projected gradient by whole matrices."""
    left, values, right = torch.linalg.svd(safety)
    rank = min(rank, *safety.shape)
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    if (gradient * (left @ values.diag() @ right)).sum() >= 0:
        return gradient
    return gradient - strength * left @ left.T @ gradient @ right.T @ right


def find_basis(gradient: Tensor, rank: int) -> Basis:
    return Basis(*truncated_svd(gradient, rank))


class Two(nn.Module):
    """Matrices whose quadratic safety loss sees them through projections of low rank, and a task against it."""

    def __init__(self, shapes: tuple[tuple[int, ...], ...] = ((6, 9), (9, 4)), rank: int = 2) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(a_matrix(*shape, seed=i)) for i, shape in enumerate(shapes))
        self.sides = [
            tuple(torch.linalg.qr(a_matrix(side, rank, seed=10 + i)).Q for side in shape)
            for i, shape in enumerate(shapes)
        ]
        self.goals = [
            weight.detach() + 3 * a_matrix(*weight.shape, seed=40 + i) for i, weight in enumerate(self.weights)
        ]

    def safety(self) -> Tensor:
        seen = [left.T @ w @ right for w, (left, right) in zip(self.weights, self.sides, strict=True)]
        return torch.stack([(s - 0.1).square().sum() for s in seen]).sum()

    def task(self) -> Tensor:
        return torch.stack([(w - g).square().sum() for w, g in zip(self.weights, self.goals, strict=True)]).sum()


@given(shape=SHAPES, rank=st.integers(1, 12), seed=st.integers(0, 1000), strength=st.sampled_from([1.0, 0.4]))
def test_it_is_the_dense_projection(shape: tuple[int, int], rank: int, seed: int, strength: float) -> None:
    safety, gradient = a_matrix(*shape, seed), a_matrix(*shape, seed + 1)
    basis = find_basis(safety, rank)
    coefficients = basis.coefficients(gradient)
    expected = dense(safety, gradient, rank, strength)
    if basis.agreement(coefficients) < 0:
        torch.testing.assert_close(basis.without(gradient, coefficients, strength), expected, rtol=1e-9, atol=1e-9)
    else:
        assert torch.equal(expected, gradient)


@given(shape=SHAPES, seed=st.integers(0, 1000))
def test_at_full_rank_nothing_of_the_gradient_is_left_in_the_safety_gradient_s_spaces(
    shape: tuple[int, int], seed: int
) -> None:
    safety, gradient = a_matrix(*shape, seed), a_matrix(*shape, seed + 1)
    basis = find_basis(safety, max(shape))
    left = basis.without(gradient, basis.coefficients(gradient), 1.0)
    onto_columns, onto_rows = safety @ torch.linalg.pinv(safety), torch.linalg.pinv(safety) @ safety
    assert float((onto_columns @ left @ onto_rows).norm()) < 1e-9
    outside = gradient - onto_columns @ gradient @ onto_rows
    torch.testing.assert_close(left, outside, rtol=1e-9, atol=1e-9)
    assert abs(float((left * safety).sum())) < 1e-9
    if shape[0] == shape[1]:
        assert float(left.norm()) < 1e-9


def test_a_matrix_without_a_safety_gradient_is_in_no_conflict() -> None:
    nothing = find_basis(torch.zeros(4, 4), 2)
    gradient = torch.ones(4, 4)
    assert float(nothing.agreement(nothing.coefficients(gradient))) == 0


def test_without_conflict_the_gradients_stay_as_they_are_to_the_bit() -> None:
    model = Two()
    spf = Spf(rank=3)
    spf.start(model, model.safety)
    (model.safety() + 0.01 * sum(w.square().sum() for w in model.weights)).backward()
    before = [w.grad.clone() for w in model.weights if w.grad is not None]
    told = spf.adjust(0)
    assert told["spf_conflict_rate"] == told["spf_removed_norm"] == 0
    assert all(torch.equal(w.grad, b) for w, b in zip(model.weights, before, strict=True) if w.grad is not None)


def test_safety_does_not_fall_where_plain_training_loses_it() -> None:
    ends = []
    for strength in (0.0, 1.0):
        model = Two()
        spf = Spf(rank=2, refresh=1, strength=strength)
        spf.start(model, model.safety)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        start, safest, first_task = model.safety().item(), math.inf, model.task().item()
        worst = start
        for step in range(200):
            optimiser.zero_grad()
            model.task().backward()
            spf.adjust(step)
            optimiser.step()
            now = model.safety().item()
            worst, safest = max(worst, now), min(safest, now)
        ends.append((worst / start, model.task().item() / first_task))
    (plain_worst, _), (spf_worst, spf_task) = ends
    assert plain_worst > 1.5
    assert spf_worst <= 1 + 1e-9
    assert spf_task < 0.3


def test_what_is_logged_is_what_was_done() -> None:
    model = Two()
    spf = Spf(rank=2)
    spf.start(model, model.safety)
    (-model.safety()).backward()
    before = [w.grad.clone() for w in model.weights if w.grad is not None]
    told = spf.adjust(0, scale=4.0)
    gone = torch.cat(
        [(b - w.grad).flatten() for b, w in zip(before, model.weights, strict=True) if w.grad is not None]
    )
    assert told["spf_conflict_rate"] == 1
    assert told["spf_removed_norm"] == pytest.approx(float(gone.norm()) / 4)
    assert told["spf_captured"] == pytest.approx(1)
    assert told["spf_seconds"] > 0
    assert all(float(w.grad.norm()) < 1e-9 for w in model.weights if w.grad is not None)


def test_vectors_and_half_precision_gradients_are_projected() -> None:
    model = nn.Linear(6, 5).bfloat16()

    def safety() -> Tensor:
        return model.weight.float().sum() + model.bias.float().square().sum()

    spf = Spf(rank=1)
    spf.start(model, safety)
    (-safety()).backward()
    assert spf.adjust(0)["spf_conflict_rate"] == 1
    assert model.weight.grad is not None
    assert model.bias.grad is not None
    assert model.weight.grad.dtype == torch.bfloat16
    assert float(model.weight.grad.norm()) < 0.05
    assert float(model.bias.grad.norm()) < 0.05


def test_the_bases_are_renewed_when_due_and_at_the_second_step() -> None:
    model = Two()
    looks: list[int] = []

    def safety() -> Tensor:
        looks.append(step)
        return model.safety()

    spf = Spf(refresh=4)
    spf.start(model, safety)
    model.task().backward()
    for step in range(10):
        spf.adjust(step)
    assert looks == [0, 1, 4, 8]


def test_looking_at_safety_leaves_the_accumulated_gradients_alone() -> None:
    model = Two()
    model.task().backward()
    before = [w.grad.clone() for w in model.weights if w.grad is not None]
    safety_gradients(model.safety, dict(model.named_parameters()))
    assert all(torch.equal(w.grad, b) for w, b in zip(model.weights, before, strict=True) if w.grad is not None)


def test_bases_go_through_a_checkpoint(tmp_path: Path) -> None:
    model = Two()
    spf = Spf(refresh=100)
    spf.start(model, model.safety)
    model.task().backward()
    spf.adjust(0)
    spf.save(tmp_path)

    def never() -> Tensor:
        raise AssertionError

    resumed = Spf(refresh=100)
    resumed.start(model, never)
    resumed.load(tmp_path)
    resumed.adjust(7)
    for name, basis in spf.bases.items():
        for part in ("left", "values", "right"):
            assert torch.equal(getattr(resumed.bases[name], part), getattr(basis, part))
    save_file({"other:left": torch.ones(1)}, tmp_path / FILE)
    with pytest.raises(ArtifactError, match="the bases of 2 matrices"):
        resumed.load(tmp_path)


@pytest.mark.parametrize("options", [{"rank": 0}, {"refresh": 0}, {"strength": 1.5}, {"strength": math.nan}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="strength from 0 to 1"):
        Spf(**options)


def test_no_safety_rows_and_nothing_to_train_are_refused() -> None:
    with pytest.raises(ConfigError, match="safety rows for SPF"):
        Spf().start(Two(), None)
    frozen = Two().requires_grad_(False)
    with pytest.raises(ConfigError, match="weights to train"):
        Spf().start(frozen, frozen.safety)


def test_a_safety_gradient_that_is_not_finite_is_refused() -> None:
    model = Two()
    spf = Spf()
    spf.start(model, lambda: model.safety() * math.inf)
    model.task().backward()
    with pytest.raises(ModelError, match=r"finite safety gradient.*weights\.0"):
        spf.adjust(0)


def test_gradients_in_shards_are_refused_before_safety_is_looked_at() -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        model = nn.Linear(4, 4, bias=False)
        mesh = init_device_mesh("cpu", (1,))
        model.weight = nn.Parameter(distribute_tensor(model.weight.detach(), mesh, [Shard(0)]))
        spf = Spf()
        spf.start(model, model.weight.sum)
        with pytest.raises(ModelError, match="weight in shards"):
            spf.adjust(0)
    finally:
        torch.distributed.destroy_process_group()
