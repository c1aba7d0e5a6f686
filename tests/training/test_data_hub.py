"""Rows of the Hub, from the stand-in: pinned to a commit, from the cache while offline, or one clear sentence."""

from pathlib import Path
from typing import Any

import pytest

from sot_filter.errors import HubError, SotFilterError, SourceError
from sot_filter.training.origin import open_rows, resolve_dataset
from tests.hub.client import NOWHERE, Client, Connect
from tests.hub.conftest import connect, hub  # noqa: F401 - fixtures
from tests.hub.repository import Repository
from tests.hub.rows import as_parquet, pairs
from tests.hub.stand_in import StandIn

CARD = b"""---
configs:
- config_name: bread
  default: true
  data_files:
  - {split: train, path: bread/train.parquet}
- config_name: salt
  data_files: salt/*.parquet
---
"""


@pytest.fixture(scope="module")
def weighed(hub: StandIn) -> Repository:  # noqa: F811
    """Two configurations; `main` has moved on since `v1`."""
    files = {"README.md": CARD, "bread/train.parquet": as_parquet(pairs(4)), "salt/a.parquet": as_parquet(pairs(2))}
    repository = hub.create("datasets", "org/weighed", files)
    repository.tags["v1"] = repository.branches["main"]
    repository.commit({"bread/train.parquet": as_parquet(pairs(3, first=7))})
    return repository


def opened(**settings: Any) -> tuple[str | None, list[str]]:
    origin = open_rows(**settings)
    return origin.revision, origin.rows["prompt"][:]


def prompts(count: int, first: int = 0) -> list[object]:
    return [row["prompt"] for row in pairs(count, first=first)]


def refused(client: Client, kind: type[SotFilterError], **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        client(opened, **settings)
    assert caught.type is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_branch_or_tag_is_pinned_to_its_commit(weighed: Repository, connect: Connect) -> None:  # noqa: F811
    client = connect()
    assert client(opened, dataset="org/weighed") == (weighed.branches["main"], prompts(3, 7))
    assert client(opened, dataset="org/weighed", revision="v1") == (weighed.tags["v1"], prompts(4))
    assert client(opened, dataset="org/weighed", revision=weighed.tags["v1"]) == (weighed.tags["v1"], prompts(4))
    assert client(opened, dataset="org/weighed", config="salt") == (weighed.branches["main"], prompts(2))


def test_what_is_not_there(weighed: Repository, connect: Connect) -> None:  # noqa: F811
    client = connect()
    assert "org/nothing" in refused(client, SourceError, dataset="org/nothing")
    assert "v9" in refused(client, SourceError, dataset="org/weighed", revision="v9")
    assert "bread" in refused(client, SourceError, dataset="org/weighed", config="pepper")
    assert "train" in refused(client, SourceError, dataset="org/weighed", split="test")
    absent = "0" * 40
    assert absent[:12] in refused(client, SourceError, dataset="org/weighed", revision=absent)


def test_a_hub_that_does_not_answer(connect: Connect) -> None:  # noqa: F811
    assert "Check the network" in refused(connect(url=NOWHERE), HubError, dataset="org/weighed")


def test_offline_the_cache_is_enough(
    weighed: Repository,
    connect: Connect,  # noqa: F811
    tmp_path: Path,
) -> None:
    online = connect(home=tmp_path)
    wanted = online(opened, dataset="org/weighed")
    offline = connect(url=NOWHERE, home=tmp_path, HF_HUB_OFFLINE="1")
    assert offline(opened, dataset="org/weighed", revision=wanted[0]) == wanted
    assert offline(resolve_dataset, "org/weighed") == wanted[0]
    assert offline(opened, dataset="org/weighed") == wanted
    assert wanted[0] in refused(offline, HubError, dataset="org/weighed", revision=weighed.tags["v1"])
    assert "HF_HUB_OFFLINE" in refused(offline, HubError, dataset="org/unseen")
