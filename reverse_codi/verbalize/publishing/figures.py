"""The figures of an evaluation in a verbalizer's card, the controls beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reverse_codi.errors import UserError
from reverse_codi.storage.cards import markdown_table
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.stages import INPUTS_FILE, file_hash
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS
from reverse_codi.utils.figures import METRICS_FILE

FIGURES: Mapping[str, str] = {
    "match.whitened": "match",
    "retrieval.top1_64": "own text nearest to its thought among 64",
    "step_result.1": "result of the first step",
    "step_result.2": "result of the second step",
    "step_result.3": "result of the third step",
    "operands": "operands",
    "operation": "operation",
    "faithful.swap": "swapped thought: the text follows the donor",
    "faithful.wrong": "wrong answers: the text shows the model's own error",
    "causal.counterfactual": "edited text put back: the answer follows",
}
"""What a card shows, in this order; docs/evaluation.md defines them."""
CONTROLS = ("gold", "logit_lens", "question_only", "shuffled", "constant")
"""The controls that stand beside them, where they were run."""

# Below the file, the verbalizer that was evaluated, as `evaluation.evaluate.run` records it.
_EVALUATED = f"verbalizer.{POLICY_WEIGHTS}"


class MetricsError(UserError):
    """A file of figures cannot go into the card; the message says why."""


def found_metrics(verbalizer: Path) -> Path | None:
    """A `metrics.json` in a verbalizer's folder, or beside it in its run's; none of another verbalizer."""
    places = (verbalizer, verbalizer.parent, verbalizer.parent / "evaluate")
    files = (place / METRICS_FILE for place in places)
    return next((file for file in files if file.is_file() and _is_of(file, verbalizer)), None)


def figures_table(file: Path, verbalizer: Path) -> str:
    """The figures of a file as a Markdown table.

    Args:
        file: `metrics.json` of `reverse-codi evaluate`.
        verbalizer: folder of the verbalizer that the card is of.

    Raises:
        MetricsError: there is no such file, it holds no figures of a verbalizer, or those of another one.
    """
    if not file.is_file():
        raise MetricsError(f"there is no {file}; reverse-codi evaluate VERBALIZER --out DIR writes one")
    if not _is_of(file, verbalizer):
        raise MetricsError(
            f"{file} has figures of another verbalizer than {verbalizer} ({INPUTS_FILE} beside it says which "
            f"weights were evaluated); evaluate this one: reverse-codi evaluate {verbalizer} --out DIR"
        )
    try:
        figures = json.loads(file.read_text(encoding="utf-8"))
        controls = [name for name in CONTROLS if any(key.startswith(f"baselines.{name}.") for key in figures)]
        rows = [
            [f"{meaning} (`{key}`)", f"**{_with_interval(figures[key])}**"]
            + [_value(figures.get(f"baselines.{name}.{key}")) for name in controls]
            + [str(figures[key]["n"])]
            for key, meaning in FIGURES.items()
            if key in figures and figures[key]["value"] is not None
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MetricsError(f"{file} is no metrics.json of reverse-codi evaluate: {error!r}") from None
    if not rows:
        raise MetricsError(
            f"{file} holds none of the figures that a card shows ({', '.join(FIGURES)}); "
            "evaluate the verbalizer itself, not a control alone"
        )
    return markdown_table(["figure", "verbalizer", *controls, "problems"], rows)


def _is_of(file: Path, verbalizer: Path) -> bool:
    """Whether figures are of these weights, as far as anything says whose they are."""
    inputs = file.parent / INPUTS_FILE
    record = read_object(inputs, "evaluate the verbalizer anew") if inputs.is_file() else {}
    return record.get(_EVALUATED) in (None, file_hash(verbalizer / POLICY_WEIGHTS))


def _with_interval(figure: Mapping[str, Any]) -> str:
    shown = _value(figure)
    if figure["low"] is None or figure["high"] is None:
        return shown
    return f"{shown} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _value(figure: Mapping[str, Any] | None) -> str:
    return "" if figure is None or figure["value"] is None else f"{figure['value']:.3f}"
