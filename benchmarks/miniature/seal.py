"""SEAL, a data ranker learned by bilevel optimisation (Shen, Chen, Das and Chen, ICLR 2025, arXiv 2410.07471).

Upper level: the loss on safe rows of the model that the lower level leaves, over the rows' selection ω; lower level:
that model, minimising Σ_i σ_i(ω) L_i(θ). By a penalty both become one problem, solved by turns on a batch of each:

    θ descends u L_safe(θ) + (1 - u) mean_i n σ_i(ω) L_i(θ)
    ω descends mean_i n σ_i(ω) L_i(θ)          L_i held fixed

with σ the softmax over all n rows and u from 0.9, 0.1 less after each epoch: the memory-efficient algorithm and the
defaults of the authors' code, but for two things. All of the small model's weights are trained, and ω descends by
plain gradient steps: AdamW, which its authors use for a hundred times as many rows, lifts each row by the same length
in every step before its first visit, so that over a thousand rows the ranking is mostly the order of visits.
Rows whose loss stays high beside the safe ones sink. The safe rows are the refusals of the safe reference.
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.miniature.answers import Renders, batch, log_probabilities
from benchmarks.miniature.model import load
from benchmarks.miniature.split import Row

_UPPER: Final = 0.9
_DECAY: Final = 0.1
_SELECTOR_RATE: Final = 1.0
_BETAS: Final = (0.9, 0.95)


def score(
    aligned: Path, rows: list[Row], safe: list[Row], epochs: int, rate: float, seed: int, rows_at_once: int = 16
) -> NDArray[np.float32]:
    """Learn the selection of rows.

    Args:
        aligned: folder of the aligned model.
        rows: fine-tuning rows.
        safe: rows that the model should keep to.
        epochs: passes over the fine-tuning rows.
        rate: learning rate of the model.
        seed: of the batches.
        rows_at_once: rows of each kind in a step.

    Returns:
        Selection logits [n], higher = rather keep.
    """
    model, tokenizer = load(aligned)
    device, renders = next(model.parameters()).device, Renders(tokenizer)
    tuned, kept = (renders([(row["prompt"], row["response"]) for row in some]) for some in (rows, safe))
    logits = torch.full((len(rows),), 0.1, device=device, requires_grad=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=_BETAS, weight_decay=0.0)
    selector = torch.optim.SGD([logits], lr=_SELECTOR_RATE)
    draw, upper = torch.Generator().manual_seed(seed), _UPPER
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(rows), generator=draw).split(rows_at_once):
            beside = torch.randint(len(kept), (len(chosen),), generator=draw).tolist()
            trusted = -log_probabilities(model, batch([kept[row] for row in beside], device)).mean
            losses = -log_probabilities(model, batch([tuned[row] for row in chosen.tolist()], device)).mean
            weights = len(rows) * torch.softmax(logits, 0)[chosen.to(device)]
            loss = upper * trusted.mean() + (1 - upper) * (weights.detach() * losses).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            selector.zero_grad()
            (weights * losses.detach()).mean().backward()
            selector.step()
        upper -= _DECAY
    return logits.detach().cpu().numpy().astype(np.float32)
