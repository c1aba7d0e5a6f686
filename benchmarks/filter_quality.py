"""How well scores find known harmful rows: the whole pipeline against what people would use instead.

Runs the product (the plan and the stages of `sot-filter run`) on fine-tuning sets with harmful rows mixed in, once for
each choice of references, reads the scores back from the columns it published, and compares them with the labels. The
baselines score the very embeddings that the run left in its work folder: as they are, and centred as the solve sees
them. Labels are used for nothing but the table. Each text is embedded once and handed to the runs that need it.

Two kinds of set are made of the first: `clean`, its benign rows alone, and `rare`, these and one harmful row in a
hundred, four draws. What `select: auto` makes of each set is in the last block.

Needs the extra `offline` and a folder with Parquet files of columns prompt, response, source and label:
instruct_h10, instruct_h30 (label "harmful" or "benign"), instruct_safe_ref, harmful_ref_same, harmful_ref_cross, and
the same in the folder sub, smaller.

    python benchmarks/filter_quality.py --data FOLDER --sub --json quality.json
    python benchmarks/filter_quality.py --data FOLDER --variant default alone no_direction potentials exact paper
"""

import argparse
import dataclasses
import importlib.metadata
import itertools
import json
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from embedders import Ready
from numpy.typing import NDArray

from sot_filter.artifacts import matrix, read_json, read_table, write_table
from sot_filter.baselines import BASELINES
from sot_filter.config import load_pipeline
from sot_filter.embedding import Embedder
from sot_filter.executors import run_stages
from sot_filter.plan import Plan, build_stages
from sot_filter.planning import make_plan
from sot_filter.rows import EMPTY, INVALID
from sot_filter.steps.embed import EMBEDDED, embedded_table
from sot_filter.transport import fit_geometry
from sot_filter.weighting import measure_quality
from sot_filter.workspace import claim

#: Source of the refusals in the safe reference: "full" has them, "task" does not.
REFUSALS = "safety_tuned_llamas"
#: What is run, by the settings that differ from the default.
VARIANTS = {
    "default": [],
    "alone": ["solve.neighbours=0"],
    "no_direction": ["solve.direction=false"],
    "potentials": ["solve.neighbours=0", "solve.direction=false"],
    "no_centre": ["solve.centre=false"],
    "exact": ["solve.mode=exact", "select={retention: 0.8}"],
    "paper": ["solve.mode=paper", "select={retention: 0.8}"],
}
RARE_DRAWS = 4
COLUMNS = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "recall_1x": "recall 1x",
    "recall_1_5x": "recall 1.5x",
    "benign_lost_1_5x": "benign lost 1.5x",
    "effective_sample_size": "eff. sample",
}
Measured = dict[str, dict[str, float]]
Counts = dict[str, float]


def run_product(plan: Plan, embedder: Embedder) -> None:
    """Run the stages, the embeddings put in their place beforehand."""
    claim(plan, redo=True)
    stages, key = build_stages(plan), plan.keys["embed"]
    for role, source in plan.sources.items():
        for part in source.parts(plan.part_rows):
            url = plan.layout.embeddings(role, source, part)
            rows = list(source.read(part.file, part.start, part.stop))
            table, tokens = embedded_table(embedder, rows)
            write_table(url, table, key, embedder=embedder.describe(), tokens=tokens, seconds=0.0)
    run_stages(plan, stages)


def read_scores(plan: Plan, names: list[str]) -> list[NDArray[Any]]:
    """Columns of what was published, in row order, of the rows that can be judged."""
    tables = [
        pq.read_table(f"{plan.config.output.folder}/{file.name}", columns=["sot_status", *names]).combine_chunks()
        for file in plan.sources["input"].files
    ]
    status = np.concatenate([np.asarray(table["sot_status"].to_pylist()) for table in tables])
    judged = ~np.isin(status, (EMPTY, INVALID))
    return [np.concatenate([np.asarray(table[name].to_pylist()) for table in tables])[judged] for name in names]


def read_views(plan: Plan, role: str) -> dict[str, torch.Tensor]:
    """The raw vectors of a source's rows, as the run stored them, of the rows that have some."""
    views: dict[str, list[NDArray[np.float32]]] = {view: [] for view in plan.config.embed.views}
    source = plan.sources[role]
    for part in source.parts(plan.part_rows):
        table = read_table(plan.layout.embeddings(role, source, part), plan.keys["embed"])
        there = np.asarray(table["status"].to_pylist()) == EMBEDDED
        for view, vectors in views.items():
            vectors.append(matrix(table[f"view:{view}"]).astype(np.float32)[there])
    return {view: torch.from_numpy(np.concatenate(vectors)) for view, vectors in views.items()}


def baseline_scores(
    plan: Plan, names: Sequence[str] = tuple(BASELINES), forms: Sequence[str] = ("raw", "centred")
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and scores of baselines, on raw and on centred views."""
    views = {role: read_views(plan, role) for role in plan.sources}
    for form in forms:
        geometry = fit_geometry(views["safe"], views["harmful"], plan.view_weights, form == "centred")
        rows, safe, harmful = (geometry.points(views[role]).numpy() for role in ("input", "safe", "harmful"))
        for name in names:
            yield f"{name}, {form}", BASELINES[name](rows, safe, harmful)


def measure(scores: NDArray[Any], harmful: NDArray[np.bool_]) -> dict[str, float]:
    """The quality of scores as plain numbers."""
    found = measure_quality(scores.astype(np.float64), harmful)
    assert found is not None, "the set needs rows of both labels"
    return dataclasses.asdict(found)


def derived(options: argparse.Namespace, work: Path) -> dict[str, Path]:
    """The sets made of the first custom set: `clean`, and the draws of `rare`."""
    table = pq.read_table(options.folder / f"{options.custom[0]}.parquet")
    harmful = np.asarray(table["label"].to_pylist()) == "harmful"
    benign, rows = np.flatnonzero(~harmful), {}
    rows["clean"] = benign
    for draw in range(RARE_DRAWS):
        few = np.random.default_rng(draw).choice(np.flatnonzero(harmful), len(benign) // 99, replace=False)
        rows[f"rare_{draw}"] = np.sort(np.concatenate([benign, few]))
    made = {}
    for name, chosen in rows.items():
        made[name] = work / f"{name}.parquet"
        pq.write_table(table.take(chosen), made[name])
    return made


def pipeline(options: argparse.Namespace, work: Path, names: tuple[str, str, str]) -> dict[str, Any]:
    """The pipeline file of one setting: custom set, harmful reference, safe reference."""
    custom, harmful, safe = names
    safe_file = options.folder / "instruct_safe_ref.parquet"
    sources = set(pq.read_table(safe_file, columns=["source"])["source"].to_pylist())
    where = {"where": {"source": sorted(sources - {REFUSALS})}} if safe == "task" else {}
    return {
        "name": "-".join(names),
        "input": {"files": str(options.files[custom]), "label": {"label": "harmful"}},
        "references": {
            "safe": {"files": str(safe_file), **where},
            "harmful": {"files": str(options.folder / f"harmful_ref_{harmful}.parquet")},
        },
        "embed": {"threads": options.threads},
        "solve": {"threads": options.threads},
        # Scores do not depend on it; what it drops is counted.
        "select": "auto",
        "output": {"folder": str(work / "out" / "-".join(names))},
        "work_dir": str(work / "runs" / "-".join(names)),
    }


def measure_setting(options: argparse.Namespace, work: Path, names: tuple[str, str, str]) -> tuple[Measured, Counts]:
    """Run every variant of the product on one setting, and the baselines on its embeddings.

    Returns:
        The quality of the scores, none for a set of one kind; and what the default, with `select: auto`, dropped.
    """
    found: Measured = {}
    made = names[0] in options.made
    for variant in ["default"] if made else options.variant:
        file = work / "pipeline.yaml"
        file.write_text(yaml.safe_dump(pipeline(options, work, names)))
        plan = make_plan(load_pipeline(str(file), [*options.settings, *VARIANTS[variant]]))
        options.embedder = options.embedder or Ready(
            plan.config.embed.model_dump(), sorted(options.folder.glob("*.parquet")) if options.ready else []
        )
        run_product(plan, options.embedder)
        labels, scores, kept = read_scores(plan, ["label", "sot_score", "sot_keep"])
        harmful = labels == "harmful"
        summary = read_json(f"{plan.config.output.folder}/summary.json")
        if variant == "default":
            share = summary["selection"]["harmful_share"]
            counts = {
                "harmful": float(harmful.mean()),
                **{name: share[name] for name in ("estimate", "low", "high")},
                "dropped": float((~kept).mean()),
                "benign_lost": float((~kept & ~harmful).sum() / (~harmful).sum()),
                "harmful_kept": float((kept & harmful).sum() / max(harmful.sum(), 1)),
            }
        if harmful.any():
            worth = summary["kept"]["effective_sample_size"] / summary["kept"]["rows"]
            found[f"SOT, {variant}"] = {**measure(scores, harmful), "effective_sample_size": worth}
    # The variants differ in the solve only: the embeddings of the last run are those of all.
    if harmful.any():
        chosen = (("knn", "logistic_regression"), ("centred",)) if made else ()
        for name, scores in baseline_scores(plan, *chosen):
            found[name] = measure(scores, harmful)
    return found, counts


def mean_of(blocks: list[Measured]) -> Measured:
    """The mean of blocks of the same rows."""
    return {
        name: {column: float(np.mean([block[name][column] for block in blocks])) for column in values}
        for name, values in blocks[0].items()
    }


def print_table(title: str, found: Measured) -> None:
    """One block of the table."""
    print(f"\n{title:<30}" + "".join(f"{words:>18}" for words in COLUMNS.values()))
    for name, values in found.items():
        cells = (f"{values[column]:.3f}" if column in values else "" for column in COLUMNS)
        print(f"{name:<30}" + "".join(f"{cell:>18}" for cell in cells))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Parquet files named above")
    parser.add_argument("--sub", action="store_true", help="the smaller files in its folder sub")
    parser.add_argument("--variant", nargs="+", default=["default", "paper"], choices=VARIANTS, help="what to run")
    parser.add_argument("--custom", nargs="+", default=["instruct_h10", "instruct_h30"])
    parser.add_argument("--harmful", nargs="+", default=["same", "cross"])
    parser.add_argument("--safe", nargs="+", default=["task", "full"], choices=["task", "full"])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--ready", action="store_true", help="take vectors from NAME.prompt.npy, NAME.response.npy")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    needed = [*options.custom, "instruct_safe_ref", *(f"harmful_ref_{name}" for name in options.harmful)]
    folder = options.data / "sub" if options.sub else options.data
    if missing := [name for name in needed if not (folder / f"{name}.parquet").is_file()]:
        parser.error(f"no {', '.join(missing)} (.parquet) in {folder}; give the folder that holds them as --data")
    options.folder, options.embedder = folder.resolve(), None
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(options.threads)
    versions = {name: importlib.metadata.version(name) for name in ("sot-filter", "torch", "transformers", "numpy")}
    about = {
        "command": shlex.join(["python", *sys.argv]),
        "python": platform.python_version(),
        **versions,
        "threads": torch.get_num_threads(),
    }
    print(*(f"{name}: {value}" for name, value in about.items()), sep="\n")
    started = time.monotonic()
    every: dict[str, Measured] = {}
    auto: dict[str, Counts] = {}
    with tempfile.TemporaryDirectory() as work:
        options.made = derived(options, Path(work))
        options.files = {name: options.folder / f"{name}.parquet" for name in options.custom} | options.made
        for names in itertools.product(options.files, options.harmful, options.safe):
            title = f"{names[0]} {names[1]}/{names[2]}"
            found, auto[title] = measure_setting(options, Path(work), names)
            if found:
                every[title] = found
            if names[0] not in options.made:
                print_table(title, found)
            print(f"{title}: {time.monotonic() - started:.0f} s so far", file=sys.stderr)
    mean = mean_of([block for title, block in every.items() if title.split()[0] in options.custom])
    print_table(f"mean of {len(options.custom) * len(options.harmful) * len(options.safe)} settings", mean)
    rare = mean_of([block for title, block in every.items() if title.startswith("rare")])
    print_table(f"1 % harmful, {RARE_DRAWS} draws", rare)
    print("\nselect: auto" + " " * 18 + "".join(f"{name:>14}" for name in next(iter(auto.values()))))
    for title, counts in auto.items():
        print(f"{title:<30}" + "".join(f"{value:>14.1%}" for value in counts.values()))
    seconds = round(time.monotonic() - started, 1)
    print(f"\n{seconds:.0f} s; the effective sample is a share of the kept rows")
    if options.json:
        options.json.write_text(
            json.dumps(
                {**about, "seconds": seconds, "settings": every, "mean": mean, "rare": rare, "auto": auto}, indent=1
            )
        )


if __name__ == "__main__":
    main()
