"""Mode centroid, from rows to columns: mode coupled where the sample is all rows, whoever does the work."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sot_filter.artifacts import digests, read_table
from sot_filter.plan import Plan
from sot_filter.steps.cluster import is_drawn
from sot_filter.steps.scoring import place_rows
from sot_filter.steps.solution_file import read_solution
from sot_filter.transport import conditional_plan
from sot_filter.verification import verify_run
from tests.e2e.cases import Case, rows_of
from tests.e2e.conftest import MakeCase
from tests.e2e.test_invariance import elsewhere

CENTROID = ("solve.mode=centroid", "solve.replicates=4", "cluster.probes=2", "cluster.centroids=3")


def test_a_sample_of_all_rows_in_one_cell_gives_the_columns_of_mode_coupled(make_case: MakeCase) -> None:
    case = make_case(rows__jsonl=rows_of(70, 1) + rows_of(20, 1))
    case.run("solve.mode=coupled", "solve.replicates=4")
    coupled = case.rows()
    plan = elsewhere(case, "centroid").run("solve.mode=centroid", "solve.replicates=4")
    found = case.rows()
    for name in ("sot_score", "sot_pull", "sot_push", "sot_weight"):
        np.testing.assert_allclose([r[name] for r in found], [r[name] for r in coupled], atol=2e-4, err_msg=name)
    for name in ("sot_keep", "sot_status", "sot_nearest_safe", "sot_nearest_harmful"):
        assert [row[name] for row in found] == [row[name] for row in coupled], name
    about = case.summary()
    assert about["mode"]["solver"] == "centroid"
    assert about["solve"]["solved_rows"] == about["solve"]["distinct_rows"] == 70
    assert all(check.passed for check in verify_run(plan)), [c for c in verify_run(plan) if not c.passed]


def test_the_columns_are_the_same_whoever_does_the_work(make_case: MakeCase) -> None:
    case = make_case(**{f"f{i}__jsonl": rows_of(90 + i, i) for i in range(3)})
    settings = (*CENTROID, "cluster.sample=200", "solve.rho_safe=0.1", "solve.rho_harmful=0.1")
    plan = case.run(*settings)
    alone = case.rows()
    about = case.summary()["solve"]
    assert 100 < about["solved_rows"] < 273, "a sample, about as large as asked for"
    assert about["outcome"] == "converged"
    assert all(check.passed for check in verify_run(plan))
    elsewhere(case, "together").run(*settings, "executor.workers=3")
    assert case.rows() == alone


def test_rows_of_one_text_share_score_and_fate_in_and_out_of_the_sample(make_case: MakeCase) -> None:
    rows = rows_of(120, 2)
    case = make_case(a__jsonl=rows, b__jsonl=rows[::-1])
    case.run(*CENTROID, "cluster.sample=120")
    found = case.rows()
    for first, second in zip(found[:120], found[:119:-1], strict=True):
        assert first["sot_score"] == second["sot_score"]
        assert first["sot_keep"] == second["sot_keep"]


def test_a_sample_is_drawn_by_text_and_by_seed(make_case: MakeCase) -> None:
    case = make_case(rows__jsonl=rows_of(40, 3))
    plan = case.run("solve.replicates=0")
    part = plan.sources["input"].parts(plan.part_rows)[0]
    url = plan.layout.embeddings("input", plan.sources["input"], part)
    texts = digests(read_table(url, plan.keys["embed"])["digest"])
    many = np.random.default_rng(0).bytes(16 * 20_000)
    random = np.frombuffer(many, "V16")
    for share in (0.1, 0.5, 0.9):
        drawn = is_drawn(random, share, 0)
        assert abs(drawn.mean() - share) < 0.015
        assert (drawn[:1000] == is_drawn(random[:1000], share, 0)).all()
        # Another seed draws others: of what one takes, the other takes its share.
        assert abs(is_drawn(random, share, 1)[drawn].mean() - share) < 0.03
    assert is_drawn(texts, 1.0, 0).all()


CONSTRAINED = ("solve.rho_safe=0.1", "solve.rho_harmful=0.1", "solve.replicates=4")
HALF = (*CONSTRAINED, "solve.mode=centroid", "cluster.sample=200", "cluster.centroids=3")


def marginal_errors(case: Case, plan: Plan) -> tuple[float, float]:
    """How far what all rows gather is from what it should be, row by row."""
    solution, source = read_solution(plan.layout.solution, plan.keys["solve"]), plan.sources["input"]
    duplicates = read_table(plan.layout.duplicates, plan.keys["solve"])
    points = torch.cat(
        [
            place_rows(
                solution.geometry,
                read_table(plan.layout.embeddings("input", source, part), plan.keys["embed"]),
                duplicates,
            )[0]
            for part in source.parts(plan.part_rows)
        ]
    )
    kept = torch.sigmoid(torch.tensor([row["sot_score"] for row in case.rows()], dtype=torch.float64))
    found = []
    for side, psi in ((solution.safe, solution.psi_safe), (solution.harmful, solution.psi_harmful)):
        marginal = kept @ conditional_plan(points, side, psi, solution.epsilon).double() / kept.sum()
        found.append(float((marginal - side.mass * torch.exp(-psi / 0.1)).abs().sum()))
    return found[0], found[1]


def test_passes_over_all_rows_correct_the_potentials_of_a_sample(make_case: MakeCase) -> None:
    case = make_case(a__jsonl=rows_of(230, 1), b__jsonl=rows_of(170, 2))
    exact = case.run(*CONSTRAINED, "solve.mode=coupled")
    whole = read_solution(exact.layout.solution, exact.keys["solve"])
    found = []
    for passes in (0, 3):
        plan = elsewhere(case, f"polish{passes}").run(*HALF, f"cluster.polish={passes}")
        solution, solve = read_solution(plan.layout.solution, plan.keys["solve"]), case.summary()["solve"]
        assert 150 < solve["solved_rows"] < 250
        assert all(check.passed for check in verify_run(plan)), [c for c in verify_run(plan) if not c.passed]
        off = max(
            float((solution.psi_safe - whole.psi_safe).abs().max()),
            float((solution.psi_harmful - whole.psi_harmful).abs().max()),
        )
        found.append((*marginal_errors(case, plan), off))
    assert solve["polished"] == 3
    safe, harmful = zip(*solve["marginal_errors"], strict=True)
    # The first pass finds what the sample was off by; each that follows finds less.
    assert safe[0] == pytest.approx(found[0][0], rel=1e-3)
    assert harmful[0] == pytest.approx(found[0][1], rel=1e-3)
    assert list(safe) == sorted(safe, reverse=True)
    assert list(harmful) == sorted(harmful, reverse=True)
    for before, after in zip(*found, strict=True):
        assert after < before / 3, found


def test_corrected_columns_are_the_same_whoever_does_the_work(make_case: MakeCase) -> None:
    rows = rows_of(120, 2)
    case = make_case(a__jsonl=rows, b__jsonl=rows[:60][::-1], c__jsonl=[*rows_of(40, 3), {"messages": []}])
    settings = (*HALF, "cluster.sample=100", "cluster.polish=1")
    case.run(*settings)
    alone = case.rows()
    plan = elsewhere(case, "together").run(*settings, "executor.workers=3")
    assert case.rows() == alone
    assert all(check.passed for check in verify_run(plan))


@pytest.mark.parametrize("neighbours", [0, 4])
def test_free_marginals_leave_nothing_to_correct(make_case: MakeCase, neighbours: int) -> None:
    case = make_case(rows__jsonl=rows_of(120, 1))
    settings = (*CENTROID, "cluster.sample=60", "solve.rho_harmful=0", f"solve.neighbours={neighbours}")
    case.run(*settings, "solve.rho_safe=0")
    before = case.rows()
    elsewhere(case, "free").run(*settings, "solve.rho_safe=0", "cluster.polish=2")
    assert case.rows() == before
    assert case.summary()["solve"]["polished"] == 0
    elsewhere(case, "constrained").run(*settings, "solve.rho_safe=0.1", "cluster.polish=2")
    assert case.summary()["solve"]["polished"] == 2


def test_passes_are_done_again_where_something_changed_or_is_missing(make_case: MakeCase) -> None:
    case = make_case(rows__jsonl=rows_of(120, 1))
    settings = (*HALF, "cluster.sample=60")
    once = case.run(*settings, "cluster.polish=1")
    assert "settle-1" in once.keys
    again = case.run(*settings, "cluster.polish=2", redo=True)
    left = [Path(url) for url in (again.layout.solution, again.layout.reseeded)]
    before = [path.read_bytes() for path in left]
    Path(f"{left[0]}.json").unlink()
    case.run(*settings, "cluster.polish=2")
    assert [path.read_bytes() for path in left] == before, "as after a kill within the last pass"
    assert again.keys["assign"] == once.keys["assign"]
    assert again.keys["weigh"] != once.keys["weigh"]
    assert case.summary()["solve"]["polished"] == 2
    assert all(check.passed for check in verify_run(again))
