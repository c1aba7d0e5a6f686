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
from numpy.typing import NDArray

from sot_filter.artifacts import matrix, read_json, read_table, write_table
from sot_filter.baselines import BASELINES
from sot_filter.config import load_pipeline
from sot_filter.conversation import Conversation
from sot_filter.embedding import Embeddings, load_embedder
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
    "exact": ["solve.mode=exact"],
    "paper": ["solve.mode=paper"],
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


class Remembering:
    """An embedder that asks another one only for texts it has not seen."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._inner = load_embedder(**settings)
        self._seen: dict[str, tuple[dict[str, NDArray[np.float16]], np.int32, np.bool_]] = {}
        self.views, self.dimension = self._inner.views, self._inner.dimension
        self.describe, self.render = self._inner.describe, self._inner.render

    def embed(self, conversations: Sequence[Conversation]) -> Embeddings:
        """Embed conversations, keeping their order."""
        keys = [repr(conversation) for conversation in conversations]
        new = {key: row for key, row in zip(keys, conversations, strict=True) if key not in self._seen}
        if new:
            found = self._inner.embed(list(new.values()))
            for i, key in enumerate(new):
                vectors = {view: found.vectors[view][i] for view in self.views}
                self._seen[key] = vectors, found.tokens[i], found.truncated[i]
        rows = [self._seen[key] for key in keys]
        return Embeddings(
            {view: np.stack([row[0][view] for row in rows]) for view in self.views},
            np.asarray([row[1] for row in rows], np.int32),
            np.asarray([row[2] for row in rows], bool),
        )


def run_product(plan: Plan, embedder: Remembering) -> None:
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


def baseline_scores(plan: Plan) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and scores of every baseline, on raw and on centred views."""
    views = {role: read_views(plan, role) for role in plan.sources}
    for form, centre in (("raw", False), ("centred", True)):
        geometry = fit_geometry(views["safe"], views["harmful"], plan.view_weights, centre)
        rows, safe, harmful = (geometry.points(views[role]).numpy() for role in ("input", "safe", "harmful"))
        for name, score in BASELINES.items():
            yield f"{name}, {form}", score(rows, safe, harmful)


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
        "output": {"folder": str(work / "out" / "-".join(names))},
        "work_dir": str(work / "runs" / "-".join(names)),
    }


def measure_setting(options: argparse.Namespace, work: Path, names: tuple[str, str, str]) -> Measured:
    """Run every variant of the product on one setting, and the baselines on its embeddings."""
    found: Measured = {}
    for variant in options.variant:
        file = work / "pipeline.yaml"
        file.write_text(yaml.safe_dump(pipeline(options, work, names)))
        plan = make_plan(load_pipeline(str(file), [*options.settings, *VARIANTS[variant]]))
        options.embedder = options.embedder or Remembering(plan.config.embed.model_dump())
        run_product(plan, options.embedder)
        labels, scores = read_scores(plan, ["label", "sot_score"])
        kept = read_json(f"{plan.config.output.folder}/summary.json")["kept"]
        found[f"SOT, {variant}"] = {
            **measure(scores, labels == "harmful"),
            "effective_sample_size": kept["effective_sample_size"] / kept["rows"],
        }
    # The variants differ in the solve only: the embeddings of the last run are those of all.
    for name, scores in baseline_scores(plan):
        found[name] = measure(scores, labels == "harmful")
    return found


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
    with tempfile.TemporaryDirectory() as work:
        for names in itertools.product(options.custom, options.harmful, options.safe):
            title = f"{names[0]} {names[1]}/{names[2]}"
            every[title] = measure_setting(options, Path(work), names)
            print_table(title, every[title])
            print(f"{title}: {time.monotonic() - started:.0f} s so far", file=sys.stderr)
    blocks = list(every.values())
    mean = {
        name: {column: float(np.mean([block[name][column] for block in blocks])) for column in values}
        for name, values in blocks[0].items()
    }
    print_table(f"mean of {len(blocks)} settings", mean)
    seconds = round(time.monotonic() - started, 1)
    print(f"\n{seconds:.0f} s; the effective sample is a share of the kept rows, at the pipeline's own retention")
    if options.json:
        options.json.write_text(json.dumps({**about, "seconds": seconds, "settings": every, "mean": mean}, indent=1))


if __name__ == "__main__":
    main()
