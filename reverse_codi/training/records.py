"""The files that a run writes while it learns: metrics.jsonl, completions.jsonl, and their rewinding."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reverse_codi.errors import UserError
from reverse_codi.rewards.batch import FIGURES, figure
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.storage.files import copy_whole, figures_json, write_whole
from reverse_codi.storage.folders import whole_folder
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.json_lines import JsonLog, json_lines
from reverse_codi.trackers.tracker import log_table
from reverse_codi.verbalize.policy import Policy

METRICS, COMPLETIONS, STAGES = "metrics.jsonl", "completions.jsonl", "stages.jsonl"
WARM_CURVE, CURVE = "warm_curve.csv", "curve.csv"
BEST, BEST_FIGURES = "best", "best.json"
HELDOUT = "heldout/"
"""Begins the names of figures of held-out thoughts."""
OWN_COLUMNS = ("step", "policy", "site", "question", "text", "match", "total")
"""Of completions; those of rewards are `reward/NAME`."""
# Steps that a message lists.
_SHOWN = 6


def heldout(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures of held-out thoughts by the names that logs give them."""
    return {f"{HELDOUT}{name}": value for name, value in figures.items()}


def rewind(out: Path, step: int) -> list[str]:
    """Drop what a run wrote into `out` after `step` optimizer steps; it is done again from there.

    Args:
        out: folder of the run.
        step: of the checkpoint that the run goes on from; 0 for a new run, which has no best yet.

    Returns:
        What the user should know: lines that are missing, columns that were renamed.

    Raises:
        UserError: a line is damaged, or does not say its step, since a user's figure of that name took the
            place.
    """
    notes: list[str] = []
    # A text of step s was sampled before its optimizer step s + 1; a line that a kill cut short goes too.
    for name, last in ((METRICS, step), (COMPLETIONS, step - 1)):
        if (out / name).is_file():
            records = json_lines(out / name) if step else iter(())
            kept = [record for record in records if _step_of(record, out / name) <= last]
            if name == METRICS and (lost := _lost(kept, step)):
                notes.append(
                    f"{out / name} has no line of {lost}, which the checkpoint has behind it: the file was "
                    "cut; training goes on, and those figures are gone"
                )
            if name == COMPLETIONS and any(map(_is_of_old, kept)):
                kept = [_renamed(record) for record in kept]
                notes.append(
                    f"{out / name} is of an earlier version: its columns of rewards are now called "
                    f"{FIGURES}NAME, and so are new figures that rewards log in {METRICS}"
                )
            write_whole(out / name, "".join(figures_json(record) + "\n" for record in kept))
    if step == 0:
        (out / BEST_FIGURES).unlink(missing_ok=True)
        shutil.rmtree(out / BEST, ignore_errors=True)
    return notes


def _lost(records: Sequence[Mapping[str, Any]], step: int) -> str:
    """The optimizer steps up to `step` that no line tells of: "steps 3, 4"; "" for none."""
    told = {record["step"] for record in records if "loss" in record}
    lost = [one for one in range(1, step + 1) if one not in told]
    shown = ", ".join(map(str, lost[:_SHOWN])) + (f" and {len(lost) - _SHOWN} more" if lost[_SHOWN:] else "")
    return f"{'steps' if lost[1:] else 'step'} {shown}" if lost else ""


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
    """Put a policy into `best/` with its figures; a kill leaves both old or both new.

    Args:
        out: folder of the run.
        policy: what is kept.
        figures: of `best.json`, which lies within and, for readers, beside.
    """
    with whole_folder(out / BEST) as temporary:
        policy.save(temporary)
        write_whole(temporary / BEST_FIGURES, figures_json(figures) + "\n")
    copy_whole(out / BEST / BEST_FIGURES, out / BEST_FIGURES)  # for readers of the run


def best_worth(out: Path) -> float | None:
    """The worth of the policy in `best/`; None without one, or with none that counts.

    Raises:
        DamagedError: its figures are cut or damaged.
    """
    within, beside = out / BEST / BEST_FIGURES, out / BEST_FIGURES
    if within.is_file():
        copy_whole(within, beside)  # which a kill may have left out
    elif not (beside.is_file() and (out / BEST).is_dir()):
        return None
    fix = f"remove {out / BEST}, and the run chooses its best from here on"
    worth = read_object(beside, fix).get("worth")
    # What an earlier version wrote may be NaN, which nothing would ever exceed.
    return float(worth) if isinstance(worth, int | float) and math.isfinite(worth) else None


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
        self.log.write(*records)
        log_table("completions", records, step)
