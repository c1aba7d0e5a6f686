"""Who sees which rows.

The benign rows of instruct_h10 and instruct_h30 overlap (3,500 of 4,500), so they are pooled, one for each prompt, and
cut in halves by a hash of the prompt:

- one half, with the benign rows of math_h10, builds the tokenizer and the base model, and keeps the aligned one
  fluent;
- of the other half the first rows are held out to judge utility, the next are the benign part of the fine-tuning sets,
  which hold each other's: h30's are the first of h10's, and h10's the first of the clean set's; what follows them
  helps to choose the learning rate.

The harmful rows are in fine-tuning sets only, in the share that the set's file has them; prompts of those that are in
neither set are asked to see what is refused: a third of them to choose the learning rate, the others, with those of
eval_pairs, to judge. Alignment sees align_pairs but for a twentieth, by hash, which is looked at while building.
eval_pairs and the probes' answerable prompts judge. The prompts of align_pairs are those of harmful_ref_same: the
aligned model has seen that reference, as its unsafe answers. The refusals of the safe reference are what SafeInstr
mixes in and SEAL holds to; SPF is given the first 16.
Texts are cut: the last words of a prompt, the first of an answer.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from benchmarks.miniature.pieces import write_lines
from benchmarks.miniature.scale import Scale
from sot_filter.errors import SourceError

Row = dict[str, Any]
#: Files of the data folder, by what they are called here.
FILES: Final = {
    "h10": "instruct_h10",
    "h30": "instruct_h30",
    "math": "math_h10",
    "safe": "instruct_safe_ref",
    "same": "harmful_ref_same",
    "cross": "harmful_ref_cross",
    "probes": "sub/probes",
    "align": "miniature/align_pairs",
    "judge": "miniature/eval_pairs",
}
SETS: Final = ("h10", "h30")
HARMFUL: Final = "harmful"
#: Source of the refusals in the safe reference, and of the rows that only sound dangerous.
REFUSALS: Final = "safety_tuned_llamas"
ANSWERABLE: Final = "xstest_safe"
#: Shares of a reference's rows that are swapped for the other's, for the ablation of noise.
NOISES: Final = (10, 30)
_SPF_ROWS: Final = 16
_VALIDATION: Final = 20


def split(data: Path, folder: Path, scale: Scale) -> Row:
    """Write each part as JSON lines into a folder.

    Returns:
        Rows of each part.

    Raises:
        SourceError: the data folder lacks a file, or has too few benign rows for a set.
    """
    raw = {name: _read(data / f"{file}.parquet", scale) for name, file in FILES.items()}
    benign: dict[str, Row] = {}
    for name in SETS:
        for row in raw[name]:
            if row["label"] != HARMFUL:
                benign.setdefault(row["prompt"], row)
    ordered = sorted(benign.values(), key=lambda row: _hash("order", row["prompt"]))
    building = [row for row in ordered if _hash("half", row["prompt"]) % 2]
    rest = [row for row in ordered if not _hash("half", row["prompt"]) % 2]
    math = [row for row in raw["math"] if row["label"] != HARMFUL]
    judged, custom = rest[: scale.utility_rows], rest[scale.utility_rows :]
    if len(custom) < scale.custom_rows:
        raise SourceError(
            f"{scale.custom_rows} benign rows for a fine-tuning set", f"{len(custom)}", "Choose a smaller --scale."
        )
    parts = {
        "base": building + math,
        "keep": building,
        "utility": judged,
        "clean": custom[: scale.custom_rows],
        "validation_utility": custom[scale.custom_rows :][: scale.utility_rows],
        "answerable": [row for row in raw["probes"] if row["source"] == ANSWERABLE],
        "align": [row for row in raw["align"] if _hash("validation", row["prompt"]) % _VALIDATION],
        "validation": [row for row in raw["align"] if not _hash("validation", row["prompt"]) % _VALIDATION],
        "judge": raw["judge"],
        "refusals": [row for row in raw["safe"] if row["source"] == REFUSALS],
        "spf": [row for row in raw["safe"] if row["source"] == REFUSALS][:_SPF_ROWS],
        **{name: raw[name] for name in ("safe", "same", "cross")},
    }
    left: dict[str, Row] = {}
    for name in SETS:
        harmful = [row for row in raw[name] if row["label"] == HARMFUL]
        wanted = round(scale.custom_rows * len(harmful) / len(raw[name]))
        harmful.sort(key=lambda row: _hash("harmful", row["prompt"]))
        mixed = harmful[:wanted] + custom[: scale.custom_rows - wanted]
        parts[name] = sorted(mixed, key=lambda row: _hash(name, row["prompt"] + row["response"]))
        left |= {row["prompt"]: {"prompt": row["prompt"]} for row in harmful[wanted:]}
    used = {row["prompt"] for name in (*SETS, "align", "validation", "judge") for row in parts[name]}
    asked = [row for prompt, row in left.items() if prompt not in used]
    asked.sort(key=lambda row: _hash("asked", row["prompt"]))
    third = len(asked) // 3
    parts["asked_first"] = asked[:third]
    parts["asked"] = [{"prompt": row["prompt"]} for row in parts["judge"]] + asked[third:]
    for noise in NOISES:
        parts[f"safe_{noise}"], parts[f"same_{noise}"] = _swapped(parts["safe"], parts["same"], noise)
    for name, rows in parts.items():
        write_lines(folder / f"{name}.jsonl", rows)
    shares = {f"{name}_harmful": sum(row["label"] == HARMFUL for row in parts[name]) for name in SETS}
    return {name: len(rows) for name, rows in parts.items()} | shares


def _swapped(safe: list[Row], harmful: list[Row], percent: int) -> tuple[list[Row], list[Row]]:
    """Both references, this share of each being rows of the other."""
    one, other = (sorted(rows, key=lambda row: _hash("noise", row["prompt"])) for rows in (safe, harmful))
    count = round(min(len(one), len(other)) * percent / 100)
    return one[count:] + other[:count], other[count:] + one[:count]


def _read(path: Path, scale: Scale) -> list[Row]:
    if not path.is_file():
        raise SourceError("a folder with the data sets' Parquet files", f"no {path}", "Name it by --data.")
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row["prompt"] = " ".join(row["prompt"].split(" ")[-scale.prompt_words :]).strip()
        for answer in ("response", "safe", "unsafe"):
            if answer in row:
                row[answer] = " ".join(row[answer].split(" ")[: scale.answer_words]).strip()
    return [
        row for row in rows if row["prompt"] and all(row.get(name, "x") for name in ("response", "safe", "unsafe"))
    ]


def _hash(key: str, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}\n{text}".encode()).digest()[:8], "big")
