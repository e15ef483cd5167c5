"""The table of an evaluation: on the terminal, in metrics.json, in trackers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.trackers.tracker import log_artifact, log_point, tracked
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import METRICS_FILE as METRICS_FILE
from reverse_codi.utils.figures import Figures
from reverse_codi.utils.tables import SIDE_BY_SIDE, Table, side_by_side

FlatFigure = dict[str, float | int | str | None]
"""A figure as JSON holds it: value, low, high and n; where nothing was counted, nulls with the reason."""

TEXTS_FILE = "texts.jsonl"


@dataclass(frozen=True)
class Aim:
    """The value that a figure should reach.

    Attributes:
        least: at least this.
        most: at most this.
    """

    least: float = -math.inf
    most: float = math.inf

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return self.least <= value <= self.most

    def __str__(self) -> str:
        """As ">= 0.90"."""
        return f">= {self.least:g}" if self.least > -math.inf else f"<= {self.most:g}"


AIMS: Mapping[str, Aim] = {
    "retrieval.top1_64": Aim(0.90),
    "step_result.1": Aim(0.97),
    "step_result.2": Aim(0.95),
    "step_result.3": Aim(0.90),
    "operands": Aim(0.80),
    "operation": Aim(0.98),
    "faithful.wrong": Aim(0.70),
    "faithful.swap": Aim(0.85),
    "cot.agree.right": Aim(0.90),
    "cot.agree.wrong": Aim(0.60),
    "causal.kept_all": Aim(0.90),
    "causal.counterfactual": Aim(0.80),
    "fve.affine": Aim(0.85),
    "fve.reconstructor": Aim(0.90),
    "robust.paraphrase_drop": Aim(most=0.05),
    "robust.number_drop": Aim(0.25),
}


def flat(found: Figures, baselines: Mapping[str, Figures]) -> dict[str, FlatFigure]:
    """Flat keys, `baselines.NAME.KEY` for controls.

    A figure that nothing was counted for is null, with the key `reason` beside its value.
    """
    every = dict(found)
    for name, figures in baselines.items():
        every |= {f"baselines.{name}.{key}": figure for key, figure in figures.items()}
    return {key: _plain(figure) for key, figure in every.items()}


def _plain(figure: Interval) -> FlatFigure:
    numbers = {"value": figure.value, "low": figure.low, "high": figure.high}
    shown = {name: None if math.isnan(number) else number for name, number in numbers.items()}
    return {**shown, "n": figure.n, **({"reason": figure.reason} if figure.reason else {})}


def save(found: Figures, baselines: Mapping[str, Figures], out: Path) -> Path:
    """Write `metrics.json`, whole or not at all; controls and values that are not measured now stay."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / METRICS_FILE
    before = read_object(file, "remove it to write it anew") if file.is_file() else {}
    new = flat(found, baselines)
    now = {key: figure for key, figure in new.items() if figure["value"] is not None or key not in before}
    write_whole(file, figures_json({**before, **now}, indent=1) + "\n")
    return file


def save_texts(predictions: Predictions, out: Path) -> Path:
    """Write `texts.jsonl`: every thought of held-out and wrong traces with gold text and translation.

    Without gold steps "gold" is null, and "steps" are the model's own written ones.

    Where to look for failures: `jq 'select(.text != .gold)' texts.jsonl`.
    """
    eval_set, metric = predictions.eval_set, predictions.eval_set.context.metric
    lines = []
    for name, thoughts, texts in (
        ("heldout", eval_set.thoughts, predictions.heldout),
        ("wrong", eval_set.wrong_thoughts, predictions.wrong),
    ):
        if not texts:  # a model that is never wrong has no wrong traces
            continue
        match = metric.match(thoughts.targets, eval_set.predicted(thoughts, texts), thoughts.sites)
        lens = eval_set.context.lens(thoughts.targets)
        for row, text in enumerate(texts):
            record = {
                "traces": name,
                "question": thoughts.questions[row],
                "site": str(thoughts.sites[row]),
                "text": text,
                "gold": thoughts.gold[row] if eval_set.gold_steps else None,
                "match": round(float(match[row]), 3),
                "lens": lens[row],
                "answer": thoughts.answers[row],
                "steps": thoughts.claims[row],
            }
            lines.append(figures_json(record))
    write_whole(out / TEXTS_FILE, "\n".join(lines) + "\n")
    return out / TEXTS_FILE


def figure_table(found: Figures, keys: Iterable[str], title: str) -> Table:
    """Figures with intervals and, where there is one, the aim."""
    table = Table("figure", "value [95 %]", "problems", "aim", title=title, texts=["value [95 %]"])
    for key in keys:
        aim = AIMS.get(key)
        verdict = "" if aim is None else f"{aim} {'met' if aim.met(found[key].value) else 'MISSED'}"
        table.add_row(key, _short(found[key]), str(found[key].n), verdict)
    return table


# Controls that stand beside the verbalizer first: what a translation could be, and what it must beat.
FIRST = ("gold", "question_only", "logit_lens")


def comparison(found: Figures, baselines: Mapping[str, Figures], file: Path) -> list[Table | Text]:
    """The figures that have an aim, the verbalizer beside controls; a line names those that have no room.

    Args:
        found: the verbalizer's.
        baselines: name of a control -> its figures.
        file: where all of them are.
    """
    order = [name for name in FIRST if name in baselines]
    methods = {**({"verbalizer": found} if found else {}), **{name: baselines[name] for name in order}}
    methods |= baselines
    keys = [key for key in AIMS if any(key in figures for figures in methods.values())]
    names = list(methods)
    cells = {name: [_value(methods[name].get(key)) for key in keys] for name in names[:SIDE_BY_SIDE]}
    shown = side_by_side(keys, cells, title="verbalizer and controls")
    if left := names[SIDE_BY_SIDE:]:
        shown.append(Text(f"{len(left)} more controls are in {file}: {', '.join(left)}"))
    return shown


def tables(found: Figures, baselines: Mapping[str, Figures], file: Path) -> list[Table | Text]:
    """Every figure of the verbalizer, and the controls beside it, of which `file` has all."""
    shown: list[Table | Text] = []
    if found:
        first = [key for key in AIMS if key in found]
        shown.append(figure_table(found, first, "figures with an aim"))
        shown.append(figure_table(found, [key for key in found if key not in first], "all other figures"))
    return [*shown, *comparison(found, baselines, file)]


def _value(figure: Interval | None) -> str:
    return "" if figure is None or not figure.n else f"{figure.value:.2f}"


def _short(figure: Interval) -> str:
    return str(figure) if figure.n or figure.reason else "nothing to count"


def log_evaluation(
    recipe: Recipe, out: Path, flat_figures: Mapping[str, FlatFigure], training: Path | None = None
) -> None:
    """Send every figure's value, and the files of the evaluation, to the recipe's trackers as one run.

    Args:
        recipe: names the trackers.
        out: folder of the evaluation.
        flat_figures: what `flat` makes.
        training: folder of the training that the verbalizer is of; the run joins its group.
    """
    with tracked(recipe, "evaluate", out, files=out, beside=training):
        values = {key: figure["value"] for key, figure in flat_figures.items()}
        log_point({key: value for key, value in values.items() if not isinstance(value, str)})
        files = [file for name in (METRICS_FILE, TEXTS_FILE) if (file := out / name).is_file()]
        log_artifact("evaluation", "evaluation", files)
