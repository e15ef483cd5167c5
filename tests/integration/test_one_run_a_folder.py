"""Two runs do not write into one folder: the second is refused in one line, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from reverse_codi.cli.jobs.ablation import Ablation, run_row
from reverse_codi.cli.jobs.demo import MARK, demo
from reverse_codi.cli.output import Output
from reverse_codi.evaluation.evaluate import Evaluated, EvaluationRequest, run
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.run import distill
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.lock import LOCK, InUseError, owned
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.train import train

pytestmark = pytest.mark.long


def recipe(**places: str) -> Recipe:
    return Recipe.model_validate({section: {"out": out} for section, out in places.items()})


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("key", "begin"),
    [
        ("train.out", lambda out: train(recipe(train=str(out)))),
        ("distill.out", lambda out: distill(recipe(distill=str(out)))),
        ("--out", lambda out: run(Evaluated(recipe(), Path("nowhere")), EvaluationRequest(out=out))),
        ("--out", lambda out: demo(recipe(), out, Output(Console(), Console()))),
        (
            "--out",
            lambda out: run_row(
                Ablation.model_validate({"recipe": "tiny", "rows": {out.name: {"why": "?"}}}),
                out.name,
                out.parent,
                Console(),
            ),
        ),
    ],
)
def test_a_second_run_is_refused(key: str, begin: Callable[[Path], object], tmp_path: Path) -> None:
    out = tmp_path / "base"
    with owned(out, "train.out"):
        (out / MARK).touch()
        with pytest.raises(
            InUseError, match=rf"^{key} = {out} is in use by process \d+ on host .* another {key}$"
        ):
            begin(out)
        assert contents(out) == sorted([LOCK, MARK])
        assert contents(tmp_path) == ["base"]


def test_traces_are_collected_by_one_run_and_read_by_many(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    asked = TraceRequest(split=Split.TRAIN, n=4, seed=0, out=tmp_path / "traces", shard_rows=2)
    with owned(tmp_path / "traces", "trace.out"):
        with pytest.raises(InUseError, match=r"^trace\.out = "):
            collect(tiny_reasoner, Arithmetic(), asked)
        assert contents(tmp_path / "traces") == [LOCK]
    collect(tiny_reasoner, Arithmetic(), asked)
    with owned(tmp_path / "traces", "trace.out"):
        assert len(collect(tiny_reasoner, Arithmetic(), asked)) == 4
