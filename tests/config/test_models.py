"""The models: every field says what it is, nothing unknown is taken, and the JSON Schema that ships is theirs."""

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from sot_filter import config
from sot_filter.config import Embed, Local, Paper, Pipeline, ReferenceCard, Select, Slurm, Solve

ROOT = Path(__file__).parents[2]
PIPELINES = sorted(p for p in (ROOT / "pipelines").glob("*.yaml") if not p.name.startswith("train_"))
LEAST: dict[str, Any] = {"name": "x", "input": {"files": "x"}, "references": {"safe": "s", "harmful": "h"}}


def models(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield root
    for field in root.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            kind = waiting.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models(kind)
            waiting.extend(typing.get_args(kind))


MODELS = sorted({*models(Pipeline), *models(ReferenceCard)}, key=lambda model: model.__name__)


def test_every_model_that_is_exported_is_reached_from_the_pipeline() -> None:
    exported = {m for m in vars(config).values() if isinstance(m, type) and issubclass(m, BaseModel)}
    assert exported <= set(MODELS) | {config.Input}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_and_every_field_says_what_it_is(model: type[BaseModel]) -> None:
    assert (model.__doc__ or "").strip().endswith(".")
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} has no sentence under it"
        assert field.description.endswith("."), f"{model.__name__}.{name}: {field.description}"
        assert len(field.description) <= 119


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_is_frozen_and_closed(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"surely_unknown": 1})
    made = model.model_construct()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, next(iter(model.model_fields)), None)


def test_no_default_is_shared_and_changed() -> None:
    one, other = Pipeline.model_validate(LEAST), Pipeline.model_validate(LEAST)
    one.input.columns["prompt"] = "x"
    assert other.input.columns == {}


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Solve, {"push_strength": 1.1}),
        (Solve, {"push_strength": -0.1}),
        (Solve, {"epsilon": 0}),
        (Solve, {"epsilon": float("nan")}),
        (Solve, {"tau": -1}),
        (Solve, {"rho_safe": -0.5}),
        (Solve, {"rho_safe": "automatic"}),
        (Solve, {"mode": "fast"}),
        (Solve, {"max_iterations": 0}),
        (Solve, {"view_weights": {"pair": -1}}),
        (Paper, {"learning_rate": 0}),
        (Paper, {"steps": 1.5}),
        (Embed, {"views": ["pair", "pair"]}),
        (Embed, {"views": []}),
        (Embed, {"views": ["answer"]}),
        (Embed, {"max_length": 0}),
        (Select, {"retention": 0}),
        (Select, {"retention": 1.01}),
        (Select, {"top_k": 0}),
        (Select, {"retention": 0.5, "top_k": 3}),
        (Select, {"retention": 0.5, "auto": {}}),
        (Select, {"auto": {"safe_lost": 1.5}}),
        (Select, "all"),
        (Local, {"workers": 0}),
        (Slurm, {"kind": "slurm", "tasks": 0}),
        (Slurm, {"kind": "slurm", "time": 3600}),
        (Slurm, {"kind": "slurm", "time": "an hour"}),
        (Slurm, {"kind": "slurm", "setup": "export HF_TOKEN=hf_abcdefghij"}),
        (Slurm, {"kind": "slurm", "stages": {"embed": {"kind": "slurm"}}}),
        (Pipeline, {**LEAST, "executor": {"kind": "cloud"}}),
        (Pipeline, {**LEAST, "profiles": {"big": {"kind": "slurm", "gpu": 1}}}),
        (Pipeline, {**LEAST, "name": "a/b"}),
        (Pipeline, {**LEAST, "name": ".hidden"}),
        (Pipeline, {**LEAST, "version": 2}),
        (Pipeline, {**LEAST, "input": {}}),
        (Pipeline, {**LEAST, "input": {"files": "x", "dataset": "a/b"}}),
    ],
)
def test_values_out_of_range_are_refused(model: type[BaseModel], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(values)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({}, {"retention": 0.8}),
        ({"retention": 1}, {"retention": 1.0}),
        ({"top_k": 3}, {"top_k": 3}),
        ({"threshold": -0.5}, {"threshold": -0.5}),
        ({"threshold": 0, "retention": None}, {"threshold": 0.0}),
        ("auto", {"auto": {}}),
        ({"auto": {}}, {"auto": {}}),
        ({"auto": {"harmful_kept": 0.01}, "retention": None}, {"auto": {"harmful_kept": 0.01}}),
    ],
)
def test_one_selection_rule_holds(given: dict[str, Any], rule: dict[str, Any]) -> None:
    found = Select.model_validate(given).model_dump(exclude_none=True)
    assert found == {**rule, "unknown": "keep", "minimum_retention": {}}


def test_where_keeps_the_kind_of_its_values() -> None:
    card = ReferenceCard.model_validate(
        {"files": "x", "where": {"a": True, "b": 1, "c": "1", "d": 0.5, "e": [1, "1", False]}}
    )
    assert [repr(value) for value in card.where.values()] == ["True", "1", "'1'", "0.5", "(1, '1', False)"]


def test_the_schema_that_ships_is_the_models_own() -> None:
    shipped = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))
    assert shipped == Pipeline.model_json_schema(), "write it again: sot-filter schema > schema.json"


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_the_schema_takes_the_recipes_and_editors_find_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=../schema.json\n")
    schema = json.loads((ROOT / "schema.json").read_text(encoding="utf-8"))
    assert list(faults(yaml.safe_load(text), schema, schema)) == []


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ({"solvee": {}}, "solvee"),
        ({"solve": {"epsilon": 0}}, "solve.epsilon"),
        ({"solve": {"mode": "fast"}}, "solve.mode"),
        ({"embed": {"views": "pair"}}, "embed.views"),
        ({"name": "a b"}, "name"),
        ({"executor": {"kind": "cloud"}}, "executor"),
        ({"executor": {"workers": 0}}, "executor"),
        ({"profiles": {"big": {"kind": "slurm", "stages": {"embd": {"gpus": 1}}}}}, "profiles.big"),
        ({"references": {"safe": "x"}}, "references.harmful"),
        ({"references": {"safe": 1, "harmful": "x"}}, "references.safe"),
    ],
)
def test_the_schema_finds_faults(setting: dict[str, Any], where: str) -> None:
    schema = Pipeline.model_json_schema()
    assert list(faults(LEAST, schema, schema)) == []
    well = {"executor": {"workers": 2}, "profiles": {"big": {"kind": "slurm", "stages": {"embed": {"gpus": 1}}}}}
    assert list(faults({**LEAST, **well}, schema, schema)) == []
    assert list(faults({**LEAST, **setting}, schema, schema)) == [where]


KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "") -> Iterator[str]:
    """Where a value breaks a schema, by the keywords of JSON Schema that ours uses; any other is an error here."""
    known = {"$ref", "$defs", "title", "description", "default", "type", "properties", "additionalProperties"}
    known |= {"required", "anyOf", "items", "enum", "const", "pattern", "prefixItems", "oneOf", "propertyNames"}
    limits = {
        "minimum": lambda a, b: a >= b,
        "maximum": lambda a, b: a <= b,
        "exclusiveMinimum": lambda a, b: a > b,
        "exclusiveMaximum": lambda a, b: a < b,
    }
    assert set(schema) <= known | set(limits), set(schema) - known - set(limits)
    if ref := schema.get("$ref"):
        yield from faults(value, root["$defs"][ref.removeprefix("#/$defs/")], root, place)
        return
    if options := schema.get("anyOf"):
        if all(any(True for _ in faults(value, option, root, place)) for option in options):
            yield place
        return
    if options := schema.get("oneOf"):
        if sum(not any(True for _ in faults(value, option, root, place)) for option in options) != 1:
            yield place
        return
    kind = schema.get("type")
    right = kind is None or (
        isinstance(value, bool)
        if kind == "boolean"
        else isinstance(value, KINDS[kind]) and not isinstance(value, bool)
    )
    right = right and value in schema.get("enum", [value]) and value == schema.get("const", value)
    right = right and not ("pattern" in schema and not re.search(schema["pattern"], value))
    if not right or not all(limits[name](value, schema[name]) for name in set(schema) & set(limits)):
        yield place
        return
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        below = {name: f"{place}.{name}".lstrip(".") for name in (*value, *schema.get("required", ()))}
        yield from (below[name] for name in schema.get("required", ()) if name not in value)
        names = schema.get("propertyNames", {})
        yield from (below[name] for name in value if any(True for _ in faults(name, names, root)))
        for name, item in value.items():
            if name in inner or isinstance(rest, dict):
                yield from faults(item, inner.get(name, rest), root, below[name])
            elif rest is False:
                yield below[name]
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from faults(item, schema["items"], root, f"{place}.{i}")
