"""`configs` and `dataset_info` of a card: which files a configuration means, and what is said of them."""

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fsspec.utils import glob_translate

from sot_filter.errors import HubError

#: Where sidecars lie, see `sot_filter.rows.published_name`.
SIDECARS: Final = "sot/"
#: What is wrong as soon as one split is not known.
_SIZES: Final = ("splits", "download_size", "dataset_size")


def splits_of(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """The patterns of a configuration's splits, in any of the forms that `datasets` reads."""
    given = config.get("data_files") or []
    if isinstance(given, str):
        return {"train": [given]}
    if any(isinstance(one, dict) for one in given):
        return {str(one["split"]): [one["path"]] if isinstance(one["path"], str) else one["path"] for one in given}
    return {"train": list(given)} if given else {}


def takes_in(config: Mapping[str, Any], paths: Iterable[str]) -> bool:
    """Whether a pattern of a configuration means one of the files; these are escaped, as in a card."""
    folder = str(config.get("data_dir") or "").strip("/")
    given = [pattern for patterns in splits_of(config).values() for pattern in patterns]
    whole = [posixpath.normpath(posixpath.join(folder, pattern)) for pattern in given]
    names = [re.sub(r"\[([*?\[])\]", r"\1", path) for path in paths]
    return any(re.match(glob_translate(pattern), name) for pattern in whole for name in names)


def merge_infos(there: Any, ours: Any, configs: list[dict[str, Any]], our_configs: list[dict[str, Any]]) -> Any:
    """`dataset_info` with ours in it: what it says of a split whose files are replaced is ours, or nothing.

    Args:
        there: what the card says, one mapping or a list of them.
        ours: the same of our card.
        configs: the configurations of both cards, merged.
        our_configs: ours.

    Raises:
        HubError: what is there has another form.
    """
    merged, new = _by_config(there), _by_config(ours)
    loaded = {str(config["config_name"]): set(splits_of(config)) for config in configs}
    for config in our_configs:
        name, files = config["config_name"], [path for paths in splits_of(config).values() for path in paths]
        info = _info(merged.get(name), new.get(name, {}), set(splits_of(config)), loaded[name])
        merged.pop(name, None)
        if info:
            merged[name] = {"config_name": name, **info}
        for other in configs:
            if (key := str(other["config_name"])) != name and "features" in info and takes_in(other, files):
                # It reads the same files, and these have more columns now.
                known = merged.get(key, {"config_name": key})
                merged[key] = {**known, "features": _united(known.get("features") or [], info["features"])}
    # `datasets` takes the one configuration that is told of for the one to load, where none is named.
    is_only = len(merged) == 1 and len(configs) > 1
    if is_only and not any(c.get("default") or str(c["config_name"]) == "default" for c in configs) and not there:
        return []
    found = list(merged.values())
    return found[0] if len(found) == 1 else found


def _by_config(infos: Any) -> dict[str, dict[str, Any]]:
    given = [infos] if isinstance(infos, dict) else infos or []
    if not isinstance(given, list) or not all(isinstance(one, dict) and _is_info(one) for one in given):
        raise HubError(
            "`dataset_info` in the card of the repository as `datasets` reads it",
            "another form",
            "Correct it, or remove it: it is written anew for what is published.",
        )
    return {str(one.get("config_name", "default")): dict(one) for one in given}


def _is_info(one: dict[str, Any]) -> bool:
    lists = [one.get(name) or [] for name in ("features", "splits")]
    return all(isinstance(given, list) and all(isinstance(e, dict) and "name" in e for e in given) for given in lists)


def _info(there: dict[str, Any] | None, ours: dict[str, Any], replaced: set[str], loaded: set[str]) -> dict[str, Any]:
    there, others = there or {}, loaded - replaced
    info = {key: value for key, value in there.items() if key not in (*_SIZES, "features", "config_name")}
    if features := ours.get("features"):
        # One set of features for all splits: what a split does not have is null there.
        info["features"] = _united(features, there.get("features") or []) if others else features
    splits = {one["name"]: one for one in there.get("splits") or [] if one["name"] in others}
    splits |= {one["name"]: one for one in ours.get("splits") or []}
    if splits and set(splits) == loaded:
        info["splits"] = list(splits.values())
        sizes = [one.get("num_bytes") for one in splits.values()]
        if not others and "download_size" in ours:
            info["download_size"] = ours["download_size"]
        if all(isinstance(size, int) for size in sizes):
            info["dataset_size"] = sum(sizes)
    return info


def _united(features: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {one["name"] for one in features}
    return [*features, *(one for one in others if one["name"] not in names)]
