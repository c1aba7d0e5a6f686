"""Writing rows of a finished run for people to label: which rows, with what beside them."""

import hashlib
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sot_filter.artifacts import require_manifest, write_atomic
from sot_filter.conversation import Conversation
from sot_filter.errors import ConfigError
from sot_filter.plan import Plan
from sot_filter.reviewing.frame import Frame
from sot_filter.reviewing.rows_file import check_new, write_rows
from sot_filter.steps.publish import Columns
from sot_filter.weighting.review_sample import STRATA, allocate, row_keys


def write_sample(plan: Plan, out: str, rows: int, seed: int) -> dict[str, Any]:
    """Draw rows of a finished run and write them, with their texts, for people to label.

    Args:
        plan: the run.
        out: the file, new, ``.jsonl`` or ``.csv``.
        rows: how many; all, where there are no more.
        seed: of the drawing.

    Raises:
        ConfigError: fewer rows than one, or another kind of file.
        ArtifactError: the run is not finished, or there is such a file.
    """
    if rows < 1:
        raise ConfigError("at least one row to review", str(rows), "Raise --rows.")
    ending = check_new(out, (".jsonl", ".csv"))
    frame = Frame(plan, rows)
    drawn, review = frame.draw(seed), review_name(plan, rows, seed)
    chance = allocate(rows, frame.sizes) / np.maximum(frame.sizes, 1)
    written = _drawn_rows(plan, frame, drawn, review, chance, seed)
    write_atomic(out, partial(write_rows, written, ending))
    return {"file": out, "review": review, "rows": len(written), "strata": strata_told(frame, rows)}


def review_name(plan: Plan, rows: int, seed: int) -> str:
    """Which sample of which run it is: the same rows are drawn again by it."""
    keys = f"{plan.keys['weigh']} {plan.keys['select']}".encode()
    return f"{hashlib.blake2b(keys, digest_size=6).hexdigest()}.{rows}.{seed}"


def drawn_ids(plan: Plan, frame: Frame, drawn: NDArray[np.int64]) -> dict[str, int]:
    """The place of each drawn row by its id."""
    return {row["id"]: row["place"] for row in _positions(plan, frame, drawn)}


def _positions(plan: Plan, frame: Frame, drawn: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Of each drawn row its part, its number in the file, its place, id, stratum and score."""
    source, found = plan.sources["input"], []
    for rows in frame:
        for i in np.flatnonzero(np.isin(rows.place, drawn)).tolist():
            number = rows.part.start + i
            found.append(
                {
                    "part": rows.part,
                    "row": number,
                    "place": int(rows.place[i]),
                    "id": source.key(rows.part.file, number).id,
                    "stratum": int(rows.stratum[i]),
                    "score": float(rows.score[i]),
                }
            )
    return found


def _drawn_rows(
    plan: Plan, frame: Frame, drawn: NDArray[np.int64], review: str, chance: NDArray[np.float64], seed: int
) -> list[dict[str, Any]]:
    """What is written of the drawn rows, in an order of its own, so that who stops early saw some of each kind."""
    found = _positions(plan, frame, drawn)
    source, facts = plan.sources["input"], require_manifest(plan.layout.selection, plan.keys["select"]).facts
    columns = Columns(plan.sources, plan.part_rows, plan.layout, plan.keys["weigh"], facts)
    texts = _texts(plan, found)
    made, table, part = [], None, None
    for row in found:
        if part is not row["part"]:
            part, table = row["part"], columns.of_part(row["part"])
        own = table.slice(row["row"] - part.start, 1)  # type: ignore[union-attr]
        values = {
            "sot_row_id": row["id"],
            "review": review,
            "stratum": STRATA[row["stratum"]],
            "probability": float(chance[row["stratum"]]),
            "score": row["score"],
            "status": own["sot_status"][0].as_py(),
            "reason": own["sot_reason"][0].as_py(),
            **texts[row["id"]],
            "label": "",
        }
        head = source.key(part.file, 0).id.rpartition("#")[0]
        made.append((int(row_keys(head, row["row"], 1, -seed - 1)[0]), values))
    return [values for _, values in sorted(made, key=lambda pair: pair[0])]


def _texts(plan: Plan, found: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Prompt and response of rows by id; each file is read once, from the first of its rows to the last."""
    source, texts = plan.sources["input"], {}
    for file in source.files:
        mine = {row["row"]: row["id"] for row in found if row["part"].file.name == file.name}
        if not mine:
            continue
        first, last = min(mine), max(mine)
        for number, conversation in enumerate(source.read(file, first, last + 1), first):
            if number in mine:
                views = dict.fromkeys(("prompt", "response"), "")
                if isinstance(conversation, Conversation):
                    views = {view: conversation.text(view) for view in views}
                texts[mine[number]] = views
    return texts


def strata_told(
    frame: Frame, wanted: int, stratum: NDArray[np.int64] | None = None, harmful: NDArray[np.bool_] | None = None
) -> list[dict[str, Any]]:
    """Each stratum's name, rows and drawn rows; with strata and labels [n] of the labelled rows also their numbers."""
    found = []
    for number, (name, rows, drawn) in enumerate(zip(STRATA, frame.sizes, allocate(wanted, frame.sizes), strict=True)):
        one = {"stratum": name, "rows": int(rows), "drawn": int(drawn)}
        if stratum is not None and harmful is not None:
            mine = stratum == number
            one |= {"labelled": int(mine.sum()), "harmful": int((mine & harmful).sum())}
        found.append(one)
    return found
