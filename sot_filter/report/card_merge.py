"""Our card and the one that a Hub dataset has: its keys and its text stay, ours come in, and all of it loads."""

import glob
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sot_filter.errors import HubError
from sot_filter.report.card_infos import SIDECARS, merge_infos, splits_of, takes_in
from sot_filter.report.front_matter import Card, dump_head, split_card, with_head
from sot_filter.sources.storage import kind_of, storage_of

#: What our part of a card's text stands between.
BEGIN: Final = "<!-- sot-filter: begin -->"
END: Final = "<!-- sot-filter: end -->"
_OUR_PART: Final = re.compile(f"{re.escape(BEGIN)}(?:(?!{re.escape(BEGIN)}).)*?{re.escape(END)}", re.DOTALL)
#: What lies beside the data after a push, of any run, and what it would be of one.
_OUR_FILES: Final = re.compile(rf"{SIDECARS}[^/]+/(?:summary\.json|review\.jsonl|pipeline\.yaml|map\.png)")
_BESIDE: Final = frozenset(f"{SIDECARS}run/{name}" for name in ("summary.json", "review.jsonl"))
#: A description of ours of a configuration.
_OURS: Final = re.compile(r"sot-filter [0-9a-f]*")
#: Endings that say nothing of the kind of a file.
_PACKED: Final = re.compile(r"\.(?:gz|bz2|xz|zst|lz4)$")

#: The files of a configuration by split, as the repository has them now; empty where there is no such configuration.
FilesOf = Callable[[str], Mapping[str, Sequence[str]]]


def merge_card(existing: str | None, ours: str, files_of: FilesOf = lambda config: {}) -> str:
    """The card of a repository that gains our files.

    Its keys are kept, those that it lacks are added, and tags are united. A split of ours takes the place of one of
    its name in the configuration of its name; other splits and configurations stay, and are listed by their files
    where a pattern, or the custom of `datasets` by which they were found, would take in files of ours too or find
    nothing any more. Our part of the text takes the place of an earlier one, or comes last.

    Args:
        existing: the README.md that is there, if one is.
        ours: the card of the output, from `sot_filter.report.card.card`.
        files_of: what the repository's configurations hold now; asked only where the card does not say it.

    Raises:
        HubError: the card that is there is no valid YAML, or the repository has data of another kind of file, which
            `datasets` cannot read beside ours.
    """
    new = split_card(ours, HubError, "the output")
    there = split_card(existing or "", HubError, "the repository")
    head = _merged(there.head, new.head, files_of)
    if not there.head and not there.text.strip():
        return f"---\n{dump_head(head)}---\n{new.text}"
    part = _OUR_PART.search(new.text)
    return with_head(there._replace(text=_with_part(there, part.group() if part else "")), head)


def outline(config: str, split: str, files: Sequence[str]) -> str:
    """As much of a card as `merge_card` needs to find, before a run, that the one that is there is in the way.

    Args:
        config: the configuration's name, from `sot_filter.report.card.configuration`.
        split: the split.
        files: the paths of its files in the repository.
    """
    return f"---\n{dump_head({'configs': [one_config(config, split, files)]})}---\n"


def one_config(config: str, split: str, files: Sequence[str], digest: str = "") -> dict[str, Any]:
    """A configuration with one split, its files named so that no sign in them is a pattern.

    Of a folder, `datasets` keeps what it has read under the folder's name and this configuration, whatever became of
    the files since. So the configuration's description has a digest of their content: other rows are read anew.
    """
    described = {"description": f"sot-filter {digest[:16]}"} if digest else {}
    paths = [glob.escape(file) for file in files]
    return {"config_name": config, **described, "data_files": [{"split": split, "path": paths}]}


def _with_part(card: Card, part: str) -> str:
    text = card.text
    if not part:
        return text
    found = _OUR_PART.search(text)
    # A return before our part may have become half of a line's end, so an earlier part tells its own.
    breaks = "\r\n" if "\r\n" in (found.group() if found else f"{card.around[0]}{text}") else "\n"
    part = part.replace("\n", breaks)
    if found:
        return text[: found.start()] + part + text[found.end() :]
    ended = text[len(text.rstrip("\r\n")) :].count("\n")
    return f"{text}{breaks * max(2 - ended, 0) if text else ''}{part}{breaks}"


def _merged(there: dict[str, Any], ours: dict[str, Any], files_of: FilesOf) -> dict[str, Any]:
    head = {**there, **{name: value for name, value in ours.items() if name not in there}}
    if tags := _as_list(there.get("tags")) + _as_list(ours.get("tags")):
        head["tags"] = [tag for place, tag in enumerate(tags) if tag not in tags[:place]]
    head["configs"] = _configs(there, ours["configs"], files_of)
    infos = merge_infos(there.get("dataset_info"), ours.get("dataset_info"), head["configs"], ours["configs"])
    if infos or "dataset_info" in head:
        head["dataset_info"] = infos
    return head


def _configs(there: dict[str, Any], ours: list[dict[str, Any]], files_of: FilesOf) -> list[dict[str, Any]]:
    beside = {path for _, path in _paths(ours) if path.startswith(SIDECARS)}
    standing = [dict(config) for config in _checked(there.get("configs"))]
    if not standing and (found := _listed("default", files_of, beside)):
        standing = [{"config_name": "default", "data_files": found}]
    names = {config["config_name"] for config in ours}
    for config in standing:
        name = str(config["config_name"])
        is_whole = posixpath.normpath(str(config.get("data_dir") or ".")) == "."
        by_custom = "data_files" not in config and (is_whole or name in names)
        if (by_custom or takes_in(config, beside | _BESIDE)) and (found := _listed(name, files_of, beside)):
            config.pop("data_dir", None)
            config["data_files"] = found
    alone = standing[0] if len(standing) == 1 else None
    _check_kind(standing, ours, files_of)
    merged = list(standing)
    for config in ours:
        same = next((one for one in merged if str(one["config_name"]) == config["config_name"]), None)
        if same is None:
            merged.append(config)
        else:
            # Ours first: where no features are told, `datasets` goes by the first split, and it has all columns.
            splits = {**splits_of(config), **{k: v for k, v in splits_of(same).items() if k not in splits_of(config)}}
            same["data_files"] = [{"split": split, "path": paths} for split, paths in splits.items()]
            if "description" in config and _OURS.fullmatch(str(same.get("description", "sot-filter "))):
                same["description"] = config["description"]
    if alone is not None and len(merged) > 1 and "default" not in {str(config["config_name"]) for config in merged}:
        # The only configuration is loaded without its name; it shall be so still.
        alone["default"] = True
    return merged


def _paths(configs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Configuration and path of every file of ours."""
    return [(c["config_name"], path) for c in configs for paths in splits_of(c).values() for path in paths]


def _checked(configs: Any) -> list[dict[str, Any]]:
    """The configurations of a card. Raises `HubError` when `datasets` could not read them either."""
    given = configs or []
    if not isinstance(given, list) or not all(isinstance(one, dict) and _is_config(one) for one in given):
        raise HubError(
            "`configs` in the card of the repository as `datasets` reads them",
            "others",
            "Give each a config_name, and data_files of split and path.",
        )
    return given


def _is_config(one: dict[str, Any]) -> bool:
    files = one.get("data_files") or []
    if "config_name" not in one or not isinstance(files, str | list):
        return False
    whole = [isinstance(file, dict) and isinstance(file.get("path"), str | list) and "split" in file for file in files]
    return all(whole) or all(isinstance(file, str) for file in files)


def _listed(name: str, files_of: FilesOf, beside: set[str]) -> list[dict[str, Any]]:
    """The files of a configuration as the repository has them, without what is ours."""
    found = {
        split: [path for path in map(glob.escape, paths) if path not in beside and not _OUR_FILES.fullmatch(path)]
        for split, paths in files_of(name).items()
    }
    return [{"split": split, "path": paths} for split, paths in found.items() if paths]


def _check_kind(standing: list[dict[str, Any]], ours: list[dict[str, Any]], files_of: FilesOf) -> None:
    """`datasets` reads every configuration as the kind of file that the first one has."""
    replaced = {(config["config_name"], split) for config in ours for split in splits_of(config)}
    own = _kind([path for _, path in _paths(ours)])
    for config in standing:
        name = str(config["config_name"])
        left = [path for split, paths in splits_of(config).items() if (name, split) not in replaced for path in paths]
        found = _kind(left)
        if found is None and config is standing[0] and (left or "data_files" not in config):
            found = _kind([path for paths in files_of(name).values() for path in paths])
        if found and own and found != own:
            raise HubError(
                f"a repository with data of the kind {own}",
                f"one with {found}, and `datasets` reads all configurations of a repository as one kind",
                "Give output.hub.repo the name of another repository.",
            )


def _kind(paths: Sequence[str]) -> str | None:
    for path in paths:
        if storage := storage_of(path):
            return kind_of(storage)
        ending = posixpath.splitext(_PACKED.sub("", path))[1]
        if ending and not glob.has_magic(ending):
            return ending.removeprefix(".").lower()
    return None


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
