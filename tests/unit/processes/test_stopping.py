from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reverse_codi.errors import UserError
from reverse_codi.processes import stopping, under_way
from reverse_codi.utils.command import run_verb

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Ctrl-C as a terminal has it: a job in the background ignores it, and so would we."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def listening() -> Iterator[None]:
    with stopping.listening():
        yield


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # the handler runs between two instructions of the main thread


def test_a_signal_stops_at_once_where_nothing_holds_it(listening: None) -> None:
    with pytest.raises(stopping.StopAsked), under_way.stage("reading"):
        send(signal.SIGTERM)
    assert (stopping.exit_code(), stopping.last_line()) == (143, "stopped by SIGTERM in reading")


def test_a_deferred_block_ends_by_itself_and_is_heard_at_its_end(listening: None) -> None:
    done = []
    with pytest.raises(stopping.StopAsked), stopping.deferred():
        send(signal.SIGINT)
        assert stopping.asked()
        done.append("the rest")
    assert done == ["the rest"]
    assert stopping.exit_code() == 130
    with pytest.raises(stopping.StopAsked), stopping.deferred():
        done.append("never")
    assert done == ["the rest"]


def test_a_part_that_can_be_dropped_is_dropped(listening: None) -> None:
    done = []
    with pytest.raises(stopping.StopAsked), stopping.deferred():
        done.append("before")
        with stopping.droppable():
            send(signal.SIGTERM)
            done.append("dropped")
        done.append("after")
    assert done == ["before"]


def test_what_ray_makes_of_it_is_turned_back() -> None:
    with pytest.raises(stopping.StopAsked), stopping.droppable():
        raise KeyboardInterrupt


def test_the_line_says_what_was_kept_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        stopping.advise("go on with --resume")
        stopping.keep("at step 7 of grpo")
        send(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        run_verb(work)
    assert ended.value.code == 143
    assert capsys.readouterr().err == "stopped by SIGTERM at step 7 of grpo; go on with --resume\n"


def test_an_error_after_a_signal_is_the_signals(capsys: pytest.CaptureFixture[str]) -> None:
    """A supervisor signals the whole group: Ray ends, and what waits for it fails."""

    def work() -> None:
        with stopping.deferred():
            send(signal.SIGTERM)
            raise UserError("Ray ended under this run")

    with pytest.raises(SystemExit) as ended:
        run_verb(work)
    assert ended.value.code == 143
    assert capsys.readouterr().err.splitlines()[-1] == "stopped by SIGTERM"


def test_handlers_are_put_back_and_a_new_command_starts_unasked() -> None:
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with pytest.raises(SystemExit):
        run_verb(lambda: send(signal.SIGINT))
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
    assert not stopping.asked()
    run_verb(lambda: None)


def test_signals_are_taken_back_from_a_library(listening: None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stopping.listen_again()
    with pytest.raises(stopping.StopAsked):
        send(signal.SIGTERM)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.listening():
            stopping.listen_again()
            send(signal.SIGINT)
            assert not stopping.asked()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_sets_no_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def elsewhere() -> None:
        with stopping.listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


STUBBORN = """
import time
from reverse_codi.processes import stopping
from reverse_codi.utils.command import run_verb

def work():
    with stopping.deferred():
        print("ready", flush=True)
        for _ in range(600):
            time.sleep(0.1)

run_verb(work)
"""


def test_a_second_signal_ends_at_once_and_one_that_came_twice_does_not() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.terminate()
    process.terminate()
    time.sleep(stopping.SAME_S + 0.5)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=5) == 143
    assert process.stderr is not None
    assert process.stderr.read().startswith(
        "SIGTERM: the step under way is finished and kept first; once more"
    )
