"""The suite on thoughts that hold sentences: what is told, and what is left out because it makes no sense."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reverse_codi.evaluation import controls
from reverse_codi.evaluation.defaults import Size
from reverse_codi.evaluation.draw import EvalSetRequest, draw
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.suite import faithful, matching, thinking
from reverse_codi.evaluation.suite.content import steps
from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.evaluation.suite.run import evaluate
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.fit import fit_metric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.task import TaskSection
from reverse_codi.recipe.traces import TraceSection
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.claims import parse_belongings
from reverse_codi.tasks.graph import Graph
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_encoded, make_tiny_reasoner

OPTIONS = {"distractors": 1, "extra_links": 0, "step_weights": [[2, 0.5], [3, 0.5]]}
N_THOUGHTS = 3


@pytest.fixture(scope="module")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    """The set of an untrained reasoner: figures of the model mean nothing here, those of texts do."""
    out = tmp_path_factory.mktemp("sentences")
    reasoner = make_tiny_reasoner(N_THOUGHTS, task=Graph())
    recipe = Recipe(task=TaskSection(name="graph", options=OPTIONS), trace=TraceSection(n=256))
    section = recipe.trace
    there = out / "traces" / f"train-{section.seed}"  # where `draw` finds them
    asked = TraceRequest.of_evaluation(recipe, Split.TRAIN, section.n, section.seed, there)
    train = collect(reasoner, recipe.task.build(), asked)
    encoded, reader = make_encoded(N_THOUGHTS), Reader(reasoner, ReadSpec(ridge=1.0))
    metric = fit_metric(reader, [Site("h", k) for k in range(N_THOUGHTS)], encoded, train, train.claims)
    drawn = draw(
        recipe, reasoner, metric, encoded, EvalSetRequest(out=out, size=Size(problems=100, wrong=1, pairs=8))
    )
    # Nobody taught it to answer: as if it had, so that figures of right traces have something to count.
    vars(drawn)["right"] = [True] * len(drawn.heldout)
    return drawn


@pytest.fixture(scope="module")
def gold(eval_set: EvalSet) -> Figures:
    with pytest.MonkeyPatch.context() as patch:
        for module in (figures, matching):
            patch.setattr(module, "RESAMPLES", 20)
        return evaluate(Predictions(eval_set, controls.gold_claims))


def test_gold_states_subjects_and_results(gold: Figures) -> None:
    content = ("step_result.1", "step_result.2", "operands", "claims.f1", "last.result", "last.operands")
    for key in (*content, "claim.right", "chain.right"):
        assert (gold[key].value, gold[key].n > 0) == (1.0, True), key
    assert gold["claims.unsupported"].value == 0
    assert gold["inactive.detected"].value == 1


def test_what_makes_no_sense_is_counted_nowhere(gold: Figures) -> None:
    operations = ("operation", "operation.all", "last.operation")
    for key in (*operations, "robust.paraphrase_drop", "robust.number_drop"):
        assert gold[key].n == 0, key
    assert gold["causal.counterfactual"].n == 0


def test_a_wrong_subject_loses_operands_and_claim_alone(eval_set: EvalSet) -> None:
    def other_subject(thoughts: Thoughts) -> list[str]:
        predictions = [parse_belongings(text) for text in thoughts.gold]
        return [" ".join(f"{replace(t, subject='zimp').claim}." for t in message) for message in predictions]

    found = steps(Predictions(eval_set, other_subject))
    assert found["step_result.1"].value == 1.0
    assert found["operands"].value < 0.1
    assert found["claims.f1"].value < 0.1


def test_likelihood_exchanges_result_and_subject(eval_set: EvalSet) -> None:
    found = thinking.likelihood(eval_set)
    assert set(found) == {"likelihood.result", "likelihood.subject"}
    assert all(figure.n > 50 for figure in found.values())


def test_the_constant_control_says_a_sentence(eval_set: EvalSet) -> None:
    (text,) = set(controls.constant(eval_set.thoughts))
    assert parse_belongings(text) and text in eval_set.thoughts.gold


def test_linear_probes_write_sentences(eval_set: EvalSet) -> None:
    texts = controls.LinearProbes.fit(eval_set.context)(eval_set.thoughts.take(eval_set.active))
    assert any(parse_belongings(text) for text in texts)


def test_lens_search_finds_the_sentences_of_the_question(eval_set: EvalSet) -> None:
    thoughts, reasoner = eval_set.thoughts.take(eval_set.active), eval_set.context.reasoner
    results = [parse_belongings(text)[0].result for text in thoughts.gold]
    words = reasoner.lm.get_output_embeddings().weight.detach()
    told = replace(thoughts, targets=torch.stack([words[reasoner.ids(result)[0]] for result in results]))
    texts = controls.searched_lens(eval_set.context, told)
    hits = [text == gold for text, gold in zip(texts, thoughts.gold, strict=True)]
    assert sum(hits) > 0.9 * len(hits)
    silent = replace(thoughts, targets=words[[reasoner.config.eot_id] * len(thoughts)])
    assert set(controls.searched_lens(eval_set.context, silent)) == {NO_STEP}


def test_candidates_are_near_misses_of_the_questions_own_classes(eval_set: EvalSet) -> None:
    row = next(row for row in eval_set.active if eval_set.steps_encoded[row] == [0])
    gold = eval_set.thoughts.gold[row]
    others = eval_set.candidates.of(row, gold)
    near = {f"{other.claim}." for other in parse_belongings(gold)[0].near(eval_set.thoughts.questions[row])}
    assert len(others) == 63 and gold not in others
    assert near & set(others)


def test_swaps_expect_the_donors_own_next_step(eval_set: EvalSet) -> None:
    """Both people's rules are in both questions, so the next step after a swapped thought is the donor's."""
    assert eval_set.pairs is not None
    predictions = []

    def write(thoughts: Thoughts) -> list[str]:
        predictions.append(list(thoughts.gold))
        return [""] * len(thoughts)

    answered = replace(
        eval_set.pairs,
        answers=[problem.answer for problem in eval_set.pairs.recipients],
        donor_answers=[problem.answer for problem in eval_set.pairs.donors],
    )
    found = faithful.swaps(Predictions(replace(eval_set, pairs=answered), write))
    assert found["faithful.swap"].n == len(answered)
    assert found["faithful.swap_next"].n > 0
