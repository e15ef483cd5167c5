from __future__ import annotations

from reverse_codi.tasks.possible_steps import FETCHED, TURNED, has_numbers, possible_steps


def costs(question: str, results: list[str], used: set[int]) -> dict[str, int]:
    return {step.claim: step.cost for step in possible_steps(question, results, used)}


def test_the_result_before_with_the_next_number_is_the_plainest() -> None:
    found = costs("Ann has 12 eggs. She buys 5 more and sells 3.", ["17"], {0, 1})
    assert found["17 - 3 = 14"] == 0
    assert found["17 + 12 = 29"] == FETCHED  # 12 was used before
    assert found["12 - 3 = 9"] == 2 * FETCHED  # leaves out the result before, too
    first = costs("Ann has 12 eggs. She buys 5 more and sells 3.", [], set())
    assert (first["12 + 5 = 17"], first["12 - 3 = 9"], first["5 - 3 = 2"]) == (0, 1, 2)


def test_a_difference_is_turned_at_a_cost_and_never_negative() -> None:
    found = costs("Of 20 eggs Ann eats 5.", ["12"], set())
    assert found["20 - 12 = 8"] == TURNED
    assert not any(" = -" in claim for claim in found)
    assert "12 + 20 = 32" in found and "20 + 12 = 32" not in found


def test_words_say_what_is_done_with_their_number() -> None:
    doubled = costs("Ann has 12 eggs. The pile doubles.", [], set())
    assert doubled == {"12 * 2 = 24": 0}
    assert costs("Twice as many as 12.", [], set()) == {"12 * 2 = 24": 0}
    assert costs("Ann has 12 eggs. She gives half away.", [], set()) == {"12 / 2 = 6": 0}
    assert costs("Ann gets 12, then 3 times as many.", [], set()) == {"12 * 3 = 36": 0}
    assert "12 + 2 = 14" in costs("Ann has 12 eggs and two more.", [], set())


def test_a_percentage_is_a_number_and_a_share() -> None:
    found = costs("Of 50 eggs 20% are brown.", [], set())
    assert found["50 * 0.2 = 10"] == found["50 - 20 = 30"] == 0
    assert not any(claim.startswith("20 * 0.2") for claim in found)  # one number


def test_results_have_at_most_two_decimals_and_change_something() -> None:
    found = costs("Ann has 10 eggs. She takes 3, 4 and 1.", [], set())
    assert "10 / 4 = 2.5" in found
    assert not any(claim.startswith(("10 / 3", "10 * 1 ", "3 % 10")) for claim in found)
    assert costs("Ann pays $1,600 and .5 more.", [], set())["1600 + 0.5 = 1600.5"] == 0


def test_older_results_can_be_taken_up_again() -> None:
    assert costs("Ann has 12 eggs.", ["30", "7"], {0})["30 + 7 = 37"] == FETCHED


def test_a_question_without_numbers_allows_what_it_states() -> None:
    question = "Tom is a gorp. Amy is a lurg. Every gorp is a zimp. Every lurg is a zimp. Is Tom a zimp?"
    assert not has_numbers(question)
    first = costs(question, [], set())
    assert first["Tom is a gorp"] == 0 and first["Amy is a lurg"] == FETCHED
    after = costs(question, ["gorp"], set())
    assert after["Every gorp is a zimp"] == 0 and after["Every lurg is a zimp"] == FETCHED
    assert costs("", [], set()) == {}
