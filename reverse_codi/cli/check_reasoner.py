"""Measure whether a reasoner is worth translating.

Accuracy with its thoughts, with ablated ones and in CoT mode, and what probes read off the thoughts, on fresh
held-out problems.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.utils.arguments import count, positive


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi check-reasoner", __doc__)
    made.add_argument("--seed", type=count, default=0, help="of the fresh problems")
    made.add_argument("--n", type=positive, default=1_000, help="held-out problems")
    made.add_argument("--reasoner", metavar="ID", default=EMBEDDED, help=f"folder, or {EMBEDDED!r}")
    made.add_argument("--no-probe", action="store_true", help="skip the probes (half a minute)")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def main(arguments: Sequence[str]) -> None:
    """Print the figures."""
    options = parser().parse_args(arguments)
    import torch

    from reverse_codi.evaluation.check_reasoner import check
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.tasks.arithmetic import Arithmetic
    from reverse_codi.utils.files import figures_json
    from reverse_codi.utils.standard_output import kept_for_the_result

    torch.manual_seed(options.seed)
    with kept_for_the_result(options.json):
        reasoner = load_reasoner(options.reasoner)
        result = check(reasoner, Arithmetic(), options.seed, options.n, not options.no_probe)
    figures = {
        key: value
        if isinstance(value, int)
        else json.loads(json.dumps(value), parse_float=lambda x: round(float(x), 4))
        for key, value in asdict(result).items()
    }
    if options.json:
        print(figures_json(figures))
        return
    for key, value in figures.items():
        print(f"{key:24}{value}")
