"""Questions that cannot be asked, and what the model will not understand of the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.training_record import trained_length, write_record
from reverse_codi.reasoners.latent_lm import LatentLM
from reverse_codi.reasoners.load import ASSETS, load_reasoner
from reverse_codi.reasoners.question_checks import (
    SHOWN,
    QuestionError,
    admitted,
    all_notices,
    faults,
    longest_question,
    not_understood,
    notices,
    unknown_words,
)
from reverse_codi.verbalize.questions import Question
from tests.tiny import make_problems

POSITIONS = 40


@pytest.fixture(scope="module")
def positioned(tiny_reasoner: CodiReasoner) -> CodiReasoner:
    """The tiny reasoner's words on a GPT-2, whose positions end; it never ends an answer by itself."""
    like = tiny_reasoner.model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lm = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=like.lm.config.vocab_size,
                n_positions=POSITIONS,
                n_embd=32,
                n_layer=1,
                n_head=2,
            )
        )
    model = LatentLM(lm, like.prj, like.n_thoughts, like.bot_id, like.eot_id)
    unwritten = (tiny_reasoner.tokenizer.eos_token_id,)
    return CodiReasoner(
        model.requires_grad_(False),
        tiny_reasoner.tokenizer,
        replace(tiny_reasoner.config, unwritten_ids=unwritten),
    )


def words(n: int) -> str:
    return " ".join(["cups"] * n)


def test_the_limit_is_what_the_positions_hold(positioned: CodiReasoner) -> None:
    limit = longest_question(positioned)
    assert limit == POSITIONS - (1 + 3 + 12)  # bot, K, and an answer whose first token is eot
    positioned.think([words(limit)])
    positioned.answer_states([words(limit)])
    with pytest.raises(IndexError):
        positioned.think([words(limit + 1)])
    written = longest_question(positioned, writes=True)
    assert written == min(limit, POSITIONS - (16 - 1))


def test_the_limit_of_written_steps(positioned: CodiReasoner) -> None:
    long = replace(positioned.config, max_written_tokens=30)
    writer = CodiReasoner(positioned.model, positioned.tokenizer, long)
    limit = longest_question(writer, writes=True)
    assert limit == POSITIONS - 29
    writer.write([words(limit)])
    with pytest.raises(IndexError):
        writer.write([words(limit + 1)])


def test_faults_name_count_and_limit(positioned: CodiReasoner) -> None:
    good = make_problems(1)[0].question
    limit = longest_question(positioned)
    found = faults(positioned, ["cups", "", " \n", words(limit), words(limit + 1), "\u00a0" + words(99)])
    assert found[0] is None and found[3] is None
    assert found[1] == found[2] == "the question is empty; write one"
    assert found[4] == (
        f"the question has {limit + 1} tokens; {limit} fit into the model's 40 positions beside thoughts and "
        "answer; shorten it"
    )
    assert "has 99 tokens" in str(found[5])
    assert faults(load_reasoner("embedded"), [good]) == [None]
    assert faults(positioned, ["caf\udce9"]) == [
        "character 4 is half a character (U+DCE9); write the whole one in UTF-8"
    ]


def test_bad_questions_are_refused_or_skipped(caplog: pytest.LogCaptureFixture) -> None:
    asked = [Question("a", "f:1"), Question("", "f:2"), Question("b", "")]
    assert admitted(asked, [None] * 3, "error") == asked and not caplog.messages
    with pytest.raises(QuestionError) as error:
        admitted(asked, [None, "it is empty", None], "error")
    assert str(error.value) == "f:2: it is empty, or set trace.on_bad_question to skip, to go without"
    assert admitted(asked, [None, "it is empty", "too long"], "skip") == asked[:1]
    assert caplog.messages == ["2 of 3 questions skipped:\nf:2: it is empty\nquestion 3: too long"]
    with pytest.raises(QuestionError, match="no question is left"):
        admitted(asked, ["x"] * 3, "skip")


def test_many_faults_are_counted() -> None:
    asked = [Question("", f"f:{n}") for n in range(1, 31)]
    with pytest.raises(QuestionError, match=f"f:{SHOWN}: x\nand 20 more, or set"):
        admitted(asked, ["x"] * 30, "error")


NUMBERS = [
    ("Umar owns 1,000 cups.", ["1,000 (read as 1 <unk> <unk>)"]),
    ("Umar owns 9.5 cups.", ["9.5 (read as 9 . 5)"]),
    ("Umar owns -9 cups.", ["-9 (read as - 9)"]),
    ("Umar owns 1/2 cups.", ["1/2 (read as 1 / 2)"]),
    ("Umar owns 900 cups and 0.5.", ["900 (read as <unk>)", "0.5 (read as 0 . 5)"]),
    ("Umar owns 9. Then 3 - 2 more, 10-3.", []),
]


@pytest.mark.parametrize(("question", "named"), NUMBERS)
def test_numbers_that_are_split_or_unknown_are_named(question: str, named: list[str]) -> None:
    found = [n for n in notices(load_reasoner("embedded"), question) if "numbers" in n]
    assert found == ([f"the model does not understand these numbers: {', '.join(named)}"] if named else [])


def test_numbers_of_an_open_vocabulary_are_understood() -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<|end|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    tokenizer.train_from_iterator([question for question, _ in NUMBERS], trainer)
    bytewise = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<|end|>", eos_token="<|end|>")
    reasoner = load_reasoner("embedded")
    opened = CodiReasoner(reasoner.model, bytewise, reasoner.config)
    assert [notices(opened, question) for question, _ in NUMBERS] == [[]] * len(NUMBERS)


def test_unknown_words_are_named_once_and_seen(tiny_reasoner: CodiReasoner) -> None:
    assert notices(tiny_reasoner, make_problems(1)[0].question) == []
    assert notices(tiny_reasoner, "Ann has 12 zebras, and 7 zebras.") == [
        "the model does not know these words: zebras"
    ]
    assert unknown_words(tiny_reasoner, "Ann has 3 cups, 4 ;-) 12.") == [",", ";"]
    assert notices(tiny_reasoner, "[bold]Ann \u202ehas 3.") == [
        "the model does not know these words: [bold], \\u202ehas"
    ]


def test_a_question_longer_than_those_of_training_is_named(tiny_reasoner: CodiReasoner) -> None:
    assert notices(tiny_reasoner, words(5), trained=5) == []
    assert notices(tiny_reasoner, words(6), trained=5) == [
        "the question has 6 tokens, the longest that the model was trained on 5"
    ]


def test_the_length_of_training_is_kept_beside_the_weights(tmp_path: Path) -> None:
    assert trained_length(tmp_path) is None
    write_record(tmp_path, 31)
    assert trained_length(tmp_path) == 31
    assert trained_length(ASSETS / "reasoner") == 57  # of the 150,000 problems of recipes/tiny.yaml


def test_notices_of_many_questions(tiny_reasoner: CodiReasoner) -> None:
    asked = [Question("zebras", "f:1"), Question("Ann has 3", "f:2"), Question(words(4), "f:3")]
    assert all_notices(tiny_reasoner, asked, 3) == [
        "f:1: the model does not know these words: zebras",
        "f:3: the question has 4 tokens, the longest that the model was trained on 3",
    ]
    assert len(all_notices(tiny_reasoner, asked[:1] * 30, None)) == SHOWN + 1
    decimal = Question("Ann has 9.5.", "f:4")
    assert not_understood(tiny_reasoner, asked[1:]) == ""
    assert not_understood(tiny_reasoner, [*asked[1:], decimal]) == (
        "1 of 3 questions hold words or numbers unknown to the model (f:4: the model does not understand "
        "these numbers: 9.5 (read as 9 . 5))"
    )
