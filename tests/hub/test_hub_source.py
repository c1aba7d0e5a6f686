import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sot_filter.conversation import Conversation, InvalidRow
from sot_filter.errors import HubError, SotFilterError, SourceError
from sot_filter.sources import Source, hub_source
from tests.hub.client import MEMBER, NOWHERE, STRANGER, Client, Connect
from tests.hub.repository import Repository
from tests.hub.rows import CARD, Rows, as_csv, as_jsonl, as_parquet, pairs
from tests.hub.stand_in import StandIn

LEAVER = "hf_leaver"


@pytest.fixture(scope="module")
def baking(hub: StandIn) -> Repository:
    """Two configurations, one of two splits, one of them in two files; `main` has moved on since `v1`."""
    repository = hub.create(
        "datasets",
        "org/baking",
        {
            "README.md": CARD,
            "bread/train-0.parquet": as_parquet(pairs(4)),
            "bread/train-1.parquet": as_parquet(pairs(3, first=4)),
            "bread/test.parquet": as_parquet(pairs(2, first=7)),
            "salt/all.parquet": as_parquet(pairs(5, "salt")),
        },
    )
    repository.tags["v1"] = repository.branches["main"]
    repository.commit({"bread/train-2.parquet": as_parquet(pairs(2, first=9))})
    return repository


def read_all(source: Source) -> list[Conversation | InvalidRow]:
    return [row for file in source.files for row in source.read(file)]


def texts(client: Client, source: Source) -> list[tuple[str, str]]:
    """Prompt and response of each row, as the Hub's client reads them."""
    rows = client(read_all, source)
    assert all(isinstance(row, Conversation) for row in rows)
    return [tuple(message.content for message in row.messages) for row in rows]


def as_texts(rows: Rows) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in rows]


def refused(client: Client, kind: type[SotFilterError], *args: object, **kwargs: object) -> SotFilterError:
    """The error, which must be of this very kind."""
    with pytest.raises(kind) as caught:
        client(hub_source, *args, **kwargs)
    assert caught.type is kind
    return caught.value


def test_a_split_of_several_files_is_pinned_to_the_commit(baking: Repository, anyone: Client) -> None:
    source = anyone(hub_source, "org/baking", revision="main")
    assert (source.dataset, source.revision) == ("org/baking", baking.branches["main"])
    assert (source.config, source.split, source.format) == ("bread", "train", "prompt_completion")
    assert [(file.name, file.rows) for file in source.files] == [
        ("bread/train-0.parquet", 4),
        ("bread/train-1.parquet", 3),
        ("bread/train-2.parquet", 2),
    ]
    assert all(f"@{source.revision}/" in file.uri for file in source.files)
    assert source.key(source.files[1], 2).id == "bread/train/bread/train-1.parquet#2"
    assert texts(anyone, source) == as_texts(pairs(7) + pairs(2, first=9))


def test_a_range_of_rows(baking: Repository, anyone: Client) -> None:
    source = anyone(hub_source, "org/baking", revision="v1")
    rows = anyone(list_range, source, 1, 3)
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in pairs(2, first=1)]


def list_range(source: Source, start: int, stop: int) -> Rows:
    return list(source.read_raw(source.files[0], start, stop))


@pytest.mark.parametrize(
    ("how", "rows"),
    [
        ({"split": "test"}, pairs(2, first=7)),
        ({"config": "salt"}, pairs(5, "salt")),
        ({"config": "bread", "revision": "v1"}, pairs(7)),
        ({"revision": "v1", "config": "salt", "split": "train"}, pairs(5, "salt")),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_splits_configurations_and_revisions(
    how: dict[str, str], rows: Rows, baking: Repository, anyone: Client
) -> None:
    source = anyone(hub_source, "org/baking", **how)
    assert source.revision == (baking.tags if "revision" in how else baking.branches)[how.get("revision", "main")]
    assert texts(anyone, source) == as_texts(rows)


def test_a_sha_stays_what_it_was(baking: Repository, anyone: Client) -> None:
    sha = baking.tags["v1"]
    by_tag, by_sha = (anyone(hub_source, "org/baking", revision=revision) for revision in ("v1", sha))
    assert by_tag == by_sha
    assert by_sha.revision == sha
    assert by_sha.digest != anyone(hub_source, "org/baking").digest


def test_what_is_not_there(baking: Repository, anyone: Client) -> None:
    assert "'dev'" in refused(anyone, SourceError, "org/baking", split="dev").expected
    split = refused(anyone, SourceError, "org/baking", split="dev")
    assert ("train, test" in split.got, "input.split" in split.do) == (True, True)
    config = refused(anyone, SourceError, "org/baking", config="pepper")
    assert ("bread" in config.got, "salt" in config.got, "input.config" in config.do) == (True, True, True)
    assert "nosuch" in refused(anyone, SourceError, "org/baking", revision="nosuch").expected
    assert "org/baking at 0" in refused(anyone, SourceError, "org/baking", revision="0" * 40).expected
    assert "org/nothing" in refused(anyone, SourceError, "org/nothing").expected


@pytest.mark.parametrize("name", ["baking", "a/b/c", "org/b king", "", "./org/baking", "-org/x"])
def test_names_that_are_no_dataset(name: str, anyone: Client) -> None:
    assert "org/name" in refused(anyone, SourceError, name).expected


def test_a_configuration_must_be_chosen_where_none_is_the_default(hub: StandIn, anyone: Client) -> None:
    card = CARD.replace(b"  default: true\n", b"")
    hub.create(
        "datasets",
        "org/undecided",
        {
            "README.md": card,
            "bread/train-0.parquet": as_parquet(pairs(1)),
            "bread/test.parquet": as_parquet(pairs(1)),
            "salt/a.parquet": as_parquet(pairs(1)),
        },
    )
    error = refused(anyone, SourceError, "org/undecided")
    assert "input.config" in error.do


@pytest.mark.parametrize(
    "files",
    [{}, {"README.md": b"# nothing"}, {"README.md": CARD}, {"model.gguf": b"no rows"}, {"a.jsonl": b""}],
    ids=["no files", "card only", "files of the card missing", "unknown kind", "no rows"],
)
def test_repositories_without_rows(files: dict[str, bytes], hub: StandIn, anyone: Client) -> None:
    hub.create("datasets", "org/empty", files)
    refused(anyone, SourceError, "org/empty")


@pytest.mark.parametrize(("ending", "write"), [("jsonl", as_jsonl), ("csv", as_csv)])
def test_text_files_by_their_names(ending: str, write: Callable[[Rows], bytes], hub: StandIn, anyone: Client) -> None:
    content = write(pairs(6))
    hub.create("datasets", f"org/{ending}", {f"train.{ending}": content, f"test.{ending}": write(pairs(2, first=6))})
    source = anyone(hub_source, f"org/{ending}")
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    assert [(file.name, file.rows, file.digest) for file in source.files] == [(f"train.{ending}", 6, f"git:{blob}")]
    assert texts(anyone, source) == as_texts(pairs(6))
    assert texts(anyone, anyone(hub_source, f"org/{ending}", split="test")) == as_texts(pairs(2, first=6))


def test_of_mixed_kinds_the_ones_that_datasets_would_load(hub: StandIn, anyone: Client) -> None:
    files = {"a.jsonl": as_jsonl(pairs(2)), "b.jsonl": as_jsonl(pairs(2, first=2)), "c.csv": as_csv(pairs(1, first=4))}
    hub.create("datasets", "org/mixed", files)
    source = anyone(hub_source, "org/mixed")
    assert [file.name for file in source.files] == ["a.jsonl", "b.jsonl"]


def test_digests_come_from_the_hub_without_the_data(hub: StandIn, anyone: Client) -> None:
    noise = np.random.default_rng(0).bytes(24_000_000)
    texts = [noise[i : i + 1000].hex() for i in range(0, len(noise), 1000)]
    table = pa.table({"prompt": texts[::2], "completion": texts[1::2]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", row_group_size=500, use_dictionary=False)
    content = sink.getvalue().to_pybytes()
    hub.create("datasets", "org/large", {"large.parquet": content})
    (file,) = anyone(hub_source, "org/large").files
    assert (file.rows, file.bytes) == (len(table), len(content))
    assert file.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert hub.bytes_served("/large.parquet") < len(content) / 3


def test_what_is_not_open_needs_the_right_token(
    hub: StandIn, anyone: Client, member: Client, connect: Connect
) -> None:
    stranger = connect(STRANGER)
    for access in ("gated", "private"):
        for card in ({}, {"README.md": b"# Closed"}):
            name = f"org/{access}-{len(card)}"
            hub.create("datasets", name, {"data.jsonl": as_jsonl(pairs(2)), **card}, access, MEMBER)
            for client in (anyone, stranger):
                assert "HF_TOKEN" in refused(client, SourceError, name).do
            source = member(hub_source, name)
            assert texts(member, source) == as_texts(pairs(2))
            assert MEMBER not in str(source.to_json())


def test_a_token_that_is_no_longer_valid(baking: Repository, connect: Connect) -> None:
    error = refused(connect("hf_expired"), HubError, "org/baking")
    assert "HF_TOKEN" in error.do
    assert "hf_expired" not in str(error)


def test_a_hub_that_does_not_answer(connect: Connect) -> None:
    error = refused(connect(url=NOWHERE), HubError, "org/baking")
    assert error.exit_code == 5
    assert "org/baking" in error.expected


@pytest.fixture(scope="module")
def leaver(connect: Connect) -> Client:
    """Someone whose account the tests close and open again."""
    return connect(LEAVER)


@pytest.mark.parametrize(("kind", "write"), [("parquet", as_parquet), ("jsonl", as_jsonl), ("csv", as_csv)])
def test_refusals_while_rows_are_read(kind: str, write: Callable[[Rows], bytes], hub: StandIn, leaver: Client) -> None:
    hub.tokens |= {LEAVER}
    repository = hub.create("datasets", f"org/closing-{kind}", {f"a.{kind}": write(pairs(2))}, "gated", LEAVER)
    source = leaver(hub_source, repository.id)
    repository.members = frozenset()
    with pytest.raises(SourceError, match=rf"{repository.id} at {source.revision}.*HF_TOKEN"):
        leaver(read_all, source)
    hub.tokens -= {LEAVER}
    with pytest.raises(HubError, match=rf"{repository.id} at {source.revision}.*401.*HF_TOKEN"):
        leaver(read_all, source)


@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz"])
def test_a_broken_file_is_not_the_hubs_fault(kind: str, hub: StandIn, anyone: Client) -> None:
    hub.create("datasets", "org/broken", {f"a.{kind}": b"PAR1 no more"})
    assert f"a.{kind}" in str(refused(anyone, SourceError, "org/broken"))


def test_a_card_that_is_no_yaml(hub: StandIn, anyone: Client) -> None:
    hub.create("datasets", "org/carded", {"README.md": b"---\nconfigs: [\n---\n", "a.jsonl": as_jsonl(pairs(1))})
    assert "card" in refused(anyone, SourceError, "org/carded").do


def in_folder(folder: Path, dataset: str) -> Source:
    with contextlib.chdir(folder):
        return hub_source(dataset)


def test_a_folder_of_the_same_name_is_not_the_dataset(baking: Repository, anyone: Client, tmp_path: Path) -> None:
    (tmp_path / "org" / "baking").mkdir(parents=True)
    (tmp_path / "org" / "baking" / "train.jsonl").write_bytes(as_jsonl(pairs(1, "nothing")))
    source = anyone(in_folder, tmp_path, "org/baking")
    assert [file.rows for file in source.files] == [4, 3, 2]
