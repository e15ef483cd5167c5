"""Find how well thoughts can be read at all, in one guess.

Probes with labels, linear and with a hidden layer, on hidden states and on latent inputs, are trained on the
recipe's training traces. A translation of a single thought cannot be expected to state what they cannot
read.

`step_result.K` is the gold result of step K, off the thought of that step, in right traces; `wrong` is the
model's own wrong answer, off the thought of the last step, in wrong traces.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.arguments import count, positive

if TYPE_CHECKING:
    from reverse_codi.utils.figures import Figures
    from reverse_codi.utils.tables import Table


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi ceilings", __doc__, takes_recipe=True)
    made.add_recipe(default="tiny")
    made.add_argument("--n-test", type=positive, default=24_000, help="held-out traces")
    made.add_argument("--seed", type=count, default=0, help="of held-out problems and probes")
    made.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/ceilings"), help="folder of held-out traces"
    )
    return made


def table(found: Figures) -> Table:
    """A line a probe."""
    from reverse_codi.utils.tables import Table

    made = Table("asked", "of", "probe", "right [95 %]", "n")
    for name, figure in found.items():
        what, kind, probe = name.rsplit(".", 2)
        made.add_row(what, kind, probe, str(figure), str(figure.n))
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Collect traces, fit the probes, print the table."""
    recipe = load_recipe([options.recipe, *options.keys])

    from reverse_codi.evaluation.ceilings import ceilings
    from reverse_codi.evaluation.draw import FIRST_SEED
    from reverse_codi.evaluation.report import flat
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.storage.outputs import check_folder
    from reverse_codi.tasks.base import Split
    from reverse_codi.traces.collect import TraceRequest, collect

    check_folder(options.out, "--out")
    check_folder(recipe.trace.out, "trace.out")
    reasoner = load_reasoner(recipe.reasoner)

    section, task = recipe.trace, recipe.task.build()
    asked = TraceRequest.of_training(recipe, Split.TRAIN, section.n, section.seed, section.out)
    train = collect(reasoner, task, asked)
    seed = FIRST_SEED + 10 * options.seed + 5
    heldout = options.out / f"heldout-{options.n_test}-{seed}"
    asked = TraceRequest.of_training(recipe, Split.HELDOUT, options.n_test, seed, heldout)
    test = collect(reasoner, task, asked)
    found = ceilings(train, test, reasoner.n_thoughts, options.seed)
    out.show(table(found))
    return flat(found, {})
