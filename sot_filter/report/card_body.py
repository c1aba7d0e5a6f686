"""What a card says in words: what was done, with what, how to load the rows and train on them, and what it is not."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final

from sot_filter.report.summary import warnings
from sot_filter.rows import COLUMNS, COUPLED_MODES, DIGEST, UNSCORED, named

_MEANING: Final = {
    "sot_row_id": "`config/split/file#row` of the source",
    "sot_weight": "multiplies the row's loss; mean one over kept rows, zero on dropped ones",
    "sot_keep": "whether the row is kept",
    "sot_pull": "how far from the safe reference",
    "sot_push": "how far from the harmful reference",
    "sot_status": "kept, dropped, unknown, duplicate, empty or invalid",
    "sot_reason": "why, in one sentence",
    "sot_nearest_safe": "id of the most similar safe reference row",
    "sot_nearest_harmful": "id of the most similar harmful reference row",
    DIGEST: "digest of the row's text, by which it is known without an id",
}
#: What a score is, by the mode of the solve.
_LOG_ODDS: Final = "log-odds that the row is kept, in nats: 0 is undecided, higher = rather keep"
_SCORE: Final = {
    **dict.fromkeys(COUPLED_MODES, _LOG_ODDS),
    "exact": "how much nearer to the safe reference than to the harmful one, as a cost: higher = rather keep",
    "paper": "log of the weight over that of an average row: higher = rather keep",
}
_SETTINGS: Final = ("epsilon", "push_strength", "rho_safe", "rho_harmful", "tau", "neighbours", "direction")
#: What is no markup anywhere in a line of Markdown.
_PLAIN: Final = re.compile(r"[A-Za-z0-9 ./:@+=,%-]+")


def body(summary: dict[str, Any], beside: str) -> str:
    """Our part of a card, in Markdown, without a word of the rows or of their columns' values.

    Args:
        summary: the run's.
        beside: where picture, summary and settings lie.
    """
    parts = [
        f"# {_said(summary['name'])}: rows weighed by sot-filter\n\n{_what(summary)}",
        f"![Scores, where they are cut, and a map of the rows]({beside}map.png)" if summary["picture"] else "",
        f"## Load\n\n{_loading(summary)}",
        f"## Train\n\n{_training(summary)}",
        f"## Columns\n\n{_columns(summary)}",
        f"## How it was done\n\n{_how(summary)}",
        f"## Limits\n\n{_limits(summary)}",
        f"## Repeat\n\n{_repeating(summary, beside)}",
    ]
    return "\n\n".join(part for part in parts if part)


def _what(summary: dict[str, Any]) -> str:
    rows, kept, source = summary["rows"], summary["kept"], summary["input"]
    of = f" of {_dataset(source['dataset'], source['revision'])}" if source["dataset"] else ""
    beside = (
        "Here are the rows' ids and new columns alone, to be put beside the data. "
        if summary["output"]["mode"] == "sidecar"
        else ""
    )
    return (
        f"{rows['total']:,} rows{of} weighed by Safety Optimal Transport "
        f"([arXiv 2601.07200](https://arxiv.org/abs/2601.07200)): {kept['rows']:,} kept, "
        f"{rows['total'] - kept['rows']:,} not (retention {kept['share']:.1%}); the kept weights are worth "
        f"{kept['effective_sample_size']:,.0f} equal ones (effective sample size). {beside}No row is left out: filter "
        f"on `{_name(summary, 'sot_keep')}`, or train with `{_name(summary, 'sot_weight')}`."
    )


def _loading(summary: dict[str, Any]) -> str:
    source, output = summary["input"], summary["output"]
    hub = output["hub"]
    where = _literal(hub["repo"]) if hub else '"path/to/this/folder"'
    revision = f", revision={_literal(hub['branch'])}" if hub and hub["branch"] else ""
    config = "" if source["config"] == "default" else f", {_literal(source['config'])}"
    named_config = config and f", config={_literal(source['config'])}"
    split = _literal(source["split"])
    if output["mode"] == "columns":
        lines = [
            "from datasets import load_dataset",
            "",
            f"rows = load_dataset({where}{config}, split={split}{revision})",
            f"kept = rows.filter(lambda row: row[{_literal(_name(summary, 'sot_keep'))}])",
        ]
    else:
        if source["dataset"]:
            pinned = f"{_literal(source['dataset'])}{config}, split={split}, revision={_literal(source['revision'])}"
        else:
            pinned = '"path/to/the/rows", split="train"'
        prefix = "" if output["prefix"] == "sot_" else f", prefix={_literal(output['prefix'])}"
        named_split = "" if source["split"] == "train" else f", split={split}"
        weights = f"load_weights({where}{revision}{named_config}{named_split}{prefix})"
        lines = [
            "from datasets import load_dataset",
            "from sot_filter.weights import attach_weights, load_weights",
            "",
            f"rows = attach_weights(load_dataset({pinned}), {weights})",
        ]
    request = (
        '\n\nUntil the pull request is merged, add its `revision="refs/pr/..."`.' if hub and hub["create_pr"] else ""
    )
    return _code("python", lines) + request


def _training(summary: dict[str, Any]) -> str:
    weight = _literal(_name(summary, "sot_weight"))
    return (
        _code(
            "python",
            [
                "# row_loss: one number for each row of the batch, the mean over its answer's tokens",
                f"weight = batch[{weight}]",
                "loss = (weight * row_loss).sum() / weight.sum()",
            ],
        )
        + "\n\nA trainer that knows no weights is given the rows that are kept. It then loses what the weights say "
        f"beyond that: {_fraction_words(summary)}."
    )


def _fraction_words(summary: dict[str, Any]) -> str:
    kept = summary["kept"]
    smallest, largest = f"{kept['smallest_weight']:.2g}", f"{kept['largest_weight']:.2g}"
    if smallest == largest:
        return f"here next to nothing, for all kept rows weigh about {largest}"
    return f"here they lie between {smallest} and {largest} on kept rows"


def _columns(summary: dict[str, Any]) -> str:
    score = f"{_SCORE[summary['mode']['solver']]}; {UNSCORED:g} for rows without an embedding"
    meaning = {**_MEANING, "sot_score": score}
    kinds = {**COLUMNS, **({DIGEST: "string"} if summary["output"]["mode"] == "sidecar" else {})}
    rows = (f"| `{_name(summary, name)}` | {kind} | {meaning[name]} |" for name, kind in kinds.items())
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def _how(summary: dict[str, Any]) -> str:
    embedding, problem, simple = summary["embedding"], summary["problem"], summary["simple"]
    model = embedding["model"]
    # Of a model in a folder the name will do: where the folder lies is nobody's business.
    model = PurePosixPath(model).name if model.startswith(("/", "~", ".")) else model
    settings = [(name, problem[name]) for name in _SETTINGS if problem.get(name) is not None]
    views = [(f"{view} view", weight) for view, weight in (problem.get("view_weights") or {}).items()]
    facts = [
        ("rows", _rows(summary)),
        *((f"{role} reference", _reference(summary["references"][role])) for role in ("safe", "harmful")),
        ("embedding", f"{_said(model)}, revision {_said(str(embedding['revision'])[:40])}, {embedding['pooling']}"),
        ("solver", f"mode {summary['mode']['solver']}, {_said(summary['solve']['outcome'])}"),
        ("settings", ", ".join(f"{name} {_number(value)}" for name, value in [*settings, *views])),
        ("selection", f"{_rule(summary['selection']['rule'])}; cut at a score of {summary['selection']['cut']:.4g}"),
        (
            "told apart",
            f"held-out rows of the two references: AUROC {simple['sot_auroc']:.3f}; the best simple score, "
            f"{simple['score']}, {simple['auroc']:.3f}",
        ),
        *_measured(summary),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts)])


def _rows(summary: dict[str, Any]) -> str:
    source = summary["input"]
    files, statuses = len(source["files"]), [(k, n) for k, n in summary["rows"].items() if k != "total"]
    return (
        f"configuration {_said(source['config'])}, split {_said(source['split'])}, {files:,} "
        f"file{'s' if files > 1 else ''}, read as {source['format']}: {', '.join(f'{n:,} {k}' for k, n in statuses)}"
    )


def _reference(reference: dict[str, Any]) -> str:
    return f"{reference['rows']:,} rows: " + "; ".join(map(_origin, reference["sources"]))


def _origin(source: dict[str, Any]) -> str:
    if source["dataset"]:
        where = _dataset(source["dataset"], source["revision"])
    else:
        where = ", ".join(map(_said, source["files"]))
    licence = f"licence {_said(source['licence'])}" if source["licence"] else "licence not stated"
    return f"{_said(source['name'])} ({where}, {licence})"


def _measured(summary: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if share := summary["selection"]["harmful_share"]:
        yield (
            "harmful share",
            f"estimated {share['estimate']:.1%} ({share['low']:.1%} to {share['high']:.1%}), as far as the harmful "
            "reference knows harm",
        )
    if quality := summary["quality"]:
        yield (
            "against labels",
            f"{quality['harmful_dropped']:,} of {quality['harmful']:,} rows labelled harmful dropped, "
            f"{quality['benign_dropped']:,} of {quality['benign']:,} others too; AUROC {quality['auroc']:.3f}",
        )


def _limits(summary: dict[str, Any]) -> str:
    said = [
        "It judges rows by where their embeddings lie between two references. It does not understand them: harm that "
        "is unlike the harmful reference is not seen, and rows that only look like it are dropped.",
        "Kept does not mean safe, and nothing is said of facts, rights, privacy or bias.",
        "Weights hold for these references and this model; other ones give other weights.",
        "This run trained no model: what the weights do to a model's safety or skill was not measured by it.",
    ]
    if not summary["quality"]:
        said.append("No rows were labelled, so it is not known how many harmful ones are kept.")
    # Slices are named by values of the rows' columns, and these are the rows' own.
    said += [_said(one) for one in warnings({**summary, "slices": []})]
    if alarms := sum(one["alarm"] for one in summary["slices"]):
        said.append(f"Of {alarms} slices of the rows fewer are kept than of the rest; summary.json names them.")
    return "\n".join(f"- {one}" for one in said)


def _repeating(summary: dict[str, Any], beside: str) -> str:
    # Who repeats it may not write to the dataset, and should not by mistake.
    hub = " --set output.hub=null" if summary["output"]["hub"] else ""
    given = [source for role in ("safe", "harmful") for source in summary["references"][role]["sources"]]
    local = not all(source["dataset"] for source in (summary["input"], *given))
    return (
        _code("bash", [f"sot-filter run pipeline.yaml{hub}"])
        + f"\n\n[pipeline.yaml]({beside}pipeline.yaml) has every setting, with revisions and digests pinned; "
        f"[summary.json]({beside}summary.json) has all figures."
        + (" Files that are in no dataset have to lie where it names them." if local else "")
    )


def _rule(rule: dict[str, Any]) -> str:
    """A selection rule, as ``retention 0.8`` or ``auto, harmful_kept 0.01``."""
    words = (
        ", ".join(filter(None, (name, _rule(value)))) if isinstance(value, dict) else f"{name} {_number(value)}"
        for name, value in rule.items()
        if value is not None
    )
    return ", ".join(words)


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and math.isinf(value):
        return "balanced"
    return f"{value:.4g}" if isinstance(value, int | float) else _said(str(value))


def _dataset(dataset: str, revision: str | None) -> str:
    at = f" at `{revision[:8]}`" if revision else ""
    tree = f"/tree/{revision}" if revision else ""
    return f"[{dataset}](https://huggingface.co/datasets/{dataset}{tree}){at}"


def _name(summary: dict[str, Any], column: str) -> str:
    return named(column, summary["output"]["prefix"])


def _said(text: str) -> str:
    """Text of somebody's as a line of Markdown shows it: nothing in it is markup, a link, or an end of a cell."""
    line = " ".join(text.split())
    if _PLAIN.fullmatch(line) and "://" not in line:
        return line
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", "".join(sign if sign.isprintable() else "?" for sign in line))


def _literal(text: str | None) -> str:
    """Text as Python has it, that ends neither a block of code nor our part of the card."""
    return json.dumps(text).replace("<", "\\u003c").replace("`", "\\u0060")


def _code(language: str, lines: list[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
