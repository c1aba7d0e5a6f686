"""The card of an output: which files are data, so that `load_dataset` reads these and nothing else, and our text."""

import re
from typing import Any, Final

from sot_filter.report.card_body import body
from sot_filter.report.card_merge import BEGIN, END, one_config
from sot_filter.report.front_matter import dump_head
from sot_filter.rows import published_name

#: Upper ends of the Hub's classes of size.
_SIZES: Final = {10 ** (3 * i + j): f"{10**j}{' KMBT'[i].strip()}" for i in range(5) for j in range(3)}


def configuration(config: str, mode: str) -> str:
    """The configuration under which an output is loaded.

    Args:
        config: the source's.
        mode: ``columns``, which takes the place of the source's, or ``sidecar``, which stands beside it.
    """
    if mode == "columns":
        return config
    return "sot" if config == "default" else f"{config}-sot"


def card(summary: dict[str, Any], beside: str = "") -> str:
    """The README.md of an output: for its folder, for a new dataset on the Hub, or for `merge_card` to work in.

    Args:
        summary: the run's, as summary.json has it.
        beside: where picture, summary and settings lie, seen from the README.md.
    """
    output, source = summary["output"], summary["input"]
    name, split = configuration(source["config"], output["mode"]), source["split"]
    files = [published_name(file["name"], output["mode"]) for file in source["files"]]
    # The Hub's names are the same in capitals.
    own = output["hub"] is not None and output["hub"]["repo"].lower() == str(source["dataset"]).lower()
    inherited = {} if own else dict(summary["source_card"]["head"])
    tags = inherited.pop("tags", None)
    if title := inherited.pop("pretty_name", None):
        inherited["pretty_name"] = f"{title} (weighed by sot-filter)"
    if not own and source["dataset"]:
        inherited["source_datasets"] = [source["dataset"]]
    head = {
        **inherited,
        "size_categories": [size_category(summary["rows"]["total"])],
        "tags": list(dict.fromkeys([*(tags if isinstance(tags, list) else [tags] if tags else []), "sot-filter"])),
        "configs": [one_config(name, split, files, summary["contents"].get("digest", ""))],
        **_info(name, split, summary["contents"]),
    }
    part = f"{BEGIN}\n{_unmarked(body(summary, beside))}\n{END}\n"
    return f"---\n{dump_head(head)}---\n\n{part}{'' if own else _text_of_source(summary)}"


def size_category(rows: int) -> str:
    """The Hub's class of size for a number of rows."""
    ends = sorted(_SIZES)
    if rows >= ends[-1]:
        return f"n>{_SIZES[ends[-1]]}"
    place = next(i for i, end in enumerate(ends) if rows < end and end >= 1000)
    return f"n<{_SIZES[1000]}" if ends[place] == 1000 else f"{_SIZES[ends[place - 1]]}<n<{_SIZES[ends[place]]}"


def _info(name: str, split: str, contents: dict[str, Any]) -> dict[str, Any]:
    """`dataset_info`, as far as the contents of the files are known."""
    info: dict[str, Any] = {}
    if features := contents.get("features"):
        info["features"] = features
    if "num_bytes" in contents:
        info["splits"] = [{"name": split, "num_bytes": contents["num_bytes"], "num_examples": contents["rows"]}]
        info["download_size"] = contents["download_size"]
        info["dataset_size"] = contents["num_bytes"]
    return {"dataset_info": {"config_name": name, **info}} if info else {}


def _text_of_source(summary: dict[str, Any]) -> str:
    source, text = summary["input"], summary["source_card"]["text"]
    if not text:
        return ""
    return (
        f"\n# The card of {source['dataset']}\n\n"
        f"What follows is its text at commit `{source['revision']}`; it is about the rows without their weights, and "
        f"its links are seen from there.\n\n{text}\n"
    )


def _unmarked(text: str) -> str:
    """The text without what would end our part of it early."""
    return re.sub(r"<!--\s*sot-filter:", "sot-filter:", text)
