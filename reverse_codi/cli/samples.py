"""Measure what best-of-N gains and costs.

The nearest of many texts is chosen by a proxy. For each number of samples: the nearest of all texts, and the
rule of `verbalize --samples` with each margin. Counted are rows in which no claim can be read, active
thoughts whose claims are the gold ones, thoughts that hold nothing and get "(no step)", and rows that are
trusted and wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.utils.arguments import count, positive

if TYPE_CHECKING:
    from reverse_codi.evaluation.samples import Choice


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


def main(arguments: Sequence[str]) -> None:
    """Print the table, seeds pooled."""
    options, keys = parser().parse_with_keys(arguments)
    import torch
    from rich.table import Table

    from reverse_codi.evaluation.evaluate import find
    from reverse_codi.evaluation.samples import by_margin, counts, held_out, nearest_of_all, tried
    from reverse_codi.reading.best_of import MARGIN
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.log import show_log
    from reverse_codi.utils.outputs import check_folder
    from reverse_codi.verbalize.translations.reference_texts import kept_reference_texts

    check_folder(options.out, "--out")
    evaluated, console = find(options.what, keys), show_log(VerbConsole())
    rules: dict[str, Choice] = {"nearest of all": nearest_of_all}
    rules |= {f"margin {margin:g}": by_margin(margin) for margin in options.margins or (0.0, MARGIN)}
    table = Table("samples", "rule", "no claim", "active right", "inactive right", "trusted, wrong", "rows")
    tables: dict[tuple[int, str], list[tuple[int, float, float, int]]] = {}
    rows = 0
    for seed in options.seeds:
        translator, metric, thoughts = held_out(
            evaluated.recipe, evaluated.verbalizer, options.problems, seed, options.out
        )
        made = tried(translator, metric, thoughts, max(options.samples), seed)
        references = kept_reference_texts(translator, metric)
        rows += len(thoughts)
        chosen = {(0, "greedy"): made.chosen(0, nearest_of_all)}
        chosen |= {(n, name): made.chosen(n, rule) for n in options.samples for name, rule in rules.items()}
        for key, texts in chosen.items():
            tables.setdefault(key, []).append(counts(references, metric, thoughts, texts))
    for (n, name), found in tables.items():
        garbled, active, inactive, wrong = (torch.tensor(column) for column in zip(*found, strict=True))
        shares = (f"{c.mean():.3f} ({' '.join(f'{v:.3f}' for v in c.tolist())})" for c in (active, inactive))
        table.add_row(str(n), name, str(int(garbled.sum())), *shares, str(int(wrong.sum())), str(rows))
    console.print(table)
