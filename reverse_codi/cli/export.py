"""Write a verbalizer as a plain language model, for transformers and vLLM without this package.

The adapter is merged into the reasoner's language model. DIR gets model, tokenizer and a card with the lines
that translate a thought in transformers and behind vLLM's OpenAI server.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reasoner import EMBEDDED


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi export", __doc__)
    add = made.add_argument
    add("verbalizer", metavar="VERBALIZER", help=f"a folder, a run's folder, a hub id, or {EMBEDDED!r}")
    add("--merged", metavar="DIR", type=Path, required=True, help="an empty or new folder")
    add("--reasoner", metavar="ID", help="folder or hub id; by default what the verbalizer's recipe names")
    add("--repo", metavar="OWNER/NAME", help="where you will put it on the hub, for the card")
    add("--license", metavar="NAME", help="as the hub names it, e.g. apache-2.0; for the card")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Merge and write."""
    from reverse_codi.verbalize.publishing.merged import check_target, export_merged
    from reverse_codi.verbalize.verbalizer import Verbalizer

    check_target(options.merged)
    verbalizer = Verbalizer.from_pretrained(options.verbalizer, options.reasoner)
    folder = export_merged(verbalizer, options.merged, options.license, options.repo)
    out.show_whole(f"{folder}: model, tokenizer, and README.md with the lines that serve it")
    return {"folder": str(folder)}
