import asyncio
import json
import os
import signal

import pytest

from memxfer.cli.running import stops_on_signals
from memxfer.cli.session import Session


class Stop:
    def __init__(self):
        self.asked = asyncio.Event()

    def request(self):
        self.asked.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_says_so(number):
    said = []

    async def work():
        stop = Stop()
        with stops_on_signals(stop, said.append, leave=lambda code: pytest.fail("left at once")):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stop.asked.wait(), 5)
            await asyncio.sleep(0)

    asyncio.run(work())
    assert said == ["stopping: finishing what is in flight; Ctrl-C again to stop at once"]


def test_the_second_signal_leaves_with_130():
    left = []

    async def work():
        stop = Stop()
        with stops_on_signals(stop, lambda text: None, leave=left.append):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(stop.asked.wait(), 5)
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)

    asyncio.run(work())
    assert left == [130]


def test_with_json_the_second_signal_leaves_one_object_behind(capfd):
    left = []

    async def work():
        stop = Stop()
        session = Session(as_json=True)
        with stops_on_signals(stop, lambda text: None, session=session, leave=left.append):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.asked.wait(), 5)
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)

    asyncio.run(work())
    error = json.loads(capfd.readouterr().out)["error"]
    assert (left, error["code"], error["exit"]) == ([130], "interrupted", 130)


def test_signals_mean_what_they_meant_before_once_the_run_is_over():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stops_on_signals(Stop(), lambda text: None):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
