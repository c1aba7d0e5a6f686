"""Stage commit: all files of the output enter the Hub dataset at once, with the card."""

import json
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import yaml
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import (
    Layout,
    Manifest,
    announce,
    find_manifest,
    reached,
    reaching,
    read_inventory,
    read_json,
    require_manifest,
)
from sot_filter.hub import Target, Upload, commit, standing_commit
from sot_filter.report.card import card
from sot_filter.report.card_merge import merge_card
from sot_filter.report.standing import standing_files
from sot_filter.steps.row_truth import check_complete

#: What of a pipeline file is about the machines that ran it, and nobody else's business.
_OURS: Final = ("work_dir", "executor", "profiles")
#: Settings and facts whose words are paths, also where these have spaces.
_PLACES: Final = ("files", "model")


class CommitDataset(PipelineStep):
    """Makes the commit, unless it is made.

    Args:
        work_dir: the run's folder.
        keys: key of every stage, by name.
        folder: the output folder.
        run_name: the run's name; its summary, picture and settings lie under ``sot/<name>`` in the repository.
        target: where the files go, as `sot_filter.hub.Target.to_json` gives it.
    """

    type = "WRITER"
    name = "one commit"

    def __init__(
        self, work_dir: str, keys: dict[str, str], folder: str, run_name: str, target: dict[str, Any]
    ) -> None:
        super().__init__()
        self.work_dir, self.keys, self.folder = work_dir, keys, folder
        self.run_name, self.target = run_name, target

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Make it.

        Raises:
            ArtifactError: the files that were uploaded are not all of the source's, or have other rows.
            HubError: the Hub refuses the commit, or does not answer; the repository is as it was.
        """
        layout = Layout(self.work_dir)
        if rank == 0 and not find_manifest(layout.committed, self.keys["commit"]):
            source = read_inventory(layout.inventory)["input"]
            manifests = {
                file.name: require_manifest(layout.uploaded(file.name), self.keys["upload"]) for file in source.files
            }
            check_complete(source, {name: manifest.rows for name, manifest in manifests.items()})
            uploads = [Upload.from_json(manifest.facts) for manifest in manifests.values()]
            beside = f"sot/{self.run_name}"
            summary = read_json(f"{self.folder}/summary.json")
            target = Target.from_json(self.target)
            files_of = standing_files(target.repo, standing_commit(target))
            published = commit(
                target,
                [(upload, f"{self.folder}/{upload.path}") for upload in uploads],
                {f"{beside}/{name}": content for name, content in _own_files(self.folder, summary).items()},
                partial(merge_card, ours=card(summary, beside=f"{beside}/"), files_of=files_of),
                key=self.keys["commit"],
                title=f"Weigh {summary['rows']['total']:,} rows with sot-filter ({self.run_name})",
                description=_description(summary),
            )
            announce(layout.committed, Manifest(self.keys["commit"], source.rows, facts={**published.to_json()}))
        yield from ()


def _own_files(folder: str, summary: dict[str, Any]) -> dict[str, bytes]:
    """What goes along with the data, without paths of the machine that ran it."""
    files = {}
    for name in ("map.png", "review.jsonl"):
        fs, path = reached(f"{folder}/{name}")
        with reaching(fs, path):
            if fs.exists(path):
                files[name] = fs.cat_file(path)
    fs, path = reached(f"{folder}/pipeline.yaml")
    with reaching(fs, path):
        pipeline = yaml.safe_load(fs.cat_file(path))
    settings = {key: value for key, value in for_others(pipeline).items() if key not in _OURS}
    settings["output"] = {key: value for key, value in settings["output"].items() if key != "folder"}
    files["pipeline.yaml"] = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode()
    files["summary.json"] = json.dumps(for_others(summary), indent=1, ensure_ascii=False).encode()
    return files


def for_others(value: Any, key: str = "") -> Any:
    """Plain values without what only our machines have.

    A path from the root is only its last name, and a file's address is none of its facts. Nor is the time that
    something took: a run that is done again says the same as before, and so its push is found done.

    Args:
        value: settings or facts.
        key: what they stand under.
    """
    if isinstance(value, dict):
        return {
            name: for_others(item, name)
            for name, item in value.items()
            if name != "seconds" and not (name == "uri" and not str(item).startswith("hf://"))
        }
    if isinstance(value, list):
        return [for_others(item, key) for item in value]
    if isinstance(value, str) and value.startswith(("/", "file:///")) and (key in _PLACES or " " not in value):
        return value.rstrip("/").rpartition("/")[2]
    if isinstance(value, str) and key in _PLACES and "://" in value:
        # Who may read it, by name or by a signature, is not for others either.
        parts = urlsplit(value)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return value


def _description(summary: dict[str, Any]) -> str:
    kept, total = summary["kept"]["rows"], summary["rows"]["total"]
    return (
        f"{kept:,} of {total:,} rows kept (Safety Optimal Transport, arXiv 2601.07200). Every row of the source is "
        "there, with its weight, verdict and reason; the card says how it was done and how to repeat it."
    )
