"""Lens words are given by hand: this reasoner's hidden states are the scores of its words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.tasks.graph import Graph
from reverse_codi.tasks.words import word_tokenizer
from reverse_codi.verbalize.lens_search import Found, ambiguity, lens_search
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_tiny_reasoner

EGGS = "Ann has 12 eggs . She buys 5 more . She sells 3 ."


class SpellingReasoner(CodiReasoner):
    """Says what its hidden states say: one number a word, the greatest the likeliest."""

    def logits(self, hidden_states: Tensor) -> Tensor:
        return hidden_states

    def thought(self, words: Sequence[str]) -> Tensor:
        scores = torch.zeros(self.config.eot_id + 1)
        for rank, word in enumerate(words):
            (token,) = [self.config.eot_id] if word == "<eot>" else self.ids(word)
            scores[token] = 10.0 - rank
        return scores


def make_reasoner(tokenizer: PreTrainedTokenizerBase | None = None) -> SpellingReasoner:
    base = make_tiny_reasoner(task=None if tokenizer is None else Graph())
    return SpellingReasoner(base.model, tokenizer or base.tokenizer, base.config)


def pairs_tokenizer() -> PreTrainedTokenizerFast:
    """Two digits a token at most, as real tokenizers split what they do not know: 1600 is 16, 00."""
    words = [*map(str, range(100)), *(f"0{i}" for i in range(10)), ","]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<pad>", "<unk>", *words])}, "<unk>"))
    digits = pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), digits])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


def make_thoughts(
    reasoner: SpellingReasoner,
    words: Sequence[Sequence[str]],
    question: str = EGGS,
    sites: Sequence[Site] | None = None,
    problems: Sequence[int] | None = None,
) -> Thoughts:
    n = len(words)
    return Thoughts(
        slots=torch.zeros(n, 1, 1),
        targets=torch.stack([reasoner.thought(of) for of in words]),
        sites=list(sites or [Site("h", k) for k in range(n)]),
        problems=list(problems or [0] * n),
        questions=[question] * n,
        gold=["unseen"] * n,
        claims=[["unseen"]] * n,
        answers=[None] * n,
    )


@pytest.fixture(scope="module")
def reasoner() -> SpellingReasoner:
    return make_reasoner()


def texts(found: Sequence[Found]) -> list[str]:
    return [each.text for each in found]


def test_each_result_is_an_operand_of_the_next_step(reasoner: SpellingReasoner) -> None:
    found = lens_search(reasoner, make_thoughts(reasoner, [["17", "16"], ["14", "13"]]))
    assert found == [Found("12 + 5 = 17.", 1, 0), Found("17 - 3 = 14.", 1, 0)]


def test_the_order_is_that_of_the_sites_and_problems_do_not_mix(reasoner: SpellingReasoner) -> None:
    words = [["14"], ["7"], ["17"], ["4"]]
    sites = [Site("h", 1), Site("h", 0), Site("h", 0), Site("h", 1)]
    thoughts = make_thoughts(reasoner, words, sites=sites, problems=[3, 8, 3, 8])
    assert texts(lens_search(reasoner, thoughts)) == [
        "17 - 3 = 14.",
        "12 - 5 = 7.",
        "12 + 5 = 17.",
        "7 - 3 = 4.",
    ]


def test_a_second_thought_of_one_site_is_no_next_step(reasoner: SpellingReasoner) -> None:
    thoughts = make_thoughts(reasoner, [["17"], ["17"]], sites=[Site("h", 0)] * 2)
    assert texts(lens_search(reasoner, thoughts)) == ["12 + 5 = 17."] * 2


def test_a_less_likely_word_is_taken_where_no_sum_gives_the_likeliest(reasoner: SpellingReasoner) -> None:
    (found,) = lens_search(reasoner, make_thoughts(reasoner, [["16", "18", "17"]]))
    assert found == Found("12 + 5 = 17.", 1, 2)


def test_as_said_has_the_likeliest_word_for_its_result(reasoner: SpellingReasoner) -> None:
    found = lens_search(reasoner, make_thoughts(reasoner, [["16", "17"], ["14"], ["<eot>"]]))
    assert [each.as_said for each in found] == ["12 + 5 = 16.", "17 - 3 = 14.", NO_STEP]


def test_the_greater_the_cost_of_a_rank_the_more_the_likeliest_word_decides(
    reasoner: SpellingReasoner,
) -> None:
    thoughts = make_thoughts(reasoner, [["15", "17"]])  # 12 + 3 passes over the 5
    assert lens_search(reasoner, thoughts) == [Found("12 + 5 = 17.", 1, 1)]
    assert lens_search(reasoner, thoughts, rank_cost=3) == [Found("12 + 3 = 15.", 2, 0)]


def test_sums_that_give_the_same_result_are_counted(reasoner: SpellingReasoner) -> None:
    question = "Ann has 4 eggs . She loses 2 ."
    found = lens_search(reasoner, make_thoughts(reasoner, [["2", "6"], ["<eot>"]], question))
    assert found == [Found("4 - 2 = 2.", 2, 0), Found(NO_STEP, 0, None)]  # or 4 / 2
    assert ambiguity(found) == (1, 1)
    assert ambiguity([]) == (0, 0)


def test_a_thought_whose_likeliest_word_is_no_number_holds_no_step(reasoner: SpellingReasoner) -> None:
    words = [["17"], ["<eot>", "14", "3"], ["answer", "14"]]
    found = lens_search(reasoner, make_thoughts(reasoner, words))
    assert found[1:] == [Found(NO_STEP, 0, None)] * 2


def test_a_result_that_is_handed_on_is_no_step(reasoner: SpellingReasoner) -> None:
    found = lens_search(reasoner, make_thoughts(reasoner, [["17"], ["17", "14"], ["14"]]))
    assert texts(found) == ["12 + 5 = 17.", NO_STEP, "17 - 3 = 14."]


def test_a_result_that_nothing_gives_still_goes_into_the_next_step(reasoner: SpellingReasoner) -> None:
    found = lens_search(reasoner, make_thoughts(reasoner, [["47"], ["52"], ["52"]]))
    assert texts(found) == [NO_STEP, "47 + 5 = 52.", NO_STEP]


def test_a_thought_of_another_question_finds_no_operands(reasoner: SpellingReasoner) -> None:
    """A thought that was swapped in is looked up alone, under the recipient's question."""
    thoughts = make_thoughts(reasoner, [["31", "29", "33", "27", "35"]], sites=[Site("h", 1)])
    assert lens_search(reasoner, thoughts) == [Found(NO_STEP, 0, None)]


def test_a_first_token_names_results_of_several() -> None:
    reasoner = make_reasoner(pairs_tokenizer())
    question = "Ann has 40 boxes of 40 eggs . She sells 25 ."
    found = lens_search(reasoner, make_thoughts(reasoner, [["16"], ["15"], ["15"]], question))
    assert texts(found) == ["40 * 40 = 1600.", "1600 - 25 = 1575.", NO_STEP]
    assert [each.rank for each in found] == [0, 0, None]


def test_a_number_that_is_whole_is_no_first_token_and_a_separator_may_end_one() -> None:
    reasoner = make_reasoner(pairs_tokenizer())
    whole, first = "Ann has 40 boxes for 40 eggs .", "Ann has 40 boxes of 41 eggs ."
    (found,) = lens_search(reasoner, make_thoughts(reasoner, [["1"]], whole))
    assert found == Found("40 / 40 = 1.", 2, 0)  # or 1,600 = 40 * 40, of which 1 is a part
    (found,) = lens_search(reasoner, make_thoughts(reasoner, [["1"]], first))
    assert found == Found("40 * 41 = 1640.", 2, 0)  # 41 - 40 takes the operands from the end


def test_sentences_are_those_of_the_question() -> None:
    words = "Tom Amy Every gorp lurg zimp fosk is a Is or . ? <".split()
    reasoner = make_reasoner(word_tokenizer(words))
    question = "Amy is a gorp. Tom is a gorp. Every lurg is a zimp. Every gorp is a zimp. Is Tom a zimp?"
    found = lens_search(reasoner, make_thoughts(reasoner, [["gorp"], ["zimp"], ["zimp"], ["is"]], question))
    assert texts(found) == ["Tom is a gorp.", "Every gorp is a zimp.", NO_STEP, NO_STEP]
    assert [each.fitting for each in found] == [2, 2, 0, 0]


@pytest.mark.parametrize("site", [ANSWER, Site("z", 0), Site("h", 0, layer=1)])
def test_what_the_lens_cannot_read_is_refused(reasoner: SpellingReasoner, site: Site) -> None:
    with pytest.raises(UserError, match=rf"{site} is none; set reading.spec.target to thought"):
        lens_search(reasoner, make_thoughts(reasoner, [["17"]], sites=[site]))


def test_no_thoughts_have_no_text(reasoner: SpellingReasoner) -> None:
    thoughts = make_thoughts(reasoner, [["17"]]).take([])
    assert lens_search(reasoner, thoughts) == []
