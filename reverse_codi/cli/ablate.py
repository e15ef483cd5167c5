"""`reverse-codi ablate recipes/ablation.yaml --out DIR`: what each choice is worth, held-out.

Each row trains a verbalizer with some keys of the base recipe changed and evaluates it without controls. A
row that says `after: OTHER` takes over the other row's maps, warm start or both. Finished rows are kept, so a
stopped table goes on where it was; `--row NAME` runs some alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import ray
import torch
from pydantic import model_validator
from rich.console import Console
from rich.table import Table

from reverse_codi.evaluation.draw import Size
from reverse_codi.evaluation.evaluate import Evaluated, EvaluationRequest, run
from reverse_codi.evaluation.report import AIMS, METRICS_FILE
from reverse_codi.recipe.reward import beside
from reverse_codi.recipe.schema import Recipe
from reverse_codi.train import train
from reverse_codi.training import preflight
from reverse_codi.training.runtime import with_available_engine
from reverse_codi.utils.arguments import count
from reverse_codi.utils.config import (
    RecipeError,
    Section,
    UserError,
    override,
    read_yaml,
    run_verb,
    validated,
)
from reverse_codi.utils.console import VerbConsole
from reverse_codi.utils.log import show_log
from reverse_codi.utils.outputs import check_folder
from reverse_codi.utils.stages import finished, record, take_over

# Figures beside those with an aim.
ALSO = ("match.whitened", "claims.f1", "claims.unsupported")
DONE = f"evaluation/{METRICS_FILE}"
# What a stopped row goes on from.
PARTS = ("train/*",)
# Where a row runs and what it prints: another machine may go on with a table.
DECIDES_NOTHING: dict[str, Any] = {
    "train": True,
    "log": True,
    "distill": True,
    "rollout": {"actors", "cpus", "gpus"},
    "reward": {"actors", "cpus_per_actor", "gpus_per_actor", "timeout_s"},
    "reasoner": {"device"},
    "trace": {"batch_size"},
}


class AblationRow(Section):
    """One line of the table."""

    why: str
    """What the row asks."""
    after: str | None = None
    """A row above whose `takes` are taken over."""
    takes: list[Literal["reading", "warm"]] = ["reading", "warm"]
    """What is taken over: maps and encoded steps, and the warm start."""
    read_by: str | None = None
    """A row above whose maps examine this one, where its own read whole traces."""
    set: dict[str, Any] = {}
    """Keys laid over the base recipe, dotted: `reading.spec.point: last`."""


class Ablation(Section):
    """An ablation table."""

    recipe: str
    """The base recipe."""
    size: Size = Size()
    """How much each row is asked."""
    set: dict[str, Any] = {}
    """Keys laid over the base recipe in every row."""
    rows: dict[str, AblationRow]
    """Name -> row, in the order of the table."""

    @model_validator(mode="after")
    def _rows_come_after_rows_above(self) -> Self:
        above: list[str] = []
        for name, row in self.rows.items():
            for other in (row.after, row.read_by):
                if other is not None and other not in above:
                    raise ValueError(f"row {name!r} needs {other!r}, which is no row above it")
            above.append(name)
        return self


def recipe_of(ablation: Ablation, name: str, folder: Path) -> Recipe:
    """The recipe of one row."""
    changed = {**ablation.set, **ablation.rows[name].set}
    words = [word for key, value in changed.items() for word in (f"--{key}", json.dumps(value))]
    values = override(read_yaml(ablation.recipe), [*words, "--train.out", str(folder / "train")])
    recipe = validated(Recipe, values, f"row {name!r}")
    return recipe.model_copy(update={"reward": beside(recipe.reward, Path(ablation.recipe).parent)})


def made_from(ablation: Ablation, name: str) -> dict[str, Any]:
    """Everything that decides what a row finds, the rows that it goes on from included."""
    row = ablation.rows[name]
    recipe = recipe_of(ablation, name, Path())
    return {
        **recipe.model_dump(mode="json", exclude=DECIDES_NOTHING),
        "size": ablation.size.model_dump(),
        "takes": row.takes if row.after else [],
        "after": made_from(ablation, row.after) if row.after else None,
        "read_by": made_from(ablation, row.read_by) if row.read_by else None,
    }


def check(ablation: Ablation, names: Sequence[str], out: Path) -> None:
    """Refuse what would fail in the middle of the table: finished rows of other settings, and bad new ones.

    Raises:
        RecipeError: names the row.
        StageError: a row, or one that it goes on from, was made with other settings.
    """
    for name in names:
        if finished(out / name, made_from(ablation, name), (DONE,), resumable=PARTS):
            continue
        recipe, _ = with_available_engine(recipe_of(ablation, name, out / name))
        try:
            preflight.check(recipe, fetch=False)
            preflight.check_actors(recipe)
        except UserError as error:
            raise RecipeError(f"row {name!r}: {error}") from None


def run_row(ablation: Ablation, name: str, out: Path, console: Console) -> dict[str, Any]:
    """Train and evaluate one row, or read what a former run found.

    Raises:
        StageError: the former run had other settings.
    """
    folder = out / name
    inputs = made_from(ablation, name)
    if not finished(folder, inputs, (DONE,), resumable=PARTS):
        record(folder, inputs)
        recipe, _ = with_available_engine(recipe_of(ablation, name, folder))
        if (first := ablation.rows[name].after) is not None:
            run_row(ablation, first, out, console)
            for part in ablation.rows[name].takes:
                if not (folder / "train" / part).is_dir():  # else RL may have gone on from it
                    take_over(out / first / "train" / part, folder / "train" / part)
        console.rule(f"{name}: {ablation.rows[name].why}")
        verbalizer = train(recipe, resume=True)
        ray.shutdown()  # the next row may place other actors
        reading = None
        if (reader := ablation.rows[name].read_by) is not None:
            run_row(ablation, reader, out, console)
            reading = out / reader / "train" / "reading"
        evaluated = Evaluated(recipe, verbalizer, reading)
        asked = EvaluationRequest(out=folder / "evaluation", size=ablation.size, reconstruct=False)
        run(evaluated, asked)
    found: dict[str, Any] = json.loads((folder / DONE).read_text())
    return found


def table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line a row, with half widths of the 95 % intervals."""
    keys = [key for key in (*AIMS, *ALSO) if any(key in found for found in rows.values())]
    shown = Table(title="ablations")
    for name in ("row", *keys):
        shown.add_column(name, overflow="fold")
    for name, found in rows.items():
        shown.add_row(name, *(_cell(found.get(key)) for key in keys))
    return shown


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None or figure["value"] is None:
        return ""
    return f"{figure['value']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run rows and print the table of all that are finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ablation", type=Path, nargs="?", default=Path("recipes/ablation.yaml"))
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--row", action="append", help="run this row alone")
    parser.add_argument("--threads", type=count, default=0, help="torch threads; 0 leaves torch's choice")
    options = parser.parse_args(arguments)
    ablation = validated(Ablation, read_yaml(options.ablation), str(options.ablation))
    if unknown := [name for name in options.row or () if name not in ablation.rows]:
        raise RecipeError(f"no row is named {unknown[0]!r}; there are {', '.join(ablation.rows)}")
    check_folder(options.out, "--out")
    if options.threads:
        torch.set_num_threads(options.threads)
    console = show_log(VerbConsole(width=200))
    check(ablation, options.row or list(ablation.rows), options.out)
    for name in options.row or ablation.rows:
        run_row(ablation, name, options.out, console)
    done = {name: options.out / name / DONE for name in ablation.rows}
    console.print(
        table({name: json.loads(file.read_text()) for name, file in done.items() if file.is_file()})
    )


if __name__ == "__main__":
    run_verb(main)
