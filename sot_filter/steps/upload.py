"""Stage upload: every output file compared with its pinned source once more, then handed to the Hub."""

from typing import Any

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import Layout, Manifest, announce, find_manifest, read_inventory, require_manifest
from sot_filter.hub import Target, ensure_repository, upload_file
from sot_filter.rows import published_name
from sot_filter.steps.embed import my_share
from sot_filter.steps.publish import Columns
from sot_filter.steps.row_truth import check_file


class UploadFiles(PipelineStep):
    """Uploads the output files that the Hub does not have yet; none of them is in the dataset before the commit.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        keys: key of every stage, by name.
        folder: the output folder.
        mode: what it holds, ``columns`` or ``sidecar``.
        prefix: how the names of the new columns begin.
        target: where the files go, as `sot_filter.hub.Target.to_json` gives it.
    """

    type = "WRITER"
    name = "output files, to the Hub"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        keys: dict[str, str],
        folder: str,
        mode: str,
        prefix: str,
        target: dict[str, Any],
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.keys = work_dir, part_rows, keys
        self.folder, self.mode, self.prefix, self.target = folder, mode, prefix, target

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Upload the task's files.

        Raises:
            ArtifactError: an output file does not have its source's rows, or not their columns.
            SourceError: a source file is not the one that was planned.
            HubError: the Hub refuses a file, or does not answer.
        """
        layout, target = Layout(self.work_dir), Target.from_json(self.target)
        sources = read_inventory(layout.inventory)
        source = sources["input"]
        selection = require_manifest(layout.selection, self.keys["select"]).facts
        columns = Columns(sources, self.part_rows, layout, self.keys["weigh"], selection)
        for file in my_share(list(source.files), rank, world_size):
            if find_manifest(layout.uploaded(file.name), self.keys["upload"]):
                continue
            path = published_name(file.name, self.mode)
            url = f"{self.folder}/{path}"
            with self.track_time("file"):
                ensure_repository(target)
                check_file(source, file, url, columns.of_file(file), self.mode, self.prefix)
                upload = upload_file(target, path, url)
            announce(layout.uploaded(file.name), Manifest(self.keys["upload"], file.rows, facts={**upload.to_json()}))
            self.stat_update("rows", value=file.rows, unit="file")
        yield from ()
