"""From a pipeline file to a plan: sources found and counted, revisions and digests pinned, references drawn."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from sot_filter.artifacts import Layout, reached
from sot_filter.config import Input, Pipeline, ReferenceCard, load_card
from sot_filter.config.files import BUNDLED
from sot_filter.embedding import ResolvedModel, read_config, resolve_model
from sot_filter.errors import ConfigError, SotFilterError, SourceError
from sot_filter.plan import Plan
from sot_filter.references import Card, Reference, join_references, load_reference, reference_source
from sot_filter.rows import COLUMNS, named
from sot_filter.sources import Source, hub_source, local_source
from sot_filter.steps.slicing import slice_names

#: Files of ours in an output folder; a source file of the same name would be overwritten.
OWN_FILES = ("README.md", "summary.json", "pipeline.yaml", "map.png", "review.jsonl")


def make_plan(config: Pipeline) -> Plan:
    """Pin everything a run depends on. Reads the sources and draws the references; writes nothing.

    Raises:
        ConfigError: settings that do not fit each other or the data.
        SourceError: input that cannot be read.
        ReferenceError: a reference that cannot be drawn.
        ModelError: an embedding model that cannot be had.
        HubError: the Hub did not answer.
        ArtifactError: work_dir or output.folder is a URL of a protocol that is not known, or not installed.
    """
    _check_settings(config)
    model = resolve_model(config.embed.model, config.embed.revision)
    source = _source(config.input, _added(config))
    if config.input.digest not in (None, source.digest):
        raise SourceError(
            f"the rows that were pinned (digest {str(config.input.digest)[:12]}...)",
            f"others (digest {source.digest[:12]}...)",
            "The files have changed; remove input.digest to weigh them as they are.",
        )
    references: dict[str, Reference] = {}
    cards: dict[str, tuple[ReferenceCard, ...]] = {}
    for role in ("safe", "harmful"):
        drawn = [_draw(_card(given), role) for given in _several(getattr(config.references, role))]
        cards[role] = tuple(card for card, _ in drawn)
        references[role] = join_references([reference for _, reference in drawn])
    resolved = config.model_copy(
        update={
            "input": config.input.model_copy(update={**_pin(config.input, source), "digest": source.digest}),
            "references": config.references.model_copy(update=cards),
            "embed": config.embed.model_copy(update={"model": _model_name(model), "revision": model.revision}),
            "output": config.output.model_copy(update={"folder": _absolute(str(config.output.folder))}),
            "work_dir": _absolute(str(config.work_dir)),
        }
    )
    _check_data(resolved, source)
    _check_reach(resolved)
    layout = Layout(str(resolved.work_dir))
    sources = {role: reference_source(layout.reference(role), role, r) for role, r in references.items()}
    width = _width(model)
    return Plan(resolved, {"input": source, **sources}, references, model.digest, *([width] if width else []))


def _width(model: ResolvedModel) -> int | None:
    """Dimension of the model's vectors, where its config tells."""
    width = read_config(model).get("hidden_size")
    return width if isinstance(width, int) and width > 0 else None


def _check_settings(config: Pipeline) -> None:
    views, weights = config.embed.views, config.solve.view_weights
    if unknown := sorted(set(weights) - set(views)):
        raise ConfigError(
            f"solve.view_weights of the views {', '.join(views)}", ", ".join(unknown), "Add them to embed.views."
        )
    if weights and sum(weights.values()) == 0:
        raise ConfigError("a view of some weight", "only zeros in solve.view_weights", "Give one a weight.")
    if config.select.auto is not None and config.solve.mode in ("exact", "paper"):
        raise ConfigError("solve.mode coupled with select.auto", config.solve.mode, "Change either.")
    facets = slice_names(config.input.slices)
    if unknown := sorted(set(config.select.minimum_retention) - set(facets)):
        raise ConfigError(
            f"select.minimum_retention of {', '.join(facets)}", ", ".join(unknown), "Add the column to input.slices."
        )
    folder, work = _absolute(str(config.output.folder)), _absolute(str(config.work_dir))
    if folder == work or folder.startswith(f"{work}/") or work.startswith(f"{folder}/"):
        raise ConfigError("output.folder and work_dir apart from each other", f"{folder} and {work}", "Move one.")


def _check_reach(config: Pipeline) -> None:
    """HF Jobs run on other machines, and write a file for every part, which for a repository is a commit each."""
    if config.executor.kind != "jobs":
        return
    work, model = str(config.work_dir), config.embed.model
    files = [str(file) for file in config.input.files or ()]
    places = {"work_dir": [work], "output.folder": [str(config.output.folder)], "input.files": files}
    # A model that is a folder has been resolved to its path from the root.
    here = [name for name, urls in places.items() if any(map(_is_local, urls))]
    if here := [*here, *(["embed.model"] if model.startswith("/") else [])]:
        raise ConfigError(
            "URLs that HF Jobs can reach, as hf://buckets/me/run or s3://bucket/run",
            f"local paths in {', '.join(here)}",
            "Put them on shared storage; a dataset or model may be a Hub id.",
        )
    if work.startswith("hf://") and not work.startswith("hf://buckets/"):
        raise ConfigError(
            "a work_dir for HF Jobs on hf://buckets/ or s3://",
            work,
            "A repository takes a commit for every file, and not many in an hour; make a bucket.",
        )


def _is_local(url: str) -> bool:
    return isinstance(reached(url)[0], LocalFileSystem)


def _check_data(config: Pipeline, source: Source) -> None:
    folder = str(config.output.folder)
    top_k = config.select.top_k
    if top_k is not None and top_k > source.rows:
        raise ConfigError(f"select.top_k of at most {source.rows:,}, the input's rows", f"{top_k:,}", "Lower it.")
    if missing := _without(source, list(config.input.label)):
        raise ConfigError("columns of the input under input.label", f"no {', '.join(missing)}", "Correct input.label.")
    if missing := _without(source, list(config.input.slices)):
        raise ConfigError(
            "columns of the input under input.slices", f"no {', '.join(missing)}", "Correct input.slices."
        )
    for file in source.files:
        if file.name in OWN_FILES:
            raise ConfigError(f"source files not named {', '.join(OWN_FILES)}", file.name, "Rename the file.")
        if _absolute(file.uri.removeprefix("file://")) == f"{folder}/{file.name}":
            raise ConfigError("an output folder apart from the input", folder, "Choose another output.folder.")


def _without(source: Source, columns: list[str]) -> list[str]:
    """Those of the columns that none of the first rows has."""
    file = next(file for file in source.files if file.rows)
    rows = source.read_raw(file, 0, min(file.rows, 1000), columns) if columns else []
    found = {name for row in rows if isinstance(row, dict) for name in row}
    return [column for column in columns if column not in found]


def _added(config: Pipeline) -> list[str]:
    """The columns that the input's files gain."""
    return [named(name, config.output.prefix) for name in COLUMNS] if config.output.mode == "columns" else []


def _source(given: Input, reserved: Sequence[str] = ()) -> Source:
    reading: dict[str, Any] = {
        "split": given.split,
        "format": given.format,
        "columns": given.columns,
        "reserved": reserved,
    }
    if given.dataset is not None:
        return hub_source(given.dataset, config=given.config, revision=given.revision, **reading)
    return local_source(_files(given), config=given.config or "default", **reading)


def _pin(given: Input, source: Source) -> dict[str, Any]:
    """What makes the source the same when it is read again, from anywhere."""
    pinned: dict[str, Any] = {"format": source.format, "columns": source.columns, "config": source.config}
    if given.dataset is not None:
        return {**pinned, "revision": source.revision}
    return {**pinned, "files": tuple(_absolute(pattern) for pattern in _files(given))}


def _files(given: Input) -> list[str]:
    """The patterns of local files, those that come with the package found from any working folder."""
    patterns = [given.files] if isinstance(given.files, str) else list(given.files or ())
    return [_bundled(pattern) for pattern in patterns]


def _bundled(pattern: str) -> str:
    if "://" in pattern or Path(pattern).exists():
        return pattern
    return next((str(root / pattern) for root in BUNDLED if (root / pattern).exists()), pattern)


def _several(given: Any) -> tuple[str | ReferenceCard, ...]:
    return given if isinstance(given, tuple) else (given,)


def _card(given: str | ReferenceCard) -> ReferenceCard:
    """A card in place, the card at a path, or a card made of a bare data file."""
    if isinstance(given, str):
        if given.endswith((".yaml", ".yml")):
            return load_card(given)
        given = ReferenceCard(files=given)
    if given.name:
        return given
    first = given.dataset or _files(given)[0]
    return given.model_copy(update={"name": Path(first).name.split(".")[0]})


def _draw(card: ReferenceCard, role: str) -> tuple[ReferenceCard, Reference]:
    try:
        source = _source(card)
    except SotFilterError as error:
        raise type(error)(error.expected, f"{error.got} (in the {role} reference {card.name})", error.do) from None
    reference = load_reference(Card(card.name, source, card.where, card.sample, card.seed, card.digest))
    return card.model_copy(update={**_pin(card, source), "digest": reference.digest}), reference


def _model_name(model: ResolvedModel) -> str:
    """The name by which the model is found from anywhere: that of a folder is its path from the root."""
    is_folder = model.local and Path(model.path_or_id) == Path(model.name).expanduser()
    return _absolute(model.path_or_id) if is_folder else model.name


def _absolute(path: str) -> str:
    """A local path from the root; any other URL as it is."""
    fs, stripped = reached(os.path.expanduser(path))
    return os.path.abspath(stripped) if isinstance(fs, LocalFileSystem) else path.rstrip("/")
