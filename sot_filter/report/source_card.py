"""What the output's card takes over from the card of the dataset whose rows were weighed."""

import math
from typing import Any, Final, NamedTuple

from sot_filter.errors import SourceError
from sot_filter.report.card_merge import BEGIN, END
from sot_filter.report.front_matter import split_card

#: What holds for the rows as well when they have more columns.
_INHERITED: Final = (
    "license",
    "license_name",
    "license_link",
    "license_details",
    "language",
    "language_bcp47",
    "language_creators",
    "multilinguality",
    "annotations_creators",
    "task_categories",
    "task_ids",
    "tags",
    "pretty_name",
    "viewer",
)


class Inherited(NamedTuple):
    """What is taken over.

    Attributes:
        head: keys of its YAML that hold for the output too.
        text: its text.
        features: what it states of each configuration's columns, in a card's form.
    """

    head: dict[str, Any]
    text: str
    features: dict[str, list[dict[str, Any]]]


def inherited(text: str | None, dataset: str) -> Inherited:
    """Read the source's card; of none, nothing is taken over.

    Args:
        text: its README.md.
        dataset: its id, for messages.

    Raises:
        SourceError: the card's head is no valid YAML.
    """
    card = split_card(text or "", SourceError, dataset)
    head = {
        name: _plain(value)
        for name, value in card.head.items()
        # Who asks for access asks it for the same rows.
        if (name in _INHERITED or str(name).startswith("extra_gated_")) and value not in (None, "", [], {})
    }
    infos = card.head.get("dataset_info") or []
    features = {
        str(info.get("config_name", "default")): info["features"]
        for info in (infos if isinstance(infos, list) else [infos])
        if isinstance(info, dict) and _are_features(info.get("features"))
    }
    # A dataset that has been weighed before has our marks; here they would tell its part from ours no more.
    return Inherited(head, card.text.replace(BEGIN, "").replace(END, "").strip(), _plain(features))


def _are_features(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(one, dict) and "name" in one for one in given)


def _plain(value: Any) -> Any:
    """What JSON can hold as well: YAML has dates, and numbers that are none."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
