"""Workers of one machine share out its GPUs; a device that was named is left alone."""

import pytest
import torch

from sot_filter.steps.devices import device_of


@pytest.mark.parametrize(("gpus", "expected"), [
    (0, ["auto", "auto", "auto"]),
    (1, ["auto", "auto", "auto"]),
    (2, ["cuda:0", "cuda:1", "cuda:0"]),
])  # fmt: skip
def test_each_task_in_turn_takes_the_next_gpu(gpus: int, expected: list[str], monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert [device_of("auto", rank) for rank in range(3)] == expected
    assert device_of("cuda:1", 0) == "cuda:1"
    assert device_of("cpu", 1) == "cpu"
