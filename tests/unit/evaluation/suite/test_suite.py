"""The suite on the embedded reasoner: what a right writer reaches, and that no blind one passes."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import pytest

from reverse_codi.evaluation import controls
from reverse_codi.evaluation.counterfactual import near_claims
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.report import AIMS
from reverse_codi.evaluation.suite import causal, content, matching, retrieving
from reverse_codi.evaluation.suite.faithful import swaps
from reverse_codi.evaluation.suite.predictions import Method, Predictions, by_trace
from reverse_codi.evaluation.suite.run import evaluate, shared_figures
from reverse_codi.evaluation.suite.thinking import activity
from reverse_codi.reading.claims import NO_STEP, EncodedSteps
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import result_of
from reverse_codi.tasks.numbers import canonical_number
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures
from reverse_codi.verbalize.thoughts import Thoughts

pytestmark = pytest.mark.long

PROBLEMS = 64
NUMBERS = " ".join(map(str, range(1, 61)))
# A writer whose texts mostly say less than silence has nothing to lose, and no figure here.
ROBUST = {"robust.paraphrase_drop", "robust.number_drop"}
CONTENT = ("step_result.1", "step_result.2", "step_result.3", "operands", "operation", "claims.f1")


def list_all_numbers(thoughts: Thoughts) -> list[str]:
    return [NUMBERS] * len(thoughts)


@pytest.fixture(scope="module")
def methods(eval_set: EvalSet) -> dict[str, Method]:
    return {
        "gold": controls.gold_claims,
        "empty": controls.empty,
        "constant": controls.constant,
        "question_restated": controls.question_restated,
        "final_answer": controls.final_answer,
        "question_solved": functools.partial(controls.question_solved, eval_set.context),
        "shuffled": functools.partial(controls.shuffled_thoughts, controls.gold_claims),
        "all_numbers": list_all_numbers,
    }


@pytest.fixture(scope="module")
def found(eval_set: EvalSet, methods: dict[str, Method]) -> dict[str, Figures]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (figures, matching):
            patch.setattr(module, "RESAMPLES", 50)
        return {name: evaluate(Predictions(eval_set, write)) for name, write in methods.items()}


@pytest.fixture(scope="module")
def gold(found: dict[str, Figures]) -> Figures:
    return found["gold"]


@pytest.fixture(scope="module")
def thinking(eval_set: EvalSet) -> Figures:
    return shared_figures(eval_set)


LEFT_OUT = "fve.reconstructor"
"""A model is trained for it."""


def aims_met(of_method: Figures) -> set[str]:
    return {key for key, aim in AIMS.items() if key in of_method and aim.met(of_method[key].value)}


def test_gold_says_what_thoughts_hold(gold: Figures) -> None:
    for key in (*CONTENT, *(f"{key}.all" for key in CONTENT), "last.result", "last.operands"):
        assert gold[key].value == 1.0, key
    assert gold["claims.unsupported"].value == 0
    assert gold["inactive.detected"].value == 1


def test_a_chain_is_right_if_all_its_texts_are(
    eval_set: EvalSet, found: dict[str, Figures], gold: Figures
) -> None:
    chains = [key for key in gold if key.startswith("chain.right")]
    assert chains == ["chain.right", *(f"chain.right.{n}" for n in (1, 2, 3, 4))]
    for key in ("claim.right", *chains):
        assert (gold[key].value, gold[key].n > 0) == (1, True), key
        assert found["constant"][key].value == found["all_numbers"][key].value == 0, key
    assert (
        gold["chain.right"].n == sum(gold[f"chain.right.{n}"].n for n in (1, 2, 3, 4)) == sum(eval_set.right)
    )

    def all_but_the_second_step(thoughts: Thoughts) -> list[str]:
        texts = zip(thoughts.gold, thoughts.sites, strict=True)
        return [f"{text} 1 + 1 = 2." if site.index == 1 else text for text, site in texts]

    partly = content.exact(Predictions(eval_set, all_but_the_second_step))
    assert [partly[f"chain.right.{n}"].value for n in (1, 2, 3, 4)] == [1, 0, 0, 0]
    assert partly["chain.right"].value == gold["chain.right.1"].n / gold["chain.right"].n
    rows = [row for row in eval_set.active if eval_set.right[eval_set.thoughts.problems[row]]]
    second = sum(eval_set.thoughts.sites[row].index == 1 for row in rows)
    assert partly["claim.right"].value == pytest.approx(1 - second / len(rows))


def test_gold_lies_nearest_to_its_thought(gold: Figures) -> None:
    assert gold["retrieval.top1_64"].value > 0.8
    assert gold["retrieval.mrr"].value > gold["retrieval.top1_64"].value
    assert gold["match.whitened"].value > 0.3
    assert gold["cosine.centred"].value > 0.8
    assert gold["fve.affine"].value > 0.5 > gold["fve.raw"].value


def test_retrieval_may_be_measured_on_some_thoughts(eval_set: EvalSet, gold: Figures) -> None:
    few = replace(eval_set, retrieval=12)
    assert len(few.retrieved) == 12 and set(few.retrieved) < set(few.active)
    assert few.retrieved == replace(eval_set, retrieval=12).retrieved != few.active[:12]
    assert few.retrieved != replace(eval_set, retrieval=12, seed=1).retrieved
    assert replace(eval_set, retrieval=10_000).retrieved == eval_set.retrieved == eval_set.active
    found = retrieving.retrieval(Predictions(few, controls.gold_claims))["retrieval.top1_64"]
    assert found.n == len({few.thoughts.problems[row] for row in few.retrieved})
    assert found.value >= 0.5 < gold["retrieval.top1_64"].value


def test_the_model_goes_on_from_gold_as_from_its_thoughts(gold: Figures) -> None:
    assert gold["causal.kept_all"].value > 0.6
    assert gold["causal.kept_each"].value > 0.6
    assert gold["causal.kept_all.other_text"].value < 0.2
    assert gold["causal.counterfactual"].value > 0.5
    assert gold["causal.counterfactual"].value > gold["causal.counterfactual.inconsistent"].value


def test_a_text_that_says_nothing_of_its_thought_is_no_cause_of_the_answer(
    eval_set: EvalSet, found: dict[str, Figures]
) -> None:
    """An edited constant is followed wherever it stands last: the answer becomes its result."""
    asked = {eval_set.thoughts.problems[row] for row in eval_set.editable}
    for name in ("constant", "empty", "final_answer", "question_restated", "all_numbers"):
        for key in ("causal.counterfactual", "causal.counterfactual.inconsistent"):
            assert found[name][key].value < 0.03, (name, key)
            assert found[name][key].n == found["gold"][key].n == len(asked), (name, key)


def test_a_last_step_counts_where_it_ends_in_the_answer_and_others_where_the_next_goes_on_from_it(
    eval_set: EvalSet,
) -> None:
    def ends_the_chain(row: int) -> bool:
        return eval_set.steps_encoded[row] == [len(eval_set.thoughts.claims[row]) - 1]

    def near_miss(row: int) -> str:
        claim = eval_set.thoughts.claims[row][eval_set.steps_encoded[row][0]]
        near = near_claims(claim, eval_set.context.knows)
        return next((f"{other}." for other in near if result_of(other) != result_of(claim)), "")

    def counted(texts: list[str]) -> Figures:
        return causal.counterfactual(Predictions(eval_set, lambda _: texts))

    gold, silence = eval_set.thoughts.gold, [""] * len(eval_set.thoughts)
    last = [text if row in eval_set.active and ends_the_chain(row) else "" for row, text in enumerate(gold)]
    others = [
        text if row in eval_set.active and not ends_the_chain(row) else "" for row, text in enumerate(gold)
    ]
    one_off = [near_miss(row) if row in eval_set.active else "" for row in range(len(gold))]
    assert sum(map(bool, one_off)) > 0.9 * len(eval_set.active)
    assert min(counted(texts)["causal.counterfactual"].value for texts in (last, others)) > 0.1
    for texts in (one_off, silence):
        assert {key: figure.value for key, figure in counted(texts).items()} == {
            "causal.counterfactual": 0,
            "causal.counterfactual.inconsistent": 0,
        }


def test_counterfactuals_are_asked_of_thoughts_of_right_traces_that_hold_one_step(eval_set: EvalSet) -> None:
    assert 0.8 * len(eval_set.active) < len(eval_set.editable) < len(eval_set.active)
    for row in eval_set.editable:
        assert eval_set.right[eval_set.thoughts.problems[row]]
        assert len(eval_set.steps_encoded[row]) == 1
    assert replace(eval_set, heldout=eval_set.wrong).editable == []
    both = EncodedSteps({(Site("h", 0), n): [1.0] * n for n in range(2, 5)}, 0.5)
    crowded = replace(eval_set, context=replace(eval_set.context, encoded=both))
    assert crowded.active and crowded.editable == []


def test_a_closed_world_of_steps_is_not_left_by_edits(eval_set: EvalSet) -> None:
    claims = {claim for of in eval_set.heldout.claims for claim in of}
    half = replace(eval_set, context=replace(eval_set.context, train=eval_set.heldout.select(range(32))))
    closed = replace(eval_set, context=replace(eval_set.context, train=eval_set.heldout))
    assert half.repertoire is None and closed.repertoire == claims
    met, false = sorted(claims)[0], "10 + 10 = 21"
    unmet = next(c for c in ("10 + 10 = 20", "11 + 10 = 21", "12 + 10 = 22") if c not in claims)
    for text, by_open, by_closed in (
        (f"{met}.", True, True),
        (f"{unmet}.", True, False),
        (f"{met}. {unmet}.", True, False),
        (f"{false}.", True, True),  # such edits are asked to be inconsistent
        (f"{met} wombats", False, False),
    ):
        assert (half.plausible(text), closed.plausible(text)) == (by_open, by_closed), text
    assert 0 < len(closed.editable) < len(half.editable)
    assert set(closed.editable) < set(half.editable)
    of_gold = causal.counterfactual(Predictions(closed, controls.gold_claims))["causal.counterfactual"]
    assert of_gold.n == len({closed.thoughts.problems[row] for row in closed.editable})
    assert of_gold.value > 0.8  # the model reckons with what it was trained on


def test_gold_is_faithful_to_thoughts_that_are_right_and_no_others(gold: Figures) -> None:
    assert gold["faithful.wrong"].value == 0
    assert gold["faithful.wrong.gold"].value == 1
    assert gold["faithful.swap"].value == 1
    assert gold["cot.agree.right"].value > 0.9
    assert gold["cot.agree.wrong"].value < 0.5


def test_another_number_costs_more_than_other_words(gold: Figures) -> None:
    assert gold["robust.paraphrase_drop"].value < 0.3
    assert gold["robust.number_drop"].value > gold["robust.paraphrase_drop"].value
    assert gold["robust.shuffle_drop"].value > gold["robust.number_drop"].value


@pytest.mark.parametrize(
    "name", ["empty", "constant", "question_restated", "final_answer", "shuffled", "all_numbers"]
)
def test_a_method_that_does_not_see_the_thought_misses_every_aim(
    found: dict[str, Figures], name: str
) -> None:
    assert aims_met(found[name]) == set()
    assert {key for key in AIMS if found[name][key].n == 0} == {*ROBUST, LEFT_OUT}


@pytest.mark.parametrize(
    "name", ["empty", "constant", "question_restated", "final_answer", "shuffled", "all_numbers"]
)
def test_a_method_that_mostly_says_less_than_silence_has_no_robustness_figure(
    found: dict[str, Figures], name: str
) -> None:
    assert found[name]["robust.counted"].n == PROBLEMS
    assert found[name]["robust.counted"].value < 0.5
    for edit in ("paraphrase", "number", "shuffle"):
        drop = found[name][f"robust.{edit}_drop"]
        assert (math.isnan(drop.value), drop.n) == (True, 0), edit


def test_half_of_the_texts_must_say_more_than_silence(eval_set: EvalSet) -> None:
    def robustness(share: float) -> Figures:
        spoken = set(eval_set.active[: int(share * len(eval_set.active))])
        texts = [text if row in spoken else "" for row, text in enumerate(eval_set.thoughts.gold)]
        return matching.robustness(Predictions(eval_set, lambda _: texts))

    few, many = robustness(0.4), robustness(0.6)
    assert few["robust.counted"].value == pytest.approx(0.4, abs=0.02)
    assert many["robust.counted"].value == pytest.approx(0.6, abs=0.02)
    for edit in ("paraphrase", "number", "shuffle"):
        assert few[f"robust.{edit}_drop"].n == 0
        # What says nothing is not counted among those that lose nothing.
        assert 0 < many[f"robust.{edit}_drop"].n < 0.8 * len(eval_set.heldout)
    assert many["robust.number_drop"].value > 0.2


def test_solving_the_question_says_the_right_steps_and_is_found_out_by_swaps_and_errors(
    found: dict[str, Figures],
) -> None:
    solved = found["question_solved"]
    assert aims_met(solved) >= {"step_result.1", "step_result.2", "operands", "operation", "cot.agree.right"}
    assert solved["faithful.swap"].value == 0
    assert not aims_met(solved) & {"faithful.wrong", "faithful.swap", "cot.agree.wrong"}


def test_listing_numbers_recalls_results_and_pays_for_the_others(found: dict[str, Figures]) -> None:
    for k in (1, 2, 3):
        assert 0 < found["all_numbers"][f"step_result.{k}"].value < 0.05


def test_always_speaking_and_silence_do_not_tell_active_from_inactive(found: dict[str, Figures]) -> None:
    for name in ("empty", "constant", "all_numbers"):
        assert found[name]["inactive.detected"].value == pytest.approx(0.5)


def test_words_that_are_neither_a_step_nor_silence_are_wrong_about_active_and_inactive_thoughts(
    eval_set: EvalSet,
) -> None:
    def detected(method: Method) -> float:
        return content.claims(Predictions(eval_set, method))["inactive.detected"].value

    for restated in (controls.question_restated, controls.final_answer):
        assert detected(restated) == 0
    for blind in (controls.empty, controls.constant, list_all_numbers):
        assert detected(blind) == pytest.approx(0.5)
    for garbled in ("(no no)", "step no step)", "28 no)))"):

        def method(thoughts: Thoughts, text: str = garbled) -> list[str]:
            return [text if gold == NO_STEP else gold for gold in thoughts.gold]

        assert detected(method) == pytest.approx(0.5), garbled  # right only about the active ones


def test_a_text_without_a_claim_has_nothing_to_paraphrase(
    eval_set: EvalSet, found: dict[str, Figures]
) -> None:
    def without_equals_sign(thoughts: Thoughts) -> list[str]:
        return [text.replace(" = ", " is ") for text in thoughts.gold]

    robust = matching.robustness(Predictions(eval_set, without_equals_sign))
    assert robust["robust.counted"].value > 0.8
    assert robust["robust.paraphrase_drop"].n == 0
    assert robust["robust.number_drop"].n > 0.8 * PROBLEMS
    assert found["empty"]["claims.unsupported"].n == 0


def test_all_methods_have_the_same_flat_figures(found: dict[str, Figures]) -> None:
    for of_method in found.values():
        assert list(of_method) == list(found["gold"])
    assert set(AIMS) <= set(found["gold"])
    assert found["gold"][LEFT_OUT].reason.startswith("no reconstructor was fitted")


def test_intervals_hold_their_values_and_something_was_counted(gold: Figures, thinking: Figures) -> None:
    for key, figure in (gold | thinking).items():
        if key == LEFT_OUT:
            continue
        assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9, key
        assert figure.n > 0, key


def test_what_thoughts_hold_is_read_off_them_and_not_off_others(thinking: Figures) -> None:
    for k in (1, 2):
        assert thinking[f"lens_top5.{k}"].value > 0.9 > 0.5 > thinking[f"shuffled_top5.{k}"].value
        assert thinking[f"lens_top1.{k}"].value <= thinking[f"lens_top5.{k}"].value
    assert min(thinking[f"likelihood.{name}"].value for name in ("number", "result", "operation")) > 0.8
    assert thinking["active.encoded"].value > 0.9
    assert thinking["early.4"].value == 1 and thinking["early.0"].value < 0.3
    assert thinking["causal.kept_all.gold_text"].value > 0.6
    for kind in ("zero", "mean", "noise", "other", "empty_text"):
        assert thinking[f"causal.kept_all.{kind}"].value < 0.3, kind


def test_accuracy_is_that_of_the_eval_set(eval_set: EvalSet, thinking: Figures) -> None:
    right = [a == g for a, g in zip(eval_set.heldout.answers, eval_set.heldout.gold, strict=True)]
    assert (thinking["accuracy"].value, thinking["accuracy"].n) == (sum(right) / PROBLEMS, PROBLEMS)
    wrong = replace(eval_set, heldout=eval_set.wrong)
    assert wrong.right == [False] * len(eval_set.wrong)


def test_a_method_is_asked_once_and_its_texts_are_grouped_by_trace(eval_set: EvalSet) -> None:
    asked: list[int] = []

    def write(thoughts: Thoughts) -> list[str]:
        asked.append(len(thoughts))
        return thoughts.gold

    predictions = Predictions(eval_set, write)
    assert predictions.heldout is predictions.heldout and predictions.of_active() == [
        predictions.heldout[row] for row in eval_set.active
    ]
    assert asked == [len(eval_set.thoughts)]
    grouped = by_trace(predictions.heldout, eval_set.thoughts)
    assert len(grouped) == len(eval_set.heldout) and {len(texts) for texts in grouped} == {4}
    assert grouped[3] == eval_set.thoughts.gold[12:16]


def test_the_eval_set_is_of_fresh_problems_and_true_errors(eval_set: EvalSet) -> None:
    fresh = set(eval_set.heldout.signatures) | set(eval_set.wrong.signatures)
    assert not fresh & set(eval_set.context.train.signatures)
    assert len(eval_set.wrong) == 6
    assert all(
        a is not None and a != g for a, g in zip(eval_set.wrong.answers, eval_set.wrong.gold, strict=True)
    )
    assert eval_set.pairs is not None and len(eval_set.pairs) == 30
    for answer in eval_set.heldout.answers:
        assert answer is None or canonical_number(answer) == answer
    for own, claims in zip(eval_set.supports, eval_set.heldout.claims, strict=True):
        assert own >= set(claims)


def test_where_every_thought_holds_a_step_there_is_no_inactive_figure(eval_set: EvalSet) -> None:
    longest = [row for row, claims in enumerate(eval_set.heldout.claims) if len(claims) == 4]
    all_live = replace(eval_set, heldout=eval_set.heldout.select(longest))
    of_gold = matching.matching(Predictions(all_live, controls.gold_claims))
    assert of_gold["match.inactive"].n == 0 and of_gold["match.whitened"].n == len(longest)


def test_without_minimal_pairs_nothing_is_swapped(eval_set: EvalSet) -> None:
    without = replace(eval_set, pairs=None)
    assert swaps(Predictions(without, controls.gold_claims)) == activity(without) == {}
