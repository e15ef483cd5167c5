from __future__ import annotations

import itertools
import time
from collections import Counter

import pytest

from reverse_codi.errors import UserError
from reverse_codi.reasoners.sites import Site
from reverse_codi.verbalize.distractors import Distractors, seed_of

H0, H1 = Site("h", 0), Site("h", 1)
SITES = [site for _ in range(6) for site in (H0, H1)]
PROBLEMS = [problem for problem in range(6) for _ in (H0, H1)]


def test_they_are_of_the_same_site_and_of_other_problems() -> None:
    others = Distractors(SITES, PROBLEMS)
    for row, (site, problem) in enumerate(zip(SITES, PROBLEMS, strict=True)):
        rows = others.rows(site, problem, 4, seed_of(0, row))
        assert len(set(rows)) == 4 and {SITES[other] for other in rows} == {site}
        assert problem not in {PROBLEMS[other] for other in rows}
        assert rows == others.rows(site, problem, 4, seed_of(0, row))
    assert len({tuple(others.rows(H0, 0, 4, seed_of(0, row))) for row in range(20)}) > 5


def test_few_are_repeated_and_questions_tell_problems_apart_too() -> None:
    others = Distractors([H0] * 3, ["a", "b", "b"])
    assert sorted(others.rows(H0, "a", 4, 0)) == [1, 1, 2, 2]
    assert others.rows(H0, "b", 2, 0) == [0, 0]


@pytest.mark.parametrize(("site", "problem"), [(H0, 0), (H1, 0)])
def test_no_other_problem_is_an_error_that_says_what_to_raise(site: Site, problem: int) -> None:
    with pytest.raises(UserError, match=rf"at {site} .*raise trace\.n .*raise --problems"):
        Distractors([H0], [0]).rows(site, problem, 2, 0)


def test_every_order_of_the_other_thoughts_is_as_likely() -> None:
    others = Distractors([H0] * 4, [0, 1, 2, 3])
    orders = Counter(tuple(others.rows(H0, 0, 3, seed)) for seed in range(6_000))
    assert set(orders) == set(itertools.permutations([1, 2, 3]))
    assert all(850 < n < 1_150 for n in orders.values())  # 1,000 expected, 5 standard deviations


def test_a_few_of_many_thoughts_cost_little() -> None:
    others = Distractors([H0] * 200_000, range(200_000))
    began = time.process_time()
    for row in range(2_000):
        others.rows(H0, row, 15, seed_of(0, row))
    assert time.process_time() - began < 2  # a permutation of all takes 10 s
