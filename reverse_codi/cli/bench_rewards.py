"""Time the scoring of texts, with the embedded reasoner.

Texts a second: batched against one by one, and one reward against five, which share one reading.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.utils.arguments import positive

if TYPE_CHECKING:
    from reverse_codi.evaluation.reward_trials.timing import Timing
    from reverse_codi.utils.tables import Table


def shown(timings: Sequence[Timing]) -> Table:
    """A line a way, against one reward batched."""
    from reverse_codi.utils.tables import Table

    base = next(timing for timing in timings if timing.name == "one reward, batched")
    table = Table("way", "texts", "read", "texts a second", "time a text, relative")
    for timing in timings:
        relative = base.rate / timing.rate
        table.add_row(
            timing.name, str(timing.texts), str(timing.read), f"{timing.rate:.0f}", f"{relative:.2f}"
        )
    return table


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi bench-rewards", __doc__)
    made.add_argument("--texts", metavar="N", type=positive, default=2048, help="texts in a batch")
    made.add_argument("--rounds", metavar="N", type=positive, default=3, help="the fastest of so many counts")
    made.add_argument("--out", metavar="FILE", type=Path, help="JSON file of the figures")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Measure and print."""
    from reverse_codi.evaluation.reward_trials.timing import make_rows, measured
    from reverse_codi.reading.metric import ThoughtMetric
    from reverse_codi.reasoners.load import ASSETS, load_reasoner
    from reverse_codi.storage.files import figures_json, write_whole
    from reverse_codi.storage.outputs import check_file

    if options.out:
        check_file(options.out, (".json",))
    metric = ThoughtMetric.load(ASSETS / "verbalizer", load_reasoner(ASSETS / "reasoner"))
    timings = measured(metric, make_rows(metric, options.texts), options.rounds)
    figures = [asdict(timing) | {"rate": timing.rate} for timing in timings]
    if options.out:
        write_whole(options.out, figures_json(figures) + "\n")
    out.show(shown(timings))
    return figures
