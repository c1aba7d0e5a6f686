from pathlib import Path

import pytest

from tests.tiny_models import make_tiny_decoder
from tests.training.tiny_runs import beside


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with a chat template."""
    return make_tiny_decoder(tmp_path_factory.mktemp("models") / "chat", layers=2)


@pytest.fixture(scope="session")
def tiny_base(tiny_chat: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tiny model would have been aligned from: every weight a little elsewhere."""
    return beside(tiny_chat, tmp_path_factory.mktemp("models") / "base")
