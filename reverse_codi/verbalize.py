"""`python -m reverse_codi.verbalize "question"`: what each thought says, how well, and what else it may say.

Questions come from the arguments, a file (one a line, or JSON lines with `question`) or standard input, and
the model thinks about them. Of a trace store, and of vectors in a file, what lies there is translated. One
row a thought: translation, match, trust, logit-lens top 5; then the answer. A verbalizer of target `answer`
has one row a question, the whole chain.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reverse_codi.config import run_verb
from reverse_codi.files import figures_json
from reverse_codi.reading.measure import Measure
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import ASSETS, EMBEDDED, load_reasoner, reasoner_folder
from reverse_codi.trace_files import is_store
from reverse_codi.traces import TraceStore
from reverse_codi.translations.chain import chain_text
from reverse_codi.translations.given import given_vectors, stored, thought_now
from reverse_codi.translations.record import Translation
from reverse_codi.translations.translate import translate
from reverse_codi.translations.vectors import check_width, read_vectors
from reverse_codi.verbalizer.translate import Translator

UNKNOWN = "I do not know"


def read_questions(words: Sequence[str]) -> Iterator[str]:
    """Questions from arguments and files, or standard input where there are no arguments.

    Raises:
        FileNotFoundError: a word that looks like a file's name is none.
    """
    for word in words:
        path = Path(word)
        if path.is_file():
            yield from _lines(path.read_text().splitlines())
        elif path.suffix and " " not in word:
            raise FileNotFoundError(f"{word} is no file, and a question has more than one word")
        else:
            yield word
    if not words:
        yield from _lines(sys.stdin.read().splitlines())


def _lines(lines: Sequence[str]) -> Iterator[str]:
    for line in filter(str.strip, lines):
        yield json.loads(line)["question"] if line.lstrip().startswith("{") else line.strip()


def unknown_words(reasoner: CodiReasoner, question: str) -> list[str]:
    """Words of a question that the reasoner's tokenizer does not know."""
    unknown = reasoner.tokenizer.unk_token_id
    words = question.replace(".", " ").replace("?", " ").replace(",", " ").split()
    return [] if unknown is None else [word for word in words if unknown in reasoner.ids(word)]


def show(console: Console, rows: Sequence[Translation], chain: bool) -> None:
    """Print one trace's translations."""
    first = rows[0]
    console.print(f"\n[bold]{escape(first.question or first.source or '')}[/bold]")
    if chain:
        console.print(chain_text(rows), markup=False)
    else:
        table = Table("thought", "translation", "match", "trust", "logit lens")
        for row in rows:
            text = row.translation
            if row.trusted is False:
                text = f"{UNKNOWN} ({text}): {row.reason}"
            figures = ("-" if figure is None else f"{figure:.2f}" for figure in (row.match, row.trust))
            table.add_row(row.site, escape(text), *figures, escape(" ".join(row.lens or ["-"])))
        console.print(table)
    if first.answer:
        console.print(first.answer, markup=False)


def save(rows: Sequence[Translation], path: Path) -> None:
    """Write rows as JSON lines or, by suffix, Parquet."""
    if path.suffix == ".parquet":
        from datasets import Dataset

        Dataset.from_list([asdict(row) for row in rows]).to_parquet(str(path))
    else:
        path.write_text("".join(figures_json(asdict(row)) + "\n" for row in rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "questions", nargs="*", help="questions, files or trace stores; standard input if none"
    )
    parser.add_argument(
        "--vectors",
        type=Path,
        help="file of vectors of this reasoner: .npy, .npz, .safetensors or .parquet",
    )
    parser.add_argument(
        "--sites",
        nargs="+",
        help="what they are: h0 h1 (readouts), z0 z1 (fed vectors) or z0.. (all)",
    )
    parser.add_argument("--samples", type=int, default=0, help="candidates a thought, reranked by the reader")
    parser.add_argument("--chain", action="store_true", help="the whole trace as one text")
    parser.add_argument("--out", type=Path, help="also write rows to a .jsonl or .parquet file")
    parser.add_argument("--reasoner", default=EMBEDDED, help="folder of the reasoner")
    parser.add_argument(
        "--verbalizer", type=Path, default=ASSETS / "verbalizer", help="folder of the verbalizer"
    )
    options = parser.parse_args(arguments)
    if (options.vectors is None) != (options.sites is None):
        parser.error("--vectors and --sites go together: --vectors z.npy --sites z0..")
    if options.vectors and options.questions:
        parser.error("give questions or --vectors; a .parquet file of vectors may have a column `question`")
    console = Console()
    vectors = read_vectors(options.vectors, options.sites) if options.vectors else None
    stores = [word for word in options.questions if is_store(word)]
    words = [word for word in options.questions if word not in stores]
    questions = [] if vectors or (stores and not words) else list(read_questions(words))
    if not questions and not stores and not vectors:
        parser.error(
            'no question; write one in quotes: python -m reverse_codi.verbalize "Ann has 12 apples. ..."'
        )
    reasoner = load_reasoner(options.reasoner)
    opened = {name: TraceStore.open(name, reasoner) for name in stores}
    if vectors:
        check_width(vectors, reasoner.width)
    for question in questions:
        if unknown := unknown_words(reasoner, question):
            console.print(f"[yellow]the model does not know these words: {', '.join(unknown)}[/yellow]")
    translator = Translator(reasoner, reasoner_folder(options.reasoner), options.verbalizer)
    measure = Measure.load(options.verbalizer, reasoner)
    given = [thought_now(reasoner, questions, measure)] if questions else []
    given += [stored(store, name, reasoner, measure) for name, store in opened.items()]
    given += [given_vectors(vectors, reasoner, measure)] if vectors else []
    rows = [trace for of in given for trace in translate(translator, measure, of, options.samples)]
    unscored = (row.reason for of_question in rows for row in of_question if row.trusted is None)
    for why in dict.fromkeys(unscored):
        console.print(f"[yellow]{why}[/yellow]")
    for of_question in rows:
        show(console, of_question, options.chain)
    if options.out:
        save([row for of_question in rows for row in of_question], options.out)
        console.print(f"{sum(map(len, rows))} rows written to {options.out}")


if __name__ == "__main__":
    run_verb(main)
