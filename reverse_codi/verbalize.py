"""`python -m reverse_codi.verbalize "question"`: what each thought says, how well, and what else it may say.

Questions come from the arguments, a file (one a line; or JSON lines, a JSON list, Parquet or CSV with
`question`), a trace store or standard input. One row a thought: translation, match, trust, logit-lens top 5;
then the answer. A verbalizer of target `answer` has one row a question, the whole chain.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reverse_codi.arguments import count
from reverse_codi.config import run_verb
from reverse_codi.console import VerbConsole, counted, notes
from reverse_codi.evaluation.select import slots_at
from reverse_codi.outputs import check_file
from reverse_codi.question_checks import OnBad, admitted, all_notices, faults
from reverse_codi.questions import read_questions
from reverse_codi.reading.affine import trust
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.lens import lens
from reverse_codi.reading.measure import Measure
from reverse_codi.reasoners.load import ASSETS, EMBEDDED, load_reasoner, reasoner_folder
from reverse_codi.reasoners.training_record import trained_length
from reverse_codi.rows_file import SUFFIXES, write_rows
from reverse_codi.sites import ANSWER
from reverse_codi.verbalizer.translate import Translator

# Below this percentile among wrong thoughts a translation is not worth believing.
TRUST_THRESHOLD = 0.9
UNKNOWN = "I do not know"
_SENTENCE_END = re.compile(r"\.(?!\d)")


@dataclass(frozen=True)
class Translation:
    """One thought, or one whole trace, in words.

    Attributes:
        question: what the model was asked.
        site: which thought; `answer` for the trace.
        translation: what it says.
        match: 1 - d(thought, text) / d(thought, training mean).
        trust: share of wrong thoughts of the same site that the text matches less than this one.
        lens: logit-lens top 5 of the readout.
        answer: what the model answered.
    """

    question: str
    site: str
    translation: str
    match: float
    trust: float
    lens: list[str]
    answer: str

    @property
    def trusted(self) -> bool:
        """Whether the row says what it knows: it fits few wrong thoughts, and its own better than silence."""
        return self.trust >= TRUST_THRESHOLD and self.match > 0


def translate(
    translator: Translator,
    measure: Measure,
    questions: Sequence[str],
    samples: int = 0,
) -> list[list[Translation]]:
    """Everything that the maps know how to read, question by question.

    Args:
        translator: verbalizer and engine.
        measure: reads the texts.
        questions: N questions.
        samples: candidates beside the greedy text, reranked by the reader.
    """
    reasoner = translator.reasoner
    chains = reasoner.think(questions)
    rows: list[list[Translation]] = [[] for _ in questions]
    for site in measure.sites:
        slots = slots_at(chains.fed, site)
        targets = reasoner.answer_states(questions) if site == ANSWER else chains.at(site)
        sites = [site] * len(questions)
        texts = (
            translator.reranked(slots, samples, targets, sites, questions, measure)
            if samples
            else translator.greedy(slots)
        )
        predicted = measure.predict(texts, sites, questions)
        match = measure.match(targets, predicted, sites).tolist()
        trusted = trust(measure.map_of(site), targets, predicted).tolist()
        tops = lens(reasoner, targets)
        for i, question in enumerate(questions):
            rows[i].append(
                Translation(question, str(site), texts[i], match[i], trusted[i], tops[i], chains.outputs[i])
            )
    return rows


def chain_text(rows: Sequence[Translation]) -> str:
    """The whole trace as one text: each thought's claims in order, said once."""
    claims = [c.strip() for row in rows if row.trusted for c in _SENTENCE_END.split(row.translation)]
    # Word-level tokenizers decode "(no step)" as "( no step )".
    nothing = ("", NO_STEP.replace(" ", ""))
    said = dict.fromkeys(c for c in claims if c.replace(" ", "") not in nothing)
    return " ".join(f"{claim}." for claim in said) or NO_STEP


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
    """Write rows to a file, of the kind that its name ends in; see `write_rows`."""
    write_rows([asdict(row) for row in rows], path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "questions", nargs="*", help="questions, files or trace stores; standard input if none"
    )
    parser.add_argument(
        "--samples", type=count, default=0, help="candidates a thought, reranked by the reader"
    )
    parser.add_argument("--chain", action="store_true", help="the whole trace as one text")
    parser.add_argument("--out", type=Path, help="also write rows to a .jsonl, .parquet or .csv file")
    parser.add_argument("--reasoner", default=EMBEDDED, help="folder of the reasoner")
    parser.add_argument(
        "--verbalizer", type=Path, default=ASSETS / "verbalizer", help="folder of the verbalizer"
    )
    parser.add_argument(
        "--on-bad-question",
        choices=get_args(OnBad),
        default="error",
        help="what to do where the model cannot be asked a question: empty, or longer than its positions",
    )
    options = parser.parse_args(arguments)
    if options.out:
        check_file(options.out, SUFFIXES)
    console, aside = VerbConsole(), VerbConsole(stderr=True)
    asked = read_questions(options.questions)
    if not asked:
        parser.error(
            'no question; write one in quotes: python -m reverse_codi.verbalize "Ann has 12 apples. ..."'
        )
    reasoner = load_reasoner(options.reasoner)
    folder = reasoner_folder(options.reasoner)
    say = notes(aside)
    found = faults(reasoner, [one.question for one in asked])
    asked = admitted(asked, found, options.on_bad_question, say, "--on-bad-question")
    for line in all_notices(reasoner, asked, trained_length(folder)):
        say(line)
    translator = Translator(reasoner, folder, options.verbalizer)
    measure = Measure.load(options.verbalizer, reasoner)
    with counted(aside, "texts") as translator.engine.progress:
        rows = translate(translator, measure, [one.question for one in asked], options.samples)
    if options.out:
        save([row for of_question in rows for row in of_question], options.out)
    for of_question in rows:
        show(console, of_question, options.chain)
    if options.out:
        console.print(f"{sum(map(len, rows))} rows written to {options.out}")


if __name__ == "__main__":
    run_verb(main)
