"""What a commit is made of: operations rebuilt from facts, and lots that a commit can carry."""

import hashlib
import json
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub._commit_api import _prepare_commit_payload
from huggingface_hub.hf_api import RepoFile

from sot_filter.hub import Upload
from sot_filter.hub.pieces import BYTES, FILES, Piece, batches

CONTENT = b"PAR1 rows"
SHA = hashlib.sha256(CONTENT).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


def unread() -> bytes:
    pytest.fail("was read again")


def large(path: str = "a.parquet", size: int = len(CONTENT)) -> Piece:
    return Piece.of_upload(Upload(path, size, SHA, lfs=True), "nowhere://a", unread)


def test_a_rebuilt_operation_says_what_the_clients_own_would(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    own = CommitOperationAdd("a.parquet", tmp_path / "a")
    own._upload_mode = "lfs"
    own._is_uploaded = True
    rebuilt = large().operation()
    assert (rebuilt._is_uploaded, rebuilt._should_ignore, rebuilt._is_committed) == (True, None, False)
    expected, got = (list(_prepare_commit_payload([operation], {}, "Title", "")) for operation in (own, rebuilt))
    assert got == expected
    assert json.loads(json.dumps(got))[1] == {
        "key": "lfsFile",
        "value": {"path": "a.parquet", "algo": "sha256", "oid": SHA, "size": len(CONTENT)},
    }


def entry(content: bytes, lfs: bool) -> RepoFile:
    sha = hashlib.sha256(content).hexdigest()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    stored = {"lfs": {"oid": sha, "size": len(content), "pointerSize": 1}} if lfs else {}
    return RepoFile(path="a", size=len(content), oid="0" * 40 if lfs else blob, **stored)


def test_what_is_there_is_known_by_its_digest() -> None:
    small = Piece.of_bytes("a", CONTENT)
    assert (small.sha256, small.blob) == (SHA, BLOB)
    assert large().is_at(entry(CONTENT, lfs=True))
    assert not large().is_at(entry(b"other", lfs=True))
    assert not large().is_at(entry(CONTENT, lfs=False))
    assert small.is_at(entry(CONTENT, lfs=True))
    assert small.is_at(entry(CONTENT, lfs=False))
    assert not small.is_at(entry(b"other", lfs=False))
    assert not small.is_at(None)


def test_lots_hold_so_many_files() -> None:
    pieces = [large(f"{n}.parquet", 10**12) for n in range(2 * FILES + 1)]
    lots = list(batches(pieces))
    assert [len(lot) for lot in lots] == [FILES, FILES, 1]
    assert [piece for lot in lots for piece in lot] == pieces
    assert list(batches([])) == []


def test_lots_carry_so_many_bytes() -> None:
    third = BYTES // 3 + 1
    small = [Piece(f"{n}.jsonl", third, SHA, False, unread) for n in range(5)]
    assert [len(lot) for lot in batches([*small, large()])] == [2, 2, 2]
    assert [len(lot) for lot in batches([Piece("a", 2 * BYTES, SHA, False, unread), large()])] == [2]
