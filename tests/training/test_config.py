"""Training files: what ships is valid, every field says what it is, and the JSON Schema that ships is the model's."""

import json
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from sot_filter.config import load_settings
from sot_filter.errors import ConfigError
from sot_filter.training.config import Plain, Recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "pipelines").glob("train_*.yaml"))


def models(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield root
    for field in root.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            kind = waiting.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models(kind)
            waiting.extend(typing.get_args(kind))


def test_every_field_says_what_it_is() -> None:
    silent = [
        f"{model.__name__}.{name}"
        for model in {*models(Recipe), Plain}
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert silent == []


def test_the_schema_that_ships_is_the_model_s_own() -> None:
    shipped = json.loads((ROOT / "train_schema.json").read_text(encoding="utf-8"))
    assert shipped == Recipe.model_json_schema(), "write it again: sot-filter schema --train > train_schema.json"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_recipes_that_ship_are_valid_and_editors_find_the_schema(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=../train_schema.json\n")
    assert load_settings(Recipe, str(path), "a training file").name == path.stem.replace("_", "-").replace(
        "train-demo", "demo-train"
    )


def test_there_is_a_recipe_for_each_method() -> None:
    kinds = {load_settings(Recipe, str(path), "a training file").method.kind for path in RECIPES}
    assert kinds == {"plain", "spf", "asft"}


def test_an_override_reaches_a_method_and_a_wrong_key_is_named(tmp_path: Path) -> None:
    path = str(ROOT / "pipelines/train_spf.yaml")
    assert load_settings(Recipe, path, "a training file", ["method.rank=2"]).options["rank"] == 2
    with pytest.raises(ConfigError, match=r"unknown key method\.rnak.*Did you mean rank"):
        load_settings(Recipe, path, "a training file", ["method.rnak=2"])
    for setting in ("optimiser.epochs=.inf", "optimiser.learning_rate=.inf", "seed=-1", "seed=4294967296"):
        with pytest.raises(ConfigError, match=setting.partition("=")[0].replace(".", r"\.")):
            load_settings(Recipe, path, "a training file", [setting])
    with pytest.raises(ConfigError, match="a training file at none"):
        load_settings(Recipe, "none.yaml", "a training file")
    with pytest.raises(ConfigError, match=r"a multiple of optimiser\.device_rows; got 10 and 4"):
        load_settings(Recipe, path, "a training file", ["optimiser.batch_rows=10"])
