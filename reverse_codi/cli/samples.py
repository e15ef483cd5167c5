"""Measure what best-of-N gains and costs.

The nearest of many texts is chosen by a proxy. For each number of samples: the nearest of all texts, and the
rule of `verbalize --samples` with each margin. Counted are rows in which no claim can be read, active
thoughts whose claims are the gold ones, thoughts that hold nothing and get "(no step)", and rows that are
trusted and wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.utils.arguments import count, positive

if TYPE_CHECKING:
    from reverse_codi.evaluation.samples import Choice
    from reverse_codi.utils.tables import Table


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi samples", __doc__, takes_recipe=True)
    add = made.add_argument
    made.add_verbalizer(EMBEDDED)
    add("--problems", type=positive, default=100, help="held-out problems a seed")
    add("--seeds", type=count, nargs="+", default=[1, 2, 3], help="of problems and sampling")
    add("--samples", type=positive, nargs="+", default=[4, 16, 64], help="texts a thought")
    add("--margins", type=float, nargs="+", help="in match; 0 and the one of `verbalize` if not given")
    add("--out", metavar="DIR", type=Path, default=Path("runs/samples"), help="folder of the traces")
    return made


COUNTED = ("no claim", "active right", "inactive right", "trusted, wrong")


def table(records: Sequence[Mapping[str, Any]]) -> Table:
    """A line for every rule: rows counted over all seeds; shares as their mean, with those of the seeds."""
    from reverse_codi.utils.tables import Table

    made = Table("texts", "rule", *COUNTED, texts=COUNTED[1:3])
    for n, name in dict.fromkeys((record["samples"], record["rule"]) for record in records):
        of_rule = [record for record in records if (record["samples"], record["rule"]) == (n, name)]
        garbled, active, inactive, wrong = ([record[key] for record in of_rule] for key in COUNTED)
        shares = (
            f"{sum(c) / len(c):.3f} ({' '.join(f'{share:.3f}' for share in c)})" for c in (active, inactive)
        )
        made.add_row(str(n), name, str(sum(garbled)), *shares, str(sum(wrong)))
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Print the table, seeds pooled."""
    from reverse_codi.evaluation.evaluate import find
    from reverse_codi.evaluation.samples import by_margin, counts, held_out, nearest_of_all, tried
    from reverse_codi.reading.best_of import MARGIN
    from reverse_codi.storage.outputs import check_folder
    from reverse_codi.utils.console import counted, progress
    from reverse_codi.verbalize.translations.reference_texts import kept_reference_texts

    check_folder(options.out, "--out")
    evaluated = find(options.what, options.keys)
    rules: dict[str, Choice] = {"nearest of all": nearest_of_all}
    rules |= {f"margin {margin:g}": by_margin(margin) for margin in options.margins or (0.0, MARGIN)}
    tables: dict[tuple[int, str], list[tuple[int, float, float, int]]] = {}
    rows = 0
    with progress("seeds", len(options.seeds)) as advance:
        for seed in options.seeds:
            translator, metric, thoughts = held_out(
                evaluated.recipe, evaluated.verbalizer, options.problems, seed, options.out
            )
            with counted("texts") as translator.engine.progress:
                made = tried(translator, metric, thoughts, max(options.samples), seed)
                references = kept_reference_texts(translator, metric)
            rows += len(thoughts)
            chosen = {(0, "greedy"): made.chosen(0, nearest_of_all)}
            chosen |= {
                (n, name): made.chosen(n, rule) for n in options.samples for name, rule in rules.items()
            }
            for key, texts in chosen.items():
                tables.setdefault(key, []).append(counts(references, metric, thoughts, texts))
            advance(1)
    records = [
        {"samples": n, "rule": name, "seed": seed, **dict(zip(COUNTED, of_seed, strict=True))}
        for (n, name), found in tables.items()
        for seed, of_seed in zip(options.seeds, found, strict=True)
    ]
    out.show(table(records), f"{rows:,} rows")
    return {"rows": rows, "counts": records}
