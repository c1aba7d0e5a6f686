"""What the stand-in has against a card's metadata: a few of the Hub's rules, those that a generated card can break."""

import re
from typing import Any

import yaml

from tests.hub.state import Call
from tests.hub.wire import Answer, as_json

_HEAD = re.compile(r"\A---[ \t]*\r?\n(.*?)(?:^|\r?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_TEXTS = (
    "license",
    "language",
    "tags",
    "task_categories",
    "source_datasets",
    "size_categories",
    "annotations_creators",
)


def validate(call: Call) -> Answer:
    """Say what is wrong with a card."""
    errors, warnings = problems(call.request.json["content"])
    told = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
    return Answer(400 if errors else 200, as_json(told))


def problems(card: str) -> tuple[list[str], list[str]]:
    """Errors and warnings about a card's metadata."""
    head = _HEAD.match(card)
    if head is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        metadata = yaml.safe_load(head[1])
    except yaml.YAMLError as error:
        return [f"the YAML cannot be read: {type(error).__name__}"], []
    if metadata is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(metadata, dict):
        return ["the metadata must be an object"], []
    errors = [f'"{key}" must be a string or a list of strings' for key in _TEXTS if not _texts(metadata.get(key, ""))]
    if not isinstance(metadata.get("pretty_name", ""), str):
        errors.append('"pretty_name" must be a string')
    if not isinstance(metadata.get("dataset_info", {}), dict | list):
        errors.append('"dataset_info" must be an object or a list of objects')
    return [*errors, *_configs(metadata.get("configs", []))], []


def _configs(configs: Any) -> list[str]:
    if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs):
        return ['"configs" must be a list of objects']
    errors = []
    names = [config.get("config_name") for config in configs]
    if not all(isinstance(name, str) and name for name in names):
        errors.append('"configs[].config_name" must be a string')
    if len({str(name) for name in names}) < len(names):
        errors.append('"configs[].config_name" must be unique')
    if sum(config.get("default") is True for config in configs) > 1:
        errors.append("only one configuration can be the default")
    for config in configs:
        files = config.get("data_files", "")
        by_split = isinstance(files, list) and all(isinstance(entry, dict) for entry in files)
        if not (by_split and all(_of_a_split(entry) for entry in files)) and not _texts(files):
            errors.append('"configs[].data_files" must be paths, or objects with a split and its paths')
    return errors


def _of_a_split(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("split"), str) and "path" in entry and _texts(entry["path"])


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value))
