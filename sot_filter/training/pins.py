"""A recipe with every revision resolved to a commit, once; a run that goes on keeps what it began with."""

from typing import Any

from sot_filter.training.config import Asft, Pretrained, Recipe, Rows, Spf
from sot_filter.training.models import resolve_model
from sot_filter.training.origin import resolve_dataset


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with commits for branches and tags, and its output folder named.

    Raises:
        ModelError: a model that is not there.
        SourceError: a dataset that is not there.
        HubError: the Hub did not answer.
    """
    method: Any = recipe.method
    if isinstance(method, Spf):
        method = method.model_copy(update={"safety": _rows(method.safety)})
    elif isinstance(method, Asft):
        method = method.model_copy(update={"base": _model(method.base)})
    evaluation = recipe.evaluation
    if evaluation is not None:
        evaluation = evaluation.model_copy(update={"rows": _rows(evaluation.rows)})
    return recipe.model_copy(
        update={
            "model": _model(recipe.model),
            "rows": _rows(recipe.rows),
            "method": method,
            "evaluation": evaluation,
            "output": folder_of(recipe),
        }
    )


def folder_of(recipe: Recipe) -> str:
    """Where a recipe's output goes."""
    return recipe.output or f"out/{recipe.name}"


def _model(model: Pretrained) -> Pretrained:
    return model.model_copy(update={"revision": resolve_model(model.model, model.revision)})


def _rows(rows: Any) -> Rows:
    if rows.dataset is None:
        return rows
    return rows.model_copy(update={"revision": resolve_dataset(rows.dataset, rows.revision)})
