"""Trying again, without a Hub and without time."""

import math

import pytest

from sot_filter.hub.retry import ASKED, ATTEMPTS, FIRST, LONGEST, TOTAL, retried


class Flaky:
    """Fails so many times, then returns; the waits are noted, not waited."""

    def __init__(self, failures: int, gains: int = 0) -> None:
        self.failures, self.gains, self.calls, self.gained = failures, gains, 0, 0
        self.waits: list[float] = []
        self.bounds: list[float] = []

    def __call__(self) -> str:
        self.calls += 1
        if self.calls > self.failures:
            return "done"
        self.gained += self.gains
        raise OSError(self.calls)

    def longest(self, low: float, high: float) -> float:
        assert low == 0
        self.bounds.append(high)
        return high

    def run(self, asked: float | None = 0.0, shortest: bool = False) -> str:
        draw = (lambda low, high: low) if shortest else self.longest
        return retried(self, lambda error: asked, progress=lambda: self.gained, sleep=self.waits.append, uniform=draw)


def test_what_works_is_called_once() -> None:
    call = Flaky(0)
    assert (call.run(), call.calls, call.waits) == ("done", 1, [])


def test_waits_double_up_to_the_longest() -> None:
    call = Flaky(ATTEMPTS - 1)
    assert call.run() == "done"
    assert call.bounds == [min(LONGEST, FIRST * 2**n) for n in range(ATTEMPTS - 1)]
    assert call.waits == call.bounds


def test_the_attempts_end() -> None:
    call = Flaky(100)
    with pytest.raises(OSError, match=str(ATTEMPTS)):
        call.run(shortest=True)
    assert (call.calls, len(call.waits)) == (ATTEMPTS, ATTEMPTS - 1)


def test_what_is_no_use_is_not_tried_again() -> None:
    call = Flaky(1)
    with pytest.raises(OSError, match="1"):
        call.run(asked=None)
    assert (call.calls, call.waits) == (1, [])


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (1e9, ASKED), (math.inf, ASKED)])
def test_what_is_asked_for_is_waited_for(asked: float, waited: float) -> None:
    call = Flaky(1)
    assert call.run(asked, shortest=True) == "done"
    assert call.waits == [waited]


def test_the_waiting_ends() -> None:
    call = Flaky(100)
    with pytest.raises(OSError, match="4"):
        call.run(asked=ASKED)
    assert sum(call.waits) <= TOTAL
    assert call.calls < ATTEMPTS


def test_failures_are_counted_anew_where_the_calls_get_somewhere() -> None:
    call = Flaky(5 * ATTEMPTS, gains=1)
    assert call.run() == "done"
    assert set(call.bounds) == {FIRST}


def test_an_interrupt_is_none_of_its_business() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retried(stop, lambda error: 0.0, sleep=lambda seconds: pytest.fail("waited"))
