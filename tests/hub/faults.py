"""What goes wrong between a client and the stand-in, planted by a test: refusals, cut connections, slow answers."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

#: Where a connection ends: in the middle of the request's body; before the request is carried out; after it was, so
#: that the client never hears of it; in the middle of the answer's body.
Cut = Literal["upload", "before", "after", "body"]


@dataclass
class Fault:
    """Something that goes wrong with the requests that it fits.

    Attributes:
        method: of the requests, ``*`` for any.
        path: expression found in the unquoted path of the requests, without the query.
        times: how many requests it hits, None for all.
        skip: how many that fit go through before the first hit.
        status: answered instead of carrying the request out.
        code: of the error, as the clients know it (``X-Error-Code``).
        message: of the error, as the clients show it.
        retry_after: seconds that the answer asks to wait.
        cut: where the connection ends.
        delay: seconds between carrying the request out and the answer.
        hits: how many requests it has hit.
    """

    method: str
    path: str
    times: int | None = 1
    skip: int = 0
    status: int | None = None
    code: str = ""
    message: str = "injected"
    retry_after: float | None = None
    cut: Cut | None = None
    delay: float = 0.0
    hits: int = 0


class Faults:
    """The faults that are planted now."""

    def __init__(self) -> None:
        self._planted: list[Fault] = []
        self._lock = threading.Lock()

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[Fault]:
        """Plant a fault for as long as the context is open; `hits` tells how often it came to pass."""
        with self._lock:
            self._planted.append(fault)
        try:
            yield fault
        finally:
            with self._lock:
                self._planted.remove(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """What goes wrong with this request: of the faults that fit, the first that is not used up."""
        with self._lock:
            for fault in self._planted:
                fits = fault.method in ("*", method) and re.search(fault.path, path)
                if not fits or (fault.times is not None and fault.hits >= fault.times):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.hits += 1
                return fault
        return None
