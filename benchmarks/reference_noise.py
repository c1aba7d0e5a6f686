"""What wrong rows in the references do to the scores, and what `sot-filter refs audit` says of them.

For each choice of input and harmful reference the references are spoilt in a known way: a share of the rows of one is
replaced by rows of the other kind, or the safe reference is narrowed to one source or to the neighbourhood of one row.
Each time the whole product runs and the audit is read: estimated noise, the share of planted rows among the rows it
names, its warnings, and the AUROC of the product's score and of kNN-10 on the same centred embeddings. Seven tenths of
each reference are its rows, the other three the rows that are planted, so that all references of noise have one size
and no planted row has a twin.

Needs the extra `offline` and the folder of benchmarks/filter_quality.py. Where a file of views' vectors lies beside a
Parquet file (NAME.prompt.npy, NAME.response.npy), rows are not embedded again.

    python benchmarks/reference_noise.py --data FOLDER --sub --json noise.json
"""

import argparse
import itertools
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from embedders import FIELDS, Ready
from filter_quality import REFUSALS, read_scores, read_views, run_product
from numpy.typing import NDArray

from sot_filter.auditing import audit_references
from sot_filter.baselines import BASELINES
from sot_filter.config import load_pipeline
from sot_filter.config.models import Embed
from sot_filter.conversation import read_conversation
from sot_filter.planning import make_plan
from sot_filter.transport import fit_geometry
from sot_filter.weighting import measure_quality

SHARES = (0.05, 0.1, 0.2, 0.3)
#: A short name for each warning, by words of its sentence.
WARNINGS = {
    "of the safe reference (": "noise in safe",
    "of the harmful reference (": "noise in harmful",
    "too narrow": "narrow",
    "lacks, or nearly lacks": "kinds lacking",
    "say nearly": "repeats",
    "it speaks for the whole": "one cluster",
    "of the kept rows would be others": "leverage",
    "nearly the same as rows": "overlap with input",
    "can be found, nearly the same": "overlap",
}
Case = tuple[pa.Table, pa.Table, set[tuple[str, str]], set[tuple[str, str]]]


def spoilt(safe: pa.Table, harmful: pa.Table, foreign: pa.Table, vectors: NDArray[Any], seed: int) -> dict[str, Case]:
    """The references of every case, with the texts that were planted in each."""
    rng = np.random.default_rng(seed)
    (safe, more_safe), (harmful, more_harmful) = (halves(table, rng) for table in (safe, harmful))
    _, more_foreign = halves(foreign, rng)
    cases: dict[str, Case] = {"clean": (safe, harmful, set(), set())}
    for a, b in [*((share, 0.0) for share in SHARES), *((0.0, share) for share in SHARES), (0.1, 0.1), (0.2, 0.2)]:
        one, in_safe = planted(safe, more_harmful, a)
        other, in_harmful = planted(harmful, more_safe, b)
        cases[f"{a:.0%} of safe harmful, {b:.0%} of harmful safe"] = (one, other, in_safe, in_harmful)
    for share in (0.05, 0.2):
        one, in_safe = planted(safe, more_foreign, share)
        cases[f"{share:.0%} of safe harmful, of another source"] = (one, harmful, in_safe, set())
    sources = np.asarray(safe["source"].to_pylist())
    for source in sorted({*sources}):
        cases[f"safe: {source} only"] = (safe.take(np.flatnonzero(sources == source)), harmful, set(), set())
    cases["safe: no refusals"] = (safe.take(np.flatnonzero(sources != REFUSALS)), harmful, set(), set())
    own = vectors[safe["place"].to_numpy()]
    for k in range(2):
        nearest = np.argsort(-own @ own[rng.integers(len(own))], kind="stable")[: len(own) // 5]
        cases[f"safe: neighbourhood {k + 1} of a fifth"] = (safe.take(nearest), harmful, set(), set())
    return cases


def halves(table: pa.Table, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """Seven tenths of the rows, and the others."""
    table = table.append_column("place", pa.array(np.arange(len(table))))
    order, n = rng.permutation(len(table)), round(0.7 * len(table))
    return table.take(order[:n]), table.take(order[n:])


def planted(table: pa.Table, others: pa.Table, share: float) -> tuple[pa.Table, set[tuple[str, str]]]:
    """The table with the last ``share`` of its rows replaced by the first of ``others``."""
    n = round(share * len(table))
    return pa.concat_tables([table.slice(0, len(table) - n), others.slice(0, n)]), texts(others.slice(0, n))


def texts(table: pa.Table) -> set[tuple[str, str]]:
    """Prompts and responses."""
    return {(row["prompt"], row["response"]) for row in table.to_pylist()}


def measure(options: argparse.Namespace, work: Path, custom: str, case: Case) -> dict[str, Any]:
    """Run product and audit on one case."""
    folders = {name: work / name for name in ("safe.parquet", "harmful.parquet")}
    for (_, path), table in zip(folders.items(), case[:2], strict=True):
        pq.write_table(table, path)
    file = work / "pipeline.yaml"
    settings = {
        "name": "noise",
        "input": {"files": str(options.folder / f"{custom}.parquet"), "label": {"label": "harmful"}},
        "references": {name: str(work / f"{name}.parquet") for name in ("safe", "harmful")},
        "embed": {"threads": options.threads},
        "solve": {"threads": options.threads},
        "output": {"folder": str(work / "out")},
        "work_dir": str(work / "run"),
    }
    file.write_text(yaml.safe_dump(settings))
    plan = make_plan(load_pipeline(str(file), options.settings))
    run_product(plan, options.embedder)
    labels, scores = read_scores(plan, ["label", "sot_score"])
    views = {role: read_views(plan, role) for role in plan.sources}
    geometry = fit_geometry(views["safe"], views["harmful"], plan.view_weights, True)
    knn = BASELINES["knn"](*(geometry.points(views[role]).numpy() for role in ("input", "safe", "harmful")))
    audit = audit_references(plan)
    found: dict[str, Any] = {"sot": auroc(scores, labels), "knn": auroc(knn, labels)}
    for role, table, wrong in (("safe", case[0], case[2]), ("harmful", case[1], case[3])):
        noise = audit["contamination"][role]
        rows = table.to_pylist()
        named = [rows[int(suspect["id"].rpartition("#")[2])] for suspect in noise["suspects"]] if noise else []
        hits = sum((row["prompt"], row["response"]) in wrong for row in named)
        found[role] = {
            "planted": len(wrong) / len(rows),
            **({name: noise[name] for name in ("share", "low", "high")} if noise else {}),
            "precision": hits / len(named) if wrong and named else None,
            "recall": hits / len(wrong) if wrong else None,
        }
    found["neither"] = audit["coverage"]["neither"] / audit["rows"]["input"]
    found["warnings"] = sorted(
        {short for said in audit["warnings"] for words, short in WARNINGS.items() if words in said}
    )
    return found


def auroc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Of the score against the labels."""
    quality = measure_quality(scores.astype(np.float64), labels == "harmful")
    assert quality is not None, "the set needs rows of both labels"
    return quality.auroc


def line(name: str, runs: list[dict[str, Any]]) -> str:
    """A row of the table: means over the runs, and how often each warning came."""
    cells = []
    for role in ("safe", "harmful"):
        shares = [run[role]["share"] for run in runs if "share" in run[role]]
        recalls = [run[role]["recall"] for run in runs if run[role]["recall"] is not None]
        precisions = [run[role]["precision"] for run in runs if run[role]["precision"] is not None]
        estimated = f"{np.mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})" if shares else "-"
        named = f"{np.mean(precisions):.0%} / {np.mean(recalls):.0%}" if precisions else ""
        cells += [estimated, named]
    cells += [f"{np.mean([run[key] for run in runs]):.3f}" for key in ("sot", "knn")]
    cells.append(f"{np.mean([run['neither'] for run in runs]):.0%}")
    fired = [short for run in runs for short in run["warnings"]]
    cells.append(", ".join(f"{short} {fired.count(short)}/{len(runs)}" for short in sorted({*fired})) or "none")
    return f"| {name} | " + " | ".join(cells) + " |"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Parquet files")
    parser.add_argument("--sub", action="store_true", help="the smaller files in its folder sub")
    parser.add_argument("--custom", nargs="+", default=["instruct_h10", "instruct_h30"])
    parser.add_argument("--harmful", nargs="+", default=["same", "cross"])
    parser.add_argument("--safe", default="instruct_safe_ref")
    parser.add_argument("--cases", nargs="+", default=[""], help="words of the cases to run; by default all")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the rows that are planted")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    folder = options.data / "sub" if options.sub else options.data
    needed = [*options.custom, options.safe, *(f"harmful_ref_{name}" for name in ("same", "cross"))]
    if missing := [name for name in needed if not (folder / f"{name}.parquet").is_file()]:
        parser.error(f"no {', '.join(missing)} (.parquet) in {folder}; give the folder that holds them as --data")
    options.folder = folder.resolve()
    options.embedder = Ready(Embed(threads=options.threads).model_dump(), sorted(options.folder.glob("*.parquet")))
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(options.threads)
    print(f"command: {shlex.join(['python', *sys.argv])}\n")
    started = time.monotonic()
    found: dict[str, list[dict[str, Any]]] = {}
    columns = ["prompt", "response", "source"]
    for custom, harmful in itertools.product(options.custom, options.harmful):
        names = [options.safe, f"harmful_ref_{harmful}", f"harmful_ref_{'cross' if harmful == 'same' else 'same'}"]
        tables = [pq.read_table(options.folder / f"{name}.parquet", columns=columns) for name in names]
        with tempfile.TemporaryDirectory() as work:
            vectors = responses(options.embedder, tables[0])
            cases = spoilt(*tables, vectors, options.seed)
            for name, case in cases.items():
                if not any(words in name for words in options.cases):
                    continue
                found.setdefault(name, []).append(measure(options, Path(work), custom, case))
                print(f"{custom} {harmful} {name}: {time.monotonic() - started:.0f} s so far", file=sys.stderr)
    heads = ["references", "noise in safe", "precision / recall of the named", "noise in harmful"]
    heads += ["precision / recall of the named", "AUROC", "AUROC kNN", "near neither", "warnings"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for name, runs in found.items():
        print(line(name, runs))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def responses(embedder: Ready, table: pa.Table) -> NDArray[np.float32]:
    """Vectors [n, d] of a reference's responses, to find a neighbourhood by."""
    rows = [read_conversation(row, "prompt_completion", FIELDS) for row in table.to_pylist()]
    return embedder.embed(rows).vectors["response"].astype(np.float32)


if __name__ == "__main__":
    main()
