"""What a report holds of an ablation table: its finished rows, as `reverse-codi ablate` left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.evaluation.ablation_figures import RUN_FIGURES, Figures, averaged
from reverse_codi.evaluation.report import AIMS, METRICS_FILE
from reverse_codi.storage.json_files import read_object

ALSO = ("match.whitened", "claims.f1", "claims.unsupported")
"""Figures beside those with an aim."""
DONE = f"evaluation/{METRICS_FILE}"
SEED = "seed-"
"""Begins the folder of one seed's rows."""
FIRST = "base"
"""The row that others are compared with stands first."""


@dataclass(frozen=True)
class Cell:
    """One figure of a row.

    Attributes:
        value: None where there is none.
        half: half the width of its interval, or one standard deviation over seeds; None without.
    """

    value: float | None
    half: float | None


@dataclass(frozen=True)
class AblationReport:
    """A report of an ablation table.

    Attributes:
        folder: as the user wrote it.
        figures: the columns.
        rows: name -> figure -> its cell, None where the row lacks it.
        seeds: name -> over how many seeds it is a mean; 0 where the row has no seeds.
        unfinished: rows that are begun and have no figures yet.
    """

    folder: str
    figures: Sequence[str]
    rows: Mapping[str, Mapping[str, Cell | None]]
    seeds: Mapping[str, int]
    unfinished: Sequence[str]


def is_ablation(folder: Path) -> bool:
    """Whether a folder holds rows of an ablation table."""
    return any(folder.glob(f"*/{DONE}")) or any(folder.glob(f"{SEED}*/*/{DONE}"))


def ablation_report(folder: Path) -> AblationReport:
    """Read the rows of a table, finished or not; those with seeds are means over the seeds that are done."""
    of_row: dict[str, list[Figures]] = {}
    for file in sorted(folder.glob(f"{SEED}*/*/{DONE}")):
        of_row.setdefault(file.parents[1].name, []).append(read_object(file, "remove it to run the row anew"))
    found: dict[str, Figures] = {name: averaged(_shared(figures)) for name, figures in of_row.items()}
    for file in sorted(folder.glob(f"*/{DONE}")):
        found[file.parents[1].name] = read_object(file, "remove it to run the row anew")
    names = sorted(found, key=lambda name: (name != FIRST, name))
    every = {key for figures in found.values() for key in figures}
    columns = [key for key in (*AIMS, *ALSO, *RUN_FIGURES) if key in every]
    begun = {
        path.name
        for pattern in ("*/train", f"{SEED}*/*/train")
        for path in (train.parent for train in folder.glob(pattern))
    }
    return AblationReport(
        str(folder),
        columns,
        {name: {key: _cell(found[name].get(key)) for key in columns} for name in names},
        {name: len(of_row.get(name, ())) for name in names},
        sorted(begun - set(found)),
    )


def _shared(runs: Sequence[Figures]) -> list[Figures]:
    """Runs with the figures that all of them have, and no figure that nothing was counted for."""
    names = [name for name in runs[0] if all((run.get(name) or {}).get("value") is not None for run in runs)]
    return [{name: run[name] for name in names} for run in runs]


def _cell(figure: Mapping[str, float | None] | None) -> Cell | None:
    if figure is None:
        return None
    low, high = figure.get("low"), figure.get("high")
    return Cell(figure["value"], None if low is None or high is None else (high - low) / 2)
