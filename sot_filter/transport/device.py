"""Moving what is made of tensors from one device to another: measures, problems, solutions, or several of them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def move(value: T, device: torch.device | str) -> T:
    """The same with every tensor in it on ``device``; itself where all of them are there.

    Args:
        value: a tensor, a dataclass, a tuple, a list or a mapping of such; anything else stays as it is.
        device: where to.
    """
    return cast(T, _moved(value, torch.device(device)))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        before = {field.name: getattr(value, field.name) for field in fields(value)}
        after = {name: _moved(item, device) for name, item in before.items()}
        # A measure that is made anew rescales its masses, so nothing is made anew for nothing.
        return value if all(after[name] is before[name] for name in before) else type(value)(**after)
    if isinstance(value, Mapping):
        after = {name: _moved(item, device) for name, item in value.items()}
        return value if all(after[name] is value[name] for name in value) else after
    if isinstance(value, tuple | list):
        items = [_moved(item, device) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
