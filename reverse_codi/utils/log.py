"""The package's log on a verb's console.

Library code logs, by `logging.getLogger(__name__)`. A verb calls `show_log` with its console, and what the
library logs appears there. Where no verb runs, the user's `logging` configuration decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # it takes a tenth of a second, which `--help` need not
    from rich.console import Console

C = TypeVar("C", bound="Console")

PACKAGE = logging.getLogger(__name__.partition(".")[0])


def notes(console: Console, style: str = "yellow") -> Callable[[str], None]:
    """What prints a notice: yellow, as it is, and in one line where there is no terminal."""
    return partial(console.print, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


class ConsoleHandler(logging.Handler):
    """Prints each message as it is, warnings in yellow; on standard error where no console is given."""

    def __init__(self, console: Console | None) -> None:
        super().__init__(logging.INFO)
        self._given = console
        self.before = PACKAGE.level, PACKAGE.propagate

    @cached_property
    def console(self) -> Console:
        """Where messages are shown."""
        if self._given is not None:
            return self._given
        from reverse_codi.utils.console import VerbConsole

        return VerbConsole(stderr=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        style = "yellow" if record.levelno >= logging.WARNING else ""
        notes(self.console, style)(self.format(record))


def show_log(console: C) -> C:
    """Show what the package logs on a verb's console, in place of the console of an earlier call.

    The root logger is not touched, and gets no messages meanwhile: who configured it would see each twice.

    Returns:
        The console.
    """
    _show(ConsoleHandler(console))
    return console


def show_log_on_standard_error() -> None:
    """`show_log` for a verb that has no console, or has none yet."""
    _show(ConsoleHandler(None))


def hide_log() -> None:
    """End what `show_log` began: the package's log goes where the user's configuration sends it."""
    for handler in _handlers():
        PACKAGE.removeHandler(handler)
        level, PACKAGE.propagate = handler.before
        PACKAGE.setLevel(level)


def log_console() -> Console | None:
    """The console that shows the package's log; None where no verb runs."""
    return next((handler.console for handler in _handlers()), None)


def _show(handler: ConsoleHandler) -> None:
    former = _handlers()
    PACKAGE.addHandler(handler)
    for other in former:
        PACKAGE.removeHandler(other)
        handler.before = other.before
    PACKAGE.setLevel(min(handler.before[0] or logging.INFO, logging.INFO))
    PACKAGE.propagate = False


def _handlers() -> list[ConsoleHandler]:
    return [handler for handler in PACKAGE.handlers if isinstance(handler, ConsoleHandler)]
