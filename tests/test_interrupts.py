"""An interrupt that a finaliser swallows is raised where the stage ends; without one nothing happens."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from sot_filter.cli.interrupts import listen, raise_if_seen


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    listen()
    signal.signal(signal.SIGINT, before)


def interrupt_myself() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    # Until the signal has come.
    threading.Event().wait(0.05)


class Finalised:
    def __del__(self) -> None:
        # What this raises is dropped, here.
        interrupt_myself()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_in_a_finaliser_is_not_lost() -> None:
    listen()
    Finalised()
    with pytest.raises(KeyboardInterrupt):
        raise_if_seen()


def test_an_interrupt_is_raised_at_once_as_always() -> None:
    listen()
    with pytest.raises(KeyboardInterrupt):
        interrupt_myself()


def test_without_one_nothing_is_raised_and_an_earlier_one_is_forgotten() -> None:
    listen()
    raise_if_seen()
    with pytest.raises(KeyboardInterrupt):
        interrupt_myself()
    listen()
    raise_if_seen()
