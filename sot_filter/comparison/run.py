"""A finished run's scores beside those of the baselines on the same rows: what `sot-filter compare` shows."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.artifacts import read_table, require_manifest
from sot_filter.baselines import BASELINES, TEXT_BASELINES
from sot_filter.comparison.bootstrap import MEASURES, bootstrap, interval
from sot_filter.comparison.verdict import agreement, verdict
from sot_filter.conversation import Conversation, InvalidRow
from sot_filter.errors import ArtifactError, ConfigError
from sot_filter.executors import rows_done
from sot_filter.plan import Plan, build_stages
from sot_filter.rows import EMPTY, INVALID
from sot_filter.steps.embedded import Embedded
from sot_filter.steps.select import file_starts, places, read_canaries, resolve_rule
from sot_filter.steps.solution_file import read_solution
from sot_filter.weighting import select_rows

#: Draws of a small set; a large one has narrow intervals, and fewer will do.
_FEWEST_DRAWS: Final = 200
_MOST_DRAWS: Final = 1000
_ROWS_DRAWN: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Scored:
    """The n rows of a run that have a score, ordered by place.

    Attributes:
        position: their positions [n] among all rows of the input.
        place: the positions [n] of the first rows with the same texts.
        score: the run's scores [n].
        own: the same by the references alone [n].
    """

    position: NDArray[np.int64]
    place: NDArray[np.int64]
    score: NDArray[np.float32]
    own: NDArray[np.float32]


def compare_run(plan: Plan, names: Sequence[str] = ()) -> dict[str, Any]:
    """Score a run's rows by baselines, and measure all scores alike. Nothing is written.

    Args:
        plan: of a run whose stage weigh is done.
        names: baselines of either table, by default all.

    Returns:
        Plain values: the run's ``name``; how many ``rows`` have a score and how many of these are ``dropped`` and
        ``harmful`` (None without labels of both kinds); the number of ``draws`` behind an interval; ``scores``, the
        run's own first, the others from best to worst or, without labels, from alike to unlike; a ``verdict`` in one
        sentence. A score has its name, what it ``reads``, the measures (value, low, high; None where undefined) and
        the share of the run's dropped rows that it drops too if it drops as many.

    Raises:
        ConfigError: a name is no baseline's.
        ArtifactError: the run's scores are not all there.
        SolverError: a baseline cannot be fitted.
    """
    known = (*BASELINES, *TEXT_BASELINES)
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"baselines among {', '.join(known)}", ", ".join(unknown), "Correct the names.")
    if any(rows_done(stage) < stage.rows for stage in build_stages(plan) if stage.name in ("embed", "solve", "weigh")):
        raise ArtifactError("scores of this run", "none, or not all", "Run `sot-filter run` first.")
    rows = _scored(plan)
    wanted = [name for name in known if not names or name in names]
    scores = {"sot": rows.score, **dict(_baseline_scores(plan, rows, wanted))}
    harmful = _harmful(plan, rows)
    draws = min(max(_ROWS_DRAWN // len(rows.score), _FEWEST_DRAWS), _MOST_DRAWS)
    found = bootstrap(scores, rows.place, harmful, draws, plan.config.seed)
    solve = require_manifest(plan.layout.solution, plan.keys["solve"]).facts
    canaries = read_canaries(plan.layout, plan.keys["solve"], solve)
    rule, _ = resolve_rule(plan.rule, rows.score, rows.own, rows.place, canaries)
    dropped = ~select_rows(rows.score, rows.place, **rule).keeps(rows.score, rows.place)
    entries: list[dict[str, Any]] = [
        {
            "score": name,
            "reads": "texts" if name in TEXT_BASELINES else "points",
            **{measure: _plain(found[measure][name]) if measure in found else None for measure in MEASURES},
            "dropped_in_common": _in_common(dropped, score, rows.place),
        }
        for name, score in scores.items()
    ]
    own, *others = entries
    order = "spearman" if harmful is None else "auroc"
    others.sort(key=lambda entry: entry[order]["value"] if entry[order] else -np.inf, reverse=True)
    return {
        "name": plan.config.name,
        "rows": len(rows.score),
        "dropped": int(dropped.sum()),
        "harmful": None if harmful is None else int(harmful.sum()),
        "draws": draws,
        "scores": [own, *others],
        "verdict": agreement(others) if harmful is None else verdict(found["auroc"]),
    }


def _scored(plan: Plan) -> Scored:
    source, columns = plan.sources["input"], ["status", "score", "own", "duplicate_of"]
    urls = [plan.layout.scores(part) for part in source.parts(plan.part_rows)]
    table = pa.concat_tables(read_table(url, plan.keys["weigh"], columns) for url in urls)
    place = places(table["duplicate_of"].to_numpy(), 0, file_starts(source))
    position = np.flatnonzero(~np.isin(np.asarray(table["status"].to_pylist()), (EMPTY, INVALID)))
    position = position[np.argsort(place[position], kind="stable")]
    score, own = (table[name].to_numpy()[position] for name in ("score", "own"))
    return Scored(position, place[position], score, own)


def _baseline_scores(plan: Plan, rows: Scored, names: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and scores of each; points and texts are read only if something is to be scored by them."""
    for table, read in ((BASELINES, _points), (TEXT_BASELINES, _texts)):
        if chosen := [name for name in names if name in table]:
            evidence = read(plan, rows)
            yield from ((name, table[name](*evidence)) for name in chosen)


def _points(plan: Plan, rows: Scored) -> tuple[Any, ...]:
    """Rows and references where the solve saw them; rows that share a text have the vectors of the first of them."""
    solution = read_solution(plan.layout.solution, plan.keys["solve"])
    embedded = Embedded.load(plan.layout, "input", plan.sources["input"], plan.part_rows, plan.keys["embed"])
    points = solution.geometry.points(embedded.tensors(list(solution.geometry.view_weights), rows.place))
    return points.numpy(), solution.safe.points.numpy(), solution.harmful.points.numpy()


def _texts(plan: Plan, rows: Scored) -> tuple[Any, ...]:
    """Plain texts of rows and references, white space folded as it is for telling duplicates."""
    source = plan.sources["input"]
    every = [_folded(row) for file in source.files for row in source.read(file)]
    references = ([_folded(row) for row in plan.references[role].conversations] for role in ("safe", "harmful"))
    return [every[i] for i in rows.position], *references


def _folded(row: Conversation | InvalidRow) -> str:
    return " ".join(row.text().split()) if isinstance(row, Conversation) else ""


def _harmful(plan: Plan, rows: Scored) -> NDArray[np.bool_] | None:
    """Which of the rows are labelled harmful; None where there are no labels, or none of the other kind."""
    label = plan.config.input.label
    if not label:
        return None
    harmful = np.asarray(plan.sources["input"].having(label))[rows.position]
    return harmful if harmful.any() and not harmful.all() else None


def _in_common(dropped: NDArray[np.bool_], score: NDArray[np.float32], place: NDArray[np.int64]) -> float | None:
    """Share of the dropped rows that a score puts among as many of its lowest; None where none is dropped."""
    if not dropped.any():
        return None
    kept = select_rows(score, place, top_k=int((~dropped).sum())).keeps(score, place)
    return float((dropped & ~kept).sum() / dropped.sum())


def _plain(values: NDArray[np.float64]) -> dict[str, float] | None:
    found = interval(values)
    return None if found is None else dataclasses.asdict(found)
