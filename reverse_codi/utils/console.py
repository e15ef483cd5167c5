"""The terminal of a verb: closed pipes, and bars or lines that show how far long work is."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from time import monotonic
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

from reverse_codi.processes import under_way
from reverse_codi.utils.log import log_console
from reverse_codi.utils.shown import harmless

log = logging.getLogger(__name__)

# Seconds between two lines of progress where there is no terminal.
PAUSE = 30.0


class VerbConsole(Console):
    """A console of a verb: what it prints is printed as it stands, without markup and colours of its own.

    It falls silent when its reader closes the pipe (`| head -1`); the work goes on.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"markup": False, "highlight": False, "emoji": False, **how})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is printed; no text in it, of a file or a model, reaches the terminal as a command."""
        for segment in super().render(renderable, options):
            plain = segment.control is None
            yield Segment(harmless(segment.text), segment.style) if plain else segment

    def on_broken_pipe(self) -> None:
        """Print no more; see `rich.console.Console.on_broken_pipe`, which would end the program."""
        self.quiet = True
        silence(self.file)


def silence(stream: IO[str]) -> None:
    """Send what is still printed to a stream nowhere, so that the interpreter ends without a complaint."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


# The bars on a verb's terminal, while there are any: those of a part of a job stand below those of the job.
_shown: list[Progress] = []


def _advance(bars: Progress, task: TaskID, n: int) -> None:
    under_way.moved()
    bars.advance(task, n)


@contextmanager
def _bar(console: Console, title: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    if _shown and _shown[0].live.console is console:
        [bars] = _shown
        task = bars.add_task(title, total=total, completed=done)
        try:
            yield partial(_advance, bars, task)
        finally:
            bars.remove_task(task)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        _shown[:] = [bars]
        try:
            task = bars.add_task(title, total=total, completed=done)
            yield partial(_advance, bars, task)
        finally:
            _shown.clear()


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how far a long job is: a bar on a verb's terminal, with the time left; else a line now and then.

    Jobs may be parts of others. Yields what is called with the number of items that have been done since the
    last call.
    """
    console = log_console()
    if console is not None and console.is_terminal and not console.quiet:
        with _bar(console, title, total, done) as move:
            yield move
        return
    first, begun, reported = done, monotonic(), monotonic()

    def advance(n: int) -> None:
        nonlocal done, reported
        done += n
        under_way.moved()
        if (now := monotonic()) - reported >= PAUSE and done < total:
            left = (now - begun) / (done - first) * (total - done)
            log.info(f"{title}: {done:,} of {total:,}, {left / 60:.1f} minutes left")
            reported = now

    yield advance


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far jobs are that follow one another, each with a total of its own.

    Yields what is called with the number of items that are done, and of how many; when all are, the next job
    begins.
    """
    with ExitStack() as stack:
        before = 0
        advance: Callable[[int], None] = print

        def report(done: int, total: int) -> None:
            nonlocal before, advance
            if before == 0:
                stack.close()
                advance = stack.enter_context(progress(title, total))
            advance(done - before)
            before = done if done < total else 0

        yield report
