"""The suite on the embedded reasoner: what a right writer reaches, and that no blind one passes."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from reverse_codi.evaluation import controls, figures
from reverse_codi.evaluation.exam import Exam
from reverse_codi.evaluation.figures import Figures
from reverse_codi.evaluation.report import AIMS
from reverse_codi.evaluation.suite import matching
from reverse_codi.evaluation.suite.faithful import swaps
from reverse_codi.evaluation.suite.run import evaluate, examine
from reverse_codi.evaluation.suite.said import Said, Writer, by_trace
from reverse_codi.evaluation.suite.thinking import liveliness
from reverse_codi.evaluation.translation import Thoughts
from reverse_codi.tasks.base import canonical_number

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
        return {name: evaluate(exam, write) for name, write in writers.items()}


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
    assert found[name]["robust.counted"].value < 0.5
    assert {key for key in set(AIMS) & set(found[name]) if found[name][key].n == 0} <= ROBUST


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
    for name in ("empty", "constant", "question_restated", "final_answer", "all_numbers"):
        assert found[name]["inert.told_from_live"].value == pytest.approx(0.5)


def test_a_text_without_a_claim_has_nothing_to_paraphrase(found: dict[str, Figures]) -> None:
    for name in ("empty", "question_restated", "final_answer", "all_numbers"):
        assert found[name]["robust.paraphrase_drop"].n == 0
    assert found["empty"]["robust.number_drop"].n == 0
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
