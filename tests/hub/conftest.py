from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hub.client import MEMBER, READER, STRANGER, Client, Connect, hub_environment
from tests.hub.stand_in import Account, StandIn


@pytest.fixture(scope="session")
def hub() -> Iterator[StandIn]:
    """A Hub, empty at first; each test names its repositories differently."""
    orgs = {"org": "write"}
    tokens = {MEMBER: Account("member", "write", orgs), READER: Account("member", "read", orgs)}
    with StandIn(accounts={**tokens, STRANGER: Account("stranger")}) as server:
        yield server


@pytest.fixture(scope="session")
def connect(hub: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    """Starts a client: of this Hub or of another, with a token or without, with a cache of its own or a given one."""
    with ExitStack() as stack:

        def start(token: str | None = None, url: str = hub.url, home: Path | None = None, **more: str) -> Client:
            client = Client(hub_environment(url, home or tmp_path_factory.mktemp("home"), token, **more))
            stack.callback(client.close)
            return client

        yield start


@pytest.fixture(scope="session")
def anyone(connect: Connect) -> Client:
    """Someone without a token."""
    return connect()


@pytest.fixture(scope="session")
def member(connect: Connect) -> Client:
    """Someone with the token `MEMBER`."""
    return connect(MEMBER)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a tiny encoder."""
    from tests.tiny_models import make_tiny_encoder

    folder = make_tiny_encoder(tmp_path_factory.mktemp("models") / "encoder")
    return {path.name: path.read_bytes() for path in folder.iterdir()}
