"""Every way to solve, from rows to columns: judged again in float64, verified, and as the settings say."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from sot_filter.artifacts import read_table
from sot_filter.plan import Plan
from sot_filter.verification import verify_run
from tests.e2e.cases import Case, rows_of
from tests.e2e.conftest import MakeCase
from tests.e2e.judge import Array, costs, neighbourhoods, points, potential, shared

FIXED = ("solve.push_strength=0.4", "solve.epsilon=0.1", "solve.rho_safe=0", "solve.rho_harmful=0")


def column(case: Case, name: str) -> NDArray[Any]:
    return np.asarray([row[name] for row in case.rows()])


def scored(case: Case, plan: Plan) -> pa.Table:
    parts = plan.sources["input"].parts(plan.part_rows)
    return pa.concat_tables(read_table(plan.layout.scores(part), plan.keys["weigh"]) for part in parts)


@pytest.mark.parametrize("settings", [(), ("solve.tau=0.01",)], ids=["tau auto", "tau given"])
def test_mode_exact_weighs_by_the_kl_to_the_base(case: Case, settings: tuple[str, ...]) -> None:
    balance, epsilon, rho = 0.4, 0.1, 0.1
    given = ("solve.mode=exact", "solve.push_strength=0.4", "solve.epsilon=0.1", "solve.rho_safe=0")
    case.run(*given, "solve.rho_harmful=0.1", "solve.threshold=1e-9", *settings)
    about = case.summary()
    n, tau = about["solve"]["distinct_rows"], about["problem"]["tau"]
    assert tau == about["solve"]["temperature"]
    safe, harmful = costs(case.work)
    pull = potential(safe, np.full(n, 1 / n), epsilon, 0, 0)
    w = np.full(n, 1 / n)
    for _ in range(200):
        push = potential(harmful, w, epsilon, rho, 60)
        g = (1 - balance) * pull - balance * push
        w = np.exp(-(g - g.min()) / tau)
        w /= w.sum()
    for name, expected in (("sot_pull", pull), ("sot_push", push), ("sot_score", -g)):
        np.testing.assert_allclose(column(case, name), expected, atol=1e-4, err_msg=name)
    kept = column(case, "sot_keep")
    np.testing.assert_allclose(column(case, "sot_weight")[kept], (w / w[kept].mean())[kept], rtol=0.02)
    share = 1 / (n * (w**2).sum())
    if settings:
        assert tau == 0.01
    else:
        assert share == pytest.approx(0.5, abs=0.01), "tau auto: the weights are worth half the rows"
    assert about["mode"]["solver"] == "exact"
    assert (about["problem"]["direction"], about["problem"]["neighbours"]) == (False, 0)


WAYS = {
    "as by default": (),
    "rows alone": ("solve.neighbours=0",),
    "three neighbours": ("solve.neighbours=3",),
    "more neighbours than rows": ("solve.neighbours=1000",),
    "no direction": ("solve.direction=false",),
    "potentials alone": ("solve.direction=false", "solve.neighbours=0", "solve.replicates=0"),
    "tau given": ("solve.tau=0.05",),
    "not centred": ("solve.centre=false",),
    "balanced": ("solve.rho_safe=inf", "solve.rho_harmful=inf"),
    "only pulls": ("solve.push_strength=0",),
    "only pushes": ("solve.push_strength=1",),
    "one view": ("embed.views=[pair]",),
    "shares given": ("solve.view_weights={prompt: 1, response: 3}",),
    "by a sample": ("solve.mode=centroid", "cluster.centroids=3", "solve.rho_harmful=0.1"),
    "by batches": ("solve.mode=minibatch", "solve.minibatch.rows=16", "solve.rho_harmful=0.1"),
    "by a stream": ("solve.mode=online", "solve.online.rows=16", "solve.rho_harmful=0.1"),
    "exact": ("solve.mode=exact",),
    "paper": ("solve.mode=paper", "solve.paper.steps=5"),
}


@pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS)
def test_every_way_to_solve_is_completed_and_can_be_verified(case: Case, settings: tuple[str, ...]) -> None:
    plan = case.run(*settings)
    assert [check.name for check in verify_run(plan) if not check.passed] == []
    about, problem = case.summary(), case.summary()["problem"]
    assert about["solve"]["outcome"] in ("converged", "stopped", "approximate")
    assert set(problem["view_weights"]) == set(plan.config.embed.views)
    assert problem["neighbours"] == plan.neighbours
    assert problem["direction"] == plan.choice["direction"]
    for name, value in plan.choice.items():
        if value is not None and name in problem and name != "direction":
            assert problem[name] == (str(value) if value == float("inf") else value)
    assert json.dumps(about, allow_nan=False)
    weights, kept, scores = (column(case, f"sot_{name}") for name in ("weight", "keep", "score"))
    assert kept.sum() == 40
    assert weights[kept].mean() == pytest.approx(1, abs=1e-5)
    assert scores[kept].min() >= scores[~kept].max()
    temperature = about["solve"]["temperature"]
    assert (temperature is None) == plan.coupled
    by_score = expit(scores) if temperature is None else np.exp((scores - scores.max()) / temperature)
    np.testing.assert_allclose(weights[kept], (by_score / by_score[kept].mean())[kept], rtol=1e-3)
    table = scored(case, plan)
    if plan.coupled:
        assert about["solve"]["kept_share"] == pytest.approx(expit(scores).mean(), abs=1e-3)
    else:
        assert table["own"].equals(table["score"])
        assert not table["learned"].to_numpy().any()
    if plan.coupled and not plan.neighbours:
        shift = table["score"].to_numpy() - table["own"].to_numpy()
        np.testing.assert_allclose(shift, shift[0], atol=1e-4, err_msg="all rows have one neighbourhood")


def test_neighbours_add_what_an_independent_fixed_point_adds(make_case: MakeCase) -> None:
    case = make_case(a__jsonl=rows_of(90, 5))
    plan = case.run(*FIXED, "solve.neighbours=4", "solve.replicates=0")
    own = scored(case, plan)["own"].to_numpy().astype(np.float64)
    expected = shared(own, neighbourhoods(points(case.work)[0], 4))
    np.testing.assert_allclose(column(case, "sot_score"), expected, atol=5e-3)


def test_a_tau_of_ones_own_sharpens_all_that_the_references_say(case: Case) -> None:
    found: list[Array] = []
    for setting in ("auto", 0.1, 0.05):
        plan = case.run(*FIXED, f"solve.tau={setting}", redo=True)
        tau = case.summary()["problem"]["tau"]
        assert setting in ("auto", tau)
        held_out = read_table(plan.layout.map, plan.keys["solve"])["held_out"].to_numpy()
        found.append(np.concatenate([scored(case, plan)["own"].to_numpy(), held_out]).astype(np.float64) * tau)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-3, atol=1e-4)


def test_the_summary_tells_what_was_chosen_and_what_was_tried(case: Case) -> None:
    case.run()
    about = case.summary()
    held_out, problem = about["solve"]["held_out"], about["problem"]
    assert held_out["tried"] >= 5
    assert len(held_out["trials"]) == 5
    told = [trial["log_loss"] for trial in held_out["trials"]]
    assert told == sorted(told)
    assert held_out["log_loss"] >= told[0]
    assert problem["epsilon"] == about["solve"]["epsilon"]
    assert about["solve"]["tau"] == problem["tau"]
    assert about["simple"]["score"] in about["simple"]["aurocs"]
    case.run(*FIXED, "solve.view_weights={prompt: 1, response: 1}", redo=True)
    assert case.summary()["solve"]["held_out"]["tried"] == 1


def test_another_seed_may_draw_other_folds_and_the_same_seed_never(case: Case) -> None:
    found = []
    for seed in (3, 3, 4):
        plan = case.run(f"seed={seed}", redo=True)
        found.append(read_table(plan.layout.map, plan.keys["solve"])["held_out"].to_pylist())
        for path in case.work.glob("solve/*"):
            path.unlink()
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_reference_of_too_few_rows_is_refused_by_the_solve(case: Case) -> None:
    from sot_filter.errors import ReferenceError as TooFew
    from tests.e2e.cases import write_rows

    write_rows(case.folder / "harmful.jsonl", rows_of(4, 7, "prompt_completion", 1.0))
    with pytest.raises(TooFew, match="at least 5 rows in each reference; got 24 safe and 4 harmful"):
        case.run()
