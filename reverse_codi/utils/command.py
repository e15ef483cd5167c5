"""Running a command: what ends it, what it says then, and with which status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from reverse_codi.errors import TRAINING, NotInstalledError, UsageError, UserError
from reverse_codi.processes import stopping
from reverse_codi.utils.log import hide_log, show_log_on_standard_error
from reverse_codi.utils.shown import harmless


def run_verb(main: Callable[[], None]) -> None:
    """Run a command: a `UserError` becomes one line on standard error, and a closed pipe ends it quietly.

    The package's log is shown on standard error, unless the verb shows it on a console of its own.

    Raises:
        SystemExit: with status 2 where the command line or the recipe is wrong, 1 where the work failed, and
            see `stopping.exit_code` where a signal ended it.
    """
    show_log_on_standard_error()
    with stopping.listening():
        try:
            main()
            sys.stdout.flush()
        except BrokenPipeError:
            from reverse_codi.utils.console import silence  # `rich`, which most who read this need not

            silence(sys.stdout)
        except UsageError as error:
            print(f"error: {harmless(str(error))}", file=sys.stderr)
            raise SystemExit(2) from None
        except (UserError, OSError) as error:
            # Of the system's errors those that name a file: none there, no right to read it, a name too long.
            ours = isinstance(error, UserError | FileNotFoundError) or error.filename is not None
            if not ours:
                raise
            if stopping.asked():  # what failed may be what the signal also ended, such as Ray
                raise SystemExit(stopped()) from None
            raise SystemExit(f"error: {harmless(str(error))}") from None
        except ModuleNotFoundError as error:
            if error.name not in TRAINING:
                raise
            raise SystemExit(f"error: {NotInstalledError(error.name)}") from None
        except KeyboardInterrupt:
            raise SystemExit(stopped()) from None
        finally:
            hide_log()


def stopped() -> int:
    """Say that a signal stopped the command; returns its exit code."""
    print(stopping.last_line(), file=sys.stderr)
    return stopping.exit_code()
