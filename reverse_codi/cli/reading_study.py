"""Find which way of reading a text is sensitive to the claim of a thought.

Prints the reading study of a recipe's reasoner, as tables: each way of reading, on each site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reading import Map, Point, Prefix, ReadSpec
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.config import validated

if TYPE_CHECKING:
    from rich.table import Table

    from reverse_codi.evaluation.reading_study import StudyRow

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


def table(rows: Sequence[StudyRow], title: str) -> Table:
    """One line a ReadSpec and site."""
    from rich.table import Table

    shown = Table(title=title)
    for name in ("read", "ridge", "site", "gold", "retrieved", "chain", "best hard negative", "margin"):
        shown.add_column(name)
    for row in rows:
        best = row.match[row.best_negative]
        shown.add_row(
            str(row.spec),
            str(row.spec.ridge) if row.spec.map is Map.AFFINE else "",
            str(row.site),
            str(row.match["gold"]),
            f"{row.retrieval['gold']:.2f}",
            f"{row.match['chain'].value:.2f}",
            f"{row.best_negative} {best.value:.2f}",
            str(row.margin),
        )
    return shown


def negatives_table(rows: Sequence[StudyRow], spec: ReadSpec) -> Table:
    """Match of every text kind under one spec."""
    from rich.table import Table

    from reverse_codi.reading.hard_negatives import HARD_NEGATIVES

    shown = Table(title=f"match of every kind of text, read as: {spec}")
    kinds = ("gold", "chain", *HARD_NEGATIVES)
    for name in ("site", *kinds):
        shown.add_column(name)
    for row in rows:
        if row.spec == spec:
            shown.add_row(str(row.site), *(f"{row.match[kind].value:.2f}" for kind in kinds))
    return shown


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi reading-study", __doc__, takes_recipe=True)
    made.add_recipe(default="tiny")
    made.add_argument("--json", metavar="FILE", type=Path, help="also write every figure here")
    made.add_argument("--ridge", type=float, nargs="*", default=[], help="further ridge strengths to study")
    return made


def main(arguments: Sequence[str]) -> None:
    """Run the study and print it."""
    options, keys = parser().parse_with_keys(arguments)
    recipe = load_recipe([options.recipe, *keys])

    from reverse_codi.evaluation.reading_study import Study, choose
    from reverse_codi.reading.claims import find_encoded_steps
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.training.prepare import moved_by_swaps, trace_both
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.files import figures_json, write_whole
    from reverse_codi.utils.log import show_log
    from reverse_codi.utils.outputs import check_file, check_folder
    from reverse_codi.verbalize.self_generated_cot import self_generated_claims
    from reverse_codi.verbalize.thoughts import thought_sites

    more = [validated(ReadSpec, {"ridge": ridge}, "--ridge") for ridge in options.ridge]
    check_folder(recipe.trace.out, "trace.out")
    if options.json:
        check_file(options.json, (".json",))
    console = show_log(VerbConsole(width=160))
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
        console.print(f"probe {site}, {n_steps}-step problems: {line}")
    specs = (*SPECS, *more)
    study = Study(reasoner, sites, encoded, train, heldout)
    rows = [row for spec in specs for row in study.rows(spec, train.claims)]
    best = choose(rows)
    written = study.rows(best, self_generated_claims(reasoner, train.questions))
    bare = study.rows(best, train.claims, framed=0)
    console.print(table(rows, "maps fitted on gold claims"))
    console.print(
        table(bare, "the best one, its map fitted on bare claims only: it is sensitive to nothing else")
    )
    console.print(
        table(written, "the best one, its map fitted on the model's self-generated CoT (no labels)")
    )
    console.print(negatives_table(rows, best))
    console.print(f"[bold]default ReadSpec:[/bold] {best.model_dump(mode='json')}")
    if options.json:
        records = [
            {**asdict(row), "spec": row.spec.model_dump(mode="json"), "site": str(row.site)}
            for row in [*rows, *bare, *written]
        ]
        found = {"default": best.model_dump(mode="json"), "rows": records}
        write_whole(options.json, figures_json(found, indent=1) + "\n")
