"""`scripts/bench`: the table, and its figures as JSON."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.engines import engines
from benchmarks.growth import read_growth, rollout_growth
from benchmarks.measure import RUNS, Measured, Range, Row, measured, shares
from benchmarks.memory import memory
from benchmarks.preparing import maps, probes, written
from benchmarks.reading import read, score
from benchmarks.rollout import rollout, sync
from benchmarks.rounds import rounds
from benchmarks.setting import Setting, setting
from benchmarks.startup import startup
from benchmarks.step import overlap, step
from benchmarks.tracing import trace
from benchmarks.translating import verbalize
from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.training.runtime import start_ray
from reverse_codi.utils.tables import Table

ROWS: dict[str, Callable[[Setting, Path], AbstractContextManager[Row]]] = {
    "rollout": rollout,
    "read": read,
    "score": score,
    "step": step,
    "overlap": overlap,
    "round": rounds,
    "trace": trace,
    "probes": probes,
    "maps": maps,
    "written": written,
    "verbalize": verbalize,
    "sync": sync,
    "engines": engines,
    "startup": startup,
    "memory": memory,
    "read-growth": read_growth,
    "rollout-growth": rollout_growth,
}
# Rows that need a verbalizer that says something, or do not depend on the size.
ONLY_1M = {"score", "round", "probes", "maps", "verbalize", "startup", "memory"}
IN_THIS_PROCESS = {
    *("read", "score", "trace", "probes", "maps", "written", "verbalize"),
    *("startup", "memory", "read-growth"),
}
WITH_SKLEARN = ("probes", "maps")
THOUGHTS = {"1m": 64, "135m": 8, "1b": 64}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="rows of the table; all if none")
    parser.add_argument("--size", choices=list(THOUGHTS), default="1m", help="parameters of the model")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="of everything that computes"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="turns after the warm-up")
    parser.add_argument("--profile", action="store_true", help="shares of torch's operations, not times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args()
    chosen = [name for name in options.rows or ROWS if options.size == "1m" or name not in ONLY_1M]
    console = Console(width=100, highlight=False)
    if not options.rows and find_spec("sklearn") is None:
        chosen = [name for name in chosen if name not in WITH_SKLEARN]
        console.print(f"without {' and '.join(WITH_SKLEARN)}, which need the extra bench")
    console.print(f"{torch.get_num_threads()} torch thread(s) a process, {options.runs} runs after a warm-up")
    if not IN_THIS_PROCESS.issuperset(chosen):
        start_ray()
    found: dict[str, Range] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        at = setting(options.size, THOUGHTS[options.size], Path(folder), options.device)
        for name in chosen:
            with ROWS[name](at, Path(folder, name)) as row:
                if options.profile:
                    console.print(f"{name}: {row.sides[0].name}", *_shares(row), sep="\n")
                    continue
                result = measured(row, options.runs)
            console.print(_table(result))
            figures = result.figures()
            for key, value in figures.items():
                console.print(f"  {options.size}.{key}: {value}")
                found[f"{options.size}.{key}"] = value
            if options.json:
                kept = json.loads(options.json.read_text()) if options.json.is_file() else {}
                kept |= {key: asdict(value) for key, value in found.items()}
                write_whole(options.json, figures_json(kept, indent=1) + "\n")


def _shares(row: Row) -> list[str]:
    return [f"  {share:5.1%} {operation}" for operation, share in shares(row)]


def _table(result: Measured) -> Table:
    table = Table(result.row.name, f"{result.row.unit}, median [least, most]")
    for side, speeds in result.speeds.items():
        table.add_row(side, str(Range.of(speeds)))
    return table


main()
