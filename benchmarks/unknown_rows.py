"""How many rows are called unknown: of references held out by halves, which should be 1 %, and of instruction sets.

    python benchmarks/unknown_rows.py --data FOLDER

FOLDER holds, under `sub`, `<name>.parquet` (prompt, response, source, label) and beside each its vectors as
`<name>.prompt.npy` and `<name>.response.npy`, for the names below. The data are not part of the project.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from sot_filter.conversation import Conversation, Message
from sot_filter.facets import language
from sot_filter.transport import fit_geometry
from sot_filter.weighting import Coverage, character_pairs, fit_coverage, likeness
from sot_filter.weighting.coverage import FAR, OTHER_LANGUAGE, UNLIKE_TEXT

VIEWS = ("prompt", "response")
SHARES = {"prompt": 0.5, "response": 0.5}
HALVES = 20


@dataclass(frozen=True)
class Rows:
    """Rows with all that they are judged by."""

    views: dict[str, torch.Tensor]
    sides: list[list[np.ndarray]]
    languages: list[str]
    digests: np.ndarray
    source: np.ndarray
    harmful: np.ndarray

    @classmethod
    def read(cls, folder: Path, name: str) -> "Rows":
        """Read them."""
        table = pq.read_table(folder / f"{name}.parquet").to_pandas()
        rows = [
            Conversation((Message("user", prompt), Message("assistant", response)))
            for prompt, response in zip(table.prompt, table.response, strict=True)
        ]
        return cls(
            {view: torch.from_numpy(np.load(folder / f"{name}.{view}.npy").astype(np.float32)) for view in VIEWS},
            [[character_pairs(row.text(view)) for view in VIEWS] for row in rows],
            [language(row.text()) for row in rows],
            np.asarray([row.digest() for row in rows], "V16"),
            table.source.to_numpy(),
            (table.label == "harmful").to_numpy(),
        )

    def take(self, chosen: np.ndarray) -> "Rows":
        """Some of them."""
        return Rows(
            {view: vectors[chosen] for view, vectors in self.views.items()},
            [self.sides[i] for i in chosen],
            [self.languages[i] for i in chosen],
            self.digests[chosen],
            self.source[chosen],
            self.harmful[chosen],
        )


class Judge:
    """Says of rows what the references do not cover."""

    def __init__(self, safe: Rows, harmful: Rows) -> None:
        self.geometry = fit_geometry(safe.views, harmful.views, SHARES)
        self.points = torch.cat([self.geometry.points(rows.views) for rows in (safe, harmful)])
        self.coverage: Coverage = fit_coverage(
            self.points,
            np.concatenate([safe.digests, harmful.digests]),
            safe.sides + harmful.sides,
            safe.languages + harmful.languages,
        )

    def flags(self, rows: Rows) -> np.ndarray:
        """What makes each row unknown."""
        points = self.geometry.points(rows.views)
        surprise = np.asarray([self.coverage.pairs.surprise(sides) for sides in rows.sides], np.float32)
        return self.coverage.judge(likeness(points, (points @ self.points.T).max(1).values), surprise, rows.languages)


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "sub"
    if not folder.is_dir():
        parser.error(f"there is no folder {folder}")
    inputs = {name: Rows.read(folder, name) for name in ("instruct_h10", "instruct_h30")}
    every = Rows.read(folder, "instruct_safe_ref")
    task = every.take(np.flatnonzero(every.source != "safety_tuned_llamas"))
    for kind in ("same", "cross"):
        harmful = Rows.read(folder, f"harmful_ref_{kind}")
        for name, safe in (("task", task), ("task and refusals", every)):
            print(f"harmful reference {kind}, safe reference {name}: held-out halves {_halves(safe, harmful)}")
            judge = Judge(safe, harmful)
            for set_name, rows in inputs.items():
                found = judge.flags(rows)
                parts = [f"{label} {np.mean(found & flag > 0):.2%}" for label, flag in LABELS.items()]
                benign, bad = (np.mean(found[rows.harmful == side] > 0) for side in (False, True))
                print(f"  {set_name}: benign {benign:.2%}, harmful {bad:.2%} ({', '.join(parts)})")


LABELS = {"far": FAR, "unlike": UNLIKE_TEXT, "language": OTHER_LANGUAGE}


def _halves(safe: Rows, harmful: Rows) -> str:
    """Share of unknown rows in one half of the references by the other half: mean, and its standard error."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(HALVES):
        halves = [np.array_split(rng.permutation(len(rows.languages)), 2) for rows in (safe, harmful)]
        judge = Judge(safe.take(halves[0][0]), harmful.take(halves[1][0]))
        rest = [judge.flags(rows.take(half[1])) for rows, half in zip((safe, harmful), halves, strict=True)]
        shares.append(np.mean(np.concatenate(rest) > 0))
    return f"{np.mean(shares):.2%} (standard error {np.std(shares) / HALVES**0.5:.2%})"


if __name__ == "__main__":
    main()
