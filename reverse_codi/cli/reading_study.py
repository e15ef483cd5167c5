"""Find which way of reading a text is sensitive to the claim of a thought.

Prints the reading study of a recipe's reasoner, as tables: each way of reading, on each site.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reading import Map, Point, Prefix, ReadSpec
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.config import validated

if TYPE_CHECKING:
    from rich.text import Text

    from reverse_codi.evaluation.reading_study import StudyRow
    from reverse_codi.utils.bootstrap import Interval
    from reverse_codi.utils.tables import Table

# The naive readings, then the affine map in its forms: layers, point, ridge, question.
SPECS = (
    ReadSpec(prefix=Prefix.QUESTION, point=Point.LAST, layers="final", map=Map.IDENTITY),
    ReadSpec(point=Point.LAST, layers="final", map=Map.IDENTITY),
    ReadSpec(prefix=Prefix.QUESTION),
    ReadSpec(point=Point.LAST, layers="final"),
    ReadSpec(point=Point.LAST),
    ReadSpec(point=Point.LAST, suffix="The answer is:"),
    ReadSpec(point=Point.BEFORE_RESULT),
    ReadSpec(point=Point.MEAN),
    ReadSpec(),
    ReadSpec(ridge=10.0),
)


def tables(rows: Sequence[StudyRow], title: str) -> list[Table | Text]:
    """A table a ReadSpec, and in it a line a site; half widths of 95 % intervals."""
    from rich.text import Text

    from reverse_codi.utils.tables import Table

    made: list[Table | Text] = [Text(f"\n{title}")]
    for spec in dict.fromkeys(row.spec for row in rows):
        strength = f", ridge {spec.ridge:g}" if spec.map is Map.AFFINE else ""
        names = ("site", "gold", "retrieved", "chain", "best hard negative", "its match", "margin")
        table = Table(*names, title=f"read: {spec}{strength}")
        for row in (row for row in rows if row.spec == spec):
            table.add_row(
                str(row.site),
                _half(row.match["gold"]),
                f"{row.retrieval['gold']:.2f}",
                f"{row.match['chain'].value:.2f}",
                row.best_negative,
                f"{row.match[row.best_negative].value:.2f}",
                _half(row.margin),
            )
        made.append(table)
    return made


def _half(figure: Interval) -> str:
    return f"{figure.value:.3f} ±{(figure.high - figure.low) / 2:.3f}"


def negatives(rows: Sequence[StudyRow], spec: ReadSpec) -> list[Table | Text]:
    """Match of every text kind under one spec, the sites side by side."""
    from reverse_codi.reading.hard_negatives import HARD_NEGATIVES
    from reverse_codi.utils.tables import side_by_side

    kinds = ("gold", "chain", *HARD_NEGATIVES)
    sites = {
        str(row.site): [f"{row.match[kind].value:.2f}" for kind in kinds] for row in rows if row.spec == spec
    }
    return side_by_side(kinds, sites, title=f"match of every kind of text, read: {spec}", label="text")


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi reading-study", __doc__, takes_recipe=True)
    made.add_recipe(default="tiny")
    made.add_argument("--out", metavar="FILE", type=Path, help="JSON file of every figure")
    made.add_argument("--ridge", type=float, nargs="*", default=[], help="further ridge strengths to study")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Run the study and print it."""
    recipe = load_recipe([options.recipe, *options.keys])

    from reverse_codi.evaluation.reading_study import Study, choose
    from reverse_codi.reading.claims import find_encoded_steps
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.storage.files import figures_json, write_whole
    from reverse_codi.storage.outputs import check_file, check_folder
    from reverse_codi.training.prepare import moved_by_swaps, trace_both
    from reverse_codi.verbalize.self_generated_cot import self_generated_claims
    from reverse_codi.verbalize.thoughts import thought_sites

    more = [validated(ReadSpec, {"ridge": ridge}, "--ridge") for ridge in options.ridge]
    check_folder(recipe.trace.out, "trace.out")
    if options.out:
        check_file(options.out, (".json",))
    reasoner = load_reasoner(recipe.reasoner)
    train, heldout = trace_both(recipe, reasoner)
    sites = thought_sites(reasoner.n_thoughts)
    encoded = find_encoded_steps(
        {site: train.vectors(site) for site in sites},
        train.claims,
        recipe.reading.encoded_threshold,
        moved=moved_by_swaps(reasoner, recipe.task.build(), recipe.trace.seed),
    )
    for (site, n_steps), accuracy in encoded.accuracy.items():
        line = "  ".join(f"step {i + 1} {a:.2f}" for i, a in enumerate(accuracy))
        out.show(f"probe {site}, {n_steps}-step problems: {line}")
    specs = (*SPECS, *more)
    study = Study(reasoner, sites, encoded, train, heldout)
    rows = study.every(specs, train.claims)
    best = choose(rows)
    written = study.rows(best, self_generated_claims(reasoner, train.questions))
    bare = study.rows(best, train.claims, framed=0)
    records = [
        {**asdict(row), "spec": row.spec.model_dump(mode="json"), "site": str(row.site)}
        for row in [*rows, *bare, *written]
    ]
    found = {"default": best.model_dump(mode="json"), "rows": records}
    if options.out:
        write_whole(options.out, figures_json(found, indent=1) + "\n")
    out.show(
        *tables(rows, "maps fitted on gold claims"),
        *tables(bare, "the best one, its map fitted on bare claims only: it is sensitive to nothing else"),
        *tables(written, "the best one, its map fitted on the model's self-generated CoT (no labels)"),
        *negatives(rows, best),
        f"default ReadSpec: {best.model_dump(mode='json')}",
    )
    return found
