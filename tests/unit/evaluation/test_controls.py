from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reverse_codi.evaluation import controls
from reverse_codi.evaluation.controls import LinearProbes, NearestText, shuffled_thoughts
from reverse_codi.evaluation.eval_set import EvalContext, EvalSet
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.numbers import canonical_number
from reverse_codi.verbalize.thoughts import Thoughts
from tests.fakes import make_store
from tests.tiny import make_tiny_reasoner


def numbered(thoughts: Thoughts) -> list[str]:
    return [str(row) for row in range(len(thoughts))]


@pytest.fixture(scope="module")
def few(eval_set: EvalSet) -> EvalContext:
    return replace(eval_set.context, train=eval_set.context.train.select(range(200)))


def test_a_shuffled_text_is_of_the_same_site_and_another_problem(eval_set: EvalSet) -> None:
    thoughts = eval_set.thoughts
    partners = [int(text) for text in shuffled_thoughts(numbered, thoughts)]
    assert sorted(partners) == list(range(len(thoughts)))
    for row, partner in enumerate(partners):
        assert thoughts.sites[row] == thoughts.sites[partner]
        assert thoughts.problems[row] != thoughts.problems[partner]


def test_shuffling_is_seeded(eval_set: EvalSet) -> None:
    drawn = [shuffled_thoughts(numbered, eval_set.thoughts, seed) for seed in (0, 0, 1)]
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


def test_methods_that_read_nothing(eval_set: EvalSet) -> None:
    thoughts = eval_set.thoughts.take(range(8))
    assert controls.empty(thoughts) == [""] * 8
    (predictions,) = set(controls.constant(thoughts))
    assert len(parse_equations(predictions)) == 1
    assert controls.question_restated(thoughts) == thoughts.questions
    assert controls.gold_claims(thoughts) == thoughts.gold


def test_the_final_answer_is_stated_where_there_is_one(eval_set: EvalSet) -> None:
    thoughts = replace(eval_set.thoughts.take(range(3)), answers=["17", None, "0"])
    assert controls.final_answer(thoughts) == ["The answer is: 17", "", "The answer is: 0"]


def test_the_lens_says_a_number_or_no_step(eval_set: EvalSet) -> None:
    thoughts = eval_set.thoughts
    texts = controls.logit_lens(eval_set.context, thoughts)
    assert all(text == NO_STEP or canonical_number(text.rstrip(".")) is not None for text in texts)
    hits = [texts[row] == f"{thoughts.gold[row].rstrip('.').split()[-1]}." for row in eval_set.active]
    assert sum(hits) > 0.8 * len(hits)
    assert texts != [f"{top[0]}." for top in eval_set.context.lens(torch.randn_like(thoughts.targets))]


def test_lens_search_finds_most_steps_and_none_in_another_thoughts(
    eval_set: EvalSet, caplog: pytest.LogCaptureFixture
) -> None:
    thoughts, gold = eval_set.thoughts, eval_set.thoughts.gold
    unseen = replace(thoughts, gold=[""] * len(thoughts), claims=[[] for _ in thoughts.claims])
    with caplog.at_level("INFO"):
        texts = controls.searched_lens(eval_set.context, unseen)
    hits = [texts[row] == gold[row] for row in eval_set.active]
    assert sum(hits) > 0.9 * len(hits)
    silent = [texts[row] == NO_STEP for row in range(len(texts)) if row not in set(eval_set.active)]
    assert all(silent)
    spoken = sum(text != NO_STEP for text in texts)
    assert f"{spoken:,} of {len(texts):,} thoughts have a step; more than one fits 0." in caplog.text
    moved = replace(thoughts, targets=thoughts.targets.roll(eval_set.context.reasoner.n_thoughts, 0))
    other = controls.searched_lens(eval_set.context, moved)
    assert sum(other[row] == gold[row] for row in eval_set.active) < 0.2 * len(hits)


def test_the_question_is_solved_without_its_thought(eval_set: EvalSet) -> None:
    blind = replace(
        eval_set.thoughts,
        slots=torch.zeros_like(eval_set.thoughts.slots),
        targets=torch.zeros_like(eval_set.thoughts.targets),
    )
    texts = controls.question_solved(eval_set.context, blind)
    right = [texts[row] == eval_set.thoughts.gold[row] for row in eval_set.active]
    assert sum(right) > 0.8 * len(right)


def test_probes_name_the_parts_of_the_step(eval_set: EvalSet) -> None:
    texts = LinearProbes.fit(eval_set.context)(eval_set.thoughts)
    gold = eval_set.thoughts.gold
    assert all(text == NO_STEP or len(parse_equations(text)) == 1 for text in texts)
    spoken = [(text != NO_STEP) == (gold[row] != NO_STEP) for row, text in enumerate(texts)]
    assert sum(spoken) > 0.9 * len(texts)
    active = [row for row in eval_set.active if texts[row] != NO_STEP]
    predictions, right = ([text.split() for text in (side[row] for row in active)] for side in (texts, gold))
    for part, least in ((0, 0.2), (1, 0.5), (4, 0.3)):  # first operand, operation, result
        hits = [s[part] == r[part] for s, r in zip(predictions, right, strict=True)]
        assert sum(hits) > least * len(eval_set.active), part


def test_probes_are_exact_on_vectors_that_tell_parts_apart(few: EvalContext, tmp_path: Path) -> None:
    """Thoughts made of the steps themselves: one direction a word, words at their places."""
    claims = [["2 + 3 = 5", "5 * 4 = 20"], ["6 - 3 = 3"], ["2 * 3 = 6", "6 - 4 = 2"]] * 30
    words = sorted({word for of in claims for claim in of for word in claim.split()})
    d = 5 * len(words) + 1

    states = torch.zeros(len(claims), 5, d)
    for row, of in enumerate(claims):
        for k in range(5):
            spoken = of[k].split() if k < len(of) else []
            states[row, k, -1] = float(not spoken)
            for place, word in enumerate(spoken):
                states[row, k, place * len(words) + words.index(word)] = 1
    coded = make_store(tmp_path, [None] * len(claims), claims=claims, hidden_states=states)
    two = make_tiny_reasoner(n_thoughts=2)
    context = replace(few, reasoner=two, train=coded)
    thoughts = context.thoughts(context.train)
    assert LinearProbes.fit(context)(thoughts) == thoughts.gold


def test_the_nearest_text_is_a_training_text_of_the_site(eval_set: EvalSet, few: EvalContext) -> None:
    method = NearestText.fit(few)
    texts = method(eval_set.thoughts)
    train = few.thoughts(few.train)
    for site in few.sites:
        pool = {text for s, text in zip(train.sites, train.gold, strict=True) if s == site}
        predictions = {text for s, text in zip(eval_set.thoughts.sites, texts, strict=True) if s == site}
        assert predictions <= pool
        assert len(method.pool[site]) == len(pool)
    own = method(train.take(range(80)))
    results = [text.split()[-1] == gold.split()[-1] for text, gold in zip(own, train.gold, strict=False)]
    assert sum(results) > 0.8 * len(own)  # its own pool's texts are found again
