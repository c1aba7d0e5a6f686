"""What the page of a finished run holds, gathered from its artifacts in passes: memory is that of what is shown."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.artifacts import Layout, read_json, read_table, require_manifest
from sot_filter.report.histogram import in_numbers
from sot_filter.report.page_baselines import baselines
from sot_filter.report.page_data import VERSION, Facet, PageData, Rows, WhatIf
from sot_filter.report.page_details import characters, fitting
from sot_filter.report.page_diagnostics import diagnostics
from sot_filter.report.page_pack import Box, dense_order, facet, packed, reference
from sot_filter.report.page_provenance import provenance
from sot_filter.report.page_redaction import Aliases
from sot_filter.report.page_sample import MOST, Drawn
from sot_filter.report.page_what_if import besides, elsewhere, kept_at, retention
from sot_filter.report.page_words import answers, headline
from sot_filter.report.summary import warnings
from sot_filter.rows import COUPLED_MODES, STATUSES
from sot_filter.sources import Source
from sot_filter.steps.commit import for_others
from sot_filter.steps.page_evidence import evidence, listings, worth_reading
from sot_filter.steps.page_rows import Shown, read_shown, see
from sot_filter.steps.page_scores import Otherwise, score_otherwise
from sot_filter.steps.pictured import along_retentions
from sot_filter.steps.select import read_canaries
from sot_filter.steps.solution import StoredSolution
from sot_filter.steps.solution_file import read_solution

#: What a page is called in the output folder, and one without texts.
PAGE, REDACTED = "report.html", "report-redacted.html"
#: Coordinates [n, 2] of points [n, d], drawn by a seed.
Places = Callable[[NDArray[np.float32], int], NDArray[np.float32]]

#: Bytes of a page, of them for script and style, and for evidence and texts at most.
_PAGE: Final = 7_900_000
_DRESS: Final = 150_000
_EVIDENCE: Final = 2_000_000
#: Rows of a reference on the map at most; more only hide each other.
_REFERENCE_SHOWN: Final = 1000
_PLANE: Final = (
    "Left to right: along the line through the means of the two references, from harmful to safe. Bottom to top: the "
    "leading principal component of what is left."
)
_NEIGHBOURHOODS: Final = (
    "Rows that are neighbours are drawn near each other (UMAP, a fixed seed); directions, and distances between "
    "groups, mean nothing."
)


def gather_page(
    layout: Layout,
    sources: dict[str, Source],
    part_rows: int,
    keys: dict[str, str],
    seed: int,
    summary: dict[str, Any],
    *,
    redacted: bool = False,
    places: Places | None = None,
    most: int = MOST,
) -> PageData:
    """Gather it.

    Args:
        layout: of the run.
        sources: its sources by role.
        part_rows: rows per part.
        keys: key of every stage, by name.
        seed: of the rows that are drawn.
        summary: of the run.
        redacted: whether no text of any row, nor values of the user's columns, may be on it.
        places: what draws the map; by default the run's own plane.
        most: rows to show at most.

    Raises:
        ArtifactError: the run is not finished.
        SourceError: a source file is not the one that was pinned.
    """
    source, solve = sources["input"], require_manifest(layout.solution, keys["solve"]).facts
    facts = require_manifest(layout.selection, keys["select"]).facts
    settings = read_json(layout.plan)["config"]
    canaries = read_canaries(layout, keys["solve"], solve)
    seen = see(layout, source, part_rows, keys["weigh"], facts, canaries, seed, most)
    shown = read_shown(layout, source, part_rows, keys["weigh"], facts, seen.drawn.position)
    solution = read_solution(layout.solution, keys["solve"])
    other = score_otherwise(layout, source, keys, shown, solution, seed, keep_points=places is not None)
    curve = along_retentions(facts, seen.above, seen.own, canaries)
    aliases = Aliases(settings["input"].get("slices") or [], summary["slices"], redacted)
    told = for_others(aliases.in_summary(summary))
    box, map_places, reference_places = _map(layout, keys["solve"], shown, solution, other, places, seed)
    share, stands_for = seen.above / facts["allowed"], seen.drawn.stands_for
    kept = [kept_at(one, shown.place, shown.allowed, stands_for, share, facts["allowed"]) for one in other.scores]
    lists, few = listings(seen.drawn, shown), other.compared
    held_out = (0, 0) if canaries is None else (len(canaries.harmful), len(canaries.safe))
    page: PageData = {
        "version": VERSION,
        "title": summary["name"],
        "made_by": f"sot-filter {summary['versions']['sot-filter']}",
        "redacted": redacted,
        "headline": headline(told),
        "answers": answers(told, elsewhere(curve, other.strengths, other.own, kept, stands_for)),
        "warnings": warnings(told),
        "rows": _rows(source, summary["rows"]["total"], facts, seen.drawn, shown, box, map_places, aliases),
        "safe": reference(sources["safe"].rows, reference_places["safe"], box),
        "harmful": reference(sources["harmful"].rows, reference_places["harmful"], box),
        "map_about": _PLANE if places is None else _NEIGHBOURHOODS,
        "what_if": _what_if(solve, settings, share, facts["allowed"], other),
        "histogram": {**in_numbers(seen.bins)},  # type: ignore[typeddict-item]
        "retention": retention(curve, *held_out),
        "slices": told["slices"],
        "details": [],
        "lists": lists,
        "baselines": baselines(
            summary["simple"],
            other.simple,
            shown.table["score"].to_numpy()[few],
            ~shown.outcomes.fate.kept[few],
            stands_for[few],
        ),
        "diagnostics": diagnostics(told),
        "provenance": provenance(told, for_others(settings), keys),
    }
    read = worth_reading(lists, len(shown.position), seed)
    found = evidence(sources, shown, read, facts, solve["mode"], solution.push_strength, aliases, redacted)
    room = min(_EVIDENCE, _PAGE - _DRESS - characters(page))
    listed = len({row for one in lists for row in one["rows"]})
    page["details"] = sorted(fitting(found, listed, room), key=lambda detail: detail["row"])
    return page


def _rows(
    source: Source,
    total: int,
    facts: dict[str, Any],
    drawn: Drawn,
    shown: Shown,
    box: Box,
    places: NDArray[np.float32],
    aliases: Aliases,
) -> Rows:
    files, head = np.unique(shown.file, return_inverse=True)
    x, y = box.packed(places)
    status = np.asarray([STATUSES.index(one) for one in shown.outcomes.status.tolist()])
    return {
        "total": total,
        "scored": facts["scored"],
        "note": _note(drawn, facts["scored"]),
        "heads": [source.key(source.files[file], 0).id.rpartition("#")[0] for file in files.tolist()],
        "head": packed(head, "uint16"),
        "number": packed(shown.row, "uint32"),
        "box": box.ends,
        "x": x,
        "y": y,
        "place": dense_order(shown.place),
        "stands_for": packed(drawn.stands_for, "float32"),
        "weight": packed(shown.outcomes.weight, "float32"),
        "kept": packed(shown.outcomes.fate.kept, "uint8"),
        "allowed": packed(shown.allowed, "uint8"),
        "edge": packed(shown.edge, "uint8"),
        "status": packed(status, "uint8"),
        "statuses": list(STATUSES),
        "facets": _facets(source, shown, aliases),
    }


def _facets(source: Source, shown: Shown, aliases: Aliases) -> list[Facet]:
    found = [facet("file", [file.name for file in source.files], shown.file)]
    for name in shown.table.column_names:
        kind, _, by = name.partition(":")
        # A column of the user's own may be called so too.
        if kind == "slice" and not (by == "file" and not aliases.owns(by)):
            column = shown.table[name].combine_chunks().dictionary_encode()
            values = [aliases.of(by, value) for value in column.dictionary.to_pylist()]
            found.append(facet(by, values, column.indices.to_numpy()))
    return found


def _note(drawn: Drawn, scored: int) -> str:
    rows = len(drawn.position)
    if rows == scored:
        return ""
    unknown = f"all {drawn.unknown:,} unknown rows"
    if drawn.unknown_shown < drawn.unknown:
        unknown = f"{drawn.unknown_shown:,} of {drawn.unknown:,} unknown rows"
    return (
        f"{rows:,} of {scored:,} rows are shown: the {drawn.near:,} nearest to the cut or in a list below, "
        f"{unknown if drawn.unknown else 'no unknown rows, as there are none'}, and a share of the others, drawn by a "
        f"hash; each stands for as many rows as it was drawn from, so numbers on this page are of all rows, about."
    )


def _what_if(solve: dict[str, Any], settings: dict[str, Any], share: float, allowed: int, other: Otherwise) -> WhatIf:
    mode, note = solve["mode"], other.note
    if settings["select"]["minimum_retention"]:
        note += " Rows that minimum_retention spares are not in the answers of the sliders; a run adds them."
    return {
        "strengths": other.strengths.tolist(),
        "own": other.own,
        "scores": packed(other.scores, "float32"),
        "retention": share,
        "allowed": allowed,
        "unit": "nats" if mode in (*COUPLED_MODES, "paper") else "cost",
        "note": note,
        **besides(settings, solve["problem"]),
    }


def _map(
    layout: Layout,
    solve_key: str,
    shown: Shown,
    solution: StoredSolution,
    other: Otherwise,
    places: Places | None,
    seed: int,
) -> tuple[Box, NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """The box of the map, and where in the plane rows [n, 2] and references are."""
    if places is not None:
        assert other.points is not None
        poles = [solution.safe.points, solution.harmful.points]
        few = [points[_some(len(points))].numpy() for points in poles]
        every = places(np.concatenate([other.points, *few]), seed)
        rows, safe, harmful = np.split(every, np.cumsum([len(other.points), len(few[0])]))
    else:
        table = read_table(layout.map, solve_key, ["role", "x", "y"])
        at, role = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1), table["role"].to_numpy()
        safe, harmful = (at[role == side][_some(int((role == side).sum()))] for side in ("safe", "harmful"))
        rows = np.stack([shown.table["x"].to_numpy(), shown.table["y"].to_numpy()], axis=1)
    return Box(rows, safe, harmful), rows, {"safe": safe, "harmful": harmful}


def _some(rows: int) -> NDArray[np.int64]:
    return np.linspace(0, rows - 1, min(rows, _REFERENCE_SHOWN)).astype(np.int64)
