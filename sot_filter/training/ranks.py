"""The processes of one run: torchrun's ranks, or a single one."""

from collections.abc import Callable

import torch
from accelerate import PartialState


def join() -> PartialState:
    """This process among its ranks."""
    return PartialState() if torch.cuda.is_available() else PartialState(cpu=True)


def agreed(state: PartialState, make: Callable[[], str]) -> str:
    """A text that rank 0 makes, on every rank."""
    text = make() if state.is_main_process else ""
    if state.num_processes == 1:
        return text
    length = torch.tensor(len(text.encode()), device=state.device)
    torch.distributed.broadcast(length, 0)
    data = torch.zeros(int(length), dtype=torch.uint8, device=state.device)
    if state.is_main_process:
        data = torch.tensor(list(text.encode()), dtype=torch.uint8, device=state.device)
    torch.distributed.broadcast(data, 0)
    return bytes(data.cpu().tolist()).decode()
