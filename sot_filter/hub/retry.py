"""Trying again: a bounded number of times, for a bounded time, with waits that spread many workers out."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: Attempts in a row that get nowhere.
ATTEMPTS: Final = 8
#: Seconds that the first wait may take; each further one may take twice as long, up to `LONGEST`.
FIRST: Final = 1.0
LONGEST: Final = 60.0
#: Seconds that the other side may ask us to wait: the Hub counts requests in windows of five minutes.
ASKED: Final = 300.0
#: Seconds of waiting, in a row that gets nowhere, after which no further attempt is made.
TOTAL: Final = 900.0


def retried(
    call: Callable[[], T],
    again: Callable[[Exception], float | None],
    *,
    progress: Callable[[], int] = lambda: 0,
    attempts: int | None = None,
    sleep: Callable[[float], object] = time.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> T:
    """Call until it works, or until it is no use: exponential backoff with full jitter.

    The wait after the n-th failure in a row is drawn from ``[0, min(LONGEST, FIRST * 2**(n - 1))]``, and is no shorter
    than what the other side asked for, up to `ASKED`.

    Args:
        call: what to do. It starts anew each time, so it looks first what an earlier attempt has left.
        again: the seconds that the other side asks to wait before a further attempt (0.0 where it says nothing), or
            None where none will help.
        progress: a number that grows as the calls get somewhere; failures are counted anew when it has grown.
        attempts: how many in a row may fail; `ATTEMPTS` unless it is given.
        sleep: waits; for tests.
        uniform: draws; for tests.

    Raises:
        Exception: the last attempt's own.
    """
    failures, waited, reached = 0, 0.0, progress()
    while True:
        try:
            return call()
        except Exception as error:
            if progress() > reached:
                failures, waited, reached = 0, 0.0, progress()
            failures += 1
            asked = again(error)
            if asked is None or failures >= (attempts or ATTEMPTS):
                raise
            wait = max(uniform(0.0, min(LONGEST, FIRST * 2 ** (failures - 1))), min(asked, ASKED))
            waited += wait
            if waited > TOTAL:
                raise
        # Outside of the handler, so that what was raised, with its frames, is let go before the wait.
        sleep(wait)
