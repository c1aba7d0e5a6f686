"""Keys: a setting changes those of the stages it touches and of what follows, and no others."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sot_filter.config import dump_yaml, load_pipeline
from sot_filter.estimate import estimate
from sot_filter.plan import Plan, build_stages
from sot_filter.planning import make_plan
from tests.planned import Toy

STAGES = ["embed", "solve", "weigh", "select", "publish", "report"]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A run to plan, in the working folder."""
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path / "toy")
    return Toy.make(tmp_path / "toy")


def first_change(one: Plan, other: Plan) -> str | None:
    """The first stage whose key differs; all after it must differ too, and none before."""
    assert list(one.keys) == list(other.keys) == STAGES
    changed = [stage for stage in STAGES if one.keys[stage] != other.keys[stage]]
    assert changed == STAGES[len(STAGES) - len(changed) :]
    return changed[0] if changed else None


@pytest.mark.parametrize(
    ("settings", "stage"),
    [
        (["embed.pooling=cls"], "embed"),
        (["embed.layer=-2"], "embed"),
        (["embed.max_length=64"], "embed"),
        (["embed.views=[pair]"], "embed"),
        (["embed.views=[response, prompt]"], "embed"),
        (["embed.dtype=float16"], "embed"),
        (["input.split=test"], "solve"),
        (["input.config=other"], "solve"),
        (["input.columns={prompt: completion, completion: prompt}"], "solve"),
        (["references.safe={files: safe.jsonl, sample: 3}"], "solve"),
        (["references.safe={files: safe.jsonl, where: {n: 1}}"], "solve"),
        (["references.harmful=[harmful.jsonl, safe.jsonl]"], "solve"),
        (["references={safe: harmful.jsonl, harmful: safe.jsonl}"], "solve"),
        (["solve.push_strength=0.4"], "solve"),
        (["solve.epsilon=0.2"], "solve"),
        (["solve.tau=0.3"], "solve"),
        (["solve.rho_safe=0.5"], "solve"),
        (["solve.rho_harmful=inf"], "solve"),
        (["solve.centre=false"], "solve"),
        (["solve.view_weights={prompt: 1, response: 3}"], "solve"),
        (["solve.threshold=1e-3"], "solve"),
        (["solve.max_iterations=7"], "solve"),
        (["solve.mode=paper"], "solve"),
        (["solve.mode=exact"], "solve"),
        (["solve.rho_safe=0"], "solve"),
        (["solve.view_weights={prompt: 2, response: 2}"], "solve"),
        (["solve.direction=false"], "solve"),
        (["solve.neighbours=0"], "solve"),
        (["solve.neighbours=4"], "solve"),
        (["solve.replicates=8"], "solve"),
        (["seed=1"], "solve"),
        (["select.retention=0.5"], "select"),
        (["select={top_k: 3}"], "select"),
        (["select=auto"], "select"),
        (["select={auto: {safe_lost: 0.1}}"], "select"),
        (["select={threshold: 0.0}"], "select"),
        (["output.folder=elsewhere"], "publish"),
        (["name=other", "output.folder=out"], "report"),
        (["input.label={n: 1}"], "report"),
        (["embed.device=cuda:1"], None),
        (["embed.batch_tokens=99"], None),
        (["embed.threads=3"], None),
        (["executor.workers=5"], None),
        (["solve.threads=3"], None),
        (["solve.memory_gib=0.001"], None),
        (["solve.mode=coupled"], None),
        (["solve.paper.steps=3"], None),
        (["cluster.centroids=3"], None),
        (["select.retention=0.8"], None),
        (["work_dir=work2"], None),
        (["references.safe={files: safe.jsonl, name: safe, licence: mit}"], "report"),
        (["references.safe={files: safe.jsonl, name: safe, description: x}"], None),
        (["input.format=prompt_completion"], None),
    ],
    ids=lambda given: ", ".join(given) if isinstance(given, list) else str(given),
)
def test_a_setting_changes_the_keys_from_its_stage_on(toy: Toy, settings: list[str], stage: str | None) -> None:
    assert first_change(toy.plan(), toy.plan(*settings)) == stage


@pytest.mark.parametrize("setting", ["neighbours=0", "direction=false", "replicates=0", "rho_safe=auto"])
@pytest.mark.parametrize("mode", ["exact", "paper"])
def test_what_another_mode_does_not_read_changes_nothing(toy: Toy, mode: str, setting: str) -> None:
    assert first_change(toy.plan(f"solve.mode={mode}"), toy.plan(f"solve.mode={mode}", f"solve.{setting}")) is None


def test_equal_shares_of_the_views_are_the_same_however_they_are_said(toy: Toy) -> None:
    one, other = (toy.plan(f"solve.view_weights={{prompt: {w}, response: {w}}}") for w in (2, 0.5))
    assert first_change(one, other) is None


def test_in_paper_mode_its_settings_count(toy: Toy) -> None:
    assert first_change(toy.plan("solve.mode=paper"), toy.plan("solve.mode=paper", "solve.paper.steps=3")) == "solve"


@pytest.mark.parametrize("name", ["rows.jsonl", "safe.jsonl", "harmful.jsonl", "model/config.json"])
def test_changed_content_changes_all_keys(toy: Toy, name: str) -> None:
    before = toy.plan()
    path = toy.folder / name
    text = path.read_text()
    path.write_text(text.replace("answer", "Answer") if "answer" in text else text.replace("16", "17"))
    assert first_change(before, toy.plan()) == ("embed" if name.startswith("model/") else "solve")


def test_times_and_places_change_nothing(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = toy.plan("output.folder=/somewhere/out")
    moved = tmp_path / "moved"
    toy.folder.rename(moved)
    monkeypatch.chdir(moved)
    assert first_change(before, dataclasses.replace(toy, folder=moved).plan("output.folder=/somewhere/out")) is None


@pytest.mark.parametrize("settings", [[], ["solve.rho_harmful=inf", "references.safe={files: safe.jsonl, sample: 4}"]])
def test_the_resolved_file_plans_the_same_run_from_anywhere(
    toy: Toy, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = toy.plan(*settings)
    (tmp_path / "far" / "away").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "far" / "away")
    Path("resolved.yaml").write_text(dump_yaml(plan.config), encoding="utf-8")
    again = make_plan(load_pipeline("resolved.yaml"))
    assert again.keys == plan.keys
    assert again.config == plan.config
    assert again.sources == plan.sources
    assert again.layout == plan.layout


def test_everything_is_pinned_in_the_resolved_file(toy: Toy) -> None:
    plan = toy.plan()
    resolved = yaml.safe_load(dump_yaml(plan.config))
    assert resolved["input"]["digest"] == plan.sources["input"].digest
    assert resolved["input"]["format"] == "prompt_completion"
    assert resolved["embed"]["revision"] == plan.model_digest
    for role in ("safe", "harmful"):
        assert [card["digest"] for card in resolved["references"][role]] == [plan.references[role].digest]
    places = [resolved["work_dir"], resolved["output"]["folder"], *resolved["input"]["files"]]
    assert all(Path(place).is_absolute() for place in places)


def test_auto_settings_are_resolved(toy: Toy) -> None:
    assert toy.plan().mode[0] == "coupled"
    assert "kept in memory" in toy.plan().mode[1]
    assert "recomputed in tiles" in toy.plan("solve.memory_gib=1e-9").mode[1]
    assert toy.plan("solve.mode=paper").mode == ("paper", "as set")
    assert toy.plan().kernel_bytes == 4 * 20 * (8 + 9)
    assert toy.plan().view_weights == {"prompt": 0.5, "response": 0.5}
    assert toy.plan("solve.view_weights={prompt: 1, response: 3}").view_weights == {"prompt": 0.25, "response": 0.75}
    assert toy.plan("solve.view_weights={response: 3}").view_weights == {"prompt": 0.0, "response": 1.0}


def test_rows_too_many_to_be_compared_are_left_to_a_sample(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sot_filter.costs._PATIENCE", {"cpu": 0.0, "cuda": 1e15})
    settings = ("cluster.sample=4", "cluster.probes=1")
    mode, why = toy.plan(*settings).mode
    assert mode == "centroid"
    assert "20 rows compared with each other would take" in why
    assert "by a sample of 4" in why
    assert toy.plan(*settings, "solve.device=cuda").mode[0] == "coupled"
    assert toy.plan(*settings, "solve.mode=coupled").mode == ("coupled", "as set")
    assert toy.plan(*settings).share == 4 / 20
    # Half of what the solve may use holds 8 points of 2 views of 16 dimensions, as float32.
    assert toy.plan(*settings[1:], f"solve.memory_gib={8 * 2 * 4 * 32 / 2**30}").work.sample == 8


CENTROID_STAGES = ["embed", "sample", "cluster", "assign", "solve", "weigh", "select", "publish", "report"]


@pytest.mark.parametrize(("setting", "stage"), [
    ("seed=3", "sample"),
    ("cluster.sample=7", "sample"),
    ("cluster.centroids=2", "cluster"),
    ("solve.epsilon=0.2", "cluster"),
    ("cluster.probes=3", "assign"),
    ("solve.tau=0.3", "solve"),
    ("solve.neighbours=3", "solve"),
    ("select.retention=0.5", "select"),
])  # fmt: skip
def test_of_a_sampled_solve_a_setting_changes_the_stages_that_read_it(toy: Toy, setting: str, stage: str) -> None:
    one, other = toy.plan("solve.mode=centroid"), toy.plan("solve.mode=centroid", setting)
    assert [s.name for s in build_stages(one)] == CENTROID_STAGES
    changed = [name for name in CENTROID_STAGES if one.keys[name] != other.keys[name]]
    assert changed == CENTROID_STAGES[CENTROID_STAGES.index(stage) :]


LEFT_TO_HELD_OUT_ROWS = ["epsilon", "push_strength", "rho_safe", "rho_harmful", "view_weights"]


def test_what_is_auto_is_left_to_held_out_rows_and_what_is_given_is_not(toy: Toy) -> None:
    assert toy.plan().choice == {
        **dict.fromkeys(LEFT_TO_HELD_OUT_ROWS), "centre": True, "direction": True, "seed": 0,
    }  # fmt: skip
    given = (
        "epsilon=0.2",
        "push_strength=0",
        "rho_safe=0",
        "rho_harmful=inf",
        "view_weights={prompt: 3, response: 1}",
    )
    plan = toy.plan(*(f"solve.{setting}" for setting in given), "seed=7")
    fixed = [0.2, 0, 0, float("inf"), {"prompt": 0.75, "response": 0.25}]
    assert [plan.choice[name] for name in LEFT_TO_HELD_OUT_ROWS] == fixed
    assert plan.choice["seed"] == 7
    assert "choose" not in build_stages(plan)[1].does
    assert toy.plan("embed.views=[pair]").choice["view_weights"] == {"pair": 1.0}, "there is nothing to choose"
    assert build_stages(toy.plan("solve.epsilon=0.2"))[1].does.endswith(
        "; held-out reference rows choose push_strength, rho_safe, rho_harmful, view_weights"
    )


def test_each_mode_has_its_own_settings(toy: Toy) -> None:
    coupled, exact, paper = (toy.plan(f"solve.mode={mode}") for mode in ("coupled", "exact", "paper"))
    assert (coupled.tau, coupled.neighbours, coupled.replicates) == (None, 8, 16)
    assert "effective_share" not in coupled.solver
    assert [exact.choice[name] for name in LEFT_TO_HELD_OUT_ROWS] == [None] * 5
    assert (exact.choice["direction"], exact.neighbours, exact.replicates) == (False, 0, 0)
    assert exact.solver["effective_share"] == 0.5
    given = toy.plan("solve.mode=exact", "solve.tau=0.3")
    assert (given.tau, given.solver["effective_share"]) == (0.3, None)
    literal = {"epsilon": 0.05, "push_strength": 0.5, "rho_safe": float("inf"), "rho_harmful": float("inf")}
    assert {name: paper.choice[name] for name in literal} == literal
    assert paper.choice["view_weights"] == {"prompt": 0.5, "response": 0.5}
    assert toy.plan("solve.mode=paper", "solve.rho_safe=0.7").choice["rho_safe"] == 0.7


@pytest.mark.parametrize("rows", [1, 500, 10**5, 10**7, 10**9])
def test_parts_are_coarse_enough_to_count_and_fine_enough_to_resume(toy: Toy, rows: int) -> None:
    plan = toy.plan()
    file = dataclasses.replace(plan.sources["input"].files[0], rows=rows)
    sized = dataclasses.replace(plan, sources={"input": dataclasses.replace(plan.sources["input"], files=(file,))})
    assert 512 <= sized.part_rows <= 65536
    assert rows / sized.part_rows <= max(1000, rows / 65536)


def test_stages_are_in_order_with_their_artifacts(toy: Toy) -> None:
    plan = toy.plan("executor.workers=2")
    stages = build_stages(plan)
    assert [stage.name for stage in stages] == STAGES
    assert [stage.key for stage in stages] == list(plan.keys.values())
    assert [stage.rows for stage in stages] == [37, 20, 20, 20, 20, 20]
    assert [stage.tasks for stage in stages] == [2, 1, 1, 1, 1, 1]
    urls = [url for stage in stages for url, _ in stage.artifacts]
    assert len(set(urls)) == len(urls)
    assert all(url.startswith(plan.layout.root) for url in urls)


def test_what_a_summary_says_of_the_plan_is_json(toy: Toy) -> None:
    about = json.loads(json.dumps(toy.plan("solve.rho_harmful=inf").about, allow_nan=False))
    assert about["mode"]["solver"] == "coupled"
    assert about["references"]["safe"]["rows"] == 8
    assert {"torch", "datatrove", "sot-filter"} <= set(about["versions"])


def test_no_secret_and_no_row_is_in_a_step(toy: Toy) -> None:
    plan = toy.plan()
    held = repr([vars(step) for stage in build_stages(plan) for step in stage.steps])
    assert "question" not in held
    assert "answer" not in held


def test_an_estimate_counts_what_will_be_done(toy: Toy) -> None:
    plan = toy.plan()
    rows: list[dict[str, Any]] = estimate(plan, build_stages(plan))
    assert [row["stage"] for row in rows] == STAGES
    assert [row["done"] for row in rows] == [0] * 6
    texts = [text for row in toy.rows("rows", 20) for text in (row["prompt"], row["completion"])]
    tokens = sum(len(text) // 4 + 2 for text in texts) / 20 * 37
    assert rows[0]["cost"].startswith(f"~{tokens:.3g} tokens, ~0 s on this CPU")
    assert rows[0]["cost"].endswith(f"{37 * 2 * 16 * 2 / 1000:.3g} kB on disk")
    # 20 rows against 17 of the references, and against each other, in 2 views of 16 dimensions.
    assert rows[2]["cost"].startswith(f"~{2 * 32 * 20 * (17 + 20) / 1000:.3g} kFLOP")
    alone = toy.plan("solve.neighbours=0")
    costs = [row["cost"] for row in estimate(alone, build_stages(alone))]
    assert costs[2].startswith(f"~{2 * 32 * 20 * 17 / 1000:.3g} kFLOP")
    assert costs[1].endswith("B of memory, one task")
