"""The tables of the weigh stage: what the solve said of its own rows, by streaming; rows of one text; another seed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from sot_filter.artifacts import write_table
from sot_filter.rows import UNSCORED
from sot_filter.steps.scoring import Scorer
from sot_filter.steps.stability import RESEEDED, replicate_columns, replicate_matrix
from sot_filter.transport import score_range
from tests.steps.solved_run import REPLICATES, SolvedRun

TEXTS = [f"text {i}" for i in range(90)]


def scorer(run: SolvedRun, embedded: pa.Table, repeated: list[int] | None = None) -> Scorer:
    write_table(run.layout.duplicates, run.duplicates(embedded, repeated or []), "solve")
    return Scorer.read(run.layout, "solve", "cpu")


def scored(by: Scorer, embedded: pa.Table) -> pa.Table:
    return by.score(by.place(embedded))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SolvedRun:
    torch.set_num_threads(1)
    return SolvedRun(tmp_path_factory.mktemp("run"))


def test_rows_of_the_solve_get_what_it_said_of_them_and_of_their_stability(run: SolvedRun) -> None:
    embedded = run.table(run.views, TEXTS)
    by = scorer(run, embedded)
    assert by.shared, "the other seed has chosen the same space"
    table = scored(by, embedded)
    np.testing.assert_allclose(table["score"], run.solution.score, atol=2e-4)
    np.testing.assert_allclose(table[RESEEDED], run.reseeded, atol=2e-4)
    np.testing.assert_allclose(replicate_matrix(table, REPLICATES), run.replicates, atol=5e-4)
    low, high = score_range(run.replicates)
    np.testing.assert_allclose(table["score_low"], torch.minimum(low, run.solution.score), atol=2e-3)
    np.testing.assert_allclose(table["score_high"], torch.maximum(high, run.solution.score), atol=2e-3)
    assert float(np.abs(table[RESEEDED].to_numpy() - table["score"].to_numpy()).max()) > 1e-3


@pytest.mark.parametrize("other", [{"epsilon": 0.1}, {"view_weights": {"prompt": 0.3, "response": 0.7}}])
def test_another_seed_that_chooses_another_space_has_a_pass_of_its_own(
    tmp_path: Path, other: dict[str, float]
) -> None:
    run = SolvedRun(tmp_path, other=other)
    embedded = run.table(run.views, TEXTS)
    by = scorer(run, embedded)
    assert not by.shared
    table = scored(by, embedded)
    np.testing.assert_allclose(table[RESEEDED], run.reseeded, atol=2e-4)
    np.testing.assert_allclose(table["score"], run.solution.score, atol=2e-4)


def test_relaxed_marginals_of_another_seed_are_read_off_the_same_kernel(tmp_path: Path) -> None:
    """Then ψ is another, so the potentials are, although the space is the same."""
    run = SolvedRun(tmp_path, other={"rho_safe": 0.1, "rho_harmful": 0.1, "epsilon": 0.05, "push_strength": 0.4})
    embedded = run.table(run.views, TEXTS)
    by = scorer(run, embedded)
    assert by.shared == (run.problem.epsilon == 0.05)
    # Potentials of relaxed marginals still move by as much as the certificate allows.
    np.testing.assert_allclose(scored(by, embedded)[RESEEDED], run.reseeded, atol=2e-2)


def test_rows_of_one_text_get_the_same_in_every_column_and_part(run: SolvedRun) -> None:
    views, texts = run.vectors(300, 7), [f"row {i}" for i in range(300)]
    repeated, copies = [3, 40], {120: 3, 299: 3, 77: 40}
    first = run.table(views, texts)
    by = scorer(run, first, repeated)
    for copy, of in copies.items():
        texts[copy] = texts[of]
    status = ["empty" if i in (5, 200) else "embedded" for i in range(300)]
    # The copies were embedded in other batches, and so a little otherwise.
    embedded = run.table(views, texts, status)
    whole = scored(by, embedded)
    for size in (1, 7, 64):
        parts = [scored(by, embedded.slice(i, size)) for i in range(0, 300, size)]
        assert pa.concat_tables(parts).combine_chunks().equals(whole)
    rows = whole.to_pylist()
    for copy, of in copies.items():
        assert rows[copy] == rows[of]
        assert rows[copy]["duplicate_of"] == f"first#{of}"
    names = ["score_low", "score_high", RESEEDED, *replicate_columns(REPLICATES)]
    assert whole.column_names[-len(names) :] == names
    for row in (rows[5], rows[200]):
        assert (row["score"], row["simple"], row["nearest_safe"]) == (UNSCORED, -np.inf, -1)
        assert not any(row[name] for name in names)


def test_scores_stay_above_that_of_a_row_without_one(run: SolvedRun) -> None:
    embedded = run.table(run.views, TEXTS)
    by = scorer(run, embedded)
    assert by.solution.replicates is not None
    by.solution.replicates.offsets.fill_(-1e6)
    table = scored(by, embedded)
    assert set(np.unique(replicate_matrix(table, REPLICATES))) == {np.float32(-99)}


def test_no_rows_have_no_scores(run: SolvedRun) -> None:
    embedded = run.table(run.views, TEXTS)
    assert len(scored(scorer(run, embedded), embedded.slice(0, 0))) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("other", [{}, {"epsilon": 0.1}])
def test_a_gpu_scores_as_the_cpu_does(tmp_path: Path, other: dict[str, object]) -> None:
    run = SolvedRun(tmp_path, other=other)
    embedded = run.table(run.vectors(500, 7), [f"row {i}" for i in range(500)])
    wanted = scored(scorer(run, embedded, [3]), embedded)
    found = scored(Scorer.read(run.layout, "solve", "cuda"), embedded)
    for name in wanted.column_names:
        one, two = wanted[name], found[name]
        if pa.types.is_floating(one.type):
            np.testing.assert_allclose(two, one, atol=2e-3)
        else:
            assert two.equals(one), name
