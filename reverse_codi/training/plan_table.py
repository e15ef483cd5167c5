"""The plan of a run as a table, and as a file beside what is measured."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from reverse_codi.training.holding import Holding, Plan
from reverse_codi.training.memory_log import PLAN
from reverse_codi.utils.files import strict_json, write_whole
from reverse_codi.utils.memory import GIB

# Lines, and the parts of a holding that they sum.
LINES = {
    "libraries": ("libraries",),
    "weights": ("weights", "merged"),
    "LoRA, AdamW": ("lora",),
    "activations": ("activations",),
    "logits": ("logits",),
    "KV cache": ("kv cache",),
    "maps": ("maps",),
    "features": ("features",),
}


def table(planned: Plan) -> Table:
    """A column for each stage of the trainer and each kind of actor, in GiB of each process."""
    made = Table(title="memory of each process, GiB", title_justify="left", show_footer=True)
    made.add_column("", footer="sum")
    for holding in planned.holdings:
        made.add_column(_named(holding), footer=_shown(holding.gpu or holding.host), justify="right")
    for name, parts in LINES.items():
        sums = [sum(holding.parts.get(part, 0.0) for part in parts) for holding in planned.holdings]
        made.add_row(name, *map(_shown, sums))
    return made


def summary(planned: Plan, has: float | None) -> str:
    """One line: what the machine needs in all, and what it has."""
    gpus = sum(holding.count * holding.gpu for holding in planned.beside) / GIB
    there = "" if has is None else f" of {has:.1f}"
    on_gpu = f", {gpus:.1f} GiB on GPUs (computed, not measured)" if gpus else ""
    return f"memory: {planned.host / GIB:.1f} GiB{there} in all{on_gpu}"


def write_plan(planned: Plan, out: Path) -> None:
    """Write `plan.json`: GiB of each process, whole (`peaks`) and by parts (`parts`)."""
    parts = {h.name: {part: round(size / GIB, 3) for part, size in h.parts.items()} for h in planned.holdings}
    values = {"host": round(planned.host / GIB, 3), "peaks": planned.peaks, "parts": parts}
    write_whole(out / PLAN, strict_json(values, indent=2) + "\n")


def _named(holding: Holding) -> str:
    times = f" x {holding.count}" if holding.count > 1 else ""
    share = f", {holding.gpus:g} GPU each" if holding.process != "trainer" else ", GPU"
    return f"{holding.name}{times}{share if holding.on_gpu else ''}"


def _shown(size: float) -> str:
    return f"{size / GIB:.2f}" if size else ""
