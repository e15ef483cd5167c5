"""`python -m reverse_codi.verbalize "question"`: what each thought says, how well, and what else it may say.

Questions come from the arguments, a file (one a line, or JSON lines with `question`), a trace store
or standard input. One row a thought: translation, match, trust, logit-lens top 5; then the answer.
A verbalizer of target `answer` has one row a question, the whole chain.
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
from reverse_codi.reading.measure import Measure
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import ASSETS, EMBEDDED, load_reasoner, reasoner_folder
from reverse_codi.trace_files import MANIFEST
from reverse_codi.traces import TraceStore
from reverse_codi.translations.chain import chain_text
from reverse_codi.translations.record import Translation
from reverse_codi.translations.translate import translate
from reverse_codi.verbalizer.translate import Translator

UNKNOWN = "I do not know"


def read_questions(words: Sequence[str]) -> Iterator[str]:
    """Questions from arguments, files, trace stores, or standard input where there are no arguments.

    Raises:
        FileNotFoundError: a word that looks like a file's name is none.
    """
    for word in words:
        path = Path(word)
        if path.is_dir() and (path / MANIFEST).is_file():
            yield from TraceStore.open(path).questions
        elif path.is_file():
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
    """Print one question's translations."""
    console.print(f"\n[bold]{escape(rows[0].question)}[/bold]")
    if chain:
        console.print(chain_text(rows), markup=False)
    else:
        table = Table("thought", "translation", "match", "trust", "logit lens")
        for row in rows:
            said = row.translation if row.trusted else f"{UNKNOWN} ({row.translation})"
            figures = f"{row.match:.2f}", f"{row.trust:.2f}"
            table.add_row(row.site, escape(said), *figures, escape(" ".join(row.lens)))
        console.print(table)
    console.print(rows[0].answer, markup=False)


def save(rows: Sequence[Translation], path: Path) -> None:
    """Write rows as JSON lines or, by suffix, Parquet."""
    if path.suffix == ".parquet":
        from datasets import Dataset

        Dataset.from_list([asdict(row) for row in rows]).to_parquet(str(path))
    else:
        path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "questions", nargs="*", help="questions, files or trace stores; standard input if none"
    )
    parser.add_argument("--samples", type=int, default=0, help="candidates a thought, reranked by the reader")
    parser.add_argument("--chain", action="store_true", help="the whole trace as one text")
    parser.add_argument("--out", type=Path, help="also write rows to a .jsonl or .parquet file")
    parser.add_argument("--reasoner", default=EMBEDDED, help="folder of the reasoner")
    parser.add_argument(
        "--verbalizer", type=Path, default=ASSETS / "verbalizer", help="folder of the verbalizer"
    )
    options = parser.parse_args(arguments)
    console = Console()
    questions = list(read_questions(options.questions))
    if not questions:
        parser.error(
            'no question; write one in quotes: python -m reverse_codi.verbalize "Ann has 12 apples. ..."'
        )
    reasoner = load_reasoner(options.reasoner)
    for question in questions:
        if unknown := unknown_words(reasoner, question):
            console.print(f"[yellow]the model does not know these words: {', '.join(unknown)}[/yellow]")
    translator = Translator(reasoner, reasoner_folder(options.reasoner), options.verbalizer)
    measure = Measure.load(options.verbalizer, reasoner)
    rows = translate(translator, measure, questions, options.samples)
    for of_question in rows:
        show(console, of_question, options.chain)
    if options.out:
        save([row for of_question in rows for row in of_question], options.out)
        console.print(f"{sum(map(len, rows))} rows written to {options.out}")


if __name__ == "__main__":
    run_verb(main)
