from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.verbalize import kept_claims
from reverse_codi.verbalize.self_generated_cot import FILE, SelfGeneratedCot, candidates, self_generated_cot

NEAREST = WarmStartSection(kind="nearest", samples=0)
WRITTEN = [["1 + 1 = 2", "2 * 3 = 6"]] * 3
RUNS = ["1 + 1 = 2.", "2 * 3 = 6.", "1 + 1 = 2. 2 * 3 = 6."]


class WhoWrites:
    """As much of a reasoner as writing takes."""

    def __init__(self, content_hash: str = "one") -> None:
        self.content_hash = content_hash
        self.asked: list[str] = []

    def write(self, questions: list[str]) -> list[str]:
        self.asked += questions
        written = {"a": "So 2 + 3 = 5. 5 * 2 = 10. The answer is: 10", "b": "4 - 1 = 3.", "c": "Who knows"}
        return [written[question] for question in questions]


class Traces:
    """As much of a trace store as self-generated CoT take."""

    def __init__(self, answers: list[str | None], questions: str = "") -> None:
        self.answers = answers
        self.questions = list(questions or "?" * len(answers))

    def __len__(self) -> int:
        return len(self.answers)


def asked(reasoner: WhoWrites, folder: Path, questions: str = "abc") -> SelfGeneratedCot:
    traces = Traces(["12", "3", "7"], questions)
    return self_generated_cot(reasoner, traces, folder)  # type: ignore[arg-type]


def test_self_generated_cot_is_what_the_model_writes_and_the_same_with_the_answer_that_the_trace_gave(
    tmp_path: Path,
) -> None:
    own = asked(WhoWrites(), tmp_path)
    assert own.written == [["2 + 3 = 5", "5 * 2 = 10"], ["4 - 1 = 3"], []]
    assert own.claims == [["2 + 3 = 5", "5 * 2 = 12"], ["4 - 1 = 3"], []]
    assert own.disagreeing == [0]


def test_what_was_written_is_not_written_again_and_a_stopped_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_claims, "CHUNK", 1)
    first = WhoWrites()
    own = asked(first, tmp_path)
    assert first.asked == ["a", "b", "c"]
    again = WhoWrites()
    assert asked(again, tmp_path) == own and again.asked == []
    (tmp_path / FILE).unlink()
    asked_one = Traces(["12"], "a")
    self_generated_cot(WhoWrites(), asked_one, tmp_path)  # type: ignore[arg-type]
    assert asked(again, tmp_path) == own and again.asked == ["b", "c"]


def test_steps_of_other_questions_or_another_model_are_refused(tmp_path: Path) -> None:
    asked(WhoWrites(), tmp_path)
    with pytest.raises(UserError, match=r"written_steps\.json has other questions .*delete it"):
        asked(WhoWrites(), tmp_path, "bac")
    with pytest.raises(UserError, match=r"steps\.json has other reasoner \(one, now two\); delete it"):
        asked(WhoWrites("two"), tmp_path)


@pytest.mark.parametrize("content", ["", "[[]]", '{"written": ', "{}", "null"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UserError, match=r"steps\.json is (cut or )?damaged.*; delete it"):
        asked(WhoWrites(), tmp_path)


def test_a_model_that_writes_no_steps_is_refused_with_the_keys_to_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"wrote no step for any of 3 questions.*--reading\.fit_on gold"):
        asked(WhoWrites(), tmp_path, "ccc")


def test_disagreeing_traces_are_those_whose_written_steps_end_elsewhere() -> None:
    assert SelfGeneratedCot.of(WRITTEN, ["6", "7", None]).disagreeing == [1]


def test_every_run_is_a_candidate_also_with_the_answer_that_the_trace_gave(
    tiny_reasoner: CodiReasoner,
) -> None:
    answers = ["6", "7", None]
    own = SelfGeneratedCot.of(WRITTEN, answers)
    same, other, silent = candidates(tiny_reasoner, NEAREST, own, Traces(answers))  # type: ignore[arg-type]
    assert same == silent == [*RUNS, "(no step)"]
    assert other == [*RUNS, "2 * 3 = 7.", "1 + 1 = 2. 2 * 3 = 7.", "(no step)"]


def test_who_wrote_nothing_has_no_step_to_choose(tiny_reasoner: CodiReasoner) -> None:
    own = SelfGeneratedCot.of([[]], ["6"])
    assert candidates(tiny_reasoner, NEAREST, own, Traces(["6"])) == [["(no step)"]]  # type: ignore[arg-type]
