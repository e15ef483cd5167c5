"""What a verb prints, and where: results, what goes on meanwhile, or JSON.

    @verb(parser)
    def main(options: argparse.Namespace, out: Output) -> Any:
        out.show(table)
        return {"match": 0.9}  # with --json this is printed, and nothing else

|           | results          | log, progress, notices      |
|-----------|------------------|-----------------------------|
| no option | standard output  | standard output             |
| --quiet   | standard output  | nowhere                     |
| --json    | JSON there alone | standard error              |

Errors go to standard error always (`utils.config.run_verb`).
"""

from __future__ import annotations

import argparse
import functools
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.parser import Parser
from reverse_codi.storage.files import figures_json
from reverse_codi.utils.libraries import silenced
from reverse_codi.utils.standard_output import kept_for_the_result

if TYPE_CHECKING:  # they take a tenth of a second, which `--help` need not
    from rich.console import Console
    from rich.text import Text

    from reverse_codi.utils.tables import Table

Work = Callable[[argparse.Namespace, "Output"], Any]


class Output:
    """Two consoles of a verb.

    Args:
        results: shows what the verb found.
        notes: shows what goes on meanwhile; where it is another console than `results`, a reader of standard
            output does not see it.

    Attributes:
        results: as given.
        notes: as given.
    """

    def __init__(self, results: Console, notes: Console) -> None:
        self.results = results
        self.notes = notes

    @classmethod
    def of(cls, *, quiet: bool = False, json: bool = False, aside: bool = False) -> Output:
        """As the options ask.

        Args:
            quiet: no notes.
            json: no results, which are printed as JSON at the end, and notes on standard error.
            aside: notes on standard error in any case.
        """
        from reverse_codi.utils.console import VerbConsole

        results = VerbConsole(quiet=json)
        if not (quiet or json or aside):
            return cls(results, results)
        return cls(results, VerbConsole(stderr=True, quiet=quiet))

    def show(self, *parts: Table | Text | str) -> None:
        """Print results: tables, and texts as they stand, which go on in the next line between words."""
        shown(self.results, *parts)

    def show_whole(self, text: str) -> None:
        """Print a result whose lines are not broken: a file, or a report with a line a fact."""
        self.results.print(text, soft_wrap=True, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Print a line about what goes on; it is not broken."""
        self.notes.print(text, soft_wrap=True, markup=False, highlight=False)


def shown(console: Console, *parts: Table | Text | str) -> None:
    """Print tables, an empty line before each, and texts; long lines go on in the next, between words."""
    from rich.text import Text

    from reverse_codi.utils.tables import Table

    for part in parts:
        if isinstance(part, Table):
            console.print("", part, sep="\n")
            continue
        plain, style = (part.plain, part.style) if isinstance(part, Text) else (part, "")
        lines = (line for long in plain.split("\n") for line in _wrapped(long, console.width))
        console.print(Text("\n".join(lines), style=style), soft_wrap=True)


def _wrapped(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    if len(line) <= width:
        return [line]
    wrapper = textwrap.TextWrapper(width, subsequent_indent=indent)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.wrap(line)


def verb(
    parser: Callable[[], Parser], *, aside: bool = False
) -> Callable[[Work], Callable[[Sequence[str]], None]]:
    """Make the `main` of a verb, which takes the words behind it.

    The function gets the options, with the recipe's keys as `options.keys` where the verb takes them, and
    returns what `--json` prints.

    Args:
        parser: of the verb.
        aside: log and progress go to standard error, also without `--json`.
    """

    def decorate(work: Work) -> Callable[[Sequence[str]], None]:
        @functools.wraps(work)
        def main(arguments: Sequence[str]) -> None:
            made = parser()
            options, keys = (
                made.parse_with_keys(arguments) if made.takes_recipe else (made.parse_args(arguments), [])
            )
            options.keys = keys
            plain = options.quiet or not (sys.stdout.isatty() and sys.stderr.isatty())
            with silenced(bars=plain, notices=options.quiet), kept_for_the_result(options.json):
                from reverse_codi.processes.environment import settle_and_say
                from reverse_codi.utils.log import show_log

                out = Output.of(quiet=options.quiet, json=options.json, aside=aside)
                show_log(out.notes)
                settle_and_say()
                found = work(options, out)
            if options.json:
                print(figures_json(found, indent=1))

        return main

    return decorate
