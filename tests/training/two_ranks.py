"""A module of the tests as two processes that train together."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def in_two_ranks(module: str, *arguments: Path, output: Path) -> None:
    """Run a module of the tests as two gloo ranks, which must end well."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    shared["HF_DATASETS_CACHE"] = str(output / "cache")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments), str(output)],
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
