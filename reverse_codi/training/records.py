"""The files that a run writes while it learns: metrics.jsonl, completions.jsonl, and their rewinding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reverse_codi.rewards.batch import FIGURES, figure
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.utils.config import UserError
from reverse_codi.utils.files import figures_json, whole_folder, write_whole
from reverse_codi.utils.tracker import log_table
from reverse_codi.verbalize.policy import Policy

METRICS, COMPLETIONS, STAGES = "metrics.jsonl", "completions.jsonl", "stages.jsonl"
WARM_CURVE, CURVE = "warm_curve.csv", "curve.csv"
BEST, BEST_FIGURES = "best", "best.json"
HELDOUT = "heldout/"
"""Begins the names of figures of held-out thoughts."""
OWN_COLUMNS = ("step", "policy", "site", "question", "text", "match", "total")
"""Of completions; those of rewards are `reward/NAME`."""


def heldout(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures of held-out thoughts by the names that logs give them."""
    return {f"{HELDOUT}{name}": value for name, value in figures.items()}


class JsonLog:
    """One JSON object a line, flushed at once, so that a killed run keeps what it wrote."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; figures that are not finite become null."""
        with self.path.open("a") as file:
            file.write(figures_json(record) + "\n")
            file.flush()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The records of a file that is written whole; none where it is not there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def rewind(out: Path, step: int) -> str:
    """Drop what a run wrote into `out` after `step` optimizer steps; it is done again from there.

    Args:
        out: folder of the run.
        step: of the checkpoint that the run goes on from; 0 for a new run, which has no best yet.

    Returns:
        What the user should know: an earlier version wrote the file, and its columns were renamed; "" if not.

    Raises:
        UserError: a line does not say its step, since a user's figure of that name took the place.
    """
    renamed = ""
    # A text of step s was sampled before its optimizer step s + 1; a line that a kill cut short goes too.
    for name, last in ((METRICS, step), (COMPLETIONS, step - 1)):
        if (out / name).is_file():
            lines = (out / name).read_text().splitlines(keepends=True) if step else []
            records = [json.loads(line) for line in lines if line.endswith("\n")]
            kept = [record for record in records if _step_of(record, out / name) <= last]
            if name == COMPLETIONS and any(map(_is_of_old, kept)):
                kept = [_renamed(record) for record in kept]
                renamed = (
                    f"{out / name} is of an earlier version: its columns of rewards are now called "
                    f"{FIGURES}NAME, and so are new figures that rewards log in {METRICS}"
                )
            write_whole(out / name, "".join(figures_json(record) + "\n" for record in kept))
    if step == 0:
        (out / BEST_FIGURES).unlink(missing_ok=True)
        shutil.rmtree(out / BEST, ignore_errors=True)
    return renamed


def _step_of(record: dict[str, Any], file: Path) -> int:
    """The step of a record; where an earlier version let a user's figure take its place, it is a float."""
    step = record.get("step")
    if not isinstance(step, int):
        raise UserError(
            f"{file} has a line of step {step!r}: an earlier version let a reward's figure called 'step' "
            "take its place; move the file away, and the run goes on without its lines"
        )
    return step


def _is_of_old(record: dict[str, Any]) -> bool:
    """Whether a completion's rewards have no name space of their own yet."""
    return not any(key.startswith(FIGURES) for key in record)


def _renamed(record: dict[str, Any]) -> dict[str, Any]:
    """A completion with the columns of its rewards named as they are now."""
    known = {*OWN_COLUMNS, *(key for key in record if key.startswith(FIGURES))}
    return {key if key in known else figure(key): value for key, value in record.items()}


def keep_best(out: Path, policy: Policy, figures: Mapping[str, Any]) -> None:
    """Put a policy into `best/`; a kill leaves an old or a new one, or none and no figures.

    Args:
        out: folder of the run.
        policy: what is kept.
        figures: of `best.json`.
    """
    with whole_folder(out / BEST) as temporary:
        policy.save(temporary)
        (out / BEST_FIGURES).unlink(missing_ok=True)
    write_whole(out / BEST_FIGURES, figures_json(figures) + "\n")


class Completions:
    """Saves every sampled text with its rewards; trackers show some of them as a table of the step."""

    def __init__(self, path: Path) -> None:
        self.log = JsonLog(path)

    def __call__(self, step: int, rows: Candidates, scores: Scores) -> None:
        """Append one batch: each reward as its function gave it, and what they add up to."""
        records = [
            {
                "step": step,
                "policy": rows.policy_version,
                "site": str(rows.sites[i]),
                "question": rows.questions[i],
                "text": text,
                "match": scores.match[i],
                "total": scores.total[i],
                **{figure(name): values[i] for name, values in scores.raw.items()},
            }
            for i, text in enumerate(rows.texts)
        ]
        for record in records:
            self.log.write(record)
        log_table("completions", records, step)
