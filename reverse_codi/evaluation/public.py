"""The evaluation as a function: every figure of a verbalizer and of controls, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from reverse_codi.evaluation import evaluate as evaluation
from reverse_codi.evaluation.defaults import Size, check_controls
from reverse_codi.evaluation.report import AIMS, FlatFigure, flat
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.config import validated
from reverse_codi.utils.notebook import data_frame, html_line, html_table
from reverse_codi.verbalize.verbalizer import verbalizer_folder

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]


_COLUMNS = ("value", "low", "high", "n")


@dataclass(frozen=True)
class EvaluationResult(Mapping[str, Interval]):
    """Figures by key (docs/evaluation.md): `result["operands"].value`, `.low`, `.high` and `.n` problems.

    Attributes:
        figures: of the verbalizer.
        baselines: of each control, by its name.
        folder: where traces, texts and `metrics.json` are kept; None if nothing was kept.
    """

    figures: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    folder: Path | None = None

    def __getitem__(self, key: str) -> Interval:
        return self.figures[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def to_dict(self) -> dict[str, FlatFigure]:
        """Key -> value, low, high, n; `baselines.NAME.KEY` for controls.

        If nothing was counted the value is None, and `reason` says why.
        """
        controls = {name: dict(figures) for name, figures in self.baselines.items()}
        return flat(dict(self.figures), controls)

    def to_json(self, path: str | Path | None = None, indent: int | None = 1) -> str:
        """`to_dict` as JSON, also written to `path` if there is one."""
        text = figures_json(self.to_dict(), indent=indent)
        if path is not None:
            write_whole(path, text + "\n")
        return text

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame with the columns method, figure, value, low, high and n.

        Raises:
            UserError: pandas is not installed.
        """
        methods = {"verbalizer": self.figures, **self.baselines}
        rows: list[dict[str, Any]] = [
            {"method": method, "figure": key, **{name: getattr(figure, name) for name in _COLUMNS}}
            for method, figures in methods.items()
            for key, figure in figures.items()
        ]
        return data_frame(rows)

    def __repr__(self) -> str:
        """The figures that have an aim, the verbalizer beside each control."""
        methods = {"verbalizer": self.figures, **self.baselines}
        lines = [f"EvaluationResult: {len(self)} figures; those with an aim:"]
        for key in (key for key in AIMS if key in self.figures):
            cells = [f"{name} {figures[key]}" for name, figures in methods.items() if key in figures]
            lines.append(f"  {key:<24}{'; '.join(cells)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same, for notebooks."""
        methods = [self.figures, *self.baselines.values()]
        aimed = [key for key in AIMS if key in self.figures]
        rows = [(key, AIMS[key], *(figures.get(key) for figures in methods)) for key in aimed]
        head = ("figure", "aim", "verbalizer", *self.baselines)
        return html_line(f"{len(self)} figures; those with an aim:") + html_table(head, rows)


def evaluate(
    what: str | Path | Recipe = EMBEDDED,
    *,
    seed: int = 0,
    problems: int | None = None,
    wrong: int | None = None,
    pairs: int | None = None,
    baselines: Sequence[str] = (),
    out: str | Path | None = None,
    reconstruct: bool = True,
) -> EvaluationResult:
    """Ask of a verbalizer whether its translations are true, on fresh held-out problems.

    Args:
        what: "embedded", the folder of a verbalizer or of a run, a recipe's file or name, or a `Recipe` whose
            run is finished.
        seed: of problems, distractors and edits.
        problems: fresh held-out problems, 64 at least; 600 if None.
        wrong: traces with a wrong answer that are looked for; 200 if None.
        pairs: minimal pairs; 300 if None.
        baselines: controls that are run beside it, by name (docs/evaluation.md).
        out: folder for traces, texts and `metrics.json`; a run that was stopped goes on there. If None,
            nothing is kept.
        reconstruct: train a reconstructor for the figure `fve.reconstructor`, which takes minutes.

    Raises:
        UserError: there is no such verbalizer or control, or `out` holds figures of another one.
    """
    check_controls(baselines)
    asked = {"problems": problems, "wrong": wrong, "pairs": pairs}
    size = validated(Size, {key: n for key, n in asked.items() if n is not None}, "evaluate")
    if isinstance(what, Recipe):
        evaluated = evaluation.Evaluated(what, verbalizer_folder(what.train.out))
    else:
        evaluated = evaluation.find(str(what), [])
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))  # the caller's random state stays as it is
        torch.manual_seed(seed)
        folder = Path(stack.enter_context(TemporaryDirectory()) if out is None else out)
        request = evaluation.EvaluationRequest(
            size=size, seed=seed, out=folder, controls=list(baselines), reconstruct=reconstruct
        )
        figures, controls = evaluation.run(evaluated, request)
    return EvaluationResult(figures, controls, None if out is None else folder)
