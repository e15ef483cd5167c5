"""Read what a logit lens names of a solution in CODI's log of decoded latents.

FILE is what CODI's `probe_latent_token.py` writes (`outputs/decoded_latent.txt`). Gold steps are those that
stand in it, or those of a task's data.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.errors import UsageError, UserError
from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.storage.outputs import check_file
from reverse_codi.storage.text_files import read_text
from reverse_codi.tasks import make_task
from reverse_codi.tasks.answers import stated
from reverse_codi.tasks.corpus import clean_question, question_signature
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.listings import Listed, listed
from reverse_codi.tasks.numbers import canonical_number

if TYPE_CHECKING:
    from reverse_codi.utils.figures import Figures


def read(path: Path) -> list[Listed]:
    """The questions of a log.

    Raises:
        UserError: there is no such file, a byte is no text, or no question with latents is in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the log that CODI's probe_latent_token.py writes")
    questions = listed(read_text(path))
    if not any(question.latents for question in questions):
        raise UserError(
            f"{path}: no latents of a question; the log has lines like 'Question0...' and "
            "\"decoded 0th latent (top5): [' 13', '9']\""
        )
    return questions


def gold_results(name: str, source: str | None) -> Mapping[str, list[str]]:
    """The results of each problem's gold steps, by the signature of its question.

    Raises:
        UserError: the task is not one of data.
    """
    task = make_task(name, **({} if source is None else {"source": source}))
    if not isinstance(task, DatasetTask):
        raise UserError(f"--task {name} has no data to find questions in; give a task that reads data")
    problems = [*task.corpus.train, *task.corpus.heldout]
    return {p.signature: [step.result for step in p.steps if step.result] for p in problems}


def run(
    path: Path, output: Output, task: str | None = None, source: str | None = None, out: Path | None = None
) -> Figures:
    """Read, count, print, and keep the figures.

    Raises:
        UserError: something is missing; nothing has been computed then.
    """
    from reverse_codi.evaluation import report
    from reverse_codi.evaluation.listed import Lensed, by_latent, by_steps, metric

    if out is not None:
        check_file(out, (".json",))
    questions = read(path)
    gold = None if task is None else gold_results(task, source)
    problems: list[Lensed] = []
    for question in questions:
        if gold is None:
            results = [equation.result for equation in parse_equations(question.solution)]
        else:
            results = gold.get(question_signature(clean_question(question.question)), [])
        if results:
            problems.append(Lensed.of(question, results))
    if not problems:
        where = f"{path} has no gold steps (CoT=)" if task is None else f"the data of {task} has none of them"
        raise UserError(f"{len(questions)} questions, but {where}; give --task and --path of their data")
    found = metric(problems)
    answered = [q for q in questions if q.answer and q.prediction]
    right = sum(stated(q.prediction, canonical_number, "") == canonical_number(q.answer) for q in answered)
    if out is not None:
        write_whole(out, figures_json(report.flat(found, {}), indent=1) + "\n")
    output.show(f"{len(questions):,} questions, {len(problems):,} with gold steps")
    if answered:
        output.show(f"{right:,} of {len(answered):,} predictions are right")
    output.show(by_steps(problems, found), by_latent(found))
    if out is not None:
        output.show(f"written to {out}")
    return found


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi listings", __doc__)
    made.add_argument("file", metavar="FILE", type=Path, help="log of decoded latents")
    made.add_argument("--task", help="whose data has the gold steps; those in the log if not given")
    made.add_argument("--path", help="its data: hub id, file or folder")
    made.add_argument("--out", metavar="FILE", type=Path, help="JSON file of the figures")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Read the log and print the tables."""
    if options.path is not None and options.task is None:
        raise UsageError(f"--path {options.path} is data of which task? give --task")
    from reverse_codi.evaluation.report import flat

    return flat(run(options.file, out, options.task, options.path, options.out), {})
