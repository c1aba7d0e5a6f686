import json
from pathlib import Path

import numpy as np
import pytest

from sot_filter.conversation import Conversation, Message
from sot_filter.embedding import load_embedder, resolve_model
from sot_filter.embedding.models import ResolvedModel, fetch, read_config
from sot_filter.errors import HubError, ModelError
from tests.hub.client import MEMBER, NOWHERE, Client, Connect
from tests.hub.repository import Repository
from tests.hub.stand_in import StandIn

POOLING = b'{"pooling_mode_cls_token": true}'
#: What lies beside the weights in many a model, and is of no use here.
BALLAST = {
    "pytorch_model.bin": b"\x80\x04.",
    "onnx/model.onnx": b"0",
    "onnx/model.safetensors": b"1",
    "tf_model.h5": b"2",
}
CONVERSATION = Conversation((Message("user", "how do I bake bread"), Message("assistant", "mix flour then wait")))


@pytest.fixture(scope="module")
def model(hub: StandIn, encoder: dict[str, bytes]) -> Repository:
    """A model whose `main` has moved on since the tag `v1`: it now states how to pool."""
    repository = hub.create("models", "org/encoder", {**encoder, **BALLAST})
    repository.tags["v1"] = repository.branches["main"]
    repository.commit({"1_Pooling/config.json": POOLING})
    return repository


def had(name: str, revision: str | None = None) -> tuple[ResolvedModel, dict[str, bytes]]:
    """The model, and what of it is on this machine."""
    found = fetch(resolve_model(name, revision))
    folder = Path(found.path_or_id)
    return found, {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def config_of(name: str, revision: str) -> dict[str, object]:
    """What its config says, before it is fetched."""
    return read_config(resolve_model(name, revision))


def vectors(**settings: object) -> dict[str, np.ndarray]:
    return load_embedder(device="cpu", **settings).embed([CONVERSATION]).vectors


@pytest.mark.parametrize(("revision", "pooling"), [(None, "cls"), ("main", "cls"), ("v1", None)])
def test_a_revision_is_pinned_to_its_commit(
    revision: str | None, pooling: str | None, model: Repository, encoder: dict[str, bytes], anyone: Client
) -> None:
    sha = model.tags["v1"] if revision == "v1" else model.branches["main"]
    found, files = anyone(had, "org/encoder", revision)
    assert (found.name, found.revision, found.digest, found.local) == ("org/encoder", sha, sha, False)
    assert found.default_pooling == pooling
    assert files == encoder | ({"1_Pooling/config.json": POOLING} if pooling else {})


def test_a_commit_stays_what_it_was_and_costs_no_call_to_resolve(
    model: Repository, hub: StandIn, anyone: Client
) -> None:
    calls = len(hub.served)
    assert anyone(resolve_model, "org/encoder", model.tags["v1"]).revision == model.tags["v1"]
    assert len(hub.served) == calls
    assert anyone(had, "org/encoder", model.tags["v1"]) == anyone(had, "org/encoder", "v1")


def test_what_is_not_needed_is_not_fetched(model: Repository, hub: StandIn, connect: Connect, tmp_path: Path) -> None:
    calls = len(hub.served)
    found, _ = connect(home=tmp_path)(had, "org/encoder")
    asked = {served.path.split(f"/{found.revision}/")[-1] for served in hub.served[calls:]}
    assert "model.safetensors" in asked
    assert asked.isdisjoint(BALLAST)


def test_it_embeds_as_the_same_files_in_a_folder_do(
    model: Repository, encoder: dict[str, bytes], member: Client, tmp_path: Path
) -> None:
    for name, content in encoder.items():
        (tmp_path / name).write_bytes(content)
    here = member(vectors, model=str(tmp_path))
    there = member(vectors, model="org/encoder", revision=model.tags["v1"])
    assert {view: vector.tolist() for view, vector in there.items()} == {k: v.tolist() for k, v in here.items()}
    pooled = member(vectors, model="org/encoder", revision="main")
    assert not np.array_equal(pooled["prompt"], there["prompt"])


def test_pickled_weights_are_refused_by_branch_and_by_commit(
    hub: StandIn, encoder: dict[str, bytes], anyone: Client
) -> None:
    files = {name: content for name, content in encoder.items() if not name.endswith(".safetensors")}
    unsafe = hub.create("models", "org/unsafe", {**files, **BALLAST})
    with pytest.raises(ModelError, match="safetensors only"):
        anyone(resolve_model, "org/unsafe")
    with pytest.raises(ModelError, match="safetensors only"):
        anyone(had, "org/unsafe", unsafe.branches["main"])
    assert hub.bytes_served("pytorch_model.bin") == 0


def test_what_is_not_there(model: Repository, anyone: Client) -> None:
    with pytest.raises(ModelError, match="org/nothing"):
        anyone(resolve_model, "org/nothing")
    with pytest.raises(ModelError, match="revision of org/encoder"):
        anyone(resolve_model, "org/encoder", "nosuch")
    with pytest.raises(ModelError, match="revision of org/encoder"):
        anyone(had, "org/encoder", "0" * 40)


@pytest.mark.parametrize(("access", "do"), [("private", "HF_TOKEN"), ("gated", "Accept its terms.*HF_TOKEN")])
def test_what_is_not_open_needs_the_right_token(
    access: str, do: str, hub: StandIn, encoder: dict[str, bytes], anyone: Client, member: Client
) -> None:
    closed = hub.create("models", f"org/{access}-model", encoder, access, MEMBER)
    for revision in ("main", closed.branches["main"]):
        with pytest.raises(ModelError, match=do):
            anyone(had, closed.id, revision)
        assert member(had, closed.id, revision)[1] == encoder


def test_switched_off_the_cache_serves_what_it_has(
    model: Repository, hub: StandIn, connect: Connect, tmp_path: Path
) -> None:
    fetched = connect(home=tmp_path)(had, "org/encoder", "v1")
    calls = len(hub.served)
    offline = connect(home=tmp_path, HF_HUB_OFFLINE="1")
    assert offline(had, "org/encoder", "v1") == offline(had, "org/encoder", model.tags["v1"]) == fetched
    for revision in (None, "main", model.branches["main"]):
        with pytest.raises(HubError, match="out of reach or switched off"):
            offline(had, "org/encoder", revision)
    assert len(hub.served) == calls
    assert connect(home=tmp_path, url=NOWHERE)(had, "org/encoder", model.tags["v1"]) == fetched


def test_half_a_model_in_the_cache_is_none(model: Repository, connect: Connect, tmp_path: Path) -> None:
    connect(home=tmp_path)(had, "org/encoder", "v1")
    (weights,) = (tmp_path / "hub").rglob(f"snapshots/{model.tags['v1']}/model.safetensors")
    weights.unlink()
    with pytest.raises(HubError, match=r"org/encoder in the local cache"):
        connect(home=tmp_path, HF_HUB_OFFLINE="1")(had, "org/encoder", model.tags["v1"])


def test_a_config_is_read_before_any_weights(
    model: Repository, hub: StandIn, encoder: dict[str, bytes], connect: Connect, tmp_path: Path
) -> None:
    calls, commit = len(hub.served), model.tags["v1"]
    assert connect(home=tmp_path)(config_of, "org/encoder", commit) == json.loads(encoder["config.json"])
    assert {served.path.rsplit("/", 1)[-1] for served in hub.served[calls:]} == {"config.json"}
    served = len(hub.served)
    assert connect(home=tmp_path, HF_HUB_OFFLINE="1")(config_of, "org/encoder", commit)["hidden_size"]
    assert len(hub.served) == served


def test_a_config_that_cannot_be_had_says_nothing_but_refused_access_does(
    model: Repository, hub: StandIn, encoder: dict[str, bytes], connect: Connect, anyone: Client, tmp_path: Path
) -> None:
    assert connect(home=tmp_path, url=NOWHERE)(config_of, "org/encoder", model.tags["v1"]) == {}
    bare = hub.create("models", "org/bare", {"model.safetensors": b"0"})
    assert anyone(config_of, "org/bare", bare.branches["main"]) == {}
    closed = hub.create("models", "org/closed", encoder, "gated", MEMBER)
    with pytest.raises(ModelError, match="Accept its terms"):
        anyone(config_of, "org/closed", closed.branches["main"])
