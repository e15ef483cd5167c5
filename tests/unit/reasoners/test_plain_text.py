"""Text that looks like a control token is text, with every kind of tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.data import ProblemRows
from reverse_codi.reasoners.hashing import tokenizer_hash
from reverse_codi.reasoners.plain_text import Filled, decoded, decoded_answer, keep_plain
from reverse_codi.tasks.base import Problem
from reverse_codi.tasks.words import word_tokenizer
from reverse_codi.verbalize.config import VerbalizerConfig
from reverse_codi.verbalize.warm_start import examples
from tests.tiny import make_tiny_reasoner
from tests.tokenizers import (
    BEGIN,
    BOT,
    END,
    LATENT,
    byte_level,
    byte_level_reasoner,
    gpt2,
    llama2,
    llama3,
    smollm2,
)

TYPED = [f"a {END} b", END, f"12{BOT}3", f"{LATENT} 12", f"{BEGIN}Ann has 12", "<think>12"]


def control(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    return set(tokenizer.convert_tokens_to_ids([END, BEGIN, BOT, LATENT, "<think>"]))


def plain(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    keep_plain(tokenizer)
    return tokenizer


@pytest.mark.parametrize("text", TYPED)
def test_bytes_of_a_control_tokens_name_come_back_as_they_were(text: str) -> None:
    before, tokenizer = byte_level(), plain(byte_level())
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert control(before) & set(before(text, add_special_tokens=False).input_ids)  # what went wrong
    assert not control(tokenizer) & set(ids)
    assert tokenizer.decode(ids) == text


def test_other_texts_ids_hash_and_begin_token_stay() -> None:
    before, after = byte_level(), plain(byte_level())
    for text in ("Ann has 12 apples.", "if 3 < 4 and 5 > 2", "", "<no token>", "a|b"):
        assert before(text).input_ids == after(text).input_ids
    assert after("apples", add_special_tokens=False).tokens() == ["apples"]
    assert tokenizer_hash(before) == tokenizer_hash(after)
    assert len(before) == len(after)


def test_it_holds_after_saving_and_loading_by_a_reasoner(tmp_path: Path) -> None:
    byte_level_reasoner().save_pretrained(tmp_path)
    raw = AutoTokenizer.from_pretrained(tmp_path)
    again = CodiReasoner.from_pretrained(tmp_path)
    assert not control(again.tokenizer) & set(again.ids(" ".join(TYPED)))
    assert tokenizer_hash(raw) == again.tokenizer_hash


def test_a_word_level_vocabulary_that_holds_the_names_does_not_find_them() -> None:
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2, "12": 3, "<": 4}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    keep_plain(tokenizer)
    less, unknown, twelve = 4, 2, 3
    ids = tokenizer("12 <eos> 12 <pad>", add_special_tokens=False).input_ids
    assert ids == [twelve, less, unknown, twelve, less, unknown]


def test_a_unigram_vocabulary_that_holds_the_name_does_not_find_it() -> None:
    pieces = [("<unk>", -1.0), ("</s>", -1.0), ("▁", -2.0), *((c, -4.0) for c in "a</s>")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    keep_plain(tokenizer)
    ids = tokenizer("a </s> a").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["▁", "a", "▁", "<", "/", "s", ">", "▁", "a"]
    assert tokenizer.decode(ids) == "a </s> a"


def test_word_level_names_become_unknown_words(tiny_reasoner: CodiReasoner) -> None:
    unknown = tiny_reasoner.tokenizer.unk_token_id
    known = tiny_reasoner.ids("Ann has 12")
    for name in ("<eos>", "<pad>", "<unk>"):
        ids = tiny_reasoner.ids(f"Ann has 12 {name}")
        assert ids[: len(known)] == known
        assert set(ids[len(known) :]) == {unknown}
        assert tiny_reasoner.offsets([name])[0][-1][1] == len(name)


@pytest.mark.parametrize("make", [make_tiny_reasoner, byte_level_reasoner])
def test_a_reasoner_thinks_reads_and_scores_characters(make: Callable[[], CodiReasoner]) -> None:
    """Next to a straight forward pass over the characters' ids; the control token's own gives others."""
    reasoner = make()
    name = reasoner.tokenizer.eos_token
    text, token = f"Ann has {name} 12", reasoner.tokenizer.eos_token_id
    first, last = reasoner.ids("Ann has "), reasoner.ids(" 12")
    ids = reasoner.ids(text)
    assert token not in ids and len(ids) > len(first) + len(last) + 1

    def states(ids: list[int]) -> torch.Tensor:
        return reasoner.lm.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0]

    [read] = reasoner.read([text])
    assert torch.allclose(read[-1], states(ids), atol=1e-5)
    assert not torch.allclose(read[-1, -1], states([*first, token, *last])[-1], atol=1e-2)
    assert torch.allclose(
        reasoner.think([text]).hidden_states[0, 0], states([*ids, reasoner.config.bot_id])[-1], atol=1e-5
    )
    assert reasoner.question_ids(text) == ids
    scores = reasoner.lm(input_ids=torch.tensor([[token, *ids]])).logits.detach()[0, :-1].log_softmax(-1)
    assert float(reasoner.nll([text])) == pytest.approx(
        float(-scores.gather(1, torch.tensor(ids)[:, None]).mean()), abs=1e-4
    )


def test_a_judge_reads_characters() -> None:
    reasoner, tokenizer = byte_level_reasoner(), byte_level()
    judge = LanguageModel(reasoner.lm, tokenizer)
    ids = tokenizer(f"a {END}", add_special_tokens=False).input_ids
    assert tokenizer.eos_token_id not in ids
    logits = reasoner.lm(input_ids=torch.tensor([[tokenizer.bos_token_id, *ids]])).logits.detach()
    scores = logits[0, :-1].log_softmax(-1)
    wanted = -scores.gather(1, torch.tensor(ids)[:, None]).mean()
    assert float(judge.nll([f"a {END}"])) == pytest.approx(float(wanted), abs=1e-4)


def test_training_rows_and_targets_hold_characters() -> None:
    reasoner = byte_level_reasoner()
    problem = Problem(f"Ann has {END} {BOT} 12", f"{LATENT} 5", (), "s")
    [row] = ProblemRows([problem], reasoner.tokenizer, reasoner.config)
    assert row.question == reasoner.ids(problem.question)
    names = control(reasoner.tokenizer)
    assert not names & set(row.question) and names & set(row.answer) == {reasoner.tokenizer.eos_token_id}
    [example] = examples([[1, 2]], [f"28 {END} 4"], reasoner.tokenizer)
    assert example["labels"] == [-100, -100, *reasoner.ids(f"28 {END} 4"), reasoner.tokenizer.eos_token_id]


# ---- templates


def test_a_templates_control_tokens_are_tokens_and_its_values_characters() -> None:
    tokenizer = plain(byte_level())
    end, bot = tokenizer.convert_tokens_to_ids([END, BOT])
    typed = f"Ann {END} 12"
    ids = Filled(f"{BOT}Q: {{question}}\n{END}A:", {"{question}": typed}).ids(tokenizer)
    assert [i for i in ids if i in control(tokenizer)] == [bot, end]
    assert tokenizer.decode(ids) == f"{BOT}Q: {typed}\n{END}A:"
    # Ordinary words give the ids that the whole text gives where control tokens are read as such.
    whole = byte_level()(f"{BOT}Q: Ann has 12\n{END}A:", add_special_tokens=False).input_ids
    assert Filled(f"{BOT}Q: {{q}}\n{END}A:", {"{q}": "Ann has 12"}).ids(tokenizer) == whole


def test_a_value_is_put_in_once() -> None:
    filled = Filled("{a} and {b}", {"{a}": "{b}", "{b}": "12"})
    assert str(filled) == "{b} and 12"


def test_a_token_that_takes_the_blanks_after_it_takes_them_in_a_template_too() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|turn|>", special=True, rstrip=True)])
    typed = Filled("<|turn|>  {q}", {"{q}": f"a{END}"})
    keep_plain(tokenizer)
    turn = tokenizer.convert_tokens_to_ids("<|turn|>")
    assert typed.ids(tokenizer) == [turn, *tokenizer(f"a{END}", add_special_tokens=False).input_ids]


def test_question_format_and_prompt_template_mean_their_control_tokens() -> None:
    reasoner = byte_level_reasoner(question_format=f"{BEGIN}{{question}}{LATENT}")
    begin, latent = reasoner.tokenizer.convert_tokens_to_ids([BEGIN, LATENT])
    assert reasoner.question_ids(f"12 {BEGIN}") == [begin, *reasoner.ids(f"12 {BEGIN}"), latent]
    verbalizer_config = VerbalizerConfig(
        template=f"{BEGIN}{{thought}}", n_vocab=400, reasoner_hash="r", tokenizer_hash="t"
    )
    assert verbalizer_config.build_prompt(reasoner.tokenizer, [3]) == [begin, 403]


# ---- sampled ids


def test_a_sampled_control_token_is_written_out_and_the_reader_gets_what_is_shown() -> None:
    reasoner = byte_level_reasoner()
    tokenizer = reasoner.tokenizer
    begin, nowhere = tokenizer.bos_token_id, len(tokenizer) + 1
    ids = [
        *reasoner.ids("28 "),
        begin,
        *reasoner.ids("- 4"),
        nowhere,
        tokenizer.eos_token_id,
        tokenizer.eos_token_id,
    ]
    text = reasoner.decode(ids)
    assert text == f"28 {BEGIN}- 4<?>"
    assert tokenizer.decode(reasoner.ids(text)) == text and begin not in reasoner.ids(text)
    assert decoded_answer(tokenizer, ids) == "28 - 4"  # as the public models' authors decode an answer


def test_word_level_samples_keep_their_blanks_and_what_is_unknown(tiny_reasoner: CodiReasoner) -> None:
    tokenizer = tiny_reasoner.tokenizer
    pad, eos, unknown = tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id
    step = tiny_reasoner.ids("(no step)")
    assert decoded(tokenizer, [*step, eos, pad, pad]) == "(no step)"
    assert decoded(tokenizer, [*tiny_reasoner.ids("12 +"), pad, unknown, tiny_reasoner.config.bot_id]) == (
        "12 + <pad> <unk> <?>"
    )
    assert decoded(tokenizer, []) == ""


def test_a_made_tokenizer_knows_no_names_either() -> None:
    tokenizer = word_tokenizer(["12"])
    keep_plain(tokenizer)
    assert set(tokenizer("<eos><pad>").input_ids) == {tokenizer.unk_token_id}


# ---- every kind of tokenizer, every name


@pytest.mark.parametrize("make", [byte_level, gpt2, smollm2, llama3, llama2])
@pytest.mark.parametrize("form", ["{}", "a {} b", "a{}b", "{}{}", " {}", "{}\n12", "12 {}."])
def test_no_name_becomes_its_token(make: Callable[[], PreTrainedTokenizerFast], form: str) -> None:
    tokenizer = plain(make())
    names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    assert names
    for name in names:
        text = form.format(*[name] * form.count("{}"))
        ids = tokenizer(text, add_special_tokens=False).input_ids
        meant = set(tokenizer.convert_tokens_to_ids(names))
        assert not meant & set(ids), (name, tokenizer.convert_ids_to_tokens(ids))
        if make in (llama2, llama3):  # one drops the blank that it begins with, the other splits at blanks
            assert "".join(tokenizer.decode(ids).split()) == "".join(text.split())
        else:
            assert tokenizer.decode(ids) == text
