import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sot_filter.config import load_pipeline
from sot_filter.embedding import load_embedder
from sot_filter.estimate import estimate
from sot_filter.plan import Plan, build_stages
from sot_filter.planning import make_plan

UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("estimate")
    demo = Path(__file__).parent.parent / "pipelines" / "demo.yaml"
    return make_plan(load_pipeline(str(demo), [f"work_dir={folder}/runs", f"output.folder={folder}/out"]))


@pytest.fixture(scope="module")
def stages(demo: Plan) -> dict[str, dict[str, Any]]:
    return {row["stage"]: row for row in estimate(demo, build_stages(demo))}


def number(text: str, before: str) -> float:
    """The number with a unit that stands before a word."""
    found = re.search(rf"([\d.]+) ([kMG]?) ?{before.strip()}", text)
    assert found, text
    return float(found[1]) * UNITS[found[2]]


def test_every_stage_is_estimated_and_nothing_is_done(stages: dict[str, dict[str, Any]]) -> None:
    assert list(stages) == ["embed", "solve", "weigh", "select", "publish", "report"]
    assert [row["done"] for row in stages.values()] == [0] * 6
    assert (stages["embed"]["rows"], stages["solve"]["rows"]) == (900, 500)


def test_tokens_are_estimated_within_a_factor_of_two(demo: Plan, stages: dict[str, dict[str, Any]]) -> None:
    embedder = load_embedder(**demo.config.embed.model_dump())
    source = demo.sources["input"]
    rows: list[Any] = [row for file in source.files for row in source.read(file)]
    rows += [row for reference in demo.references.values() for row in reference.conversations]
    tokens = sum(sum(embedder.render(row).tokens.values()) for row in rows)
    assert 0.5 < number(stages["embed"]["cost"], " tokens") / tokens < 2


def test_disk_and_memory_follow_from_the_shapes(stages: dict[str, dict[str, Any]]) -> None:
    vectors = np.empty((900, 2, 384), np.float16)
    assert number(stages["embed"]["cost"], "B on disk") == pytest.approx(vectors.nbytes, rel=0.01)
    # Points twice, one kernel, a graph of the rows.
    memory = 8 * 900 * 2 * 384 + 4 * 500 * 400 + 1000 * 500
    assert number(stages["solve"]["cost"], "B of memory") == pytest.approx(memory, rel=0.01)
