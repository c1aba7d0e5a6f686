"""Thousands of artifacts looked up together are those that would be found one by one."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from sot_filter.artifacts import Manifest, announce, find_manifest, finished, read_bytes, remove, write_bytes
from sot_filter.errors import ArtifactError


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "stage") if request.param == "local" else f"memory://{uuid4().hex}/stage"


def make(url: str, key: str = "key", rows: int = 3, data: bytes = b"bytes") -> str:
    digest, size = write_bytes(url, data)
    announce(url, Manifest(key, rows, digest, size, {"seconds": 1.5}))
    return url


def other_key(url: str) -> None:
    make(url, "yek")


def other_rows(url: str) -> None:
    make(url, rows=4)


def no_file(url: str) -> None:
    remove(url)


def no_manifest(url: str) -> None:
    remove(f"{url}.json")


def shorter(url: str) -> None:
    write_bytes(url, b"byte")


def no_manifest_but_json(url: str) -> None:
    write_bytes(f"{url}.json", b"[1]")


def only_facts(url: str) -> None:
    remove(url)
    announce(url, Manifest("key", 9))


CHANGES: list[Callable[[str], None]] = [
    other_key, other_rows, no_file, no_manifest, shorter, no_manifest_but_json, only_facts
]  # fmt: skip


def one_by_one(urls: list[str], key: str = "key") -> dict[str, int]:
    manifests = {url: find_manifest(url, key) for url in urls}
    return {url: manifest.rows for url, manifest in manifests.items() if manifest}


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_change_is_seen_at_the_next_look(folder: str, change: Callable[[str], None]) -> None:
    urls = [make(f"{folder}/{file}/{i:03}-{i + 1:03}.arrow") for file in ("a.jsonl", "deep/b.jsonl") for i in range(3)]
    urls.append(f"{folder}/c.jsonl/never.arrow")
    for _ in range(2):
        assert finished(urls, "key") == one_by_one(urls) == dict.fromkeys(urls[:-1], 3)
    change(urls[1])
    for _ in range(2):
        assert finished(urls, "key") == one_by_one(urls)
    assert finished(urls, "key") != dict.fromkeys(urls[:-1], 3)
    assert finished(urls, "yek") == one_by_one(urls, "yek")
    make(urls[1])
    assert finished(urls, "key") == dict.fromkeys(urls[:-1], 3)


def test_a_manifest_of_the_same_size_and_second_is_read_again(folder: str) -> None:
    url = make(f"{folder}/part")
    assert finished([url], "key") == {url: 3}
    make(url, "yek")
    if folder.startswith("/"):
        os.utime(f"{url}.json", ns=(0, 0))
    assert finished([url], "key") == {}
    assert finished([url], "yek") == {url: 3}


def test_broken_json_is_named(folder: str) -> None:
    url = make(f"{folder}/part")
    write_bytes(f"{url}.json", b'{"key": ')
    with pytest.raises(ArtifactError, match=r"valid JSON in .*part\.json; got something else\. Remove the file"):
        finished([url], "key")


@pytest.fixture
def requests() -> list[str]:
    """What a filesystem of URLs is asked, call by call."""
    asked: list[str] = []

    class Counted(MemoryFileSystem):
        protocol = "counted"
        store = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012
        cachable = False

        def ls(self, path, detail=True, **options):
            asked.append(f"ls {path}")
            return super().ls(path, detail=detail, **options)

        def cat_file(self, path, *arguments, **options):
            asked.append(f"cat {path}")
            return super().cat_file(path, *arguments, **options)

    fsspec.register_implementation("counted", Counted, clobber=True)
    return asked


def test_a_second_look_is_one_listing(requests: list[str]) -> None:
    urls = [make(f"counted://run/{i}") for i in range(50)]
    requests.clear()
    assert len(finished(urls, "key")) == 50
    assert len([r for r in requests if r.startswith("ls")]) == 1
    assert len([r for r in requests if r.startswith("cat")]) == 50
    make(urls[7], "yek")
    requests.clear()
    assert len(finished(urls, "key")) == 49
    assert [r.partition(" ")[0] for r in requests] == ["ls", "cat"]


@pytest.mark.parametrize("url", ["nonsense://bucket/run", "ftp://127.0.0.1:9/run"])
def test_a_place_that_cannot_be_reached_is_named(url: str) -> None:
    for look in (lambda: finished([f"{url}/part"], "key"), lambda: read_bytes(url), lambda: write_bytes(url, b"x")):
        with pytest.raises(ArtifactError, match=rf"to reach {url}.*; got .+\. Check the path"):
            look()


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert isinstance(fsspec.url_to_fs(str(tmp_path))[0], LocalFileSystem)
    assert finished([f"{tmp_path}/file/part"], "key") == {}
    with pytest.raises(ArtifactError, match=r"to reach .*file/part; got NotADirectoryError"):
        read_bytes(f"{tmp_path}/file/part")
