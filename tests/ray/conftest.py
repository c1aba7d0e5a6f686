import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cases import Case, rows_of
from tests.tiny_models import make_tiny_encoder

# Before Ray is imported: clusters and drivers that know each other by a token which is in no file.
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex + uuid.uuid4().hex}
os.environ.update(AUTHENTICATION)


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster with two cores: its address, and the process that everything of it descends from."""

    address: str
    head: int

    def workers(self) -> list[int]:
        """The processes of this cluster that are at a task of ours."""
        parents, ours = dict[int, int](), list[int]()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if b"run_rank" in (folder / "cmdline").read_bytes():
                    ours.append(int(folder.name))
        return [process for process in ours if self._is_of(process, parents)]

    def _is_of(self, process: int, parents: dict[int, int]) -> bool:
        while process in parents and process != self.head:
            process = parents[process]
        return process == self.head


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return make_tiny_encoder(tmp_path_factory.mktemp("model") / "encoder")


@pytest.fixture
def case(tmp_path: Path, encoder: Path) -> Case:
    """Four files, so four parts and more; not run yet."""
    return Case(tmp_path, encoder, {f"{name}.jsonl": rows_of(150, seed) for seed, name in enumerate("abcd")})


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Started as an administrator would, on a free port; ended by its own process, as others may have a Ray here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    options = [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--block"]
    log = tmp_path_factory.mktemp("ray") / "head.log"
    with log.open("wb") as handle:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *options]
        head = subprocess.Popen(command, stdout=handle, stderr=handle)
    deadline = time.monotonic() + 60
    while b"--block" not in log.read_bytes():
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    yield Cluster(f"127.0.0.1:{port}", head.pid)
    head.terminate()
    head.wait(60)
