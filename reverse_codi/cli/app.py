"""Ask questions on a page of your browser, read the thoughts, and change one.

The page runs on this machine and is reached from it alone. Several verbalizers can be compared.
"""

from __future__ import annotations

import argparse
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.utils.arguments import count


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi app", __doc__)
    add = made.add_argument
    add(
        "verbalizers",
        nargs="*",
        metavar="VERBALIZER",
        default=[EMBEDDED],
        help="folders, runs' folders or hub ids; the embedded one if none",
    )
    add("--port", type=count, default=7860, help="of the page; 0 takes a free one")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where models and verbalizers run")
    add("--open", action="store_true", help="open the browser")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Load, and serve until it is stopped."""
    try:
        from reverse_codi.app.page import build, serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        from reverse_codi.errors import UserError

        raise UserError("gradio is not installed; run: pip install 'reverse_codi[app]'") from None
    from reverse_codi.verbalize.verbalizer import Verbalizer

    names = list(dict.fromkeys(options.verbalizers))
    page = build({name: Verbalizer.from_pretrained(name, device=options.device) for name in names})
    address = serve(page, options.port, options.open)
    out.show_whole(f"the page is at {address} (Ctrl-C ends it)")
    page.block_thread()
    return {"address": address}
