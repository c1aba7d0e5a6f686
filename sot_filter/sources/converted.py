"""The Hub's own conversion of a dataset to Parquet, for repositories whose files are of no kind that is read here.

The Hub keeps it on the branch ``refs/convert/parquet``, as ``<configuration>/<split>/0000.parquet`` and so on. Of a
split that is too large for it, it converts the first rows only, as ``<configuration>/partial-<split>/0000.parquet``.
"""

import re
from collections.abc import Sequence
from typing import Final

from sot_filter.errors import SourceError

#: The branch that it is on.
BRANCH: Final = "refs/convert/parquet"
_FILE: Final = re.compile(r"([^/]+)/([^/]+)/\d{4,}\.parquet")
_PARTIAL: Final = "partial-"


def is_conversion(names: Sequence[str], revision: str | None, config: str | None) -> bool:
    """Whether a commit is one of the Hub's conversion.

    A repository may look like that by itself. So a commit is taken for a conversion only where the revision is the
    branch, or a sha together with a configuration that is one of its folders, as a resolved pipeline has them.

    Args:
        names: the commit's files.
        revision: as it was asked for.
        config: as it was asked for.
    """
    if not looks_converted(names):
        return False
    pinned = revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision) is not None
    return revision == BRANCH or (pinned and config in _configs(names))


def looks_converted(names: Sequence[str]) -> bool:
    """Whether all of a commit's files lie as those of a conversion do."""
    beside = [name for name in names if not _FILE.fullmatch(name)]
    return bool(_configs(names)) and all(name.startswith(".") or name.endswith(".duckdb") for name in beside)


def converted_files(names: Sequence[str], config: str | None, split: str, where: str) -> tuple[str, list[str]]:
    """The configuration and the files of a split of a conversion.

    Args:
        names: the commit's files.
        config: the configuration, None for the only one, or for ``default``.
        split: the split.
        where: the dataset, as messages name it.

    Raises:
        SourceError: there is no such configuration or split, or the Hub has converted the split's first rows only.
    """
    configs = _configs(names)
    if config is None and len(configs) > 1 and "default" not in configs:
        raise SourceError(f"a configuration of {where}", f"several, {', '.join(configs)}", "Set input.config.")
    chosen = config or ("default" if "default" in configs else configs[0])
    if chosen not in configs:
        raise SourceError(
            f"a configuration {chosen!r} of {where}", f"configurations {', '.join(configs)}", "Set input.config."
        )
    splits: dict[str, list[str]] = {}
    for name in sorted(names):
        if (found := _FILE.fullmatch(name)) and found[1] == chosen:
            splits.setdefault(found[2], []).append(name)
    if split in splits:
        return chosen, splits[split]
    if _PARTIAL + split in splits:
        raise SourceError(
            f"all rows of the split {split!r} of {where} as Parquet",
            f"the first of them, in {chosen}/{_PARTIAL}{split}: the Hub converts no more of a large dataset",
            "Push the dataset again as Parquet, with push_to_hub of `datasets`, or give its data as `files`.",
        )
    raise SourceError(f"a split {split!r} of {where}", f"splits {', '.join(splits)}", "Set input.split.")


def _configs(names: Sequence[str]) -> list[str]:
    return sorted({found[1] for name in names if (found := _FILE.fullmatch(name))})
