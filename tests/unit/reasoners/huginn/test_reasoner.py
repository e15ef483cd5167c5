from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.codi import CheckpointError
from reverse_codi.reasoners.huginn.config import HuginnConfig
from reverse_codi.reasoners.huginn.model import HuginnModel
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from reverse_codi.reasoners.sites import Site
from tests.huginn import BOS, make_tiny_huginn, numbers_only
from tests.tiny import make_problems

TEXTS = ["12 + 5 = 17.", *(p.question for p in make_problems(4)), "", "3 * 4 = 12. 12 - 5 = 7."]


@pytest.fixture(scope="module")
def reasoner() -> HuginnReasoner:
    return make_tiny_huginn(batch_size=3)


def test_reading_does_not_depend_on_batch_composition(reasoner: HuginnReasoner) -> None:
    together = reasoner.read(TEXTS)
    for text, states in zip(TEXTS, together, strict=True):
        assert states.shape == (5, len(reasoner.ids(text)), 40)
        assert torch.allclose(states, reasoner.read([text])[0], atol=1e-5)


def test_a_token_does_not_see_what_comes_after_it(reasoner: HuginnReasoner) -> None:
    short, long = reasoner.read(["12 + 5 =", "12 + 5 = 17."])
    assert torch.allclose(long[:, : short.shape[1]], short, atol=1e-5)


def test_a_seed_gives_the_same_states_and_another_seed_others(reasoner: HuginnReasoner) -> None:
    before = torch.random.get_rng_state()
    [first], [again], [other] = (reasoner.read(TEXTS[:1], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_is_frozen_and_in_evaluation_mode() -> None:
    model = HuginnModel(make_tiny_huginn().config)
    reasoner = HuginnReasoner(model.train(), make_tiny_huginn().tokenizer)
    assert not any(module.training for module in reasoner.model.modules())
    assert not any(weight.requires_grad for weight in reasoner.model.parameters())


def test_t0_is_the_begin_of_text_token(reasoner: HuginnReasoner) -> None:
    assert reasoner.tokens("12 + 5") == [BOS, "12", "+", "5"]
    assert reasoner.read([""])[0].shape == (5, 1, 40)


def test_fewer_iterations_are_the_beginning_of_more(reasoner: HuginnReasoner) -> None:
    [few], [many] = reasoner.read(TEXTS[:1], 2), reasoner.read(TEXTS[:1], 6)
    assert torch.equal(many[:3], few)
    assert reasoner.read(TEXTS[:1], 0)[0].shape[0] == 1


def test_the_lens_reads_each_iteration_as_if_it_were_the_last(reasoner: HuginnReasoner) -> None:
    [states] = reasoner.read(TEXTS[:1], 4)
    lens = reasoner.lens(states)
    assert lens.shape == (5, states.shape[1], reasoner.config.vocab_size)
    for n in (0, 2):
        assert torch.allclose(lens[n], reasoner.lens(reasoner.read(TEXTS[:1], n)[0][-1]), atol=1e-5)
    top = reasoner.top_tokens(states, 2)
    assert [len(top), len(top[0]), len(top[0][0])] == [5, states.shape[1], 2]
    assert top[3][1][0] == reasoner.decode([int(lens[3, 1].argmax())])


def test_states_as_the_coda_sees_them(reasoner: HuginnReasoner) -> None:
    [states] = reasoner.read(TEXTS[:1], 1)
    weight = reasoner.model.transformer.ln_f.weight
    expected = states / (states.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight
    assert torch.allclose(reasoner.normed(states), expected, atol=1e-6)


def written_without_cache(reasoner: HuginnReasoner, text: str, n: int, seed: int, new: int) -> list[int]:
    """Greedy tokens, each after reading everything again."""
    words: list[int] = []
    for _ in range(new):
        so_far = f"{text} {reasoner.tokenizer.decode(words)}"
        assert reasoner.ids(so_far) == [*reasoner.ids(text), *words]
        token = int(reasoner.lens(reasoner.read([so_far], n, seed)[0][-1])[-1].argmax())
        if token in reasoner.config.eos_token_ids:
            break
        words.append(token)
    return words


def test_answers_equal_reading_everything_again_for_each_token() -> None:
    reasoner = numbers_only(make_tiny_huginn(batch_size=3))
    together = reasoner.answer(TEXTS, 3, seed=5, max_new_tokens=4)
    for text, answer in zip(TEXTS, together, strict=True):
        expected = written_without_cache(reasoner, text, 3, 5, 4)
        assert answer == reasoner.tokenizer.decode(expected)
        assert reasoner.answer([text], 3, seed=5, max_new_tokens=4) == [answer]
    assert len(set(together)) > 1


def test_the_end_of_text_token_ends_an_answer() -> None:
    reasoner = numbers_only(make_tiny_huginn())
    words = reasoner.answer(TEXTS[:1], 2, max_new_tokens=4)[0].split()
    assert len(words) == 4
    third = reasoner.tokenizer.convert_tokens_to_ids(words[2])
    reasoner.config = HuginnConfig(**vars(reasoner.config) | {"eos_token_ids": (0, third)})
    stopped = reasoner.answer(TEXTS[:1], 2, max_new_tokens=4)[0].split()
    assert stopped == words[: words.index(words[2])]


def test_own_states_put_back_change_nothing(reasoner: HuginnReasoner) -> None:
    [states] = reasoner.read(TEXTS[:1])
    own = {Site("t", t, iteration=i): states[i, t] for t in range(states.shape[1]) for i in range(5)}
    assert torch.allclose(reasoner.read(TEXTS[:1], replaced=[own])[0], states, atol=1e-5)
    plain = reasoner.answer(TEXTS[:1], max_new_tokens=4)
    assert reasoner.answer(TEXTS[:1], max_new_tokens=4, replaced=[own]) == plain


def test_a_replaced_state_changes_later_iterations_of_this_and_later_tokens(reasoner: HuginnReasoner) -> None:
    texts = [TEXTS[0], TEXTS[-1]]
    plain, other = reasoner.read(texts)
    changed, untouched = reasoner.read(texts, replaced=[{Site.parse("t2:2"): torch.ones(40)}, {}])
    assert torch.equal(changed[2, 2], torch.ones(40))
    assert torch.allclose(untouched, other, atol=1e-5)
    differs = (changed - plain).abs().amax(-1) > 1e-4  # [iteration, token]
    expected = torch.zeros_like(differs)
    expected[2, 2] = True
    expected[3:, 2:] = True
    assert torch.equal(differs, expected)


def test_an_answer_follows_replaced_states() -> None:
    reasoner = numbers_only(make_tiny_huginn())
    donors = reasoner.read([f"{n} * 4" for n in range(2, 10)], 4)
    swaps = [{Site("t", t, iteration=4): states[4, t] for t in range(4)} for states in donors]
    answers = reasoner.answer(["12 + 5"] * 8, 4, max_new_tokens=1, replaced=swaps)
    assert answers == [reasoner.decode([int(reasoner.lens(s[4])[-1].argmax())]) for s in donors]
    assert len(set(answers)) > 1


@pytest.mark.parametrize("site", ["t4:1", "t1:5", "h1", "answer"])
def test_a_site_that_is_not_there_cannot_be_replaced(reasoner: HuginnReasoner, site: str) -> None:
    with pytest.raises(ValueError, match=f"{site} cannot be replaced; .* t0:0 to t3:4"):
        reasoner.read(["12 + 5"], 4, replaced=[{Site.parse(site): torch.zeros(40)}])


def test_half_precision_is_near(reasoner: HuginnReasoner) -> None:
    half = HuginnReasoner(make_tiny_huginn().model.bfloat16(), reasoner.tokenizer)
    [states], [exact] = half.read(TEXTS[:1], 2), reasoner.read(TEXTS[:1], 2)
    assert states.dtype == torch.float32
    assert half.lens(states).dtype == torch.float32
    assert float((states - exact).norm() / exact.norm()) < 0.1


def test_what_cannot_be_read_is_reported(reasoner: HuginnReasoner) -> None:
    with pytest.raises(ValueError, match="65 tokens, but the model has 64 positions"):
        reasoner.read([" ".join(["12"] * 64)])
    with pytest.raises(ValueError, match="66 tokens, but the model has 64 positions"):
        reasoner.answer([" ".join(["12"] * 60)], max_new_tokens=5)
    with pytest.raises(ValueError, match="-1 iterations"):
        reasoner.read(["12"], -1)
    with pytest.raises(ValueError, match="no begin-of-text token"):
        make_tiny_huginn(bos_token_id=None).read([""])


def test_another_models_tokenizer_is_refused() -> None:
    with pytest.raises(CheckpointError, match="the embedding table 7 rows"):
        make_tiny_huginn(vocab_size=7)
