"""Find how near any text could come to a thought.

The input vectors of a text are moved by gradient until the frozen model's state, read and mapped as that of
any text, lies as near to the thought as it can. Free vectors bound what words of that length can reach: match
that the gold claim lacks and a soft text has is lost to words; what a soft text lacks too is lost to the
reading.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.evaluation.defaults import DESCENT_STEPS
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.utils.arguments import count, positive

if TYPE_CHECKING:
    from torch import Tensor

    from reverse_codi.utils.figures import Figures
    from reverse_codi.utils.tables import Table


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi soft-text", __doc__, takes_recipe=True)
    add = made.add_argument
    made.add_verbalizer(EMBEDDED)
    add("--n", type=positive, default=200, help="held-out problems")
    add("--steps", type=positive, default=DESCENT_STEPS, help="of gradient descent")
    add("--seed", type=count, default=0, help="of the problems")
    add("--out", metavar="DIR", type=Path, default=Path("runs/soft"), help="folder of their traces")
    return made


def table(found: Figures) -> Table:
    """A line a kind of text."""
    from reverse_codi.utils.tables import Table

    made = Table("text", "match [95 %]", "n")
    for name, figure in found.items():
        made.add_row(name, str(figure), str(figure.n))
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Match of gold claims, translations and soft texts on the same held-out causally active thoughts."""
    from reverse_codi.evaluation.draw import FIRST_SEED
    from reverse_codi.evaluation.evaluate import find
    from reverse_codi.evaluation.report import flat
    from reverse_codi.evaluation.soft_text import Descent, softened
    from reverse_codi.reading.claims import EncodedSteps
    from reverse_codi.reading.hard_negatives import CONSTANT
    from reverse_codi.reading.metric import ThoughtMetric
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.storage.outputs import check_folder
    from reverse_codi.tasks.base import Split
    from reverse_codi.traces.collect import TraceRequest, collect
    from reverse_codi.utils import figures
    from reverse_codi.verbalize.thoughts import thought_sites, thoughts_of
    from reverse_codi.verbalize.translator import Translator

    evaluated = find(options.what, options.keys)
    check_folder(options.out, "--out")
    recipe, folder = evaluated.recipe, evaluated.verbalizer
    reasoner = load_reasoner(recipe.reasoner)
    metric = ThoughtMetric.load(folder, reasoner)
    encoded = EncodedSteps.load(folder)
    seed = FIRST_SEED + 10 * options.seed
    heldout = options.out / f"heldout-{options.n}-{seed}"
    asked = TraceRequest.of_training(recipe, Split.HELDOUT, options.n, seed, heldout)
    traces = collect(reasoner, recipe.task.build(), asked)
    thoughts = thoughts_of(traces, thought_sites(reasoner.n_thoughts), encoded, active_only=True)
    translator = Translator(reasoner, folder, recipe.grpo.max_new_tokens)
    constant = [CONSTANT] * len(thoughts)
    descent = Descent(steps=options.steps)

    found: Figures = {}

    def row(name: str, match: Tensor) -> None:
        found[name] = figures.mean(match.tolist(), thoughts.problems)

    def as_words(texts: Sequence[str]) -> Tensor:
        predicted = metric.predict(texts, thoughts.sites)
        return metric.match(thoughts.targets, predicted, thoughts.sites)

    def as_vectors(texts: Sequence[str]) -> Tensor:
        return softened(reasoner, metric, thoughts.targets, thoughts.sites, texts, descent)

    translations = translator.greedy(thoughts.slots)
    row("gold claim", as_words(thoughts.gold))
    row("translation", as_words(translations))
    row("constant", as_words(constant))
    row("soft text, begun at the gold claim", as_vectors(thoughts.gold))
    row("soft text, begun at the constant", as_vectors(constant))
    out.show(table(found))
    return flat(found, {})
