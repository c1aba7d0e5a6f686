"""Mode centroid, from rows to columns: mode coupled where the sample is all rows, whoever does the work."""

import numpy as np

from sot_filter.artifacts import digests, read_table
from sot_filter.steps.cluster import is_drawn
from sot_filter.verification import verify_run
from tests.e2e.cases import rows_of
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
