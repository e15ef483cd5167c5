"""Say in words what each thought holds, how well, and what else it may say.

Questions come from the arguments, a file (one a line; or JSON lines, a JSON list, Parquet or CSV with
`question`) or standard input, and the model thinks about them. Of a trace store, and of vectors in a file,
what lies there is translated. One row a thought: translation, match, trust, logit-lens top 5; then the
answer. A verbalizer of target `answer` has one row a question, the whole chain.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, shown, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.errors import UserError
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.utils.arguments import count

if TYPE_CHECKING:
    from rich.console import Console

    from reverse_codi.verbalize.translations.record import Translation

log = logging.getLogger(__name__)


def show(console: Console, rows: Sequence[Translation], chain: bool) -> None:
    """Print one trace's translations."""
    from rich.text import Text

    from reverse_codi.utils.tables import Table
    from reverse_codi.verbalize.translations.chain import chain_text
    from reverse_codi.verbalize.translations.translations import believed, figure

    first = rows[0]
    shown(console, Text(f"\n{first.question or first.source or ''}", style="bold"))
    if chain:
        shown(console, chain_text(rows))
    else:
        texts = ("translation", "logit lens")
        table = Table("thought", "translation", "match", "trust", "logit lens", texts=texts)
        for row in rows:
            figures = map(figure, (row.match, row.trust))
            table.add_row(row.site, believed(row), *figures, " ".join(row.lens or ["-"]))
        shown(console, table)
    if first.answer:
        shown(console, first.answer)


def save(rows: Sequence[Translation], path: Path) -> None:
    """Write rows to a file, of the kind that its name ends in; see `write_rows`."""
    from reverse_codi.storage.rows_file import write_rows

    write_rows([asdict(row) for row in rows], path)


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi verbalize", __doc__)
    add = made.add_argument
    add(
        "questions",
        nargs="*",
        metavar="QUESTION",
        help="questions, files or trace stores; standard input if none",
    )
    add(
        "--vectors",
        metavar="FILE",
        type=Path,
        help="file of vectors of this reasoner: .npy, .npz, .safetensors or .parquet",
    )
    add(
        "--sites",
        nargs="+",
        metavar="SITE",
        help="what they are: h0 h1 (hidden states), z0 z1 (latent inputs) or z0.. (all)",
    )
    add(
        "--samples",
        metavar="N",
        type=count,
        default=0,
        help="candidates a thought, reranked by the reader",
    )
    add("--chain", action="store_true", help="the whole trace as one text")
    add("--out", metavar="FILE", type=Path, help="also write rows to a .jsonl, .parquet or .csv file")
    add("--reasoner", metavar="ID", help="folder or hub id; by default what the verbalizer's recipe names")
    add("--verbalizer", metavar="ID", default=EMBEDDED, help="folder or hub id of the verbalizer")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where model and verbalizer run")
    made.add_on_bad_question()
    return made


@verb(parser, aside=True)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Translate and print."""
    if (options.vectors is None) != (options.sites is None):
        parser().error("--vectors and --sites go together: --vectors z.npy --sites z0..")
    if options.vectors and options.questions:
        parser().error("give questions or --vectors; a .parquet file of vectors may have their column")

    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.reasoners.question_checks import understood
    from reverse_codi.storage.outputs import check_file
    from reverse_codi.storage.rows_file import SUFFIXES
    from reverse_codi.traces.files import is_store
    from reverse_codi.traces.store import TraceStore
    from reverse_codi.utils.console import counted
    from reverse_codi.verbalize.questions import read_questions
    from reverse_codi.verbalize.translations.given import given_vectors, stored
    from reverse_codi.verbalize.translations.vectors import check_width, read_vectors
    from reverse_codi.verbalize.verbalizer import Verbalizer, reasoner_source, verbalizer_folder

    if options.out:
        check_file(options.out, SUFFIXES)
    vectors = read_vectors(options.vectors, options.sites) if options.vectors else None
    stores = [word for word in options.questions if is_store(word)]
    asked = [] if vectors else read_questions(options.questions)
    if not asked and not stores and not vectors:
        parser().error('no question; write one in quotes: reverse-codi verbalize "Ann has 12 apples. ..."')
    folder = verbalizer_folder(options.verbalizer)
    reasoner = load_reasoner(options.reasoner or reasoner_source(folder, options.verbalizer), options.device)
    opened = {name: TraceStore.open(name, reasoner) for name in stores}
    for name, store in opened.items():
        if not len(store):
            raise UserError(
                f"{name} holds 0 of {store.manifest.rows_expected} traces; collect or import them first"
            )
    if vectors:
        check_width(vectors, reasoner.width)
    asked = understood(reasoner, asked, options.on_bad_question, "--on-bad-question")
    questions = [one.question for one in asked]
    verbalizer = Verbalizer.from_pretrained(folder, reasoner)
    metric = verbalizer.metric
    given = [verbalizer.thoughts_about(questions)] if questions else []
    given += [stored(store, name, reasoner, metric) for name, store in opened.items()]
    given += [given_vectors(vectors, reasoner, metric)] if vectors else []
    with counted("texts") as verbalizer.translator.engine.progress:
        rows = [trace for of in given for trace in verbalizer.translate_given(of, options.samples).traces]
    unscored = (row.reason for of_question in rows for row in of_question if row.trusted is None)
    for why in dict.fromkeys(unscored):
        log.warning(why)
    if options.out:
        save([row for of_question in rows for row in of_question], options.out)
    for of_question in rows:
        show(out.results, of_question, options.chain)
    if options.out:
        out.show(f"{sum(map(len, rows))} rows written to {options.out}")
    return [asdict(row) for of_question in rows for row in of_question]
