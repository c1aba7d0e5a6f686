"""Two workers are alike exactly when their code is."""

import shutil
import time
from pathlib import Path

import sot_filter
from sot_filter.artifacts import version_difference, versions
from sot_filter.artifacts.versions import code_digest

PACKAGE = Path(sot_filter.__file__).parent


def test_versions_name_package_code_and_libraries() -> None:
    found = versions()
    assert list(found) == ["sot-filter", "code", "torch", "transformers", "datatrove"]
    assert found["sot-filter"] == sot_filter.__version__
    assert not any("+" in version for version in found.values())


def test_any_change_of_the_code_changes_its_digest_and_nothing_else_does(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE / "artifacts", copy, ignore=shutil.ignore_patterns("__pycache__"))
    digest = code_digest(copy)
    assert digest == code_digest(copy)
    (copy / "notes.txt").write_text("not code")
    shutil.move(copy, tmp_path / "elsewhere")
    copy = tmp_path / "elsewhere"
    assert code_digest(copy) == digest
    files = copy / "files.py"
    text = files.read_text()
    files.write_text(text.replace("100", "101", 1))
    changed = code_digest(copy)
    files.write_text(text)
    (copy / "shards.py").rename(copy / "shard.py")
    assert len({digest, changed, code_digest(copy)}) == 3


def test_it_takes_no_time() -> None:
    started = time.process_time()
    code_digest(PACKAGE)
    assert time.process_time() - started < 0.2


def test_a_difference_names_what_changed() -> None:
    old = {"sot-filter": "0.1.0", "torch": "2.13.0", "code": "0a"}
    assert version_difference(old, {"sot-filter": "0.1.0", "torch": "2.14.0"}) == (
        "torch 2.14.0, not 2.13.0; code None, not 0a"
    )
    assert version_difference(None, {"torch": "2.14.0"}) == "torch 2.14.0"
