"""Reading pipeline files and reference cards from YAML, with errors that name the line or the nearest known key."""

import copy
import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from sot_filter.config.models import Pipeline, ReferenceCard
from sot_filter.errors import ConfigError

#: Where a path in a pipeline file that is not found from the working folder is looked for next: the cards and
#: recipes that come with the package, in a wheel or in a checkout.
BUNDLED = (Path(__file__).parents[1] / "_bundled", Path(__file__).parents[2])

M = TypeVar("M", bound=BaseModel)


def load_pipeline(path: str, overrides: Iterable[str] = (), profile: str | None = None) -> Pipeline:
    """Read a pipeline file.

    Args:
        path: the YAML file.
        overrides: settings as ``a.b=value``, the value written as in YAML.
        profile: the one of `profiles` that takes the place of `executor`.

    Raises:
        ConfigError: no such file, broken YAML, an unknown key, or a value out of range.
    """
    data = read_yaml(find_file(path, "a pipeline file"))
    if data.get("select") == "auto":
        # So that an override of a part of it finds a section.
        data["select"] = {"auto": {}}
    if profile is not None:
        data["executor"] = _profile(data, profile, path)
    config = _with(Pipeline, data, overrides, path)
    return config.model_copy(
        update={
            "work_dir": config.work_dir or f"runs/{config.name}",
            "output": config.output
            if config.output.folder
            else config.output.model_copy(update={"folder": f"out/{config.name}"}),
        }
    )


def load_settings(model: type[M], path: str, what: str, overrides: Iterable[str] = ()) -> M:
    """Read any other kind of settings, as a training file.

    Args:
        model: the kind.
        path: the YAML file.
        what: what the file is, for errors.
        overrides: settings as ``a.b=value``, the value written as in YAML.

    Raises:
        ConfigError: as `load_pipeline`.
    """
    return _with(model, read_yaml(find_file(path, what)), overrides, path)


def load_card(path: str) -> ReferenceCard:
    """Read a reference card. Its `files` are relative to the card. Raises `ConfigError` as `load_pipeline` does."""
    file = find_file(path, "a reference card")
    data = read_yaml(file)
    card = _build(ReferenceCard, data, path)
    files = (card.files,) if isinstance(card.files, str) else card.files
    update: dict[str, Any] = {"name": card.name or file.stem}
    if files:
        update["files"] = tuple(f if "://" in f else str(file.parent / f) for f in files)
    return card.model_copy(update=update)


def find_file(path: str, what: str) -> Path:
    """The file at ``path``, seen from the working folder or else from what the package brings.

    Raises:
        ConfigError: it is in none of these.
    """
    places = [Path(path).expanduser(), *(root / path for root in BUNDLED)]
    for place in places:
        if place.is_file():
            return place
    raise ConfigError(f"{what} at {path}", "no such file", "Check the path; it is relative to the working folder.")


def dump_yaml(model: BaseModel) -> str:
    """The model as YAML that reads back to an equal model."""
    data = model.model_dump(mode="json")
    # Of all characters these line ends are the ones that PyYAML does not read back unless they are escaped.
    plain = not any(sign in json.dumps(data, ensure_ascii=False) for sign in "\x85\u2028\u2029")
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=plain, width=119)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, where plain YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises `ConfigError` naming the line when it is broken."""
    try:
        data = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except UnicodeDecodeError:
        raise ConfigError("UTF-8 text", f"other bytes in {path}", "Save the file as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError("valid YAML", f"{error.problem} at {where}", "Correct that line.") from None
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError("valid YAML", f"{reason} in {path}", "Correct the file.") from None
    if not isinstance(data, dict):
        kind = "nothing" if data is None else f"a {type(data).__name__}"
        raise ConfigError("keys and values", f"{kind} in {path}", "See pipelines/demo.yaml.")
    return data


def _profile(data: Mapping[str, Any], name: str, path: str) -> Any:
    profiles = data.get("profiles")
    if not isinstance(profiles, dict) or not profiles:
        raise ConfigError(f"profiles in {path}", "none", f"Add one, as `profiles: {{{name}: {{kind: slurm}}}}`.")
    if name not in profiles:
        near = difflib.get_close_matches(name, map(str, profiles), 1, 0.5)
        known = ", ".join(map(str, profiles))
        do = f"Did you mean {near[0]}?" if near else "Name one of them."
        raise ConfigError(f"one of the profiles {known}", f"--profile {name}", do)
    return copy.deepcopy(profiles[name])


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError("--set key=value", f"--set {override}", "Write it as --set solve.epsilon=0.1.")
    *parents, last = key.split(".")
    for parent in parents:
        child = data.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError("a section", f"{parent} in --set {override}, which is a value", "Check the key.")
        data = child
    try:
        data[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError("a YAML value", f"--set {override}", "Quote the value.") from None


def _with(model: type[M], data: dict[str, Any], overrides: Iterable[str], path: str) -> M:
    for override in overrides:
        _apply(data, override)
    return _build(model, data, path)


def _build(model: type[M], data: Mapping[str, Any], path: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_problem(model, item) for item in _relevant(error)]
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        expected, got, do = problems[0]
        if len(problems) > 1:
            got = "; ".join(p[1] for p in problems[:3]) + more
            expected = "; ".join(dict.fromkeys(p[0] for p in problems[:3]))
            do = " ".join(dict.fromkeys(p[2] for p in problems[:3]))
        raise ConfigError(expected, f"{got} in {path}", do) from None


def _relevant(error: ValidationError) -> list[Any]:
    """The errors worth showing: of a union's branches, only the one that was meant (an object, if one was given)."""
    errors = error.errors(include_url=False)
    deep = [e for e in errors if e["type"] == "extra_forbidden" or e["type"] in ("value_error", "missing")]
    return deep or errors


def _problem(model: type[BaseModel], error: Any) -> tuple[str, str, str]:
    location = [str(part) for part in error["loc"]]
    owner, names, branches, keyed = model, [], dict[str, type[BaseModel]](), False
    for part in location:
        if keyed:
            names.append(part)
            keyed = False
            continue
        if part in branches:
            owner, branches = branches[part], {}
            continue
        field = owner.model_fields.get(part) if owner is not None else None
        if field is not None or part.isdecimal() or (part == location[-1] and part.isidentifier()):
            names.append(part)
        if field is not None and (inner := _models_in(field.annotation)):
            owner, branches = inner[0], {_kind(one): one for one in inner}
            keyed = typing.get_origin(field.annotation) is dict
    dotted = ".".join(names)
    if error["type"] == "union_tag_invalid":
        known, tag = error["ctx"]["expected_tags"].replace("'", ""), error["ctx"]["tag"]
        near = difflib.get_close_matches(tag, known.split(", "), 1, 0.5)
        return (f"{dotted}.kind: one of {known}", tag, f"Did you mean {near[0]}?" if near else "Correct it.")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], owner.model_fields, 1, 0.5)
        known = ", ".join(owner.model_fields)
        return (
            f"one of the keys {known}",
            f"unknown key {dotted}",
            f"Did you mean {near[0]}?" if near else "Remove it.",
        )
    if error["type"] == "union_tag_not_found":
        return (
            f"keys and values under {dotted}, as kind: slurm",
            json.dumps(error["input"], default=str),
            "Correct it.",
        )
    if error["type"] == "missing":
        return (f"a value for {dotted}", "none", f"Add {dotted}.")
    message = error["msg"].removeprefix("Value error, ")
    given = json.dumps(error["input"], default=str, ensure_ascii=False)
    shown = given if len(given) <= 60 else given[:57] + "..."
    if error["type"] == "value_error":
        expected, _, got = message.partition("; got ")
        return (f"{expected} under {dotted}" if dotted else expected, got or shown, "Correct it there.")
    return (f"{dotted}: {message[0].lower()}{message[1:]}", f"{shown}", f"Correct {dotted}.")


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple, dict, typing.Annotated):
        return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]
    return []


def _kind(model: type[BaseModel]) -> str:
    """The name by which a branch of a union is told from the others, if it has one."""
    field = model.model_fields.get("kind")
    return str(typing.get_args(field.annotation)[0]) if field is not None else ""
