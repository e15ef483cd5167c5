"""The tables of every verb at 80 columns: no line is longer, and no word of a header is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.text import Text

from reverse_codi.cli import (
    ablate,
    bench_rewards,
    ceilings,
    check_reasoner,
    curves,
    paired,
    planted,
    reading_study,
    recipes,
    rewards,
    samples,
    soft_text,
    verbalize,
)
from reverse_codi.cli.jobs import demo, trajectories, true_size
from reverse_codi.cli.jobs.ablation import read_ablation
from reverse_codi.cli.main import GROUPS
from reverse_codi.cli.output import Output
from reverse_codi.evaluation import accuracy, iterations, listed, report
from reverse_codi.evaluation.ablation_figures import RUN_FIGURES
from reverse_codi.evaluation.accuracy import Accuracies
from reverse_codi.evaluation.defaults import CONTROLS
from reverse_codi.evaluation.planted import PlantedRow
from reverse_codi.evaluation.reading_study import StudyRow
from reverse_codi.evaluation.reward_trials.bench import TextKind
from reverse_codi.evaluation.reward_trials.timing import Timing
from reverse_codi.evaluation.reward_trials.trial import Trial
from reverse_codi.evaluation.suite import reasons
from reverse_codi.processes.memory import GIB
from reverse_codi.processes.process_memory import Peaks, ProcessPeak
from reverse_codi.reading.claims import Content
from reverse_codi.reading.hard_negatives import HARD_NEGATIVES
from reverse_codi.reasoners.checkpoints.known import Published
from reverse_codi.reasoners.huginn.trajectories import Summary, TrajectoryKind
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards import registry
from reverse_codi.training import plan_table
from reverse_codi.training.curves import Point
from reverse_codi.training.holding import Holding, Plan
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.tables import WIDTH, Table
from reverse_codi.verbalize.scores import Scored
from reverse_codi.verbalize.translations.record import Translation
from tests.fakes import printed, screen

Part = Table | Text | str
FIGURE = Interval(-0.982, -0.972, -0.988, 1_319)
NOTHING = Interval(float("nan"), float("nan"), float("nan"), 0, "gold steps are needed, the task has none")
ANSWERING = "The answer is: 7"
LENS = [" 1,024", "<|begin_of_thought|>", "\n", " 48", "multiplication"]
TEXT = "I do not know (128 * 2.5 = 320.): 11% of wrong thoughts fit as well"
# What prints no table: a line, a recipe, or what another verb shows.
WITHOUT = {"distill", "checkpoint", "trace", "app", "export", "push", "report"}


class Kept:
    """A verb's output whose parts are kept."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def show(self, *parts: Part) -> None:
        self.parts += parts


def kept(show: Callable[[Any], Any]) -> list[Part]:
    made = Kept()
    show(made)
    return made.parts


def of_ablate() -> list[Part]:
    value = {"value": 0.98234, "low": 0.95, "high": 0.99, "n": 600}
    keys = (*report.AIMS, *ablate.ALSO, *RUN_FIGURES)
    names = [name for table in ("ablation-grpo", "ablation-labels") for name in read_ablation(table).rows]
    return [*ablate.tables({name: dict.fromkeys(keys, value) for name in names})]


def of_evaluate() -> list[Part]:
    keys = (*report.AIMS, *reasons.OF_METHOD, *reasons.OF_THOUGHTS)
    found = {key: NOTHING if place % 3 == 0 else FIGURE for place, key in enumerate(keys)}
    name, published = (
        "internlm/SIM_COT-LLaMA3-CODI-1B on gsm8k",
        Published(0.556, "arXiv 2502.21074, table 1"),
    )
    without = dict.fromkeys(("zero", "mean", "resampled", "removed"), FIGURE)
    return [
        *report.tables(found, dict.fromkeys(CONTROLS, found), Path("runs/evaluate/metrics.json")),
        *accuracy.shown(name, Accuracies(FIGURE, FIGURE, without, FIGURE), published),
        *iterations.shown(name, iterations.Iterated(FIGURE, {1: FIGURE, 32: FIGURE}), published),
    ]


def of_plan() -> list[Part]:
    parts = {part: 12.345 * GIB for parts in plan_table.LINES.values() for part in parts}
    stages = ["traces", "reading", "warm start", "01-search", "02-distil", "03-grpo"]
    held = [Holding("trainer", stage, 1, True, 1.0, parts) for stage in stages]
    held += [Holding(name, "", 8, True, 0.25, parts) for name in ("rollout", "reward", "reconstruction")]
    return [*plan_table.tables(Plan(held))]


def of_true_size() -> list[Part]:
    names = (
        "reverse-codi",
        "ray::RolloutActor.__init__",
        "raylet",
        "ray::IDLE_SpillWorker of its store",
    )
    peaks = Peaks({i: ProcessPeak(name, 12.34, 11.98) for i, name in enumerate(names)}, total=31.4)
    stages = [f"{i}. {verb}" for i, verb in enumerate(("checkpoint", "trace", "train", "evaluate"), start=1)]
    parts = ["", *true_size.PARTS.values()]
    return [
        *true_size.shown([true_size.Part(s, p, 12_345.6, 123_456.7, peaks) for s in stages for p in parts])
    ]


def of_verbalize() -> list[Part]:
    row = Translation("Ann has 12 apples.", "h10", TEXT, 0.9, 0.4, LENS, ANSWERING)
    console = screen(WIDTH)
    verbalize.show(console, [row, dataclasses.replace(row, match=None, trust=None, lens=None)], chain=False)
    return [printed(console)]


def of_demo() -> list[Part]:
    one = torch.rand(40)
    before = Scored(one, one + 1, 0.5, one, one, one, ["a"] * 40)
    return kept(lambda out: demo.show_changes(out, before, before, list(range(40)), 0))


def of_reading_study() -> list[Part]:
    kinds = ("gold", "chain", *HARD_NEGATIVES)
    rows = [
        StudyRow(spec, Site("h", k), dict.fromkeys(kinds, FIGURE), {"gold": 0.98}, "wrong_result", FIGURE)
        for spec in reading_study.SPECS
        for k in range(6)
    ]
    return [*reading_study.tables(rows, "maps"), *reading_study.negatives(rows, reading_study.SPECS[5])]


def of_rewards() -> list[Part]:
    shown = kept(rewards.list_rewards)
    for name in registry.names():
        shown += kept(lambda out, name=name: rewards.show_reward(name, out))
    record = registry.declared("hidden_match")
    trial = Trial(record, {kind: [-0.12345, 1.0, None] for kind in TextKind}, [0, 1, 2])
    return [*shown, *kept(lambda out: rewards.show_trial(trial, out))]


def of_samples() -> list[Part]:
    counted = dict(zip(samples.COUNTED, (12, 0.95512, 0.95512, 17), strict=True))
    rules = ("greedy", "nearest of all", "margin 0.05")
    return [
        samples.table(
            [
                {"samples": n, "rule": rule, "seed": s, **counted}
                for n in (4, 64)
                for rule in rules
                for s in range(5)
            ]
        )
    ]


def of_trajectories() -> list[Part]:
    lens = [["' multiplication'", "'<|endoftext|>'", "'\\n\\n'"]] * 33
    rows = [
        trajectories.TokenRow(
            Site("t", 100, iteration=32), token, Summary(kind, 0.1234, 0.5, 12, 0.9, 0.8, 0.9), lens
        )
        for kind in TrajectoryKind
        for token in (" multiplication", "<|begin_header|>")
    ]
    return [*trajectories.tables_of(rows, 32)]


def of_check_reasoner() -> list[Part]:
    figures = {"accuracy_mean_ablated": 0.9876, "by_steps": {"1": 0.9876, "2": 0.9}, "text_mode": "steps"}
    return [
        *check_reasoner.tables({**figures, "probe": {f"h{k}": [0.9876] * 3 for k in range(7)}, "n": 1000})
    ]


def of_listings() -> list[Part]:
    problems = [listed.Lensed(["1"] * (n % 4), [["1", "2", None]] * 6) for n in range(8)]
    found = listed.metric(problems)
    return [listed.by_steps(problems, found), listed.by_latent(found)]


PAIRED = {f"runs/evaluate-of-a-long-name/seed-{i}": {"operands": FIGURE, "match": FIGURE} for i in range(5)}
HELD_OUT = dict.fromkeys(("claim", "result", "operation", "match", "retrieval", "distinct"), 0.98765)
CASES: dict[str, Callable[[], Sequence[Part]]] = {
    "ablate": of_ablate,
    "bench-rewards": lambda: [
        bench_rewards.shown(
            [Timing("one reward, batched", 20_480, 20_480, 1.5), Timing("five, one by one", 9, 9, 2.0)]
        )
    ],
    "ceilings": lambda: [ceilings.table({f"step_result.1.{k}.hidden": FIGURE for k in "hz"})],
    "check-reasoner": of_check_reasoner,
    "curves": lambda: curves.tables(
        "runs/tiny", [Point("02-distil", 10_000, 1_234_567, 12_345.6, HELD_OUT)], list(HELD_OUT)
    ),
    "demo": of_demo,
    "evaluate": of_evaluate,
    "listings": of_listings,
    "paired": lambda: paired.tables(Path("runs/a"), PAIRED),
    "pipeline": of_demo,
    "planted": lambda: [
        planted.table([PlantedRow(Site("h", 10), Content((0, 1, 2)), 0.98765, 0.98765, None, 0.98765)])
    ],
    "reading-study": of_reading_study,
    "recipes": lambda: kept(lambda out: recipes.list_recipes(out)),
    "rewards": of_rewards,
    "samples": of_samples,
    "soft-text": lambda: [soft_text.table({"soft text, begun at the gold claim": FIGURE})],
    "train": of_plan,
    "trajectories": of_trajectories,
    "true-size": of_true_size,
    "verbalize": of_verbalize,
}


def test_every_verb_is_here() -> None:
    assert {*CASES, *WITHOUT} == {verb for verbs in GROUPS.values() for verb in verbs}


@pytest.mark.parametrize("name", CASES)
def test_no_line_is_longer_and_no_header_is_broken(name: str) -> None:
    parts = CASES[name]()
    console = screen(WIDTH)
    Output(console, console).show(*parts)
    assert [line for line in printed(console).splitlines() if len(line) > WIDTH] == []
    for table in parts:
        if isinstance(table, Table):
            assert table.fits(), table.columns
            assert_whole(table)


def assert_whole(table: Table) -> None:
    """Every word of a header, and every figure, stands in one line."""
    console = screen(WIDTH)
    console.print(table)
    words = printed(console).split()
    cells = [cell for name in table.columns if name not in table.texts for cell in table.column(name)]
    for word in " ".join([*table.columns, *cells]).split():
        assert word in words, (word, table.columns)
    for cell in cells:
        assert " ".join(cell.split()) in " ".join(printed(console).split())
