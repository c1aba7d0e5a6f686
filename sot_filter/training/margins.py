"""The margins of triples by a model: how much likelier the safe answer is than the unsafe one.

With s and u the answers' tokens, the margin of a triple is

    log p(s | prompt) - log p(u | prompt)    summed over tokens, in nats
    log p(s | prompt)/|s| - log p(u | prompt)/|u|    by token, which does not favour the shorter answer

Looking changes nothing in a training: no gradient, no dropout, no random state, each module's mode as it was. Each
rank computes its share of the batches and all get all margins, the same to the bit on any number of ranks, since the
batches are the same ones.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, nn

from sot_filter.errors import ModelError, SotFilterError
from sot_filter.training.render import IGNORED, Tokens
from sot_filter.training.triples import Triples

Made = TypeVar("Made")


def margins(
    model: nn.Module, triples: Triples, batch_rows: int = 8, device: torch.device | None = None
) -> NDArray[np.float64]:
    """The margin of each triple, all ranks working together.

    Args:
        model: a causal language model with TRL's fused head, as TRL's trainers make it; not DDP's wrapper.
        triples: what to look at.
        batch_rows: answers in a forward pass.
        device: the model's; that of its first weight if left out.

    Returns:
        Margins in total and by token [n, 2].

    Raises:
        ModelError: the model has no fused head.
    """
    rows, count = [*triples.safe, *triples.unsafe], len(triples)
    device = device or next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row].input_ids))
    batches = [order[start : start + batch_rows] for start in range(0, len(order), batch_rows)]
    rank, ranks = _place()
    totals = torch.zeros(len(rows), dtype=torch.float64)
    with _left_alone(model, device):
        for turn in range(-(-len(batches) // ranks)):
            mine = turn * ranks + rank
            # A rank without a batch of its own repeats one: where weights are sharded, a forward pass needs all ranks.
            batch = batches[min(mine, len(batches) - 1)]
            summed = _summed(model, [rows[row] for row in batch], device)
            if mine < len(batches):
                totals[batch] = summed
    totals = _added(totals, device)
    lengths = torch.tensor([sum(label != IGNORED for label in row.labels) for row in rows])
    both = torch.stack((totals, totals / lengths), 1)
    found: NDArray[np.float64] = (both[:count] - both[count:]).numpy()
    return found


def _summed(model: nn.Module, rows: list[Tokens], device: torch.device) -> Tensor:
    """The log-probability of each row's labels [B], padded on the right."""
    width = max(len(row.input_ids) for row in rows)

    def padded(values: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([one + [fill] * (width - len(one)) for one in values], device=device)

    outputs = model(
        input_ids=padded([row.input_ids for row in rows], 0),
        attention_mask=padded([[1] * len(row.input_ids) for row in rows], 0),
        labels=padded([row.labels for row in rows], IGNORED),
        use_cache=False,
        fused_lm_head=True,
    )
    if not hasattr(outputs, "log_probs"):
        raise ModelError(
            "a model with TRL's fused head", type(model).__name__, "Take the model that the trainer has made ready."
        )
    return outputs.log_probs.cpu().to(torch.float64).sum(1)


@contextmanager
def _left_alone(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Without gradient or dropout; each module's mode and all random states are afterwards as before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for module in training:
            module.training = True


def _place() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _added(values: Tensor, device: torch.device) -> Tensor:
    """The sum over the ranks."""
    if _place()[1] == 1:
        return values
    shared = values.to(device)
    torch.distributed.all_reduce(shared)
    return shared.cpu()


def from_first_rank(make: Callable[[], Made], device: torch.device) -> Made:
    """What rank 0 makes, on every rank; its error too, so that none waits for it."""
    rank, ranks = _place()
    made: list[Any] = [None, None]
    if rank == 0:
        try:
            made[0] = make()
        except SotFilterError as error:
            made[1] = error
    if ranks > 1:
        torch.distributed.broadcast_object_list(made, src=0, device=device)
    if made[1] is not None:
        raise made[1]
    result: Made = made[0]
    return result
