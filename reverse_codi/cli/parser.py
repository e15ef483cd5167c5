"""The options of a verb: no abbreviations, errors of one line, and keys of a recipe among them."""

from __future__ import annotations

import argparse
import difflib
import inspect
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn, get_args

from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.traces import OnBad

KEYS_USAGE = "[--section.key VALUE ...]"
# Wider lines are hard to read.
WIDEST = 110


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they stand; options on lines that are neither short nor endless."""

    def __init__(self, prog: str, **how: Any) -> None:
        width = min(shutil.get_terminal_size((100, 24)).columns, WIDEST) - 2
        super().__init__(prog, **{"width": width, "max_help_position": 28, **how})

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Lines of a meaning; a word with a hyphen, such as a key or an option, stays whole."""
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)

    def _get_help_string(self, action: argparse.Action) -> str:
        """The meaning of an option with its default, where it has one that says something."""
        meaning = action.help or ""
        shown = action.default not in ([], argparse.SUPPRESS) and action.default is not False
        if action.default is None or not shown or not action.option_strings:
            return meaning
        return f"{meaning} (default: %(default)s)"


class Parser(argparse.ArgumentParser):
    """Parses the words after a verb.

    Args:
        prog: what the user wrote before them, `reverse-codi VERB`.
        description: what the verb does; its module's docstring.
        takes_recipe: whether `--section.key VALUE` may stand among the words, and the help lists all keys.
        prints: whether it has `--quiet` and `--json`; a parser whose sub-verbs have them has not.
        **how: see `argparse.ArgumentParser`.

    Attributes:
        parts: parsers of its sub-verbs, for the page of all commands.
    """

    def __init__(
        self,
        prog: str | None = None,
        description: str | None = None,
        takes_recipe: bool = False,
        prints: bool = True,
        **how: Any,
    ) -> None:
        text = inspect.cleandoc(description) if description else None
        how = {"formatter_class": HelpFormatter, "allow_abbrev": False, **how}
        super().__init__(prog=prog, description=text, **how)
        self.takes_recipe = takes_recipe
        self.parts: list[Parser] = []
        if prints:
            self.add_argument("--quiet", action="store_true", help="print results and errors alone")
            self.add_argument(
                "--json", action="store_true", help="print JSON alone; all else goes to standard error"
            )

    def add_recipe(self, default: str | None = None) -> None:
        """Add the argument RECIPE, which must be given if it has no default."""
        nargs = None if default is None else "?"
        meaning = "a file, or a name that `reverse-codi recipes` lists"
        self.add_argument("recipe", metavar="RECIPE", nargs=nargs, default=default, help=meaning)

    def add_verbalizer(self, default: str | None = None) -> None:
        """Add the argument RECIPE|VERBALIZER, which `evaluation.evaluate.find` looks up."""
        meaning = f"a recipe, a verbalizer's folder, or {EMBEDDED!r}"
        self.add_argument("what", metavar="RECIPE|VERBALIZER", nargs="?", default=default, help=meaning)

    def add_on_bad_question(self) -> None:
        """Add what to do with questions that cannot be asked, see `reasoners.question_checks.understood`."""
        self.add_argument(
            "--on-bad-question",
            choices=get_args(OnBad),
            default="error",
            help="what to do where the model cannot be asked a question: empty, or longer than its positions",
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words of which all are known; an unknown one is an error that proposes the nearest option."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return options

    def parse_with_keys(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse the verb's own options, and return keys of the recipe with their values as they stand.

        A word with a dot is a key, and so is a section's name that is no option of the verb. They are taken
        out first: argparse would take a value that stands apart for a positional argument.
        """
        from reverse_codi.recipe.schema import Recipe

        own, keys, rest = [], [], list(words)
        while rest:
            word = rest.pop(0)
            name, equals, _ = word.partition("=")
            section = name[2:] in Recipe.model_fields and name not in self._option_string_actions
            if not (name.startswith("--") and ("." in name or section)):
                own.append(word)
                continue
            keys.append(word)
            if not equals and rest and not rest[0].startswith("--"):
                keys.append(rest.pop(0))
        return self.parse_args(own), keys

    def format_usage(self) -> str:
        """The usage, with the recipe's keys where the verb takes them."""
        usage = super().format_usage()
        return f"{usage.rstrip()} {KEYS_USAGE}\n" if self.takes_recipe else usage

    def format_help(self) -> str:
        """Usage, description and options, then every key of a recipe if the verb takes one."""
        if not self.takes_recipe:
            return super().format_help()
        from reverse_codi.cli.recipe_keys import keys_help

        return f"{self.own_help()}\n{keys_help()}"

    def own_help(self) -> str:
        """The help without the keys of a recipe."""
        usage = super().format_usage().rstrip()
        text = super().format_help()
        return text.replace(usage, f"{usage} {KEYS_USAGE}", 1) if self.takes_recipe else text

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong with the words; ends with status 2."""
        if message.endswith("required: RECIPE"):
            message = "no recipe is given; write a file or a name first, e.g. tiny"
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        option = next((word for word in unknown if word.startswith("-")), None)
        if option is None:
            self.error(f"{unknown[0]!r} is one argument too many")
        name = option.split("=")[0]
        known = [word for word in self._option_string_actions if word.startswith("--")]
        if self.takes_recipe:
            from reverse_codi.cli.recipe_keys import all_keys

            known += [f"--{key}" for key in all_keys()]
        near = difflib.get_close_matches(name, known, n=1)
        self.error(f"unknown option {name}" + (f"; did you mean {near[0]}?" if near else ""))
