"""Stopping on a signal: SIGTERM and Ctrl-C end a command where nothing is lost, and say how to go on.

The first signal asks. `StopAsked` is raised at once, but for blocks that must not be cut in two (`deferred`):
there the code looks at `asked` and ends by itself. In a part of such a block whose work can be dropped
(`droppable`) it is raised again. A second signal ends the process at once.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from reverse_codi.processes import under_way

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# `timeout` signals its child and then its group: within this time a second signal is the same request.
SAME_S = 1.0
# "Temporary failure, try again" of sysexits.h.
STALLED = 75


class StopAsked(KeyboardInterrupt):
    """A signal asked this process to end; libraries treat it as Ctrl-C."""


@dataclass
class _State:
    """Of this process; signals are one for all of it.

    Attributes:
        signum: the first signal; None before any.
        at: when it came.
        held: how many `deferred` blocks are open.
        listening: whether our handler is in place.
        where: what was under way when it came.
        stalled: why the stall watchdog asked, in place of a user.
        kept: what can be gone on from, in place of `where`.
        advice: how to go on.
    """

    signum: int | None = None
    at: float = 0.0
    held: int = 0
    listening: bool = False
    where: str = ""
    stalled: str = ""
    kept: str = ""
    advice: str = ""


_state = _State()


def _note(signum: int) -> None:
    _state.signum, _state.at, _state.where = signum, time.monotonic(), under_way.described()


def _handle(signum: int, frame: FrameType | None) -> None:
    if _state.signum is not None:
        if time.monotonic() - _state.at > SAME_S:
            os._exit(128 + signum)
        return
    _note(signum)
    if not _state.held:
        raise StopAsked(_name())
    # Not by print or logging: the signal may have come in the middle of either.
    line = f"{_name()}: the step under way is finished and kept first; once more ends at once\n"
    os.write(2, line.encode())


@contextmanager
def listening() -> Iterator[None]:
    """Within the block SIGTERM and SIGINT ask this process to stop; what handled them before does so again.

    Elsewhere than in the main thread it does nothing, as Python allows no handlers there. A signal that is
    ignored stays ignored: a shell does that for Ctrl-C and jobs in the background.
    """
    if _state.listening or threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [number for number in SIGNALS if before[number] != signal.SIG_IGN]
    vars(_state).update(vars(_State(listening=True)))
    for number in handled:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        vars(_state).update(vars(_State()))
        for number in handled:  # None is a handler that was not set by Python
            signal.signal(number, before[number] if before[number] is not None else signal.SIG_DFL)


def listen_again() -> None:
    """Take the signals back from a library that took them: Ray does at its start, in Python and in C++."""
    if _state.listening:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _handle)


def asked() -> bool:
    """Whether a signal has asked this process to stop."""
    return _state.signum is not None


def check() -> None:
    """Stop here if it was asked for.

    Raises:
        StopAsked: it was.
    """
    if asked():
        raise StopAsked(_name())


@contextmanager
def deferred() -> Iterator[None]:
    """A block that is not cut: it looks at `asked` where it can end.

    Raises:
        StopAsked: at its begin or its end, if a signal asked for it.
    """
    check()
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    check()


@contextmanager
def droppable() -> Iterator[None]:
    """A part of a `deferred` block whose work is lost without harm.

    Raises:
        StopAsked: as soon as a signal asks for it. Ray makes a plain KeyboardInterrupt of it, which is turned
            back here, also where no handler of ours is in place.
    """
    held, _state.held = _state.held, 0
    try:
        check()
        yield
    except KeyboardInterrupt as stop:
        raise StopAsked(_name()) from stop
    finally:
        _state.held = held


def keep(what: str) -> None:
    """Say what there is to go on from, such as "at step 12", in place of where the signal came."""
    _state.kept = what


def advise(how: str) -> None:
    """Say how to go on, such as "go on with --resume"."""
    _state.advice = how


def ask_stalled(why: str) -> None:
    """Ask as a signal does, from another thread: nothing moves any more.

    Where no handler of ours is in place, the main thread gets a KeyboardInterrupt.
    """
    _state.stalled = why
    if _state.listening:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        _thread.interrupt_main()


def request(signum: int) -> bool:
    """Ask for another process, which had the signal; this one handles none, and may work in any thread.

    Returns:
        Whether a `deferred` block is open, which ends by itself. Nothing else here is cut.
    """
    _note(signum)
    return _state.held > 0


def signal_asked() -> int | None:
    """Number of the signal that asked this process to stop; None before any."""
    return _state.signum


def is_listening() -> bool:
    """Whether this process is a command of ours, which ends with `exit_code`."""
    return _state.listening


def exit_code() -> int:
    """What a process that was stopped returns: 143 after SIGTERM, 130 after Ctrl-C, 75 after a stall."""
    return STALLED if _state.stalled else 128 + (_state.signum or signal.SIGINT)


def place() -> str:
    """What there is to go on from, such as "at step 12"; without it, where the signal came; "" at neither."""
    return _state.kept or (f"in {_state.where}" if _state.where else "")


def last_line() -> str:
    """What to tell the user: "stopped by SIGTERM at step 12; go on with --resume"."""
    where = place()
    what = f"{_state.stalled}; the run stopped" if _state.stalled else f"stopped by {_name()}"
    advice = f"; {_state.advice}" if _state.advice else ""
    return f"{what}{' ' if where else ''}{where}{advice}"


def _name() -> str:
    number = _state.signum or signal.SIGINT
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
