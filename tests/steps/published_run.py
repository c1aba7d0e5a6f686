"""Small runs up to what they publish, in any storage, in this process or with workers."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from sot_filter.artifacts import require_manifest
from sot_filter.executors import run_stages
from sot_filter.plan import Plan, build_stages
from sot_filter.rows import published_name
from sot_filter.sources import SourceFile
from sot_filter.steps.publish import Columns
from sot_filter.steps.row_truth import check_file
from sot_filter.workspace import claim
from tests.e2e.cases import Case, Row, pairs

Files = dict[str, list[Row]]


def marked(n: int, seed: int) -> list[Row]:
    """Rows of texts that are all different, each with a mark of its own."""
    return [{"prompt": p, "completion": c, "mark": f"{seed}-{i}"} for i, (p, c) in enumerate(pairs(n, seed))]


def published(folder: Path, model: Path, files: Files, /, *settings: str, redo: bool = False, **output: Any) -> Plan:
    """A run of these files, up to the stage that publishes."""
    case = Case(folder, model, files)
    case.settings["output"].update(output)
    plan = case.plan(*settings)
    claim(plan, redo)
    run_stages(plan, build_stages(plan)[: list(plan.keys).index("publish") + 1])
    return plan


def output_of(plan: Plan, file: SourceFile) -> Path:
    return Path(str(plan.config.output.folder)) / published_name(file.name, plan.config.output.mode)


def columns_of(plan: Plan) -> Columns:
    selection = require_manifest(plan.layout.selection, plan.keys["select"]).facts
    return Columns(plan.sources, plan.part_rows, plan.layout, plan.keys["weigh"], selection)


def check(plan: Plan, file: SourceFile, wanted: list[pa.Table] | None = None) -> None:
    """What a stage does before it uploads the file."""
    tables = columns_of(plan).of_file(file) if wanted is None else iter(wanted)
    output = plan.config.output
    check_file(plan.sources["input"], file, str(output_of(plan, file)), tables, output.mode, output.prefix)
