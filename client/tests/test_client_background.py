"""The loop behind the sync face: what Ctrl-C stops is stopped, whenever it comes."""

import asyncio
import random
import signal
import threading
from collections.abc import Iterator

import pytest
from chorale_client.background import Background


@pytest.fixture
def alarm() -> Iterator[None]:
    """SIGALRM does what SIGINT does; a timer sends it to the microsecond."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# Python itself swallows an interrupt that comes within a finalizer; a person presses again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_stops_what_runs_whenever_it_comes(alarm: None) -> None:
    """Not one of 300 coroutines outlives its caller, whatever instant it was interrupted at."""
    background = Background()
    draw = random.Random(3)
    for _ in range(300):
        begun, ended = threading.Event(), threading.Event()

        async def sleeping(begun: threading.Event = begun, ended: threading.Event = ended) -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        try:
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-6, 400e-6), 1.0)
            background.run(sleeping)
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
        background.run(asyncio.sleep, 0)  # what was asked of the loop before is done
        background.run(asyncio.sleep, 0)
        assert not begun.is_set() or ended.wait(1)
    background.close()
