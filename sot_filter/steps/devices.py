"""Which device a task works on: workers of one machine share out its GPUs."""

import torch


def device_of(name: str, rank: int) -> str:
    """The device that a setting means to a task.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or one GPU by its number, as ``cuda:1``.
        rank: the task's number; with ``auto`` and several GPUs in sight, each task in turn takes the next.
    """
    gpus = torch.cuda.device_count() if name == "auto" and torch.cuda.is_available() else 0
    return f"cuda:{rank % gpus}" if gpus > 1 else name
