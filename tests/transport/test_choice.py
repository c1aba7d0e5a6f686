"""Settings are chosen by held-out rows of the references alone, and only where these leave no doubt."""

import itertools
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import normalize, softplus

from sot_filter.errors import ReferenceError, SolverError
from sot_filter.transport import Choice, choose
from sot_filter.transport.calibration import calibrate
from sot_filter.transport.choice import EPSILONS, PUSH_STRENGTHS, RELAXATIONS, Setting
from sot_filter.transport.direction import fit_direction
from sot_filter.transport.held_out import held_out_potentials

EQUAL = {"prompt": 0.5, "response": 0.5}
GIVEN = {
    "view_weights": {"pair": 1.0},
    "epsilon": 0.08,
    "push_strength": 0.3,
    "rho_safe": 0.2,
    "rho_harmful": math.inf,
}
Views = dict[str, Tensor]


def apart(seed: int, m: int = 120, d: int = 12, by: float = 0.6, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two references whose means lie ``by`` apart along one axis."""
    generator = torch.Generator().manual_seed(seed)
    points = [noise * torch.randn(k, d, generator=generator) / d**0.5 for k in (m, m + 20)]
    points[0][:, 0] += by / 2
    points[1][:, 0] -= by / 2
    return normalize(points[0]), normalize(points[1])


def crowds(seed: int, m: int = 160, d: int = 24, spread: float = 0.25, kinds: int = 20) -> tuple[Tensor, Tensor]:
    """References of many small crowds side by side, so that only a row's own crowd tells where it belongs."""
    generator = torch.Generator().manual_seed(seed)
    middles = normalize(torch.randn(kinds, d, generator=generator))
    apart = normalize(torch.randn(kinds, d, generator=generator))
    found = []
    for sign in (1, -1):
        kind = torch.randint(kinds, (m,), generator=generator)
        noise = spread * torch.randn(m, d, generator=generator) / d**0.5
        found.append(normalize(middles[kind] + sign * 0.25 * apart[kind] + noise))
    return found[0], found[1]


def one_view(references: tuple[Tensor, Tensor]) -> tuple[Views, Views]:
    return {"pair": references[0]}, {"pair": references[1]}


def losses(choice: Choice) -> Tensor:
    """The held-out loss of every row, from the log-odds that the choice tells."""
    side = torch.ones(len(choice.held_out), dtype=torch.float64)
    side[len(choice.safe) :] = -1
    return softplus(-side * choice.held_out)


def mass(choice: Choice) -> Tensor:
    parts = (len(choice.safe), len(choice.harmful))
    return torch.cat([torch.full((n,), 0.5 / n, dtype=torch.float64) for n in parts])


def test_what_is_given_is_respected() -> None:
    choice = choose(*one_view(apart(0)), **GIVEN)
    assert choice.setting == Setting(**GIVEN)
    assert [asdict(choice.setting)] == [{name: trial[name] for name in GIVEN} for trial in choice.trials]


@pytest.mark.parametrize("given", list(GIVEN))
def test_what_is_given_is_never_varied(given: str) -> None:
    choice = choose(*one_view(apart(1, m=40)), **{given: GIVEN[given]})
    assert all(trial[given] == GIVEN[given] for trial in choice.trials)
    free = {"epsilon": EPSILONS, "push_strength": PUSH_STRENGTHS, "rho_harmful": {m for _, m in RELAXATIONS}}
    for name, values in free.items():
        if name != given:
            assert {trial[name] for trial in choice.trials} == set(values)


def test_no_setting_is_tried_twice() -> None:
    for given in ({}, {"rho_safe": 0.5}, {"epsilon": 0.1, "push_strength": 0.5}):
        trials = [repr({name: trial[name] for name in GIVEN}) for trial in choose(*one_view(apart(2)), **given).trials]
        assert len(set(trials)) == len(trials)


def by_hand(fitted: dict[float, Choice]) -> float:
    """The one-standard-error rule over settings of which the first is the default, in numpy; no gain of a rounding."""
    weight = mass(next(iter(fitted.values()))).numpy()
    every = {value: losses(choice).numpy() for value, choice in fitted.items()}
    default = next(iter(every))
    best = min(every, key=lambda value: weight @ every[value])
    gain = every[default] - every[best]
    error = np.sqrt(weight**2 @ (gain - weight @ gain) ** 2)
    return best if weight @ gain > max(error, 1e-4) else default


def test_the_default_gives_way_only_to_what_is_better_by_one_standard_error() -> None:
    seen = set()
    fixed = {"push_strength": 0.5, "rho_safe": 0.0, "rho_harmful": 0.0}
    problems = [apart(seed, by=by) for seed in range(6) for by in (0.1, 0.6, 1.5)] + [
        crowds(seed) for seed in range(3)
    ]
    for number, references in enumerate(problems):
        views = one_view(references)
        # A direction would level what the epsilons differ in.
        options = {**fixed, "direction": number % 3 == 0, "seed": number}
        fitted = {epsilon: choose(*views, epsilon=epsilon, **options) for epsilon in EPSILONS}
        chosen = choose(*views, **options)
        assert chosen.setting.epsilon == by_hand(fitted), number
        best = min(fitted, key=lambda value: fitted[value].calibration.log_loss)
        seen.add((chosen.setting.epsilon == EPSILONS[0], best == EPSILONS[0]))
        again = fitted[chosen.setting.epsilon]
        torch.testing.assert_close(chosen.held_out, again.held_out, rtol=0, atol=1e-5)
        assert chosen.calibration.log_loss == pytest.approx(again.calibration.log_loss, abs=1e-6)
    assert {(True, False), (False, False)} <= seen, "a better one that is not better enough, and one that is"


def test_a_setting_is_held_against_the_best_that_was_found_before_it() -> None:
    switched = []
    for seed in range(6):
        views, options = (
            one_view(crowds(seed)),
            {"rho_safe": 0.0, "rho_harmful": 0.0, "direction": False, "seed": seed},
        )
        by_epsilon = {value: choose(*views, epsilon=value, push_strength=0.5, **options) for value in EPSILONS}
        epsilon = by_hand(by_epsilon)
        by_push = {value: choose(*views, epsilon=epsilon, push_strength=value, **options) for value in PUSH_STRENGTHS}
        chosen = choose(*views, **options).setting
        assert (chosen.epsilon, chosen.push_strength) == (epsilon, by_hand(by_push))
        best = min(by_push, key=lambda value: by_push[value].calibration.log_loss)
        switched.append((epsilon != EPSILONS[0], best != chosen.push_strength))
    assert (True, True) in switched, "better than the first default would not be enough"


def test_after_a_change_of_shares_the_direction_is_that_of_the_new_points() -> None:
    for seed in (0, 1, 3):
        told, noise = (apart(s, m=400, d=40, by=by) for s, by in ((seed, 0.5), (seed + 50, 0.0)))
        views = [{"prompt": told[i], "response": noise[i]} for i in (0, 1)]
        chosen = choose(*views, rho_safe=0, rho_harmful=0, seed=seed)
        assert chosen.calibration.direction > 0.02
        assert chosen.setting.view_weights != EQUAL
        assert chosen.setting.epsilon != EPSILONS[0], "a setting was changed after the shares"
        assert chosen.direction is not None
        references = chosen.safe, chosen.harmful, chosen.folds
        direction, margins = fit_direction(*references, [chosen.direction.strength])
        torch.testing.assert_close(chosen.direction.vector, direction.vector, rtol=1e-2, atol=1e-2)
        pull, push = held_out_potentials(*references, chosen.setting.epsilon)
        balance = chosen.setting.push_strength
        again, _ = calibrate(balance * push - (1 - balance) * pull, margins, len(chosen.safe))
        assert again.log_loss == pytest.approx(chosen.calibration.log_loss, abs=1e-5)
        log_odds = again.log_odds(balance * push - (1 - balance) * pull, margins)
        torch.testing.assert_close(chosen.held_out, log_odds, rtol=0, atol=1e-2)


def test_a_setting_that_changes_nothing_stays_at_its_default() -> None:
    # With twice the same view all shares give the same costs.
    for seed in range(3):
        views = ({"prompt": points, "response": points.clone()} for points in crowds(seed))
        choice = choose(*views, direction=False, seed=seed)
        assert choice.setting.view_weights == EQUAL
    # Without a pull or a push there is nothing to relax on that side, and both are as they were.
    only_pulls = choose(*one_view(crowds(0)), push_strength=0.0, rho_safe=0.0, direction=False)
    assert (only_pulls.setting.rho_safe, only_pulls.setting.rho_harmful) == RELAXATIONS[0]


def test_references_that_are_alike_are_not_told_apart() -> None:
    for seed in range(5):
        choice = choose(*one_view(apart(seed, by=0.0)), seed=seed)
        assert choice.calibration.log_loss == pytest.approx(math.log(2), abs=0.03)


@pytest.mark.parametrize("telling", ["prompt", "response"])
@pytest.mark.parametrize("direction", [True, False])
def test_a_view_that_is_noise_gets_the_smaller_share(telling: str, direction: bool) -> None:
    other = "response" if telling == "prompt" else "prompt"
    for seed in range(3):
        told, noise = crowds(seed), apart(seed + 50, m=160, d=24, by=0.0)
        views = ({telling: told[i], other: noise[i][:160]} for i in (0, 1))
        choice = choose(*views, direction=direction, seed=seed)
        assert choice.setting.view_weights == {telling: pytest.approx(2 / 3), other: pytest.approx(1 / 3)}
        assert choice.geometry.view_weights == choice.setting.view_weights


def test_small_crowds_ask_for_a_small_epsilon_and_one_axis_for_a_large_one() -> None:
    for seed in range(3):
        fine = choose(*one_view(crowds(seed)), direction=False, seed=seed)
        assert fine.setting.epsilon <= 0.03
        coarse = choose(*one_view(apart(seed, d=48, by=0.9)), direction=False, seed=seed)
        assert coarse.setting.epsilon >= 0.1


def test_a_seed_gives_the_same_choice_and_another_seed_other_folds() -> None:
    views = one_view(crowds(0))
    one, same, other = (choose(*views, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.held_out, same.held_out)
    assert torch.equal(one.folds, same.folds)
    assert one.trials == same.trials
    assert not torch.equal(one.folds, other.folds)
    assert not torch.equal(one.held_out, other.held_out)
    assert one.setting == other.setting, "where one setting is clearly best, chance does not choose"


def test_held_out_log_odds_are_calibrated() -> None:
    choice = choose(*one_view(apart(7, m=1500, by=0.7)), seed=1)
    share, weight = expit(choice.held_out.numpy()), mass(choice).numpy()
    safe = np.arange(len(share)) < len(choice.safe)
    assert weight @ share == pytest.approx(0.5, abs=1e-4), "an offset without a penalty"
    assert choice.calibration.log_loss == pytest.approx(float(mass(choice) @ losses(choice)), abs=1e-6)
    assert choice.calibration.log_loss < 0.6
    edges = np.quantile(share, np.linspace(0, 1, 7))
    for low, high in itertools.pairwise(edges):
        own = (share >= low) & (share <= high)
        found = (weight * safe)[own].sum() / weight[own].sum()
        assert found == pytest.approx((weight * share)[own].sum() / weight[own].sum(), abs=0.07)


def test_a_row_has_no_part_in_what_judges_it() -> None:
    # Each row twice, once on either side: whoever has seen it says it is neither, whoever has not, its other side.
    points = apart(3, by=0.0)[0]
    told = choose(*one_view((points, points.clone())), direction=False, epsilon=0.02)
    assert float((mass(told) * losses(told)).sum()) >= math.log(2) - 0.02


def test_trials_are_told_the_best_first_and_the_chosen_one_is_among_them() -> None:
    for views in (one_view(crowds(1)), one_view(apart(1, by=0.2))):
        choice = choose(*views)
        told = [trial["log_loss"] for trial in choice.trials]
        assert told == sorted(told)
        (own,) = (t for t in choice.trials if {name: t[name] for name in GIVEN} == asdict(choice.setting))
        assert own["log_loss"] == choice.calibration.log_loss
        assert own["standard_error"] == choice.calibration.standard_error
        assert set(own) == {*GIVEN, "log_loss", "standard_error"}


def test_the_tilt_is_direction_and_offset_in_cost_units() -> None:
    views = one_view(apart(4))
    choice = choose(*views)
    assert choice.direction is not None
    z = choice.safe.points[:7]
    margin = z @ choice.direction.vector + choice.direction.offset
    expected = choice.calibration.direction * margin + choice.calibration.offset
    torch.testing.assert_close(choice.learned(z), expected, check_dtype=False)
    torch.testing.assert_close(choice.tilt(z), expected / choice.calibration.transport, check_dtype=False)
    without = choose(*views, direction=False)
    assert without.direction is None
    assert without.calibration.direction == 0
    assert without.learned(z).tolist() == pytest.approx([without.calibration.offset] * 7)


def test_centring_is_left_out_where_it_is_not_wanted() -> None:
    views = one_view(apart(5))
    assert choose(*views).geometry.centres["pair"].norm() > 0
    assert not choose(*views, centre=False).geometry.centres["pair"].any()


@pytest.mark.parametrize("sizes", [(4, 60), (60, 4)])
def test_a_reference_of_too_few_rows_is_refused(sizes: tuple[int, int]) -> None:
    safe, harmful = apart(6, m=60)
    with pytest.raises(ReferenceError, match="at least 5 rows in each reference"):
        choose(*one_view((safe[: sizes[0]], harmful[: sizes[1]])))


def test_five_rows_are_enough_to_go_by() -> None:
    safe, harmful = apart(6, by=2.0)
    choice = choose(*one_view((safe[:5], harmful[:5])))
    assert choice.held_out.isfinite().all()
    assert replace(choice.setting, epsilon=0.05) == Setting({"pair": 1.0}, 0.05, 0.5, *RELAXATIONS[0])


def test_views_that_do_not_fit_each_other_are_refused() -> None:
    safe, harmful = apart(8, m=20)
    with pytest.raises(SolverError, match="pair"):
        choose({"pair": safe}, {"prompt": harmful})
