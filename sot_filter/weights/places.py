"""Where weight columns lie: the files of a run's folder or of a Hub dataset, in the configuration that has them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sot_filter.artifacts import reached, reaching, read_bytes
from sot_filter.errors import ConfigError, HubError, SourceError
from sot_filter.rows import published_name
from sot_filter.sources.hub_errors import hub_errors

#: What the configuration of a sidecar is called, or how its name ends.
_SIDECAR: Final = "sot"
_SUMMARY: Final = "summary.json"
_DATASETS: Final = "hf://datasets/"


@dataclass(frozen=True, slots=True)
class Place:
    """Files with weight columns, in the order of the split.

    Attributes:
        where: how the user named it.
        files: their URLs.
        config: the configuration they make, nothing for a single file.
        split: the split they make, nothing for a single file.
        revision: the commit they are read at, if they are on the Hub.
        source: what the run's summary says of its input; empty where there is none.
    """

    where: str
    files: tuple[str, ...]
    config: str = ""
    split: str = ""
    revision: str | None = None
    source: dict[str, Any] = field(default_factory=dict)


def find_place(where: str, revision: str | None, config: str | None, split: str) -> Place:
    """Find the files that have the weight columns.

    Args:
        where: a run's output folder (a path or any fsspec URL), one file, or the id of a Hub dataset.
        revision: a branch, tag or commit of the Hub dataset; it is resolved to a commit once.
        config: the configuration of the rows, or of their sidecar; by default the one that is there.
        split: the split.

    Raises:
        SourceError: there is nothing of that name, configuration, split or revision, or no access to it.
        ConfigError: a revision of something that is not on the Hub.
        HubError: the Hub did not answer, or is switched off.
    """
    dataset = where.removeprefix(_DATASETS)
    is_url = "://" in where and (dataset == where or dataset.count("/") > 1)
    path = Path(where).expanduser()
    if is_url or path.exists():
        if revision is not None:
            raise ConfigError("a revision of a Hub dataset", f"one of {where}", "Leave it out.")
        if path.is_dir():
            return _in_folder(where, str(path.absolute()), config, split)
        return _at_url(where, str(path.absolute()) if path.exists() else where, split)
    if dataset.count("/") != 1:
        raise SourceError(
            "a run's output folder, a Parquet file, or a Hub dataset id as org/name", repr(where), "Check the name."
        )
    return _on_hub(dataset, revision, config, split)


def _at_url(where: str, url: str, split: str) -> Place:
    """A single file, or an output folder that is not of this machine: its summary says which files are in it."""
    fs, path = reached(url)
    with reaching(fs, url):
        if fs.isfile(path):
            return Place(where, (url,))
        source = next((source for source in _inputs(url) if source["split"] == split), {})
        names = [str(file["name"]) for file in source.get("files", ())]
        either = [
            [f"{url.rstrip('/')}/{published_name(name, mode)}" for mode in ("sidecar", "columns")] for name in names
        ]
        found = [next((one for one in pair if fs.exists(reached(one)[1])), pair[-1]) for pair in either]
    if not found:
        raise SourceError(f"a finished run's output at {where}", "none", "Check the name, and the split.")
    return Place(where, tuple(found), source["config"], split, None, source)


def _in_folder(where: str, folder: str, config: str | None, split: str) -> Place:
    name, files = _files(where, folder, None, config, split)
    return Place(where, files, name, split, None, _about(folder, name, split))


def _on_hub(dataset: str, revision: str | None, config: str | None, split: str) -> Place:
    from huggingface_hub import HfApi, is_offline_mode
    from huggingface_hub.errors import HFValidationError

    where = dataset + (f" at {revision}" if revision else "")
    if is_offline_mode():
        do = "Unset it; or run `sot-filter pull-weights` where there is a network, and give the file that it writes."
        raise HubError(f"the Hub, to read the weights of {where}", "HF_HUB_OFFLINE, which switches it off", do)
    with hub_errors(where):
        try:
            sha = HfApi().dataset_info(dataset, revision=revision).sha
        except HFValidationError:
            raise SourceError("a Hub dataset id as org/name", repr(dataset), "Check the name.") from None
        name, files = _files(where, f"{_DATASETS}{dataset}", sha, config, split)
        return Place(dataset, files, name, split, sha, _about(f"{_DATASETS}{dataset}@{sha}", name, split))


def _files(where: str, path: str, sha: str | None, config: str | None, split: str) -> tuple[str, tuple[str, ...]]:
    """The configuration with the columns, and its files: a sidecar before the rows, which need not have columns."""
    import datasets
    import yaml

    try:
        names = datasets.get_dataset_config_names(path, revision=sha)
        sidecars = [name for name in names if name == _SIDECAR or name.endswith(f"-{_SIDECAR}")]
        if config is None and len(sidecars) != 1:
            config = datasets.load_dataset_builder(path, revision=sha).config.name
        wanted = sidecars if config is None else [_sidecar_of(config), config]
        name = next((name for name in wanted if name in names), None)
        if name is None:
            got = f"none among {', '.join(names)}"
            raise SourceError(f"a configuration {config!r} of {where}", got, "Name one of these as config.")
        found = datasets.load_dataset_builder(path, name, revision=sha).config.data_files or {}
    except (ValueError, RuntimeError, FileNotFoundError, yaml.YAMLError) as error:
        raise SourceError(
            f"weights at {where} that `datasets` can load",
            " ".join(str(error).split())[:200],
            "Check that the run has finished there and its README.md, or name the configuration.",
        ) from None
    if split not in found:
        raise SourceError(
            f"a split {split!r} of {where}", f"splits {', '.join(map(str, found))}", "Name one of these as split."
        )
    return name, tuple(map(str, found[split]))


def _inputs(folder: str) -> list[dict[str, Any]]:
    """What the summaries of runs in a folder, or beside the data of a Hub dataset, say of their inputs."""
    fs, path = reached(folder)
    try:
        with reaching(fs, folder):
            found = fs.ls(f"{path}/{_SIDECAR}", detail=True)
    except FileNotFoundError:
        found = []
    runs = sorted(fs.unstrip_protocol(entry["name"]) for entry in found if entry["type"] == "directory")
    inputs = []
    for url in (f"{at}/{_SUMMARY}" for at in (folder, *runs)):
        try:
            summary = json.loads(read_bytes(url) or b"null")
        except ValueError:
            # Somebody else's file of this name.
            continue
        source = summary.get("input") if isinstance(summary, dict) else None
        if isinstance(source, dict) and {"config", "split", "format", "columns"} <= source.keys():
            inputs.append(source)
    return inputs


def _about(folder: str, config: str, split: str) -> dict[str, Any]:
    """What all summaries say that are of the rows of a configuration, or of its sidecar."""
    of_these = [
        source
        for source in _inputs(folder)
        if source["split"] == split and config in (source["config"], _sidecar_of(source["config"]))
    ]
    agreed = {key: value for key, value in (of_these or [{}])[0].items() if all(s.get(key) == value for s in of_these)}
    return agreed if {"format", "columns"} <= agreed.keys() else {}


def _sidecar_of(config: str) -> str:
    return _SIDECAR if config == "default" else f"{config}-{_SIDECAR}"
