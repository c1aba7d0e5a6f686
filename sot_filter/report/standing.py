"""Which files the configurations of a Hub dataset hold now, as `datasets` finds them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from sot_filter.sources.hub_errors import hub_errors


def standing_files(repo: str, revision: str) -> Callable[[str], Mapping[str, Sequence[str]]]:
    """What `sot_filter.report.card_merge.merge_card` asks a repository that it merges into.

    Args:
        repo: the dataset, as ``org/name``.
        revision: the commit that is committed onto.

    Returns:
        A function from a configuration's name to its files by split, nothing where `datasets` finds none. It raises
        `HubError` when the Hub does not answer.
    """

    @cache
    def files_of(config: str) -> Mapping[str, Sequence[str]]:
        import datasets
        from datasets.exceptions import DatasetNotFoundError
        from huggingface_hub import HfFileSystem

        with hub_errors(f"{repo} at {revision}"):
            try:
                # The prefix keeps a folder of the same name from being taken for the dataset.
                builder = datasets.load_dataset_builder(f"hf://datasets/{repo}", config, revision=revision)
            except (DatasetNotFoundError, FileNotFoundError, ValueError):
                # No such dataset, no data in it, or no such configuration: nothing that could be hidden.
                return {}
            paths = HfFileSystem()
            return {
                str(split): [paths._strip_protocol(str(uri)).split("@", 1)[-1].split("/", 1)[1] for uri in uris]
                for split, uris in (builder.config.data_files or {}).items()
            }

    return files_of
