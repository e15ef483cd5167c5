"""Was the checkpoint loaded correctly? Its accuracy, the published one, and its accuracy without thoughts.

`reverse-codi evaluate --reasoner ID --task NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from reverse_codi.evaluation import report
from reverse_codi.evaluation.report import FlatFigure
from reverse_codi.evaluation.text_mode import HALF, WrittenSteps
from reverse_codi.evaluation.thoughtless import MEAN_TRACES, mean_thoughts, right, without_thoughts
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.checkpoints.known import Published
from reverse_codi.reasoners.question_checks import askable
from reverse_codi.recipe.traces import OnBad
from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.tasks.base import Split, Task
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.tables import Table

FILE = "accuracy.json"


@dataclass(frozen=True)
class Accuracies:
    """Accuracy on held-out problems.

    Attributes:
        own: with the model's own thoughts.
        text: in CoT mode.
        without: with thoughts `zero`, `mean`, `resampled` and `removed`.
        steps: solutions in CoT mode that hold a step; None where the task's steps are no claims.
    """

    own: Interval
    text: Interval
    without: Mapping[str, Interval]
    steps: Interval | None = None


def metric(reasoner: Reasoner, task: Task, n: int, seed: int, on_bad: OnBad = "error") -> Accuracies:
    """Ask `n` held-out problems in every way, or fewer where it cannot be asked some and `on_bad` is skip.

    Raises:
        QuestionError: it cannot be asked one of them, and `on_bad` is error.
    """
    problems = askable(reasoner, task.problems(Split.HELDOUT, n, seed), on_bad, writes=True)
    questions = [p.question for p in problems]
    chains = reasoner.think(questions)
    mean = mean_thoughts(reasoner, task, seed, min(n, MEAN_TRACES))
    without = without_thoughts(reasoner, task, problems, chains.latent_inputs, mean)
    solutions = reasoner.write(questions)
    steps = WrittenSteps.of(solutions, problems).any
    return Accuracies(
        own=_interval(right(reasoner, task, chains.outputs, problems)),
        text=_interval(right(reasoner, task, solutions, problems)),
        without={name: _interval(flags) for name, flags in without.items()},
        steps=_interval(steps) if steps else None,
    )


def _interval(flags: list[bool]) -> Interval:
    return figures.share(figures.flags(flags), range(len(flags)))


def compared(own: Interval, published: Published | None, fix: str) -> str:
    """Whether an accuracy is the published one; if not, by how much it is off, and what to look at."""
    if published is None:
        return "no published figure is known for this checkpoint, number of thoughts and task"
    stands = f"the published {published}"
    if own.low <= published.accuracy <= own.high:
        return f"agrees with {stands}"
    return f"OFF by {own.value - published.accuracy:+.3f}: {stands} lies outside the interval. {fix}"


def verdict(found: Accuracies, published: Published | None) -> list[str]:
    """What the figures mean for the translation of this model's thoughts, one line each."""
    lines = [
        compared(
            found.own,
            published,
            "Check the base model, the prompt and the answer extraction; --reasoner.reference_masking true "
            "reproduces figures taken with the reference's padding",
        )
    ]
    if found.steps and found.steps.high < HALF:
        lines.append(
            f"NO COT MODE: {1 - found.steps.value:.3f} of its written solutions hold no step, so it "
            "has none of its own that maps or a warm start could learn from (reading.fit_on, warm_start.kind)"
        )
    elif found.text.high < HALF * found.own.value:
        lines.append(
            "NO COT MODE: written steps do not solve these problems, so what the frozen model makes of a "
            "text is no measure of what the text says: translations read by it are unsound"
        )
    name, kept = max(found.without.items(), key=lambda item: item[1].value)
    if kept.value > HALF * found.own.value:
        lines.append(
            f"THOUGHTS HARDLY MATTER: {kept.value:.3f} of {found.own.value:.3f} is left with thoughts "
            f"{name}; there may be little to translate"
        )
    return lines


def shown(name: str, found: Accuracies, published: Published | None) -> list[Table | Text]:
    """The table and the verdict, to be printed."""
    table = Table("thoughts", "accuracy [95 %]", title=f"{name}, {found.own.n} held-out problems")
    table.add_row("its own", str(found.own))
    for way, figure in found.without.items():
        table.add_row(way, str(figure))
    table.add_row("none, CoT mode", str(found.text))
    if found.steps:
        table.add_row("solutions that hold a step", str(found.steps))
    if published:
        table.add_row("its own, published", f"{published.accuracy:.3f}")
    return [table, *map(Text, verdict(found, published))]


def save(figures: Mapping[str, FlatFigure], out: Path) -> Path:
    """Write `accuracy.json` into a folder; returns the file."""
    write_whole(out / FILE, figures_json(figures, indent=1) + "\n")
    return out / FILE


def flat(found: Accuracies) -> dict[str, FlatFigure]:
    """As metrics.json holds it: `accuracy`, `accuracy.zero`, ..., `accuracy.text`."""
    named = {"accuracy": found.own, "accuracy.text": found.text}
    named |= {f"accuracy.{name}": figure for name, figure in found.without.items()}
    if found.steps:
        named["written.any"] = found.steps
    return report.flat(named, {})
