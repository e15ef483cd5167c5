"""The page docs/commands.md: the help of every verb, and once the keys of a recipe."""

from __future__ import annotations

import os

from reverse_codi.cli.main import GROUPS, overview, verb_module
from reverse_codi.cli.recipe_keys import keys_help

WIDTH = "100"
TITLE = """# Commands

`scripts/make_commands_page` makes this page from the commands themselves.
"""
KEYS = """## Keys of a recipe

Every verb whose usage ends in `[--section.key VALUE ...]` takes these keys, and lists them in its `--help`.
RECIPE is a file, or a name that `reverse-codi recipes` lists. `docs/architecture.md` says what they decide.
"""


def page() -> str:
    """The page as Markdown, as wide as a terminal of 100 columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        parts = [TITLE, _block(overview())]
        for verb in (verb for verbs in GROUPS.values() for verb in verbs):
            parser = verb_module(verb).parser()
            parts += [f"## {verb}\n", _block(parser.own_help())]
            parts += [_block(part.own_help()) for part in parser.parts]
        return "\n".join([*parts, KEYS, _block(keys_help())])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"
