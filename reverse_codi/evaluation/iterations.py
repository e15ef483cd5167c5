"""Accuracy of a recurrent-depth model, at its own number of iterations and at fewer.

Huginn has no thoughts to zero or exchange: what it does in silence are its iterations, so the control is to
take them away. It was never trained to answer bare questions; it is asked as its authors do for GSM8K
(arXiv 2502.05171): solved problems first, as turns of a chat where the tokenizer has a template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from reverse_codi.evaluation import report
from reverse_codi.evaluation.accuracy import compared
from reverse_codi.evaluation.report import FlatFigure
from reverse_codi.evaluation.thoughtless import right
from reverse_codi.reasoners.checkpoints.known import Published
from reverse_codi.reasoners.huginn.reasoner import ANSWER_CUE, HuginnReasoner
from reverse_codi.reasoners.plain_text import Filled
from reverse_codi.reasoners.question_checks import admitted
from reverse_codi.recipe.traces import OnBad
from reverse_codi.tasks.base import Problem, Split, Task
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.tables import Table

COUNTS = (1, 4, 8, 16, 32)
SHOTS = 8
SYSTEM = "You are a helpful assistant that can assist users with mathematical reasoning."
LONGEST_SOLUTION = 256
# Share of the model's own accuracy from which one iteration does what all of them do.
HALF = 0.5


@dataclass(frozen=True)
class Iterated:
    """Accuracy on held-out problems.

    Attributes:
        own: at the model's own number of iterations, its training mean.
        by_iterations: number of iterations -> accuracy.
    """

    own: Interval
    by_iterations: Mapping[int, Interval]


def solved(problem: Problem) -> str:
    """A problem's gold solution, ending as answers are read."""
    steps = " ".join(f"{step.english.removesuffix('.')}." for step in problem.steps)
    return f"{steps} {ANSWER_CUE} {problem.answer}.".strip()


def prompt(reasoner: HuginnReasoner, shots: Sequence[Problem], question: str) -> str | Filled:
    """What is asked, without the begin-of-text token, which the reasoner adds.

    Control tokens are the template's own; a problem's words are characters.
    """
    turns = [(f"Q: {shot.question}\nA:", solved(shot)) for shot in shots]
    last = f"Q: {question}\nA:"
    if not reasoner.tokenizer.chat_template:
        return "\n\n".join([*(f"{asked} {answer}" for asked, answer in turns), last])
    parts = [("system", SYSTEM)]
    for asked, answer in turns:
        parts += [("user", asked), ("assistant", answer)]
    parts.append(("user", last))
    # Letters of the private use area stand for the words while the template is filled.
    markers = [f"\ue000{i}\ue001" for i in range(len(parts))]
    messages = [{"role": role, "content": marker} for (role, _), marker in zip(parts, markers, strict=True)]
    text = str(reasoner.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    words = (content for _, content in parts)
    return Filled(
        text.removeprefix(str(reasoner.tokenizer.bos_token)), dict(zip(markers, words, strict=True))
    )


def solution_of(written: str) -> str:
    """The answer to the question asked: a base model goes on with questions of its own."""
    return written.split("\nQ:")[0]


def metric(
    reasoner: HuginnReasoner,
    task: Task,
    n: int,
    seed: int,
    on_bad: OnBad = "error",
    shots: int = SHOTS,
) -> Iterated:
    """Ask `n` held-out problems at every number of iterations, after `shots` solved training problems.

    Raises:
        QuestionError: a problem does not fit into the model's positions, and `on_bad` is error.
    """
    first = task.problems(Split.TRAIN, shots, seed)
    problems = task.problems(Split.HELDOUT, n, seed)
    found = [too_long(reasoner, prompt(reasoner, first, problem.question)) for problem in problems]
    problems = admitted(problems, found, on_bad)
    asked = [prompt(reasoner, first, problem.question) for problem in problems]
    accuracies = {}
    for count in sorted({*COUNTS, reasoner.config.mean_recurrence}):
        written = reasoner.answer(asked, count, seed, LONGEST_SOLUTION)
        flags = right(reasoner, task, [solution_of(text) for text in written], problems)
        accuracies[count] = figures.share(figures.flags(flags), range(len(flags)))
    return Iterated(accuracies[reasoner.config.mean_recurrence], accuracies)


def too_long(reasoner: HuginnReasoner, text: str | Filled) -> str | None:
    """What is wrong with a prompt that leaves no room for the longest solution; None if nothing is."""
    tokens = 1 + len(reasoner.tokenizer(text, add_special_tokens=False).input_ids)
    limit = reasoner.config.block_size - LONGEST_SOLUTION
    if tokens <= limit:
        return None
    return f"the prompt has {tokens} tokens; {limit} fit into the model's positions beside a solution"


def verdict(found: Iterated, published: Published | None) -> list[str]:
    """What the figures mean, one line each."""
    lines = [
        compared(
            found.own,
            published,
            "Check tokenizer and chat template: published figures are of 8 shots as turns of a chat",
        )
    ]
    one = found.by_iterations[1]
    if one.value > HALF * found.own.value:
        lines.append(
            f"ITERATIONS HARDLY MATTER: {one.value:.3f} of {found.own.value:.3f} is left with one iteration"
        )
    return lines


def shown(name: str, found: Iterated, published: Published | None) -> list[Table | Text]:
    """The table and the verdict, to be printed."""
    table = Table("iterations", "accuracy [95 %]", title=f"{name}, {found.own.n} held-out problems")
    for count, figure in found.by_iterations.items():
        table.add_row(str(count), str(figure))
    if published:
        table.add_row("published", f"{published.accuracy:.3f}")
    return [table, *map(Text, verdict(found, published))]


def flat(found: Iterated) -> dict[str, FlatFigure]:
    """As accuracy.json holds it: `accuracy`, `accuracy.iterations.1`, ..."""
    named = {"accuracy": found.own}
    named |= {f"accuracy.iterations.{count}": figure for count, figure in found.by_iterations.items()}
    return report.flat(named, {})
