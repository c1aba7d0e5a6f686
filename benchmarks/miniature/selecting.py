"""Which rows of a set a defence learns, and with what weights: as a file, and counted against the true labels."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.miniature import product, saft, seal
from benchmarks.miniature.ground import Ground
from benchmarks.miniature.methods import ALIGNED, DROPPED, PAPER, Defence
from benchmarks.miniature.pieces import Found, finished, piece, read_lines, write_lines
from benchmarks.miniature.split import HARMFUL, Row
from sot_filter.baselines import BASELINES, TEXT_BASELINES
from sot_filter.weighting import measure_quality

#: Ranks that are drawn anew for each seed, as the refusals that are mixed in.
_DRAWN: Final = ("random", "labels")


def select(ground: Ground, name: str, defence: Defence, seed: int) -> Found:
    """The rows of a set that a defence learns.

    Returns:
        ``files``, ``weight`` and ``keep`` as a training file has them, seconds and memory of the filter, and what was
        kept of harmful and benign rows.
    """
    chosen = _chosen(defence, seed)
    folder = _folder(ground, name, chosen)
    made_with = ground.scale.selected | {"selection": chosen, "drops": DROPPED, "pipeline": defence.pipeline}
    if defence.mixed:
        return piece(folder, made_with, lambda here: _mixed(ground, name, defence, here, seed))
    if defence.rank == "product":
        return piece(folder, made_with, lambda here: _by_product(ground, name, defence, here))
    if defence.rank:
        return piece(folder, made_with, lambda here: _by_rank(ground, name, defence, here, seed))
    return piece(folder, made_with, lambda _: _unranked(ground, name, defence))


def selected(ground: Ground, name: str, defence: Defence, seed: int) -> Found | None:
    """What `select` found when it was done."""
    return finished(_folder(ground, name, _chosen(defence, seed)))


def _chosen(defence: Defence, seed: int) -> str:
    drawn = defence.mixed or defence.rank in _DRAWN
    return f"{defence.selection}_seed{seed}" if drawn else defence.selection


def retention(rows: list[Row]) -> float:
    """The share of a set that is kept where its harmful share is known."""
    return 1 - DROPPED * sum(row["label"] == HARMFUL for row in rows) / len(rows)


def _folder(ground: Ground, name: str, selection: str) -> Path:
    return ground.out / "filters" / name / selection


def _unranked(ground: Ground, name: str, defence: Defence) -> Found:
    """All rows, or the clean ones."""
    file = ground.parts / f"{'clean' if defence.clean else name}.jsonl"
    rows = read_lines(file)
    return {"files": str(file), "weight": None, "keep": None, "seconds": 0.0, "memory": None} | _counted(
        rows, np.ones(len(rows), bool), None
    )


def _mixed(ground: Ground, name: str, defence: Defence, folder: Path, seed: int) -> Found:
    """The rows that the product keeps, or all, and refusals among them: a share of the whole set's number."""
    found, rows = select(ground, name, replace(defence, mixed=0.0), seed), read_lines(ground.parts / f"{name}.jsonl")
    refusals, share = read_lines(ground.parts / "refusals.jsonl"), round(defence.mixed * len(rows))
    if found["keep"]:
        rows = [row for row, kept in zip(rows, product.columns(found["files"], found["keep"])[0], strict=True) if kept]
    more = np.random.default_rng(seed).choice(len(refusals), share, replace=False)
    write_lines(folder / "rows.jsonl", rows + [refusals[place] for place in sorted(more)])
    return found | {"files": str(folder / "rows.jsonl"), "weight": None, "keep": None}


def _by_product(ground: Ground, name: str, defence: Defence, folder: Path) -> Found:
    rows = read_lines(ground.parts / f"{name}.jsonl")
    texts = {"input": name, "safe": defence.safe, "harmful": defence.harmful}
    pipeline = dict(defence.pipeline or {})
    embed = {"model": str(ground.aligned)} if defence.embedding == ALIGNED else {}
    embed |= pipeline.pop("embed", {})
    views = "".join(embed.get("views", ()))
    work = "-".join(filter(None, ("work", defence.embedding, views, defence.safe, defence.harmful)))
    cut = {"auto": "auto", "all": {"retention": 1.0}, "share": {"retention": round(retention(rows), 6)}}[defence.cut]
    began = time.time()
    found = product.run_filter(
        folder,
        _folder(ground, name, work),
        {role: ground.parts / f"{part}.jsonl" for role, part in texts.items()},
        embed,
        pipeline | {"select": cut},
    )
    scores, kept, weights = product.columns(found["output"], "sot_score", "sot_keep", "sot_weight")
    embedded = product.embedding_seconds(folder)
    found["seconds"] = round(found["seconds"] - product.embedding_seconds(folder, since=began), 2)
    worth = float(weights.sum() ** 2 / (weights**2).sum() / kept.sum())
    return {
        "files": found.pop("output"),
        "weight": "sot_weight",
        "keep": "sot_keep",
        **found,
        "embedding_seconds": embedded,
        "effective_sample": worth,
    } | _counted(rows, kept, scores)


def _by_rank(ground: Ground, name: str, defence: Defence, folder: Path, seed: int) -> Found:
    rows = read_lines(ground.parts / f"{name}.jsonl")
    embedded = 0.0
    if defence.embedding:
        embedded = select(ground, name, _embedded_by(defence), seed)["embedding_seconds"]
    began = time.perf_counter()
    scores = _scores(ground, name, defence, rows, seed)
    seconds = round(time.perf_counter() - began, 2)
    kept = np.zeros(len(rows), bool)
    kept[np.argsort(-scores, kind="stable")[: round(retention(rows) * len(rows))]] = True
    table = pa.table({key: [row[key] for row in rows] for key in ("prompt", "response")} | {"sot_keep": kept})
    pq.write_table(table, folder / "rows.parquet")
    return {
        "files": str(folder / "rows.parquet"),
        "weight": None,
        "keep": "sot_keep",
        "seconds": seconds,
        "memory": None,
        "embedding_seconds": embedded,
    } | _counted(rows, kept, scores)


def _scores(ground: Ground, name: str, defence: Defence, rows: list[Row], seed: int) -> NDArray[Any]:
    """Of each row, higher = rather keep."""
    if defence.rank == "random":
        return np.random.default_rng(seed).random(len(rows))
    if defence.rank == "labels":
        benign = np.asarray([row["label"] != HARMFUL for row in rows], float)
        return benign + np.random.default_rng(seed).random(len(rows)) / 2
    if defence.rank == "seal":
        scale, refusals = ground.scale, read_lines(ground.parts / "refusals.jsonl")
        return seal.score(ground.aligned, rows, refusals, scale.seal_epochs, scale.build_rate / 4, 0)
    if defence.rank == "saft":
        return saft.score(product.points(_folder(ground, name, _embedded_by(defence).selection), centred=False)[0])
    if defence.rank in BASELINES:
        return BASELINES[defence.rank](*product.points(_folder(ground, name, _embedded_by(defence).selection)))
    texts = (read_lines(ground.parts / f"{part}.jsonl") for part in (name, defence.safe, defence.harmful))
    return TEXT_BASELINES[defence.rank](*([f"{row['prompt']}\n{row['response']}" for row in part] for part in texts))


def _embedded_by(defence: Defence) -> Defence:
    """The product's run whose very vectors a filter scores: SAFT knows of no views nor references."""
    pipeline = PAPER if defence.rank == "saft" else None
    return Defence("", "", "product", defence.embedding, pipeline=pipeline, safe=defence.safe, harmful=defence.harmful)


def _counted(rows: list[Row], kept: NDArray[np.bool_], scores: NDArray[Any] | None) -> Found:
    """What was kept, by the true labels, which no filter but the oracle has seen."""
    harmful = np.asarray([row["label"] == HARMFUL for row in rows])
    found = {
        "rows": int(kept.sum()),
        "dropped": float((~kept).mean()),
        "harmful_kept": float((kept & harmful).sum() / max(harmful.sum(), 1)),
        "benign_lost": float((~kept & ~harmful).sum() / (~harmful).sum()),
    }
    quality = None if scores is None else measure_quality(np.asarray(scores, np.float64), harmful)
    return found | ({} if quality is None else {"auroc": float(quality.auroc)})
