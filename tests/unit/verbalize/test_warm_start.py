from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from reverse_codi.processes import stopping
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.utils.finite import NotFiniteError
from reverse_codi.verbalize.fine_tuner import left
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.warm_start import SftJob, SftPairs, encode, fine_tune
from reverse_codi.verbalize.word_dropout import WordDropout
from tests.tiny import make_sharp_reasoner, make_tiny_policy

TEXTS = ["12 + 5 = 17.", "8 - 3 = 5.", "(no step)", "9 * 2 = 18. 18 / 3 = 6."]


@pytest.fixture(scope="module")
def reasoner() -> CodiReasoner:
    return make_sharp_reasoner()


def make_pairs() -> SftPairs:
    return SftPairs(torch.randn(4, 1, 32, generator=torch.Generator().manual_seed(0)), TEXTS)


def run(policy: Policy, pairs: SftPairs, out: Path, **values: object) -> list[int]:
    given = {"steps": 60, "batch_size": 4, "learning_rate": 2e-2, "eval_steps": 25, **values}
    points: list[int] = []

    def on_point(step: int) -> None:
        assert not policy.model.training
        policy.prompt_embeds(torch.zeros(1, 1, 32))  # an evaluation may use another bank
        points.append(step)

    section = WarmStartSection.model_validate(given)
    fine_tune(policy, pairs, section, out, on_point=on_point)
    return points


def loss(policy: Policy, pairs: SftPairs) -> float:
    policy.model.eval()
    with torch.no_grad(), policy.embedding.bank(pairs.vectors.flatten(0, 1)):
        losses = [
            policy.model(input_ids=torch.tensor([r["input_ids"]]), labels=torch.tensor([r["labels"]])).loss
            for r in encode(pairs, policy.verbalizer_config, policy.tokenizer)
        ]
    return float(torch.stack(losses).mean())


def test_rows_are_prompt_then_text_then_eos_and_only_the_text_is_learnt(reasoner: CodiReasoner) -> None:
    policy, pairs = make_tiny_policy(reasoner), make_pairs()
    for i, row in enumerate(encode(pairs, policy.verbalizer_config, policy.tokenizer)):
        text = [*reasoner.ids(TEXTS[i]), reasoner.tokenizer.eos_token_id]
        assert row["input_ids"] == [policy.verbalizer_config.n_vocab + i, *text]
        assert row["labels"] == [-100, *text]


def test_the_loss_falls_and_only_the_lora_learns(reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy, pairs = make_tiny_policy(reasoner, rank=16), make_pairs()
    frozen = {name: p.clone() for name, p in policy.model.named_parameters() if "lora" not in name}
    before = loss(policy, pairs)
    assert run(policy, pairs, tmp_path) == [25, 50, 60]
    assert loss(policy, pairs) < 0.5 * before
    now = dict(policy.model.named_parameters())
    assert any("embed_tokens" in name for name in frozen)
    assert all(torch.equal(now[name], value) for name, value in frozen.items())


def test_thoughts_are_reported_apart_by_their_vectors(reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy, pairs = make_tiny_policy(reasoner, rank=16), make_pairs()
    run(policy, pairs, tmp_path)
    swapped = SftPairs(pairs.vectors.roll(1, 0), TEXTS)
    assert loss(policy, swapped) > 1.5 * loss(policy, pairs)


def test_afterwards_it_computes_in_full_precision_again(reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy, pairs = make_tiny_policy(reasoner), make_pairs()
    run(policy, pairs, tmp_path / "sft", steps=2)
    policy.save(tmp_path / "saved")
    loaded = Policy.load(tmp_path / "saved", reasoner)
    ids = torch.tensor(policy.prompts([[0], [1]]))
    logits = []
    for each in (policy, loaded):
        with torch.no_grad(), each.embedding.bank(pairs.vectors[:2, 0]):
            logits.append(each.model.eval()(input_ids=ids).logits)
    torch.testing.assert_close(logits[0], logits[1])


def test_no_steps_train_nothing(reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy, pairs = make_tiny_policy(reasoner), make_pairs()
    before = loss(policy, pairs)
    assert run(policy, pairs, tmp_path, steps=0) == [0]
    assert loss(policy, pairs) == before


def test_word_dropout_changes_a_share_of_what_is_read_and_nothing_of_what_is_learnt() -> None:
    ids = torch.arange(4_000).reshape(10, 400)
    labels = torch.where(torch.arange(400) < 100, -100, ids)  # a prompt of 100 tokens, then text

    dropout = WordDropout(lambda _: {"input_ids": ids.clone(), "labels": labels.clone()}, 0.3, seed=0)
    one, two = dropout([]), dropout([])

    assert one["labels"].equal(labels)
    assert one["input_ids"][:, :100].equal(ids[:, :100])
    changed = one["input_ids"] != ids
    assert float(changed[:, 100:].float().mean()) == pytest.approx(0.3, abs=0.03)
    assert set(one["input_ids"][changed].tolist()) <= set(ids[:, 100:].flatten().tolist())
    assert not one["input_ids"].equal(two["input_ids"])


def test_half_of_the_words_dropped_still_teaches(reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy, pairs = make_tiny_policy(reasoner), make_pairs()
    before = loss(policy, pairs)
    run(policy, pairs, tmp_path, word_dropout=0.5)
    assert loss(policy, pairs) < 0.7 * before


def test_words_are_dropped_once(
    reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model reads in training is what one `WordDropout` makes of the rows, batch for batch."""
    policy, pairs = make_tiny_policy(reasoner), make_pairs()
    read: list[dict[str, torch.Tensor]] = []
    step = Trainer.training_step

    def recorded(self: Trainer, model: Any, inputs: dict[str, Any], *rest: Any) -> torch.Tensor:
        read.append({name: inputs[name].clone() for name in ("input_ids", "labels")})
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(Trainer, "training_step", recorded)
    run(policy, pairs, tmp_path, word_dropout=0.5, steps=8, seed=3)

    batches = iter(read)

    def undropped(_: Any) -> dict[str, torch.Tensor]:
        batch = next(batches)
        text = batch["labels"] >= 0
        return {**batch, "input_ids": torch.where(text, batch["labels"], batch["input_ids"])}

    once = WordDropout(undropped, 0.5, seed=3)
    assert len(read) == 8
    for batch in read:
        assert torch.equal(once([])["input_ids"], batch["input_ids"])


def test_a_warm_start_that_diverges_stops_at_its_step(reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy = make_tiny_policy(reasoner)
    with pytest.raises(NotFiniteError, match=r"step \d.*Lower warm_start\.learning_rate \(now 1e\+30\)"):
        run(policy, make_pairs(), tmp_path, learning_rate=1e30, steps=10)


@pytest.mark.parametrize("at", [5, 8])
def test_a_stopped_fine_tuning_goes_on_and_ends_where_an_uninterrupted_one_does(
    reasoner: CodiReasoner, tmp_path: Path, at: int
) -> None:
    pairs, job = make_pairs(), SftJob(resumable=True)
    section = WarmStartSection(steps=8, batch_size=3, learning_rate=2e-2, eval_steps=1, word_dropout=0.5)

    def tuned(out: Path, stop_at: int | None = None) -> tuple[Policy, list[int]]:
        policy, points = make_tiny_policy(reasoner), list[int]()

        def on_point(step: int) -> None:
            points.append(step)
            if step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        with stopping.listening():
            fine_tune(policy, pairs, section, out, job, on_point=on_point)
        return policy, points

    whole, _ = tuned(tmp_path / "whole")
    with pytest.raises(stopping.StopAsked):
        tuned(tmp_path / "cut", stop_at=at - 1)
    assert left(tmp_path / "cut") == str(tmp_path / f"cut/checkpoint-{at}")
    resumed, points = tuned(tmp_path / "cut")
    assert points == list(range(at + 1, 9))
    found = dict(resumed.model.named_parameters())
    for name, weight in whole.model.named_parameters():
        assert weight.equal(found[name]), name
