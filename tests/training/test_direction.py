"""The alignment direction from safetensors, whole or in shards; its projectors against dense float64 algebra."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sot_filter.errors import ArtifactError, ConfigError, ModelError
from sot_filter.training.checkpoint import Checkpoint
from sot_filter.training.direction import (
    PROJECTORS,
    directions,
    idempotent_projector,
    published_projector,
)
from sot_filter.training.projector_cache import find_projectors

SHAPES = {"a": (6, 9), "b": (9, 6), "c": (7, 7)}


def a_model(folder: Path, seed: int, shards: int = 1, dtype: torch.dtype = torch.float64, **told: Any) -> Path:
    """Matrices of `SHAPES` as a model's folder, and a bias that is nobody's."""
    random = torch.Generator().manual_seed(seed)
    weights = {
        f"{name}.weight": torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)
        for name, shape in SHAPES.items()
    }
    weights["a.bias"] = torch.ones(6, dtype=dtype)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | told))
    if shards == 1:
        save_file(weights, folder / "model.safetensors")
        return folder
    files = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(weights)}
    for file in set(files.values()):
        save_file({name: weights[name] for name in files if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    return a_model(tmp_path / "aligned", 0)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return a_model(tmp_path / "base", 1, shards=3)


def weights(folder: Path) -> dict[str, Tensor]:
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


def outside(name: str, direction: Tensor, rank: int) -> Tensor:
    """I - C by whole matrices."""
    eye = torch.eye(len(direction), dtype=torch.float64)
    if name == "published":
        return eye - direction @ direction.T / direction.square().sum().sqrt()
    left, _, _ = torch.linalg.svd(direction)
    return eye - left[:, :rank] @ left[:, :rank].T


def test_directions_are_the_differences_whatever_the_shards(aligned: Path, base: Path) -> None:
    found = dict(directions(Checkpoint(aligned), Checkpoint(base), SHAPES))
    assert set(found) == set(SHAPES)
    for name, direction in found.items():
        assert torch.equal(direction, weights(aligned)[f"{name}.weight"] - weights(base)[f"{name}.weight"])


def test_a_weight_kept_on_its_side_is_turned(aligned: Path, base: Path) -> None:
    found = dict(directions(Checkpoint(aligned), Checkpoint(base), ["a"], transposed=["a"]))
    assert torch.equal(found["a"].T, weights(aligned)["a.weight"] - weights(base)["a.weight"])


def test_half_precision_weights_are_subtracted_in_single(tmp_path: Path) -> None:
    folders = [a_model(tmp_path / str(seed), seed, dtype=torch.bfloat16) for seed in (0, 1)]
    found = dict(directions(*map(Checkpoint, folders), SHAPES))
    ours, theirs = (weights(folder)["a.weight"].float() for folder in folders)
    assert torch.equal(found["a"], ours - theirs)


@pytest.mark.parametrize("name", PROJECTORS)
@pytest.mark.parametrize("module", SHAPES)
def test_projectors_are_the_dense_ones(aligned: Path, base: Path, name: str, module: str) -> None:
    ((_, direction),) = directions(Checkpoint(aligned), Checkpoint(base), [module])
    matrix = torch.randn(len(direction), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = PROJECTORS[name](direction, 2).outside(matrix)
    torch.testing.assert_close(found, outside(name, direction, 2) @ matrix, rtol=1e-12, atol=1e-12)


def test_only_the_idempotent_one_is_idempotent_and_spares_what_lies_along() -> None:
    direction = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    idempotent, published = idempotent_projector(direction, 5), published_projector(direction)
    once = idempotent.outside(matrix)
    torch.testing.assert_close(idempotent.outside(once), once, rtol=1e-12, atol=1e-12)
    # Of rank 3, below the 5 asked for: V (V^T V)^+ V^T.
    assert float(idempotent.outside(direction).norm()) < 1e-12
    torch.testing.assert_close(once, matrix - direction @ torch.linalg.pinv(direction) @ matrix)
    twice = published.outside(published.outside(matrix))
    assert float((twice - published.outside(matrix)).norm()) > 0.1


def test_the_published_one_scales_with_the_difference_and_vanishes_with_it() -> None:
    direction = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    once, thrice = (matrix - published_projector(f * direction).outside(matrix) for f in (1.0, 3.0))
    torch.testing.assert_close(thrice, 3 * once)
    assert torch.equal(published_projector(0 * direction).outside(matrix), matrix)


@pytest.mark.parametrize("rank", [0, 6, 7])
def test_a_projector_that_would_leave_nothing_is_refused(rank: int) -> None:
    with pytest.raises(ConfigError, match="leaves nothing to penalise"):
        idempotent_projector(torch.ones(6, 9), rank)


@pytest.mark.parametrize("name", PROJECTORS)
def test_the_cache_gives_what_was_computed(aligned: Path, base: Path, tmp_path: Path, name: str) -> None:
    cache = tmp_path / "new" / "direction.safetensors"
    computed = find_projectors(aligned, base, SHAPES, projector=name, rank=2, cache=cache)
    written = cache.stat().st_mtime_ns
    read = find_projectors(aligned, base, SHAPES, projector=name, rank=2, cache=cache)
    assert cache.stat().st_mtime_ns == written
    assert list(cache.parent.iterdir()) == [cache]
    for module, projector in computed.items():
        assert torch.equal(read[module].factor, projector.factor)
        assert (read[module].squared, read[module].divisor) == (projector.squared, projector.divisor)


def test_a_cache_of_other_weights_or_settings_is_refused(aligned: Path, base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "direction.safetensors"
    find_projectors(aligned, base, SHAPES, cache=cache)
    other = a_model(tmp_path / "other", 2)
    with pytest.raises(ArtifactError, match="this run's base "):
        find_projectors(aligned, other, SHAPES, cache=cache)
    with pytest.raises(ArtifactError, match="this run's projector and rank "):
        find_projectors(aligned, base, SHAPES, projector="idempotent", rank=2, cache=cache)
    with pytest.raises(ArtifactError, match="this run's aligned and base "):
        find_projectors(aligned, base, ["a"], cache=cache)


def test_a_damaged_cache_is_refused(aligned: Path, base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "direction.safetensors"
    find_projectors(aligned, base, SHAPES, cache=cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactError, match="as it was written"):
        find_projectors(aligned, base, SHAPES, cache=cache)
    cache.write_bytes(whole[:-40])
    with pytest.raises(ArtifactError, match="weights in"):
        find_projectors(aligned, base, SHAPES, cache=cache)


def test_modules_that_do_not_match_are_named(aligned: Path, base: Path) -> None:
    with pytest.raises(ModelError, match="no weight of d, e"):
        find_projectors(aligned, base, ["a", "d", "e"])
    with pytest.raises(ModelError, match="and 2 more"):
        find_projectors(aligned, base, list("defghij"))


def test_modules_of_another_shape_are_refused(aligned: Path, base: Path) -> None:
    changed = weights(base) | {"b.weight": torch.ones(9, 5, dtype=torch.float64)}
    (base / "model.safetensors.index.json").unlink()
    save_file(changed, base / "model.safetensors")
    with pytest.raises(ModelError, match=r"b as one matrix.*\[9, 6\] and \[9, 5\]"):
        find_projectors(aligned, base, SHAPES)


def test_another_architecture_is_refused(aligned: Path, tmp_path: Path) -> None:
    other = a_model(tmp_path / "gemma", 1, model_type="gemma")
    with pytest.raises(ModelError, match="architecture llama; got gemma"):
        find_projectors(aligned, other, SHAPES)


def test_a_base_of_another_depth_is_refused(tmp_path: Path) -> None:
    models = [a_model(tmp_path / str(layers), layers, num_hidden_layers=layers) for layers in (2, 3)]
    with pytest.raises(ModelError, match="a base model of 2 layers; got 3"):
        find_projectors(*models, SHAPES)


def test_a_model_is_not_its_own_base(aligned: Path) -> None:
    with pytest.raises(ModelError, match="twice the same weights"):
        find_projectors(aligned, aligned, SHAPES)


def test_folders_without_usable_weights_are_refused(aligned: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither"):
        find_projectors(aligned, tmp_path, SHAPES)
    (base / "model-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights in .*model-1"):
        find_projectors(aligned, base, SHAPES)
    (base / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelError, match="JSON in"):
        find_projectors(aligned, base, SHAPES)
    with pytest.raises(ConfigError, match="published, idempotent"):
        find_projectors(aligned, base, SHAPES, projector="safe-lora")


def test_projectors_as_large_as_the_weights_are_kept_in_their_precision(tmp_path: Path) -> None:
    folders = [a_model(tmp_path / str(seed), seed, dtype=torch.bfloat16) for seed in (0, 1)]
    published = find_projectors(*folders, SHAPES)
    assert {projector.factor.dtype for projector in published.values()} == {torch.bfloat16}
    idempotent = find_projectors(*folders, SHAPES, projector="idempotent", rank=2)
    assert {projector.factor.dtype for projector in idempotent.values()} == {torch.float32}


def test_no_more_than_a_module_is_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every weight read is gone, but for the module's own, before the next one is read."""
    import weakref

    folders = [a_model(tmp_path / str(seed), seed) for seed in (0, 1)]
    alive: list[weakref.ref[Tensor]] = []
    most = 0
    read = Checkpoint.read

    def watched(self: Checkpoint, name: str) -> Tensor:
        nonlocal most
        tensor = read(self, name)
        alive.append(weakref.ref(tensor))
        most = max(most, sum(ref() is not None for ref in alive))
        return tensor

    monkeypatch.setattr(Checkpoint, "read", watched)
    find_projectors(*folders, SHAPES, projector="idempotent", rank=2)
    assert len(alive) == 2 * len(SHAPES)
    assert most <= 4  # a pair, and the pair before it, which Python lets go when its names are bound anew
