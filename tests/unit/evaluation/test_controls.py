from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reverse_codi.evaluation import controls
from reverse_codi.evaluation.controls import LinearProbes, NearestText, shuffled_thoughts
from reverse_codi.evaluation.exam import Exam, Subject
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.numbers import canonical_number
from reverse_codi.verbalize.thoughts import Thoughts


def numbered(thoughts: Thoughts) -> list[str]:
    return [str(row) for row in range(len(thoughts))]


@pytest.fixture(scope="module")
def few(exam: Exam) -> Subject:
    return replace(exam.subject, train=exam.subject.train.select(range(200)))


def test_a_shuffled_text_is_of_the_same_site_and_another_problem(exam: Exam) -> None:
    thoughts = exam.thoughts
    partners = [int(text) for text in shuffled_thoughts(numbered, thoughts)]
    assert sorted(partners) == list(range(len(thoughts)))
    for row, partner in enumerate(partners):
        assert thoughts.sites[row] == thoughts.sites[partner]
        assert thoughts.problems[row] != thoughts.problems[partner]


def test_shuffling_is_seeded(exam: Exam) -> None:
    drawn = [shuffled_thoughts(numbered, exam.thoughts, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_partners_are_of_other_problems_where_problems_have_several_thoughts_of_a_site() -> None:
    problems = [0, 0, 0, 1, 1, 2, 3, 3, 3]
    n = len(problems)
    thoughts = Thoughts(
        torch.zeros(n, 1, 2),
        torch.zeros(n, 2),
        [Site("h", 0)] * n,
        problems,
        ["?"] * n,
        [""] * n,
        [[]] * n,
        [None] * n,
    )
    partners = [int(text) for text in shuffled_thoughts(numbered, thoughts)]
    assert sorted(partners) == list(range(n))
    assert all(problems[row] != problems[partner] for row, partner in enumerate(partners))


def test_writers_that_read_nothing(exam: Exam) -> None:
    thoughts = exam.thoughts.take(range(8))
    assert controls.empty(thoughts) == [""] * 8
    (said,) = set(controls.constant(thoughts))
    assert len(parse_equations(said)) == 1
    assert controls.question_restated(thoughts) == thoughts.questions
    assert controls.gold_claims(thoughts) == thoughts.gold


def test_the_final_answer_is_said_where_there_is_one(exam: Exam) -> None:
    thoughts = replace(exam.thoughts.take(range(3)), answers=["17", None, "0"])
    assert controls.final_answer(thoughts) == ["The answer is: 17", "", "The answer is: 0"]


def test_the_lens_says_a_number_or_no_step(exam: Exam) -> None:
    thoughts = exam.thoughts
    texts = controls.logit_lens(exam.subject, thoughts)
    assert all(text == NO_STEP or canonical_number(text.rstrip(".")) is not None for text in texts)
    hits = [texts[row] == f"{thoughts.gold[row].rstrip('.').split()[-1]}." for row in exam.live]
    assert sum(hits) > 0.8 * len(hits)
    assert texts != [f"{top[0]}." for top in exam.subject.lens(torch.randn_like(thoughts.targets))]


def test_the_question_is_solved_without_its_thought(exam: Exam) -> None:
    blind = replace(
        exam.thoughts,
        slots=torch.zeros_like(exam.thoughts.slots),
        targets=torch.zeros_like(exam.thoughts.targets),
    )
    texts = controls.question_solved(exam.subject, blind)
    right = [texts[row] == exam.thoughts.gold[row] for row in exam.live]
    assert sum(right) > 0.8 * len(right)


def test_probes_name_the_parts_of_the_step(exam: Exam) -> None:
    texts = LinearProbes.fit(exam.subject)(exam.thoughts)
    gold = exam.thoughts.gold
    assert all(text == NO_STEP or len(parse_equations(text)) == 1 for text in texts)
    spoken = [(text != NO_STEP) == (gold[row] != NO_STEP) for row, text in enumerate(texts)]
    assert sum(spoken) > 0.9 * len(texts)
    live = [row for row in exam.live if texts[row] != NO_STEP]
    said, right = ([text.split() for text in (side[row] for row in live)] for side in (texts, gold))
    for part, least in ((0, 0.2), (1, 0.5), (4, 0.3)):  # first operand, operation, result
        hits = [s[part] == r[part] for s, r in zip(said, right, strict=True)]
        assert sum(hits) > least * len(exam.live), part


def test_probes_are_exact_on_vectors_that_tell_parts_apart(few: Subject) -> None:
    """Thoughts made of the steps themselves: one direction a word, words at their places."""
    claims = [["2 + 3 = 5", "5 * 4 = 20"], ["6 - 3 = 3"], ["2 * 3 = 6", "6 - 4 = 2"]] * 30
    words = sorted({word for of in claims for claim in of for word in claim.split()})
    d = 5 * len(words) + 1

    class Coded:
        def __init__(self) -> None:
            self.claims, self.questions = claims, ["?"] * len(claims)
            self.answers: list[str | None] = [None] * len(claims)
            self.readouts = torch.zeros(len(claims), 5, d)
            for row, of in enumerate(claims):
                for k in range(5):
                    spoken = of[k].split() if k < len(of) else []
                    self.readouts[row, k, -1] = float(not spoken)
                    for place, word in enumerate(spoken):
                        self.readouts[row, k, place * len(words) + words.index(word)] = 1
            self.fed = self.readouts[:, :4]

        def __len__(self) -> int:
            return len(claims)

        def vectors(self, site: Site) -> torch.Tensor:
            return self.readouts[:, site.index]

    class TwoThoughts:
        n_thoughts = 2

    subject = replace(few, reasoner=TwoThoughts(), train=Coded())  # type: ignore[arg-type]
    thoughts = subject.thoughts(subject.train)
    assert LinearProbes.fit(subject)(thoughts) == thoughts.gold


def test_the_nearest_text_is_a_training_text_of_the_site(exam: Exam, few: Subject) -> None:
    writer = NearestText.fit(few)
    texts = writer(exam.thoughts)
    train = few.thoughts(few.train)
    for site in few.sites:
        pool = {text for s, text in zip(train.sites, train.gold, strict=True) if s == site}
        said = {text for s, text in zip(exam.thoughts.sites, texts, strict=True) if s == site}
        assert said <= pool
        assert len(writer.pool[site]) == len(pool)
    own = writer(train.take(range(80)))
    results = [text.split()[-1] == gold.split()[-1] for text, gold in zip(own, train.gold, strict=False)]
    assert sum(results) > 0.8 * len(own)  # its own pool's texts are found again
