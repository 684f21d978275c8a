"""A clock that moves when told to."""

import asyncio
from datetime import timedelta

import pytest

from memxfer.spi import Clock
from memxfer.testing import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_time_stands_still_until_it_is_moved():
    clock: Clock = ManualClock()
    before = clock.now()
    assert clock.now() == before
    clock.advance(1.5)
    assert clock.now() - before == timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


async def test_sleep_moves_the_clock_and_lets_others_run():
    clock = ManualClock()
    order = []

    async def sleeper():
        await clock.sleep(60)
        order.append("slept")

    async def other():
        order.append("other")

    await asyncio.gather(sleeper(), other())
    assert order == ["other", "slept"]
    assert clock.monotonic() == 60
    assert clock.slept == [60]


async def test_sleepers_side_by_side_take_the_longest_sleep():
    clock = ManualClock()
    await asyncio.gather(*(clock.sleep(seconds) for seconds in (1, 5, 3)))
    assert clock.monotonic() == 5


async def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)
