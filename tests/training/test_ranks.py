"""Two ranks are one process: the same rows in the same steps give the same weights, whatever the method."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.ddp_rank import cases, run

ROOT = Path(__file__).resolve().parents[2]
#: Two units in the last place of a weight near 1, in single precision.
ROUNDING = 2.4e-7


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def ranks(tiny_chat: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """The weights that each of two ranks ended with, by case."""
    output = tmp_path_factory.mktemp("ranks")
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
        "HF_DATASETS_CACHE": str(output / "cache"),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.ddp_rank", str(tiny_chat), str(tiny_base), str(output)],
            cwd=ROOT,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    return [load_file(output / f"{rank}.safetensors") for rank in range(2)]


@pytest.mark.parametrize("name", ["sample_mean", "token", "spf", "asft"])
def test_two_ranks_end_as_one_process(
    ranks: list[dict[str, torch.Tensor]], tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str
) -> None:
    alone = run(cases(tiny_chat, tiny_base)[name], tiny_chat, tmp_path, ranks=1)
    first, second = (rank[name] for rank in ranks)
    assert torch.equal(first, second)
    assert float((first - alone).abs().max()) < ROUNDING


def test_ranks_that_resume_end_where_they_would_have(ranks: list[dict[str, torch.Tensor]]) -> None:
    for rank in ranks:
        assert torch.equal(rank["spf_resumed"], rank["spf"])
