"""What each choice is worth, held-out: the rows of an ablation table.

Each row trains a verbalizer with some keys of the base recipe changed and evaluates it without controls. A
row that says `after: OTHER` takes over the other row's maps, warm start or both. Finished rows are kept, so a
stopped table goes on where it was.

A table of RL alone needs less: `start: embedded` begins every row at the embedded warm start, and
`figures: run` takes what the run itself found on held-out thoughts, as a mean over `seeds`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from rich.console import Console

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.evaluation.ablation_figures import Figures, averaged, run_figures
from reverse_codi.evaluation.defaults import Size
from reverse_codi.evaluation.evaluate import Evaluated, EvaluationRequest, run
from reverse_codi.evaluation.report import METRICS_FILE
from reverse_codi.processes import ray_session
from reverse_codi.reasoners.load import ASSETS
from reverse_codi.recipe.find import recipe_file
from reverse_codi.recipe.reward import beside
from reverse_codi.recipe.schema import WHERE, Recipe
from reverse_codi.recipe.seeds import seeded
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.lock import owned
from reverse_codi.storage.stages import finished, record, take_over
from reverse_codi.train import train
from reverse_codi.training import preflight
from reverse_codi.training.runtime import with_available_engine
from reverse_codi.training.stage_folders import READING, READING_FILES, REINFORCE, WARM
from reverse_codi.utils.config import Section, override, read_yaml, validated

DONE = f"evaluation/{METRICS_FILE}"
# What a stopped row goes on from.
PARTS = ("train/*",)
# Where a row runs and what it prints: another machine may go on with a table.
DECIDES_NOTHING: dict[str, Any] = {
    "train": True,
    "log": True,
    "warm_start": {"micro_batch", "gradient_checkpointing"},
    "grpo": {"micro_batch", "gradient_checkpointing"},
    "distill": True,
    "rollout": {
        **dict.fromkeys(("actors", "cpus", "gpus", "start_timeout_s"), True),
        "engine": {"device", "max_sequences", "kv_cache_mib", "gpu_memory_utilization"},
    },
    "reward": {"actors", "cpus_per_actor", "gpus_per_actor", "timeout_s"},
    **WHERE,
}


class AblationRow(Section):
    """One line of the table."""

    why: str
    """What the row asks."""
    after: str | None = None
    """A row above whose `takes` are taken over."""
    takes: list[Literal["reading", "warm", "search"]] = ["reading", "warm"]
    """What is taken over, from that row or from the package: maps and encoded steps, the warm start, and the
    searches of that row, for rows that differ in what is learnt from the same texts."""
    read_by: str | None = None
    """A row above whose maps evaluate this one, where its own read whole traces."""
    seeds: list[int] = Field(default=[], max_length=100)
    """Seeds that the row is run with, one after the other, and so are the rows that it goes on from: seeds of
    the warm start, of all stages and of GRPO. If none, the recipe's own."""
    seed: int | None = None
    """One such seed."""
    set: dict[str, Any] = {}
    """Keys laid over the base recipe, dotted: `reading.spec.point: last`."""


class Ablation(Section):
    """An ablation table."""

    recipe: str
    """The base recipe: a file, also beside the table, or a name."""
    size: Size = Size()
    """How much each row is asked."""
    start: Literal["embedded"] | None = None
    """embedded: rows without `after` begin with the maps of the embedded verbalizer and with the demo's warm
    start on 1,000 labelled problems. By default they make their own."""
    figures: Literal["suite", "run"] = "suite"
    """suite: evaluate each row. run: show the last held-out figures of the run itself (metrics.jsonl)."""
    seeds: list[int] = []
    """Seeds of every row that has none of its own."""
    set: dict[str, Any] = {}
    """Keys laid over the base recipe in every row."""
    rows: dict[str, AblationRow]
    """Name -> row, in the order of the table."""

    def seeds_of(self, name: str) -> list[int]:
        """The seeds of one row."""
        row = self.rows[name]
        return row.seeds or ([] if row.seed is not None else self.seeds)

    @model_validator(mode="after")
    def _rows_come_after_rows_above(self) -> Self:
        above: list[str] = []
        for name, row in self.rows.items():
            for other in (row.after, row.read_by):
                if other is not None and other not in above:
                    raise ValueError(f"row {name!r} needs {other!r}, which is no row above it")
            above.append(name)
            if "search" in row.takes and row.after is None:
                raise ValueError(f"row {name!r} takes a search and names no row that made it; give `after`")
            if self.seeds_of(name) and self.figures != "run":
                raise ValueError(
                    f"row {name!r} has seeds, which only a table of `figures: run` averages over"
                )
        return self


def read_ablation(word: str | Path) -> Ablation:
    """Read a table from a file, or by the name of one that comes with the package.

    Raises:
        RecipeError: there is none, or a key or value is wrong.
    """
    file = recipe_file(word)
    ablation = validated(Ablation, read_yaml(file), str(word))
    beside_table = file.parent / ablation.recipe
    if Path(ablation.recipe).is_file() or not beside_table.is_file():
        return ablation
    return ablation.model_copy(update={"recipe": str(beside_table)})


def recipe_of(ablation: Ablation, name: str, folder: Path) -> Recipe:
    """The recipe of one row."""
    changed = {**ablation.set, **ablation.rows[name].set}
    words = [word for key, value in changed.items() for word in (f"--{key}", json.dumps(value))]
    base = recipe_file(ablation.recipe)
    values = override(read_yaml(base), [*words, "--train.out", str(folder / "train")])
    recipe = validated(Recipe, values, f"row {name!r}")
    recipe = recipe.model_copy(update={"reward": beside(recipe.reward, base.parent)})
    seed = ablation.rows[name].seed
    return recipe if seed is None else seeded(recipe, seed)


def made_from(ablation: Ablation, name: str) -> dict[str, Any]:
    """Everything that decides what a row finds, the rows that it goes on from included."""
    row = ablation.rows[name]
    recipe = recipe_of(ablation, name, Path())
    return {
        **recipe.model_dump(mode="json", exclude=DECIDES_NOTHING),
        "size": ablation.size.model_dump(),
        "start": ablation.start,
        "figures": ablation.figures,
        "takes": row.takes if row.after or ablation.start else [],
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
        if ablation.seeds_of(name):
            for one, folder in by_seed(ablation, name, out):
                check(one, [name], folder)
            continue
        if finished(out / name, made_from(ablation, name), (DONE,), resumable=PARTS):
            continue
        recipe = with_available_engine(recipe_of(ablation, name, out / name))
        try:
            preflight.check(recipe, fetch=False)
            preflight.check_actors(recipe)
        except UserError as error:
            raise RecipeError(f"row {name!r}: {error}") from None


def by_seed(ablation: Ablation, name: str, out: Path) -> Iterator[tuple[Ablation, Path]]:
    """The table with one of the row's seeds in it, and the folder of its rows, for each seed."""
    rows: dict[str, AblationRow] = {}
    before: str | None = name
    while before is not None:
        rows[before] = ablation.rows[before]
        before = rows[before].after
    for seed in ablation.seeds_of(name):
        fixed = {key: row.model_copy(update={"seeds": [], "seed": seed}) for key, row in rows.items()}
        yield ablation.model_copy(update={"rows": {**ablation.rows, **fixed}}), out / f"seed-{seed}"


def found(ablation: Ablation, name: str, out: Path) -> Figures | None:
    """What a row has found so far: None if it is not finished, the mean of its seeds that are."""
    if not ablation.seeds_of(name):
        file = out / name / DONE
        return read_object(file, "remove it to run the row anew") if file.is_file() else None
    there = [found(one, name, folder) for one, folder in by_seed(ablation, name, out)]
    done = [figures for figures in there if figures is not None]
    return averaged(done) if done else None


def taken(run: Path, row: AblationRow) -> list[Path]:
    """The stages of another run that a row takes over, as folders within the run's."""
    fixed = [Path(part) for part in (READING, WARM) if part in row.takes]
    searches = run.glob(f"{REINFORCE}/*-search") if "search" in row.takes else []
    return [*fixed, *sorted(folder.relative_to(run) for folder in searches)]


def run_row(ablation: Ablation, name: str, out: Path, console: Console) -> Figures:
    """Train and evaluate one row, or read what a former run found.

    Raises:
        StageError: the former run had other settings.
        InUseError: another process runs the row.
    """
    if ablation.seeds_of(name):
        return averaged([run_row(one, name, at, console) for one, at in by_seed(ablation, name, out)])
    with owned(out / name, "--out"):
        _finish_row(ablation, name, out, console)
    figures = found(ablation, name, out)
    assert figures is not None  # the row is finished
    return figures


def _finish_row(ablation: Ablation, name: str, out: Path, console: Console) -> None:
    folder = out / name
    inputs = made_from(ablation, name)
    if not finished(folder, inputs, (DONE,), resumable=PARTS):
        record(folder, inputs)
        recipe = with_available_engine(recipe_of(ablation, name, folder))
        if (first := ablation.rows[name].after) is not None:
            run_row(ablation, first, out, console)
            for part in taken(out / first / "train", ablation.rows[name]):
                if not (folder / "train" / part).is_dir():  # else RL may have gone on from it
                    take_over(out / first / "train" / part, folder / "train" / part)
        elif ablation.start == "embedded" and not (folder / "train" / READING).is_dir():
            take_over(ASSETS / "verbalizer", folder / "train" / READING, READING_FILES)
            if WARM in ablation.rows[name].takes:
                take_over(ASSETS / "warm", folder / "train" / WARM)
        console.print(f"\n{name}: {ablation.rows[name].why}", markup=False, soft_wrap=True)
        with ray_session.ended():  # the next row may place other actors
            verbalizer = train(recipe, resume=True)
        if ablation.figures == "run":
            write_whole(folder / DONE, strict_json(run_figures(folder / "train")))
        else:
            reading = None
            if (reader := ablation.rows[name].read_by) is not None:
                run_row(ablation, reader, out, console)
                reading = out / reader / "train" / "reading"
            evaluated = Evaluated(recipe, verbalizer, reading)
            asked = EvaluationRequest(out=folder / "evaluation", size=ablation.size, reconstruct=False)
            run(evaluated, asked)
