"""Share a verbalizer, a reasoner or a trace store on the hub.

WHAT is a folder, or `embedded` for the package's verbalizer; its files say what it is. It is uploaded to
OWNER/NAME as one commit, with a card: what it is, which reasoner it belongs to (by content hash), how its
evaluation went, how it is used. `--dry-run DIR` writes what would be uploaded into a folder instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reverse_codi.cli.parser import Parser


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi push", __doc__)
    add = made.add_argument
    add("what", metavar="WHAT", help="a folder, or 'embedded'")
    add("repo", metavar="OWNER/NAME", help="the repository; made if there is none")
    add("--reasoner", metavar="ID", help="of a verbalizer: hub id of its reasoner, where that is a folder")
    add("--metrics", metavar="FILE", type=Path, help="of a verbalizer: metrics.json of reverse-codi evaluate")
    add("--base-model", metavar="ID", help="of a reasoner: hub id of the language model it was made from")
    add("--license", metavar="NAME", help="as the hub names it, e.g. apache-2.0")
    add("--private", action="store_true", default=None, help="make a new repository private")
    add("--revision", metavar="BRANCH", help="branch to push to; main if not given")
    add("--dry-run", metavar="DIR", type=Path, help="write the folder that would be uploaded, and stop")
    return made


def main(arguments: Sequence[str]) -> None:
    """Upload, and print where."""
    options = parser().parse_args(arguments)

    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.hub import pushed
    from reverse_codi.utils.log import notes, show_log
    from reverse_codi.verbalize.publishing.kinds import CardSettings, writer

    console = show_log(VerbConsole())
    settings = CardSettings(options.reasoner, options.metrics, options.base_model, options.license)
    shared = writer(options.what, options.repo, settings)
    say = notes(console, style="")
    if options.dry_run is not None:
        shared.write(options.dry_run)
        files = sorted(file for file in options.dry_run.rglob("*") if file.is_file())
        for file in files:
            say(f"{file.relative_to(options.dry_run)}  {file.stat().st_size:,} bytes")
        say(f"{options.dry_run}: nothing was uploaded")
        return
    how = {"private": options.private, "revision": options.revision}
    say(pushed(shared.write, options.repo, shared.repo_type, **how))
