"""Audit the references of a run, from the embeddings it has made."""

from typing import Any

import numpy as np
import pyarrow as pa

from sot_filter.artifacts import read_table
from sot_filter.auditing.sides import Side, audit_sides
from sot_filter.plan import Plan
from sot_filter.steps.embed import EMBEDDED
from sot_filter.steps.embedded import Embedded
from sot_filter.weighting.slices import length_bucket


def audit_references(plan: Plan) -> dict[str, Any]:
    """Audit the references of a plan whose stage embed is done.

    Returns:
        Plain values, as of `audit_sides`, and the ``name`` of the run.

    Raises:
        ArtifactError: embeddings are missing, or were not made alike.
        ReferenceError: a reference lacks a view in all of its rows.
    """
    embedded = {
        role: Embedded.load(plan.layout, role, source, plan.part_rows, plan.keys["embed"])
        for role, source in plan.sources.items()
    }
    views = embedded["safe"].views
    for role in ("safe", "harmful"):
        embedded[role].demand(views, role)
    sides = {role: _side(plan, role, rows, views) for role, rows in embedded.items()}
    folded = {role: reference.left_out.get("duplicate", 0) for role, reference in plan.references.items()}
    found = audit_sides(
        sides["input"],
        sides["safe"],
        sides["harmful"],
        settings=plan.choice,
        neighbours=plan.config.solve.neighbours,
        kept=_kept(plan),
        folded=folded,
        seed=plan.config.seed,
    )
    return {"name": plan.config.name, **found}


def _kept(plan: Plan) -> float:
    """Share of the rows that is kept, as far as the settings tell."""
    select = plan.config.select
    return select.top_k / plan.sources["input"].rows if select.top_k else select.retention or 0.8


def _side(plan: Plan, role: str, rows: Embedded, views: list[str]) -> Side:
    """The rows of a source that have an embedding; of the input those with distinct texts."""
    source, columns = plan.sources[role], ["status", "language", "characters", "format", "code"]
    urls = [plan.layout.embeddings(role, source, part) for part in source.parts(plan.part_rows)]
    table = pa.concat_tables(read_table(url, plan.keys["embed"], columns) for url in urls)
    if role == "input":
        own = rows.fold()[0]
        ids = [source.key(file, row).id for file in source.files for row in range(file.rows)]
    else:
        own = np.flatnonzero(np.asarray(table["status"].to_pylist()) == EMBEDDED)
        ids = list(plan.references[role].ids)
    table = table.take(own)
    facets = {
        "language": table["language"].to_pylist(),
        "length": [length_bucket(n) for n in table["characters"].to_pylist()],
        "format": table["format"].to_pylist(),
        "code": ["code" if code else "no code" for code in table["code"].to_pylist()],
    }
    return Side([ids[i] for i in own], rows.tensors(views, own), facets)
