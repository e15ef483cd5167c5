"""The suite on the embedded reasoner: what a right writer reaches, and that no blind one passes."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import pytest

from reverse_codi.evaluation import controls
from reverse_codi.evaluation.counterfactual import near_claims
from reverse_codi.evaluation.exam import Exam
from reverse_codi.evaluation.report import AIMS
from reverse_codi.evaluation.suite import causal, content, matching
from reverse_codi.evaluation.suite.faithful import swaps
from reverse_codi.evaluation.suite.run import evaluate, examine
from reverse_codi.evaluation.suite.said import Said, Writer, by_trace
from reverse_codi.evaluation.suite.thinking import liveliness
from reverse_codi.reading.claims import NO_STEP, HeldSteps
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import result_of
from reverse_codi.tasks.numbers import canonical_number
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures
from reverse_codi.verbalize.thoughts import Thoughts

PROBLEMS = 64
NUMBERS = " ".join(map(str, range(1, 61)))
# A writer whose texts mostly say less than silence has nothing to lose, and no figure here.
ROBUST = {"robust.paraphrase_drop", "robust.number_drop"}
CONTENT = ("step_result.1", "step_result.2", "step_result.3", "operands", "operation", "claims.f1")


def list_all_numbers(thoughts: Thoughts) -> list[str]:
    return [NUMBERS] * len(thoughts)


@pytest.fixture(scope="module")
def writers(exam: Exam) -> dict[str, Writer]:
    return {
        "gold": controls.gold_claims,
        "empty": controls.empty,
        "constant": controls.constant,
        "question_restated": controls.question_restated,
        "final_answer": controls.final_answer,
        "question_solved": functools.partial(controls.question_solved, exam.subject),
        "shuffled": functools.partial(controls.shuffled_thoughts, controls.gold_claims),
        "all_numbers": list_all_numbers,
    }


@pytest.fixture(scope="module")
def found(exam: Exam, writers: dict[str, Writer]) -> dict[str, Figures]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (figures, matching):
            patch.setattr(module, "RESAMPLES", 50)
        return {name: evaluate(Said(exam, write)) for name, write in writers.items()}


@pytest.fixture(scope="module")
def gold(found: dict[str, Figures]) -> Figures:
    return found["gold"]


@pytest.fixture(scope="module")
def thinking(exam: Exam) -> Figures:
    return examine(exam)


def aims_met(of_writer: Figures) -> set[str]:
    return {key for key, aim in AIMS.items() if key in of_writer and aim.met(of_writer[key].value)}


def test_gold_says_what_thoughts_hold(gold: Figures) -> None:
    for key in (*CONTENT, *(f"{key}.all" for key in CONTENT), "last.result", "last.operands"):
        assert gold[key].value == 1.0, key
    assert gold["claims.unsupported"].value == 0
    assert gold["inert.told_from_live"].value == 1


def test_gold_lies_nearest_to_its_thought(gold: Figures) -> None:
    assert gold["retrieval.top1_64"].value > 0.8
    assert gold["retrieval.mrr"].value > gold["retrieval.top1_64"].value
    assert gold["match.whitened"].value > 0.3
    assert gold["cosine.centred"].value > 0.8
    assert gold["fve.affine"].value > 0.5 > gold["fve.raw"].value


def test_the_model_goes_on_from_gold_as_from_its_thoughts(gold: Figures) -> None:
    assert gold["causal.kept_all"].value > 0.6
    assert gold["causal.kept_each"].value > 0.6
    assert gold["causal.kept_all.other_text"].value < 0.2
    assert gold["causal.counterfactual"].value > 0.5
    assert gold["causal.counterfactual"].value > gold["causal.counterfactual.inconsistent"].value


def test_a_text_that_says_nothing_of_its_thought_is_no_cause_of_the_answer(
    exam: Exam, found: dict[str, Figures]
) -> None:
    """An edited constant is followed wherever it stands last: the answer becomes its result."""
    asked = {exam.thoughts.problems[row] for row in exam.editable}
    for name in ("constant", "empty", "final_answer", "question_restated", "all_numbers"):
        for key in ("causal.counterfactual", "causal.counterfactual.inconsistent"):
            assert found[name][key].value < 0.03, (name, key)
            assert found[name][key].n == found["gold"][key].n == len(asked), (name, key)


def test_a_last_step_counts_where_it_ends_in_the_answer_and_others_where_the_next_goes_on_from_it(
    exam: Exam,
) -> None:
    def ends_the_chain(row: int) -> bool:
        return exam.steps_held[row] == [len(exam.thoughts.claims[row]) - 1]

    def near_miss(row: int) -> str:
        claim = exam.thoughts.claims[row][exam.steps_held[row][0]]
        near = near_claims(claim, exam.subject.knows)
        return next((f"{other}." for other in near if result_of(other) != result_of(claim)), "")

    def counted(texts: list[str]) -> Figures:
        return causal.counterfactual(Said(exam, lambda _: texts))

    gold, silence = exam.thoughts.gold, [""] * len(exam.thoughts)
    last = [text if row in exam.live and ends_the_chain(row) else "" for row, text in enumerate(gold)]
    others = [text if row in exam.live and not ends_the_chain(row) else "" for row, text in enumerate(gold)]
    one_off = [near_miss(row) if row in exam.live else "" for row in range(len(gold))]
    assert sum(map(bool, one_off)) > 0.9 * len(exam.live)
    assert min(counted(texts)["causal.counterfactual"].value for texts in (last, others)) > 0.1
    for texts in (one_off, silence):
        assert {key: figure.value for key, figure in counted(texts).items()} == {
            "causal.counterfactual": 0,
            "causal.counterfactual.inconsistent": 0,
        }


def test_counterfactuals_are_asked_of_thoughts_of_right_traces_that_hold_one_step(exam: Exam) -> None:
    assert 0.8 * len(exam.live) < len(exam.editable) < len(exam.live)
    for row in exam.editable:
        assert exam.right[exam.thoughts.problems[row]]
        assert len(exam.steps_held[row]) == 1
    assert replace(exam, heldout=exam.wrong).editable == []
    both = HeldSteps({(Site("h", 0), n): [1.0] * n for n in range(2, 5)}, 0.5)
    crowded = replace(exam, subject=replace(exam.subject, held=both))
    assert crowded.live and crowded.editable == []


def test_a_closed_world_of_steps_is_not_left_by_edits(exam: Exam) -> None:
    claims = {claim for of in exam.heldout.claims for claim in of}
    half = replace(exam, subject=replace(exam.subject, train=exam.heldout.select(range(32))))
    closed = replace(exam, subject=replace(exam.subject, train=exam.heldout))
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
    of_gold = causal.counterfactual(Said(closed, controls.gold_claims))["causal.counterfactual"]
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
def test_a_writer_that_does_not_see_the_thought_misses_every_aim(
    found: dict[str, Figures], name: str
) -> None:
    assert aims_met(found[name]) == set()
    assert {key for key in set(AIMS) & set(found[name]) if found[name][key].n == 0} == ROBUST


@pytest.mark.parametrize(
    "name", ["empty", "constant", "question_restated", "final_answer", "shuffled", "all_numbers"]
)
def test_a_writer_that_mostly_says_less_than_silence_has_no_robustness_figure(
    found: dict[str, Figures], name: str
) -> None:
    assert found[name]["robust.counted"].n == PROBLEMS
    assert found[name]["robust.counted"].value < 0.5
    for edit in ("paraphrase", "number", "shuffle"):
        drop = found[name][f"robust.{edit}_drop"]
        assert (math.isnan(drop.value), drop.n) == (True, 0), edit


def test_half_of_the_texts_must_say_more_than_silence(exam: Exam) -> None:
    def robustness(share: float) -> Figures:
        spoken = set(exam.live[: int(share * len(exam.live))])
        texts = [text if row in spoken else "" for row, text in enumerate(exam.thoughts.gold)]
        return matching.robustness(Said(exam, lambda _: texts))

    few, many = robustness(0.4), robustness(0.6)
    assert few["robust.counted"].value == pytest.approx(0.4, abs=0.02)
    assert many["robust.counted"].value == pytest.approx(0.6, abs=0.02)
    for edit in ("paraphrase", "number", "shuffle"):
        assert few[f"robust.{edit}_drop"].n == 0
        # What says nothing is not counted among those that lose nothing.
        assert 0 < many[f"robust.{edit}_drop"].n < 0.8 * len(exam.heldout)
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


def test_always_speaking_and_silence_do_not_tell_live_from_inert(found: dict[str, Figures]) -> None:
    for name in ("empty", "constant", "all_numbers"):
        assert found[name]["inert.told_from_live"].value == pytest.approx(0.5)


def test_words_that_are_neither_a_step_nor_silence_are_wrong_about_live_and_inert_thoughts(
    exam: Exam,
) -> None:
    def told_from_live(writer: Writer) -> float:
        return content.claims(Said(exam, writer))["inert.told_from_live"].value

    for restated in (controls.question_restated, controls.final_answer):
        assert told_from_live(restated) == 0
    for blind in (controls.empty, controls.constant, list_all_numbers):
        assert told_from_live(blind) == pytest.approx(0.5)
    for garbled in ("(no no)", "step no step)", "28 no)))"):

        def writer(thoughts: Thoughts, text: str = garbled) -> list[str]:
            return [text if gold == NO_STEP else gold for gold in thoughts.gold]

        assert told_from_live(writer) == pytest.approx(0.5), garbled  # right about the live ones alone


def test_a_text_without_a_claim_has_nothing_to_paraphrase(exam: Exam, found: dict[str, Figures]) -> None:
    def without_equals_sign(thoughts: Thoughts) -> list[str]:
        return [text.replace(" = ", " is ") for text in thoughts.gold]

    robust = matching.robustness(Said(exam, without_equals_sign))
    assert robust["robust.counted"].value > 0.8
    assert robust["robust.paraphrase_drop"].n == 0
    assert robust["robust.number_drop"].n > 0.8 * PROBLEMS
    assert found["empty"]["claims.unsupported"].n == 0


def test_all_writers_have_the_same_flat_figures(found: dict[str, Figures]) -> None:
    for of_writer in found.values():
        assert list(of_writer) == list(found["gold"])
    assert set(AIMS) - set(found["gold"]) == {"fve.reconstructor"}  # without a reconstructor


def test_intervals_hold_their_values_and_something_was_counted(gold: Figures, thinking: Figures) -> None:
    for key, figure in (gold | thinking).items():
        assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9, key
        assert figure.n > 0, key


def test_what_thoughts_hold_is_read_off_them_and_not_off_others(thinking: Figures) -> None:
    for k in (1, 2):
        assert thinking[f"lens_top5.{k}"].value > 0.9 > 0.5 > thinking[f"shuffled_top5.{k}"].value
        assert thinking[f"lens_top1.{k}"].value <= thinking[f"lens_top5.{k}"].value
    assert min(thinking[f"likelihood.{name}"].value for name in ("number", "result", "operation")) > 0.8
    assert thinking["live.held"].value > 0.9
    assert thinking["early.4"].value == 1 and thinking["early.0"].value < 0.3
    assert thinking["causal.kept_all.gold_text"].value > 0.6
    for kind in ("zero", "mean", "noise", "other", "empty_text"):
        assert thinking[f"causal.kept_all.{kind}"].value < 0.3, kind


def test_accuracy_is_that_of_the_exam(exam: Exam, thinking: Figures) -> None:
    right = [a == g for a, g in zip(exam.heldout.answers, exam.heldout.gold, strict=True)]
    assert (thinking["accuracy"].value, thinking["accuracy"].n) == (sum(right) / PROBLEMS, PROBLEMS)
    wrong = replace(exam, heldout=exam.wrong)
    assert wrong.right == [False] * len(exam.wrong)


def test_a_writer_is_asked_once_and_its_texts_are_grouped_by_trace(exam: Exam) -> None:
    asked: list[int] = []

    def write(thoughts: Thoughts) -> list[str]:
        asked.append(len(thoughts))
        return thoughts.gold

    said = Said(exam, write)
    assert said.heldout is said.heldout and said.of_live() == [said.heldout[row] for row in exam.live]
    assert asked == [len(exam.thoughts)]
    grouped = by_trace(said.heldout, exam.thoughts)
    assert len(grouped) == len(exam.heldout) and {len(texts) for texts in grouped} == {4}
    assert grouped[3] == exam.thoughts.gold[12:16]


def test_the_exam_is_of_fresh_problems_and_true_errors(exam: Exam) -> None:
    fresh = set(exam.heldout.signatures) | set(exam.wrong.signatures)
    assert not fresh & set(exam.subject.train.signatures)
    assert len(exam.wrong) == 6
    assert all(a is not None and a != g for a, g in zip(exam.wrong.answers, exam.wrong.gold, strict=True))
    assert exam.pairs is not None and len(exam.pairs) == 30
    for answer in exam.heldout.answers:
        assert answer is None or canonical_number(answer) == answer
    for own, claims in zip(exam.supports, exam.heldout.claims, strict=True):
        assert own >= set(claims)


def test_where_every_thought_holds_a_step_there_is_no_inert_figure(exam: Exam) -> None:
    longest = [row for row, claims in enumerate(exam.heldout.claims) if len(claims) == 4]
    all_live = replace(exam, heldout=exam.heldout.select(longest))
    of_gold = matching.matching(Said(all_live, controls.gold_claims))
    assert of_gold["match.inert"].n == 0 and of_gold["match.whitened"].n == len(longest)


def test_without_minimal_pairs_nothing_is_swapped(exam: Exam) -> None:
    without = replace(exam, pairs=None)
    assert swaps(Said(without, controls.gold_claims)) == liveliness(without) == {}
