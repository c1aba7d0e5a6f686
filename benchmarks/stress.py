"""References as they come in practice: noisy, narrow, repeated, or blind to a kind of harm.

The references of benchmarks/filter_quality.py are spoilt one way at a time, the product runs on each, and its score
and the baselines' are compared with the labels. References are clustered by k-means on the vectors of their responses;
nothing else of the labels or texts is used to spoil them.

- swapped: a tenth, or three tenths, of the rows of either reference change sides.
- contaminated: a tenth of the harmful rows are in the safe reference instead.
- narrow: of the safe reference the largest of four clusters is left.
- repeated: the rows of one of six clusters of the harmful reference come ten times, each time a little different.
- missing: three of the six clusters are missing from the harmful reference.
- other: the harmful rows of the custom set come from elsewhere than the harmful reference.

Needs the extras `offline` and `dev` and the folder of benchmarks/filter_quality.py.

    python benchmarks/stress.py --data FOLDER --sub
"""

import argparse
import itertools
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from embedders import Ready
from filter_quality import REFUSALS, baseline_scores, measure, read_scores, run_product
from reference_noise import responses
from sklearn.cluster import KMeans

from sot_filter.config import load_pipeline
from sot_filter.config.models import Embed
from sot_filter.planning import make_plan

SHOWN = ("knn", "logistic_regression", "lda", "mean_cosine")
REPEATS = 10


def cases(safe: pa.Table, harmful: pa.Table, embedder: Ready) -> Iterator[tuple[str, pa.Table, pa.Table]]:
    """Name, safe and harmful reference of each case that leaves the custom set alone."""
    rng = np.random.default_rng(0)
    yield "as it is", safe, harmful
    for share in (0.1, 0.3):
        (kept, moved), (kept_too, moved_too) = (split(table, share, rng) for table in (safe, harmful))
        yield f"swapped {share:.0%}", pa.concat_tables([kept, moved_too]), pa.concat_tables([kept_too, moved])
    rest, moved = split(harmful, 0.1, rng)
    yield "contaminated 10%", pa.concat_tables([safe, moved]), rest
    groups = cluster(safe, 4, embedder)
    yield "narrow", safe.take(np.flatnonzero(groups == np.bincount(groups).argmax())), harmful
    groups = cluster(harmful, 6, embedder)
    copies = [marked(harmful.take(np.flatnonzero(groups == 0)), number) for number in range(1, REPEATS)]
    yield f"repeated x{REPEATS}", safe, pa.concat_tables([harmful, *copies])
    yield "missing half", safe, harmful.take(np.flatnonzero(groups < 3))


def split(table: pa.Table, share: float, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """The rows that stay, and a share that goes."""
    order, n = rng.permutation(len(table)), round(share * len(table))
    return table.take(np.sort(order[n:])), table.take(np.sort(order[:n]))


def cluster(table: pa.Table, k: int, embedder: Ready) -> np.ndarray[Any, np.dtype[np.int32]]:
    """A cluster for each row."""
    return KMeans(k, n_init=2, random_state=0).fit_predict(responses(embedder, table))


def marked(table: pa.Table, number: int) -> pa.Table:
    """The rows again, told apart from themselves by dots, since equal texts would be folded into one."""
    texts = pa.array([text + " ." * number for text in table["response"].to_pylist()])
    return table.set_column(table.column_names.index("response"), "response", texts)


def run(options: argparse.Namespace, custom: pa.Table, safe: pa.Table, harmful: pa.Table) -> dict[str, Any]:
    """AUROC and recall of the product and of the baselines."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, table in (("custom", custom), ("safe", safe), ("harmful", harmful)):
            pq.write_table(table, work / f"{name}.parquet")
        settings = {
            "name": "stress",
            "input": {"files": str(work / "custom.parquet"), "label": {"label": "harmful"}},
            "references": {name: str(work / f"{name}.parquet") for name in ("safe", "harmful")},
            "embed": {"threads": options.threads},
            "solve": {"threads": options.threads},
            "output": {"folder": str(work / "out")},
            "work_dir": str(work / "run"),
        }
        (work / "pipeline.yaml").write_text(yaml.safe_dump(settings))
        plan = make_plan(load_pipeline(str(work / "pipeline.yaml"), options.settings))
        run_product(plan, options.embedder)
        labels, scores = read_scores(plan, ["label", "sot_score"])
        found = {
            "SOT": scores,
            **{name.split(",")[0]: values for name, values in baseline_scores(plan, SHOWN, ["centred"])},
        }
        return {name: measure(values, labels == "harmful") for name, values in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Parquet files")
    parser.add_argument("--sub", action="store_true", help="the smaller files in its folder sub")
    parser.add_argument("--custom", nargs="+", default=["instruct_h10", "instruct_h30"])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = (options.data / "sub" if options.sub else options.data).resolve()
    columns = ["prompt", "response", "source", "label"]
    read = {
        path.stem: pq.read_table(path, columns=columns).cast(pa.schema([(column, pa.string()) for column in columns]))
        for path in sorted(folder.glob("*.parquet"))
        if path.stem in {*options.custom, "instruct_safe_ref", "harmful_ref_same", "harmful_ref_cross"}
    }
    options.embedder = Ready(Embed(threads=options.threads).model_dump(), sorted(folder.glob("*.parquet")))
    print(f"command: {shlex.join(['python', *sys.argv])}\n")
    started = time.monotonic()
    found: dict[str, list[dict[str, Any]]] = {}
    for harmful, safe in itertools.product(("same", "cross"), ("task", "full")):
        reference = read["instruct_safe_ref"]
        own = np.asarray(reference["source"].to_pylist()) != REFUSALS
        reference = reference.take(np.flatnonzero(own)) if safe == "task" else reference
        for name, one, other in cases(reference, read[f"harmful_ref_{harmful}"], options.embedder):
            for custom in options.custom:
                title = f"{harmful}/{safe} {name}"
                found.setdefault(title, []).append(run(options, read[custom], one, other))
            print(f"{title}: {time.monotonic() - started:.0f} s so far", file=sys.stderr)
        if harmful == "same":
            first = read[options.custom[0]]
            benign = first.take(np.flatnonzero(np.asarray(first["label"].to_pylist()) != "harmful"))
            for n in (len(benign) // 9, len(benign) // 3):
                custom_set = pa.concat_tables([benign, read["harmful_ref_cross"].slice(0, n)])
                runs = found.setdefault(f"other/{safe} {n / len(custom_set):.0%} harmful", [])
                runs.append(run(options, custom_set, reference, read["harmful_ref_same"]))
    names = ["SOT", *SHOWN]
    print(f"| references | {' | '.join(names)} |\n|---|" + "---|" * len(names))
    for title, runs in found.items():
        cells = (tuple(np.mean([r[name][m] for r in runs]) for m in ("auroc", "recall_1_5x")) for name in names)
        print(f"| {title} | " + " | ".join(f"{auroc:.3f} / {recall:.3f}" for auroc, recall in cells) + " |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
