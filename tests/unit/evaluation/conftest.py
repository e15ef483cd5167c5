from __future__ import annotations

import pytest

from reverse_codi.evaluation.draw import EvalSetRequest, Size, draw
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.fit import fit_metric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.traces import TraceSection
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect

N_THOUGHTS, LONGEST = 4, 4


def make_plain_encoded() -> EncodedSteps:
    """Thought k holds step k and nothing else."""
    return EncodedSteps(
        {
            (Site("h", k), n): [float(step == k) for step in range(n)]
            for k in range(N_THOUGHTS)
            for n in range(1, LONGEST + 1)
        },
        0.5,
    )


@pytest.fixture(scope="session")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    """A small exam of the embedded reasoner, with maps of few traces: hence the strong ridge."""
    out = tmp_path_factory.mktemp("exam")
    reasoner = load_reasoner("embedded")
    recipe = Recipe(trace=TraceSection(n=1_500))
    section = recipe.trace
    there = out / "traces" / f"train-{section.seed}"  # where `draw` finds them
    asked = TraceRequest.of_evaluation(recipe, Split.TRAIN, section.n, section.seed, there)
    train = collect(reasoner, recipe.task.build(), asked)
    encoded, reader = make_plain_encoded(), Reader(reasoner, ReadSpec(ridge=1.0))
    metric = fit_metric(reader, [Site("h", k) for k in range(N_THOUGHTS)], encoded, train, train.claims)
    return draw(
        recipe, reasoner, metric, encoded, EvalSetRequest(out=out, size=Size(problems=64, wrong=6, pairs=30))
    )
