"""Texts that a model cannot read are refused by every way in, before anything is computed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.question_checks import QuestionError
from reverse_codi.reasoners.text_limits import TextLimitError
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.tokenizers import byte_level, byte_level_reasoner

MEGABYTE = 10**6
LONG = {
    "words": "apples " * (MEGABYTE // 7),
    "one word": "x" * MEGABYTE,
    "digits": "7" * MEGABYTE,
    "numbers": "1,000.5 " * (MEGABYTE // 8),
    "signs": "<" * MEGABYTE,
    "blanks": "12" + " " * MEGABYTE + "5",
    "lines": "12" + "\n" * MEGABYTE + "5",
    "emoji": "👩‍👩‍👧‍👦" * (MEGABYTE // 25),
    "names": "<eos>" * (MEGABYTE // 5),
}


def ways(reasoner: CodiReasoner) -> list[Callable[[str], object]]:
    return [
        lambda text: reasoner.read([text]),
        lambda text: reasoner.nll([text]),
        lambda text: reasoner.think([text]),
        lambda text: reasoner.answer_states([text]),
    ]


def test_a_text_beyond_the_positions_is_refused_with_both_numbers(tiny_reasoner: CodiReasoner) -> None:
    fits, beyond = " ".join(["12"] * 200), " ".join(["12"] * 257)
    for way in ways(tiny_reasoner):
        way(fits)
        with pytest.raises(
            TextLimitError, match=r"the text '12 12.* has 2\d\d tokens.* has 256 positions; shorten"
        ):
            way(beyond)


def test_half_a_character_is_refused(tiny_reasoner: CodiReasoner) -> None:
    for way in ways(tiny_reasoner):
        with pytest.raises(TextLimitError, match=r"character 5 is half a character \(U\+D83D\)"):
            way("Ann \ud83d")


def test_a_judge_refuses_both() -> None:
    reasoner = byte_level_reasoner()
    judge = LanguageModel(reasoner.lm, byte_level())
    positions = reasoner.lm.config.max_position_embeddings
    for text, said in (("é" * positions, f"has {positions:,} positions"), ("a\udfff", "half a character")):
        with pytest.raises(TextLimitError, match=said):
            judge.nll([text])


@pytest.mark.long
@pytest.mark.parametrize("kind", ["words", "numbers", "signs", "names"])
def test_a_megabyte_is_refused_in_seconds(kind: str) -> None:
    """By the embedded verbalizer, as a question and as the text of a thought."""
    verbalizer = Verbalizer.from_pretrained("embedded")
    began = time.process_time()
    with pytest.raises(QuestionError, match=r"tokens; \d+ fit into the model's 256 positions") as told:
        verbalizer.translate(LONG[kind])
    assert len(str(told.value)) < 500
    with pytest.raises(TextLimitError, match="256 positions"):
        verbalizer.latent_inputs([LONG[kind]], "h0")
    with pytest.raises(TextLimitError, match="256 positions"):
        verbalizer.counterfactual("Ann has 12 apples.", {"h0": LONG[kind]})
    assert time.process_time() - began < 30


@pytest.mark.parametrize("kind", ["one word", "digits", "blanks", "lines", "emoji"])
def test_a_megabyte_of_few_words_is_asked_in_seconds(kind: str) -> None:
    """The embedded model's tokens are words, and these texts hold a few."""
    verbalizer = Verbalizer.from_pretrained("embedded")
    began = time.process_time()
    assert len(verbalizer.translate(LONG[kind])) == 4
    assert time.process_time() - began < 30


@pytest.mark.parametrize("kind", ["words", "one word", "digits", "emoji"])
def test_a_megabyte_of_bytes_is_refused_in_seconds(kind: str) -> None:
    reasoner = byte_level_reasoner()
    began = time.process_time()
    with pytest.raises(TextLimitError, match="positions"):
        reasoner.read([LONG[kind]])
    assert time.process_time() - began < 30
