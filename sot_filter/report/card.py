"""The card of an output folder: which files are data, so that `load_dataset` reads these and nothing else."""

import glob
from typing import Any

import yaml

from sot_filter.rows import COLUMNS, COUPLED_MODES, UNSCORED

_MEANING = {
    "sot_row_id": "`config/split/file#row` of the source",
    "sot_weight": "multiplies the row's loss; mean one over kept rows, zero on dropped ones",
    "sot_keep": "whether the row is kept",
    "sot_pull": "how far from the safe reference",
    "sot_push": "how far from the harmful reference",
    "sot_status": "kept, dropped, unknown, duplicate, empty or invalid",
    "sot_reason": "why, in one sentence",
    "sot_nearest_safe": "id of the most similar safe reference row",
    "sot_nearest_harmful": "id of the most similar harmful reference row",
}


#: What a score is, by the mode of the solve.
_LOG_ODDS = "log-odds that the row is kept, in nats: 0 is undecided, higher = rather keep"
_SCORE = {
    **dict.fromkeys(COUPLED_MODES, _LOG_ODDS),
    "exact": "how much nearer to the safe reference than to the harmful one, as a cost: higher = rather keep",
    "paper": "log of the weight over that of an average row: higher = rather keep",
}


def card(summary: dict[str, Any]) -> str:
    """The folder's README.md, with the configuration that `datasets` reads in its head."""
    source = summary["input"]
    # `datasets` takes the paths for globs.
    files = [glob.escape(file["name"]) for file in source["files"]]
    head = {
        "configs": [{"config_name": source["config"], "data_files": [{"split": source["split"], "path": files}]}],
        "tags": ["sot-filter"],
    }
    kept, rows = summary["kept"], summary["rows"]
    score = f"{_SCORE[summary['mode']['solver']]}; {UNSCORED:g} for rows without an embedding"
    meaning = {**_MEANING, "sot_score": score}
    table = "\n".join(f"| `{name}` | {kind} | {meaning[name]} |" for name, kind in COLUMNS.items())
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n"
        f"# {summary['name']}\n\n"
        f"{rows['total']:,} rows weighed by Safety Optimal Transport (arXiv 2601.07200): {kept['rows']:,} kept, "
        f"{rows['total'] - kept['rows']:,} not; the kept weights are worth "
        f"{kept['effective_sample_size']:,.0f} equal ones. No row is left out: filter on `sot_keep`, or train with "
        "`sot_weight`.\n\n"
        "![scores and map](map.png)\n\n"
        f"| column | type | meaning |\n|---|---|---|\n{table}\n\n"
        "`summary.json` has the figures, `pipeline.yaml` repeats the run.\n"
    )
