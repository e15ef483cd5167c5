"""The plan of a run as a table, and as a file beside what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text

from reverse_codi.processes.memory import GIB
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.training.holding import Holding, Plan
from reverse_codi.training.memory_log import PLAN
from reverse_codi.utils.tables import Table, side_by_side

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


def tables(planned: Plan) -> list[Table | Text]:
    """A column for each stage of the trainer and each kind of actor, in GiB of each process."""
    columns = {}
    for holding in planned.holdings:
        sums = [sum(holding.parts.get(part, 0.0) for part in parts) for parts in LINES.values()]
        columns[_named(holding)] = [*map(_shown, sums), _shown(holding.gpu or holding.host)]
    return side_by_side([*LINES, "sum"], columns, title="memory of each process, GiB", label="part")


def summary(planned: Plan, has: float | None) -> str:
    """One line: what the machine needs in all, and what it has."""
    gpus = sum(holding.count * holding.gpu for holding in planned.beside) / GIB
    there = "" if has is None else f" of {has:.1f}"
    on_gpu = f", {gpus:.1f} GiB on GPUs (computed, not measured)" if gpus else ""
    return f"memory: {planned.host / GIB:.1f} GiB{there} in all{on_gpu}"


def write_plan(planned: Plan, out: Path) -> None:
    """Write `plan.json`, see `plan_record`."""
    write_whole(out / PLAN, strict_json(plan_record(planned), indent=2) + "\n")


def plan_record(planned: Plan) -> dict[str, Any]:
    """GiB of each process, whole (`peaks`) and by parts (`parts`), and of the machine (`host`)."""
    parts = {h.name: {part: round(size / GIB, 3) for part, size in h.parts.items()} for h in planned.holdings}
    return {"host": round(planned.host / GIB, 3), "peaks": planned.peaks, "parts": parts}


def _named(holding: Holding) -> str:
    times = f" x {holding.count}" if holding.count > 1 else ""
    share = f", {holding.gpus:g} GPU each" if holding.process != "trainer" else ", GPU"
    return f"{holding.name}{times}{share if holding.on_gpu else ''}"


def _shown(size: float) -> str:
    return f"{size / GIB:.2f}" if size else ""
