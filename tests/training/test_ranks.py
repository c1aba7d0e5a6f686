"""Two ranks are one process: the same rows in the same steps give the same weights, whatever the method."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.ddp_rank import cases, run
from tests.training.two_ranks import in_two_ranks

#: Two units in the last place of a weight near 1, in single precision.
ROUNDING = 2.4e-7


@pytest.fixture(scope="module")
def ranks(tiny_chat: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """The weights that each of two ranks ended with, by case."""
    output = tmp_path_factory.mktemp("ranks")
    in_two_ranks("tests.training.ddp_rank", tiny_chat, tiny_base, output=output)
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
