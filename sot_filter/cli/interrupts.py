"""Ctrl-C, also where Python would lose it.

An exception that a signal raises while a finaliser or a library's callback runs is dropped there, and the run would go
on to its end. So an interrupt is remembered, and raised again where a stage ends.
"""

import signal
import threading
from types import FrameType

_seen = threading.Event()


def listen() -> None:
    """Remember interrupts from now on, beside raising them as always."""
    _seen.clear()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)


def raise_if_seen() -> None:
    """Raise `KeyboardInterrupt` if there has been an interrupt."""
    if _seen.is_set():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _seen.set()
    raise KeyboardInterrupt
