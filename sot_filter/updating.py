"""Replacing a run's references: only what is new is embedded, and what that does to every row is told.

The rows' fates are set down before anything of the finished run is touched, so an update that is killed, or fails,
can be continued and still tells the difference to the last finished run.
"""

import contextlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from sot_filter.artifacts import (
    find_manifest,
    read_inventory,
    read_json,
    read_table,
    remove,
    require_manifest,
    write_table,
)
from sot_filter.errors import ArtifactError, ConfigError
from sot_filter.executors import require_idle, rows_done, run_stages
from sot_filter.plan import Plan, Stage, build_stages
from sot_filter.references import reference_ids
from sot_filter.report.change import SLICE, Run, compare
from sot_filter.sources import Source
from sot_filter.steps.earlier import REFERENCES, contents
from sot_filter.steps.select import columns_read, decide, file_starts, places
from sot_filter.workspace import claim


def allowed(limit: str, rows: int) -> float:
    """How many of the rows a limit allows: a number of rows, or a share as ``1%``. Raises `ConfigError`."""
    if not re.fullmatch(r"[0-9]+|[0-9]+(\.[0-9]+)?%", limit):
        raise ConfigError("a number of rows or a share for --fail-on, as 10 or 1%", limit, "Correct it.")
    return float(limit.removesuffix("%")) * (rows / 100 if limit.endswith("%") else 1)


def update_references(
    plan: Plan, watch: Callable[[Stage], AbstractContextManager[Any]] = contextlib.nullcontext
) -> dict[str, Any]:
    """Run the stages that changed references touch, and compare.

    Args:
        plan: the run with its references as they are now; rows and settings are those of the finished run.
        watch: a context to run each stage in, as to show its progress.

    Returns:
        Plain values: ``name``, ``changed``, and if so how many rows were ``embedded`` for each reference by this
        launch, and all of `compare`. Where the executor only submits, ``submitted`` instead, until all is done.

    Raises:
        ArtifactError: there is no finished run that differs in its references only.
    """
    nothing = {"name": plan.config.name, "changed": False}
    done = _finished(plan)
    before = _set_down(plan) if done else _last(plan) or _set_down(plan)
    if before is None:
        if done:
            return nothing
        raise ArtifactError(
            f"a finished run of these rows and settings in {plan.layout.root}",
            "none, or one of others",
            "Run `sot-filter run` first, with --redo if settings have changed.",
        )
    missing = _missing(plan)
    if not done:
        stages = build_stages(plan)
        require_idle(plan, stages)
        claim(plan, redo=True)
        if (submission := run_stages(plan, stages, watch)) is not None:
            return {**nothing, "submitted": submission}
    embedded = {role: sum(map(partial(_embedded, plan), urls)) for role, urls in missing.items()}
    change = compare(before, _run(plan), plan.sources["input"])
    for url in (plan.layout.before, plan.layout.before_references):
        remove(f"{url}.json")
        remove(url)
    return {**nothing, "changed": True, "embedded": embedded, **change}


def _finished(plan: Plan) -> bool:
    return all(rows_done(stage) == stage.rows for stage in build_stages(plan))


def _with(plan: Plan, references: dict[str, Source]) -> Plan:
    """The plan of the same rows and settings with other references."""
    return replace(plan, sources={**plan.sources, **{role: references[role] for role in REFERENCES}})


def _last(plan: Plan) -> Run | None:
    """The finished run in the work folder, if it differs in its references only; it is set down at once."""
    if read_json(plan.layout.inventory) is None:
        return None
    old = _with(plan, read_inventory(plan.layout.inventory))
    if not _finished(old):
        return None
    run, key = _run(old), plan.keys["embed"]
    # The rows come last and go first: by them it is known that both are there.
    remove(f"{plan.layout.before}.json")
    write_table(plan.layout.before_references, run.references, key)
    write_table(plan.layout.before, run.rows, key, **run.facts)
    return run


def _set_down(plan: Plan) -> Run | None:
    """The last finished run, as an update that did not come to its end set it down, if only references differ."""
    layout, key = plan.layout, plan.keys["embed"]
    manifest = find_manifest(layout.before, key)
    if manifest is None:
        return None
    old = _with(plan, {role: Source.from_json(source) for role, source in manifest.facts["sources"].items()})
    if old.keys["report"] != manifest.facts["plan"] or old.keys == plan.keys:
        return None
    return Run(read_table(layout.before, key), read_table(layout.before_references, key), manifest.facts)


def _run(plan: Plan) -> Run:
    """A finished run, from its artifacts."""
    layout, keys, source = plan.layout, plan.keys, plan.sources["input"]
    solve = require_manifest(layout.solution, keys["solve"]).facts
    facts = require_manifest(layout.selection, keys["select"]).facts
    ids = {role: reference_ids(plan.sources[role]) for role in REFERENCES}
    starts, tables = file_starts(source), []
    for part in source.parts(plan.part_rows):
        scored = read_table(layout.scores(part), keys["weigh"])
        place = places(scored["duplicate_of"].to_numpy(), starts[part.file.name] + part.start, starts)
        slices = {name: scored[name] for name in scored.column_names if name.startswith(SLICE)}
        tables.append(
            pa.table(
                {
                    "kept": decide(scored.select(columns_read(facts)), place, facts).kept,
                    "score": scored["score"],
                    "nearest_safe": _named(ids["safe"], scored["nearest_safe"]),
                    "nearest_harmful": _named(ids["harmful"], scored["nearest_harmful"]),
                    "cluster": _named(ids["harmful"], scored["harmful_cluster"]),
                    **slices,
                }
            )
        )
    known = {
        "plan": keys["report"],
        "sources": {role: plan.sources[role].to_json() for role in REFERENCES},
        "problem": solve["problem"],
        "cut": facts["cut"],
        "harmful_share": facts["harmful_share"],
    }
    return Run(pa.concat_tables(tables), _references(plan, ids), known)


def _references(plan: Plan, ids: dict[str, list[str]]) -> pa.Table:
    from sot_filter.steps.solution_file import read_solution

    clusters = read_solution(plan.layout.solution, plan.keys["solve"]).clusters
    medoids = clusters.medoids[clusters.assignment].tolist()
    cluster = {"safe": [""] * len(ids["safe"]), "harmful": [ids["harmful"][medoid] for medoid in medoids]}
    tables = []
    for role in REFERENCES:
        source = plan.sources[role]
        content = contents([row for file in source.files for row in source.read(file)])
        columns = {"role": [role] * len(content), "id": ids[role], "content": pa.array(content, pa.binary(16))}
        tables.append(pa.table({**columns, "cluster": cluster[role]}))
    return pa.concat_tables(tables)


def _named(ids: list[str], index: pa.ChunkedArray) -> pa.Array:
    """The ids at an index of -1 for rows without a score, which get nothing."""
    return pa.array([*ids, ""], pa.string()).take(pa.array(index.to_numpy() % (len(ids) + 1), pa.int64()))


def _missing(plan: Plan) -> dict[str, list[str]]:
    """For each reference the parts that are not embedded yet."""
    key, parts = plan.keys["embed"], {role: plan.sources[role].parts(plan.part_rows) for role in REFERENCES}
    urls = {role: [plan.layout.embeddings(role, plan.sources[role], part) for part in parts[role]] for role in parts}
    return {role: [url for url in own if not find_manifest(url, key)] for role, own in urls.items()}


def _embedded(plan: Plan, url: str) -> int:
    """How many rows of a part went through the model, and were not taken from earlier ones."""
    manifest = require_manifest(url, plan.keys["embed"])
    return manifest.rows - int(manifest.facts["taken"])
