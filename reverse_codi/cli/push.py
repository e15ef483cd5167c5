"""Share a verbalizer, a reasoner or a trace store on the hub.

WHAT is a folder, or `embedded` for the package's verbalizer; its files say what it is. It is uploaded to
OWNER/NAME as one commit, with a card: what it is, which reasoner it belongs to (by content hash), how its
evaluation went, how it is used. `--dry-run DIR` writes what would be uploaded into a folder instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reverse_codi.cli.output import Output, verb
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


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Upload, and print where."""
    from reverse_codi.storage.hub import pushed
    from reverse_codi.verbalize.publishing.kinds import CardSettings, writer

    settings = CardSettings(options.reasoner, options.metrics, options.base_model, options.license)
    shared = writer(options.what, options.repo, settings)
    if options.dry_run is not None:
        shared.write(options.dry_run)
        files = sorted(file for file in options.dry_run.rglob("*") if file.is_file())
        for file in files:
            out.show_whole(f"{file.relative_to(options.dry_run)}  {file.stat().st_size:,} bytes")
        out.show_whole(f"{options.dry_run}: nothing was uploaded")
        return {"commit": None, "files": [str(file.relative_to(options.dry_run)) for file in files]}
    how = {"private": options.private, "revision": options.revision}
    commit = pushed(shared.write, options.repo, shared.repo_type, **how)
    out.show_whole(commit)
    return {"commit": commit}
