"""Summaries of runs that were never made, as the card reads them."""

from typing import Any


def summary(names: list[str], config: str = "default", split: str = "train", mode: str = "coupled") -> dict[str, Any]:
    """A summary of a run on local files of these names, whose columns came into them."""
    reference = {"rows": 20, "left_out": {}, "digest": "0"}
    local = {"dataset": None, "config": None, "revision": None, "split": "train", "sample": None, "licence": ""}
    return {
        "name": "toy-run",
        "mode": {"solver": mode, "why": "as set"},
        "output": {"mode": "columns", "prefix": "sot_", "hub": None},
        "references": {
            "safe": {**reference, "sources": [{**local, "name": "mine", "files": ["safe.jsonl"]}]},
            "harmful": {
                **reference,
                "sources": [
                    {**local, "name": "bad", "files": [], "dataset": "org/bad", "revision": "f" * 40, "licence": "mit"}
                ],
            },
        },
        "versions": {"sot-filter": "0.1.0"},
        "problem": {"epsilon": 0.1, "rho_safe": float("inf"), "direction": True, "view_weights": {"prompt": 1.0}},
        "rows": {"total": 12345, "kept": 10000, "dropped": 2345},
        "kept": {
            "rows": 10000,
            "share": 10000 / 12345,
            "effective_sample_size": 5432.1,
            "smallest_weight": 0.1,
            "largest_weight": 2.0,
        },
        "unknown": {"rows": 0, "kept": 0, "similarity": 0.5},
        "slices": [
            {"facet": "column", "value": "a secret", "rows": 50, "kept": 1, "retention": 0.02, "alarm": True},
            {"facet": "column", "value": "another", "rows": 50, "kept": 49, "retention": 0.98, "alarm": False},
        ],
        "simple": {"score": "lda", "auroc": 0.9, "sot_auroc": 0.95, "dropped": 100, "in_common": 3},
        "selection": {
            "rule": {"retention": 0.8},
            "cut": 1.5,
            "unknown": "keep",
            "harmful_share": None,
            "auto": None,
            "canaries": {},
            "scored": 12345,
            "allowed": 12345,
            "stability": None,
        },
        "solve": {"outcome": "converged", "message": "", "overlap": {}},
        "embedding": {"model": "/home/ann/models/tiny", "revision": "abc", "pooling": "mean", "truncated": 0},
        "input": {
            "dataset": None,
            "revision": None,
            "config": config,
            "split": split,
            "format": "messages",
            "files": [{"name": name, "uri": f"file:///home/ann/data/{name}"} for name in names],
        },
        "quality": None,
        "picture": True,
        "contents": {"download_size": 1},
        "source_card": {"head": {}, "text": ""},
    }


def on_the_hub(found: dict[str, Any], target: str, source: str = "org/book", **output: Any) -> dict[str, Any]:
    """The same of a Hub dataset, published to another."""
    hub = {"repo": target, "branch": None, "create_pr": False}
    return {
        **found,
        "output": {**found["output"], "hub": hub, **output},
        "input": {**found["input"], "dataset": source, "revision": "a" * 40},
    }
