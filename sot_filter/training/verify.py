"""What a finished training claims, recomputed: its files, its rows, and that each step felt its rows' weights."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from accelerate.data_loader import SeedableRandomSampler

from sot_filter.errors import ArtifactError
from sot_filter.training import output
from sot_filter.training.config import Recipe
from sot_filter.training.data import load_rows
from sot_filter.training.examples import WEIGHT
from sot_filter.training.models import fetch_model, load_tokenizer
from sot_filter.training.pins import folder_of
from sot_filter.training.preparation import Say, as_json

#: Weights are summed in single precision in training.
_ROUNDING: Final = 1e-5


@dataclass(frozen=True, slots=True)
class Check:
    """A claim, whether it holds, and what was found."""

    name: str
    passed: bool
    found: str


def verify(recipe: Recipe, say: Say) -> list[Check]:
    """Check a finished run of this recipe.

    Raises:
        ArtifactError: there is no finished run of it.
        SotFilterError: rows or tokenizer that cannot be read any more.
    """
    folder = Path(folder_of(recipe))
    record = output.check_folder(folder, as_json(recipe))
    if record is None or record["status"] != output.FINISHED:
        raise ArtifactError(f"a finished training in {folder}", "none", "Run `sot-filter train` to its end first.")
    say("reading files")
    checks = [_files(folder, record)]
    pinned = Recipe.model_validate(record["recipe"])
    say("reading rows")
    model = fetch_model(pinned.model.model, pinned.model.revision, weights=record["model"]["digest"] is not None)
    checks.append(
        Check("model", model.digest == record["model"]["digest"], model.revision or f"SHA-256 {model.digest}"[:24])
    )
    found = load_rows(
        load_tokenizer(model.folder),
        **pinned.rows.model_dump(),
        max_length=pinned.max_length,
        completion_only=pinned.completion_only,
    )
    claimed = record["data"]
    checks += [
        Check("rows", found.report.digest == claimed["digest"], f"{found.report.used:,} used, by id, weight and text"),
        Check(
            "sum of weights",
            math.isclose(found.report.weight, claimed["weight"], rel_tol=1e-12),
            f"{found.report.weight:.6g} in the rows, {claimed['weight']:.6g} in run.json",
        ),
    ]
    if (folder / output.LOG).is_file() and found.report.used == claimed["used"]:
        weights = np.asarray(found.rows[WEIGHT][:], dtype=np.float64)
        checks.append(_steps(folder, record, pinned, weights))
    return checks


def step_weights(
    weights: np.ndarray[Any, np.dtype[np.float64]], seed: int, batch_rows: int, steps: int
) -> list[float]:
    """The sum of weights of each step, from the order in which accelerate draws the rows.

    Args:
        weights: of the rows [n].
        seed: of the order.
        batch_rows: rows of a step.
        steps: how many steps to tell.
    """
    sampler, sums, epoch = SeedableRandomSampler(range(len(weights)), data_seed=seed), list[float](), 0
    while len(sums) < steps:
        sampler.set_epoch(epoch)
        order = np.array(list(sampler))
        sums += [math.fsum(weights[order[i : i + batch_rows]]) for i in range(0, len(order), batch_rows)]
        epoch += 1
    return sums[:steps]


def _files(folder: Path, record: dict[str, Any]) -> Check:
    wrong = [
        name
        for name, facts in record["files"].items()
        if not (folder / name).is_file() or output.file_facts(folder / name) != facts
    ]
    return Check(
        "files", not wrong, f"{', '.join(wrong)} missing or changed" if wrong else f"{len(record['files'])} by SHA-256"
    )


def _steps(folder: Path, record: dict[str, Any], recipe: Recipe, weights: Any) -> Check:
    """Each step's sum of weights as it was logged, against the rows drawn for it."""
    lines = [json.loads(line) for line in (folder / output.LOG).read_text(encoding="utf-8").splitlines()]
    felt = {entry["step"]: entry["weight_sum"] for entry in lines if "weight_sum" in entry}
    due = step_weights(weights, recipe.seed, recipe.optimiser.batch_rows, record["steps_done"])
    # Where the last step of an epoch has too few rows for all devices, some are given twice.
    ragged = record["device"]["count"] > 1 and len(weights) % recipe.optimiser.batch_rows
    epoch = record["steps"]["per_epoch"]
    looked = [step for step in range(1, len(due) + 1) if not (ragged and step % epoch == 0)]
    wrong = [s for s in looked if not math.isclose(felt.get(s, math.nan), due[s - 1], rel_tol=_ROUNDING)]
    if wrong:
        first = wrong[0]
        told = f"step {first} felt {felt.get(first)}, its rows weigh {due[first - 1]:.6g}; {len(wrong)} steps differ"
        return Check("weights felt", False, told)
    return Check("weights felt", True, f"each of {len(looked):,} steps felt the weights of its rows")
