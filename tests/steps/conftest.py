from pathlib import Path

import pytest

from tests.tiny_models import make_tiny_encoder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return make_tiny_encoder(tmp_path_factory.mktemp("model") / "encoder")
