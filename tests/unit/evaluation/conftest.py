from __future__ import annotations

import pytest

from reverse_codi.evaluation.draw import EvalSetRequest, Size, draw
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.load import ASSETS, load_reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.traces import TraceSection

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
    """A small evaluation of the embedded reasoner, read by the package's own maps."""
    reasoner = load_reasoner("embedded")
    metric = ThoughtMetric.load(ASSETS / "verbalizer", reasoner)
    request = EvalSetRequest(
        out=tmp_path_factory.mktemp("evaluation"), size=Size(problems=64, wrong=6, pairs=30)
    )
    return draw(Recipe(trace=TraceSection(n=1_000)), reasoner, metric, make_plain_encoded(), request)
