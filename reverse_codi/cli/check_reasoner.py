"""Measure whether a reasoner is worth translating.

Accuracy with its thoughts, with ablated ones and in CoT mode, and what probes read off the thoughts, on fresh
held-out problems.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.utils.arguments import count, positive

if TYPE_CHECKING:
    from reverse_codi.utils.tables import Table


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi check-reasoner", __doc__)
    made.add_argument("--seed", type=count, default=0, help="of the fresh problems")
    made.add_argument("--n", type=positive, default=1_000, help="held-out problems")
    made.add_argument("--reasoner", metavar="ID", default=EMBEDDED, help=f"folder, or {EMBEDDED!r}")
    made.add_argument("--no-probe", action="store_true", help="skip the probes (half a minute)")
    return made


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """The figures, and below them what probes read: a line a site."""
    from reverse_codi.utils.tables import Table

    of_all, of_sites = Table("figure", "value"), Table("probe of", *(f"step {step + 1}" for step in range(3)))
    for key, value in figures.items():
        if key == "probe":
            for site, row in value.items():
                of_sites.add_row(site, *map(str, row))
        elif isinstance(value, Mapping):
            for name, one in value.items():
                of_all.add_row(f"{key}.{name}", str(one))
        else:
            of_all.add_row(key, str(value))
    return [of_all, of_sites] if of_sites.rows else [of_all]


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Measure and print the figures."""
    import torch

    from reverse_codi.evaluation.check_reasoner import check
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.tasks.arithmetic import Arithmetic

    torch.manual_seed(options.seed)
    reasoner = load_reasoner(options.reasoner)
    result = check(reasoner, Arithmetic(), options.seed, options.n, not options.no_probe)
    figures = {
        key: value
        if isinstance(value, int)
        else json.loads(json.dumps(value), parse_float=lambda x: round(float(x), 4))
        for key, value in asdict(result).items()
    }
    out.show(*tables(figures))
    return figures
