"""Curves of finished trainings in one picture: ``python pipelines/demo_train/compare.py PICTURE FOLDER...``."""

import json
import sys
from pathlib import Path

from sot_filter.training.curves import write_curves
from sot_filter.training.history import read_history


def main(stem: Path, folders: list[Path]) -> None:
    """Draw the folders' histories, and print where each began and ended."""
    runs = {folder.name: read_history(folder / "history.jsonl") for folder in folders}
    note = "A tiny model made for the demo: this shows the tools, and says nothing about real models."
    files = write_curves(runs, stem, "The demo rows with and without weights", note)
    width = max(map(len, runs))
    print(f"{'':{width}}  safe preferred   mean margin     last loss")
    for folder in folders:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        first, last = record["safety_seen"]["first"], record["safety_seen"]["last"]
        share = [f"{look['preferred'] / look['triples']:4.0%}" for look in (first, last)]
        margin = f"{first['margin']:5.1f} to {last['margin']:5.1f}"
        print(f"{folder.name:{width}}  {share[0]} to {share[1]}   {margin}  {record['loss']['last']:8.2f}")
    print(f"\ncurves  {files[0]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
