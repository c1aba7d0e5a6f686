"""A stored solution scores as the solve did, after any number of round trips, rows in parts of any size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.artifacts import require_manifest
from sot_filter.errors import ArtifactError
from sot_filter.report.projection import fit_plane
from sot_filter.steps.solution import Coupled, Scored, StoredSolution
from sot_filter.steps.solution_file import read_solution, write_solution
from sot_filter.steps.solving import stored
from sot_filter.transport import (
    Cells,
    Choice,
    Measure,
    Solution,
    choose,
    find_clusters,
    find_neighbours,
    score_rows,
    solve,
)
from sot_filter.weighting import Coverage, PairModel
from sot_filter.weighting.typicality import CLASSES

VIEWS = {"prompt": 6, "response": 8}


def vectors(n: int, seed: int, shift: float) -> dict[str, Tensor]:
    """Views of rows that lie ``shift`` to one side; the last row has no response."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for view, d in VIEWS.items():
        points = torch.randn(n, d, generator=generator) / d**0.5
        points[:, 0] += shift
        found[view] = normalize(points)
    found["response"][-1] = 0
    return found


class Solved:
    """A coupled solve of a small problem, and what is stored of it."""

    def __init__(self, neighbours: int = 8, tau: float | None = None, direction: bool = True, **given: float) -> None:
        self.choice: Choice = choose(vectors(40, 1, 0.4), vectors(45, 2, -0.4), direction=direction, **given)
        mixed = {view: torch.cat([v, w]) for (view, v), w in zip(
            vectors(70, 3, 0.4).items(), vectors(20, 4, -0.4).values(), strict=True
        )}  # fmt: skip
        counts = torch.arange(90) % 3 + 1
        self.rows = Measure.of_counts(self.choice.geometry.points(mixed), counts)
        coupling = find_neighbours(self.rows, neighbours) if neighbours else None
        self.problem = self.choice.pose(self.rows, tau=tau, coupling=coupling)
        self.solution: Solution = solve(self.problem, mode="coupled")
        assert self.solution.outcome.value == "converged"
        self.stored = StoredSolution(
            geometry=self.choice.geometry,
            safe=self.problem.safe,
            harmful=self.problem.harmful,
            psi_safe=self.solution.psi_safe,
            psi_harmful=self.solution.psi_harmful,
            epsilon=self.problem.epsilon,
            push_strength=self.problem.push_strength,
            temperature=self.solution.temperature,
            plane=fit_plane(*(m.points.numpy() for m in (self.rows, self.problem.safe, self.problem.harmful))),
            clusters=find_clusters(self.problem.harmful.points),
            coverage=Coverage(PairModel(np.zeros((CLASSES, CLASSES), np.int64)), {"en": 80, "de": 5}, 0.1, 4.0, 0.01),
            coupled=stored(self.choice, self.problem, self.solution),
        )


KINDS = {
    "as by default": {},
    "rows alone": {"neighbours": 0},
    "no direction": {"direction": False},
    "tau as set": {"tau": 0.5},
    "covered references": {"rho_safe": 0.1, "rho_harmful": 0.1},
    "more neighbours than rows": {"neighbours": 200},
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def solved(request: pytest.FixtureRequest) -> Solved:
    return Solved(**request.param)


@pytest.fixture(scope="module")
def default() -> Solved:
    return Solved()


def scored(solution: StoredSolution, points: Tensor) -> Scored:
    return solution.score(points, np.zeros(len(points), "V16"))


def others(solved: Solved, n: int = 60) -> Tensor:
    """Points that no solve has seen."""
    return solved.choice.geometry.points(vectors(n, 9, 0.1))


def again(solution: StoredSolution, folder: Path) -> StoredSolution:
    url = str(folder / "solution.safetensors")
    write_solution(url, solution, "key", mode="coupled")
    return read_solution(url, "key")


def test_it_scores_the_rows_as_the_solve_did(solved: Solved) -> None:
    found = scored(solved.stored, solved.rows.points)
    # Potentials of relaxed marginals still move by as much as the certificate allows.
    settled = 2e-4 if solved.problem.rho_safe == solved.problem.rho_harmful == 0 else 2e-2
    assert found.rows.score.tolist() == pytest.approx(solved.solution.score.tolist(), abs=settled)


def test_bytes_give_the_same_scores(solved: Solved, tmp_path: Path) -> None:
    read, points = again(solved.stored, tmp_path), others(solved)
    for one, other in zip(scored(read, points), scored(solved.stored, points), strict=True):
        if isinstance(one, Tensor):
            assert torch.equal(one, other)
        else:
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    first = (tmp_path / "solution.safetensors").read_bytes()
    again(read, tmp_path)
    assert (tmp_path / "solution.safetensors").read_bytes() == first
    assert read.coverage.thresholds == solved.stored.coverage.thresholds
    assert read.coverage.languages == solved.stored.coverage.languages
    assert read.temperature is None
    assert read.row_scores is None


def test_cells_of_neighbours_come_back(default: Solved, tmp_path: Path) -> None:
    coupled, points = default.stored.coupled, others(default)
    assert coupled is not None
    assert coupled.neighbours is not None
    cells = Cells(normalize(torch.randn(3, points.shape[1])), torch.tensor([20, 30, 40]), 2)
    coupled = replace(coupled, neighbours=replace(coupled.neighbours, cells=cells))
    solution = replace(default.stored, coupled=coupled)
    read = again(solution, tmp_path)
    assert read.coupled is not None
    assert read.coupled.neighbours is not None
    found = read.coupled.neighbours.cells
    assert found is not None
    assert torch.equal(found.centroids, cells.centroids)
    assert (found.sizes.tolist(), found.probes) == ([20, 30, 40], 2)
    score = scored(read, points).rows.score
    assert torch.equal(score, scored(solution, points).rows.score)
    assert not torch.equal(score, scored(default.stored, points).rows.score), "cells restrict who is a neighbour"


def test_facts_and_settings_lie_in_the_manifest_and_another_key_is_refused(default: Solved, tmp_path: Path) -> None:
    again(default.stored, tmp_path)
    url = str(tmp_path / "solution.safetensors")
    facts = require_manifest(url, "key").facts
    assert (facts["mode"], facts["neighbours"], facts["tau"]) == ("coupled", 8, default.problem.tau)
    with pytest.raises(ArtifactError):
        read_solution(url, "other")


@pytest.mark.parametrize("size", [1, 7, 31])
def test_a_score_does_not_depend_on_the_size_of_its_part(solved: Solved, size: int) -> None:
    points = others(solved)
    whole = scored(solved.stored, points)
    parts = [scored(solved.stored, points[i : i + size]) for i in range(0, len(points), size)]
    for name in ("own", "learned"):
        joined = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(joined, getattr(whole, name), rtol=0, atol=1e-3)
    torch.testing.assert_close(torch.cat([part.rows.score for part in parts]), whole.rows.score, rtol=0, atol=1e-3)


def test_no_rows_have_no_scores(solved: Solved) -> None:
    found = scored(solved.stored, others(solved)[:0])
    assert (len(found.rows.score), len(found.own), len(found.learned)) == (0, 0, 0)


def test_a_score_is_potentials_direction_and_neighbours(solved: Solved) -> None:
    points, problem = others(solved), solved.problem
    found, coupled = scored(solved.stored, points), solved.stored.coupled
    assert coupled is not None
    balance = problem.push_strength
    potentials = (balance * found.rows.push - (1 - balance) * found.rows.pull) / problem.tau
    learned = solved.choice.tilt(points) / problem.tau
    torch.testing.assert_close(found.learned, learned, rtol=1e-4, atol=1e-4, check_dtype=False)
    torch.testing.assert_close(found.own, potentials + learned, rtol=1e-4, atol=1e-3, check_dtype=False)
    # What neighbourhoods say lies between the lowest and the highest of them, since rows of A sum to one.
    shared = found.rows.score - found.own
    assert shared.min() >= coupled.local.min() - 1e-3
    assert shared.max() <= coupled.local.max() + 1e-3


def test_rows_alone_share_one_neighbourhood(tmp_path: Path) -> None:
    solved = Solved(neighbours=0)
    found = scored(solved.stored, solved.rows.points)
    # EM on the share of the whole population, in numpy.
    own, mass, share = found.own.double().numpy(), solved.rows.mass.double().numpy(), 0.5
    for _ in range(5000):
        share = mass @ expit(own + logit(share))
    np.testing.assert_allclose(found.rows.score, own + logit(share), atol=1e-3)
    coupled = again(solved.stored, tmp_path).coupled
    assert coupled is not None
    assert coupled.neighbours is None
    assert (len(coupled.mass), len(coupled.local)) == (1, 1)


def test_a_tau_of_ones_own_makes_all_that_references_say_sharper_or_softer(default: Solved) -> None:
    points, tau = others(default), default.problem.tau
    calibrated = scored(default.stored, points)
    for factor in (0.5, 3.0):
        found = scored(Solved(tau=factor * tau).stored, points)
        for name in ("own", "learned"):
            torch.testing.assert_close(
                getattr(found, name) * factor, getattr(calibrated, name), rtol=1e-3, atol=1e-3, check_dtype=False
            )


def test_without_a_direction_only_an_offset_is_learned() -> None:
    solved = Solved(direction=False)
    assert solved.stored.coupled is not None
    assert not solved.stored.coupled.vector.any()
    found = scored(solved.stored, others(solved))
    assert found.learned.tolist() == pytest.approx([solved.choice.calibration.offset] * 60, abs=1e-5)


def test_scores_stay_above_that_of_a_row_without_one(default: Solved) -> None:
    coupled = default.stored.coupled
    assert coupled is not None
    far = Coupled(1e-5, coupled.vector, -1e4, coupled.mass, coupled.local, coupled.neighbours)
    found = scored(replace(default.stored, coupled=far), others(default))
    assert found.rows.score.tolist() == found.own.tolist() == [-99.0] * 60


def test_without_coupling_the_score_is_that_of_the_potentials(default: Solved, tmp_path: Path) -> None:
    points = others(default)
    solution = again(replace(default.stored, coupled=None, temperature=0.02), tmp_path)
    assert solution.coupled is None
    assert solution.temperature == 0.02
    found, stored_ = scored(solution, points), default.stored
    wanted = score_rows(
        points, stored_.safe, stored_.psi_safe, stored_.harmful, stored_.psi_harmful, stored_.epsilon,
        stored_.push_strength, clusters=stored_.clusters,
    )  # fmt: skip
    assert torch.equal(found.rows.score, wanted.score)
    assert torch.equal(found.own, wanted.score)
    assert not found.learned.any()


def test_rows_that_bring_their_own_score_find_it_by_their_text(default: Solved, tmp_path: Path) -> None:
    digests = np.frombuffer(b"".join(bytes([k] * 16) for k in (9, 2, 7)), "V16")
    own = np.float32([0.5, -1.5, 3.0])
    solution = replace(default.stored, coupled=None, temperature=1.0, row_digests=digests, row_scores=own)
    points = others(default, 4)
    found = again(solution, tmp_path).score(points, digests[[2, 0, 1, 2]])
    assert found.rows.score.tolist() == found.own.tolist() == [3.0, 0.5, -1.5, 3.0]
    assert not found.learned.any()
