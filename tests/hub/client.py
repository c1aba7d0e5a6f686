"""Processes of their own in which the Hub's clients run, since they read their environment on import."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

P = ParamSpec("P")
R = TypeVar("R")

#: Token of the account ``member``, which writes in the organization ``org``; the tests let it into what is not open.
MEMBER = "hf_memberMEMBERmember"
#: Token of the same account that may only read.
READER = "hf_readerREADERreader"
#: Token of the account ``stranger``, which they let into nothing that is not its own.
STRANGER = "hf_strangerSTRANGER"
#: A server that does not answer.
NOWHERE = "http://127.0.0.1:9"


def hub_environment(url: str, home: Path, token: str | None = None, **more: str) -> dict[str, str]:
    """The environment of someone who uses the Hub at ``url``: nothing of the machine's own Hub settings is left."""
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("HF_")}
    chosen = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | chosen | ({"HF_TOKEN": token} if token else {}) | more


class Client:
    """One process with an environment of its own, to call functions in. What they return or raise comes back."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function that can be imported, with arguments that can be pickled."""
        with pytest.MonkeyPatch.context() as patch:
            # The process is born at the first call, with the environment of that moment.
            for name in os.environ.keys() - self._environment.keys():
                patch.delenv(name)
            for name, value in self._environment.items():
                patch.setenv(name, value)
            future = self._pool.submit(function, *args, **kwargs)
        return future.result(timeout=120)

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


#: Starts a client: of this Hub or of another, with a token or without, with a cache of its own or a given one.
Connect = Callable[..., Client]


def sot_filter(environment: dict[str, str], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sot_filter.cli", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
