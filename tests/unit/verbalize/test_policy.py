from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.hashing import weights_hash
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.verbalize.config import VerbalizerConfigError
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.warm_start import SftPairs, fine_tune
from tests.tiny import make_tiny_policy, make_tiny_reasoner, stir


def logits(policy: Policy, vectors: torch.Tensor) -> torch.Tensor:
    prompts = torch.tensor(policy.prompts([[i] for i in range(len(vectors))]))
    with torch.no_grad(), policy.embedding.bank(vectors):
        return policy.model.eval()(input_ids=prompts).logits


def test_saved_and_loaded_it_says_the_same(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy, vectors = make_tiny_policy(tiny_reasoner), torch.randn(5, 32)
    stir(policy)
    policy.save(tmp_path)
    loaded = Policy.load(tmp_path, tiny_reasoner)
    assert loaded.verbalizer_config == policy.verbalizer_config
    torch.testing.assert_close(logits(loaded, vectors), logits(policy, vectors))
    assert not torch.allclose(logits(make_tiny_policy(tiny_reasoner), vectors), logits(policy, vectors))
    assert not any(p.requires_grad for p in loaded.model.parameters())
    trainable = Policy.load(tmp_path, tiny_reasoner, trainable=True).model
    assert {name.split(".")[-3] for name, p in trainable.named_parameters() if p.requires_grad} == {
        "lora_A",
        "lora_B",
    }


def test_training_the_lora_leaves_the_reasoner_as_it_is() -> None:
    reasoner = make_tiny_reasoner()
    reasoner.model.requires_grad_(True)
    policy = make_tiny_policy(reasoner)
    stir(policy)
    optimizer = torch.optim.AdamW([p for p in policy.model.parameters() if p.requires_grad], lr=0.1)
    frozen = {name: p.clone() for name, p in policy.model.named_parameters() if not p.requires_grad}
    ids = torch.tensor([[*prompt, 5, 6] for prompt in policy.prompts([[0], [1], [2], [3]])])
    labels = ids.masked_fill(ids >= policy.verbalizer_config.n_vocab, -100)
    with policy.embedding.bank(torch.randn(4, 32)):
        policy.model(input_ids=ids, labels=labels).loss.backward()
    optimizer.step()
    assert weights_hash(reasoner.model.state_dict(), reasoner.config.recorded()) == reasoner.content_hash
    now = dict(policy.model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())


def test_reasoner_and_policy_hold_the_weights_once(tmp_path: Path) -> None:
    reasoner = make_tiny_reasoner()
    new = make_tiny_policy(reasoner)
    new.save(tmp_path)
    own = {weight.data_ptr() for weight in reasoner.lm.parameters()}
    for policy in (new, Policy.load(tmp_path, reasoner, trainable=True)):
        named = policy.model.named_parameters()
        assert {weight.data_ptr() for name, weight in named if "lora_" not in name} == own
    assert not any("lora" in name for name, _ in reasoner.lm.named_modules())


def test_fine_tuning_leaves_what_the_reasoner_reads(tmp_path: Path) -> None:
    """Through the trainer, which wraps the policy, and in bfloat16 where the machine has it."""
    reasoner = make_tiny_reasoner()
    texts = ["12 + 5 = 17.", "17 - 3 = 14."]
    read = reasoner.read(texts)
    policy = make_tiny_policy(reasoner)
    untrained = {name: w.clone() for name, w in policy.model.named_parameters() if "lora_" in name}
    section = WarmStartSection(steps=3, batch_size=2, learning_rate=0.1)
    fine_tune(policy, SftPairs(torch.randn(2, 1, reasoner.width), texts), section, tmp_path)
    trained = dict(policy.model.named_parameters())
    assert not all(torch.equal(trained[name], weight) for name, weight in untrained.items())
    assert all(torch.equal(a, b) for a, b in zip(read, reasoner.read(texts), strict=True))
    assert weights_hash(reasoner.model.state_dict(), reasoner.config.recorded()) == reasoner.content_hash
    assert {w.data_ptr() for w in reasoner.lm.parameters()} <= {w.data_ptr() for w in trained.values()}


def test_another_reasoners_verbalizer_is_refused_with_both_hashes(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    make_tiny_policy(tiny_reasoner).save(tmp_path)
    other = make_tiny_reasoner(seed=1)
    with pytest.raises(VerbalizerConfigError) as caught:
        Policy.load(tmp_path, other)
    assert tiny_reasoner.content_hash in str(caught.value)
    assert other.content_hash in str(caught.value)


def test_prompt_embeds_are_the_vectors_themselves(tiny_reasoner: CodiReasoner) -> None:
    policy, vectors = make_tiny_policy(tiny_reasoner), torch.randn(3, 1, 32)
    embeds = policy.prompt_embeds(vectors)
    assert [tuple(e.shape) for e in embeds] == [(1, 32)] * 3
    assert torch.equal(torch.stack(embeds), vectors)
    assert len(policy.embedding.vectors) == 0  # none is left behind
    with policy.embedding.bank(torch.ones(2, 32)):
        policy.prompt_embeds(vectors)
        assert torch.equal(policy.embedding.vectors, torch.ones(2, 32))


def test_an_adapter_of_nan_is_refused(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy = make_tiny_policy(tiny_reasoner)
    with torch.no_grad():
        next(w for name, w in policy.model.named_parameters() if "q_proj.lora_B" in name)[0, 0] = torch.nan
    # What it says does not show it: see StopAtNonFinite.
    assert bool(logits(policy, torch.randn(2, 32)).isfinite().all())
    policy.save(tmp_path)
    with pytest.raises(
        VerbalizerConfigError, match=r"q_proj\.lora_B.* holds values that are not finite; train it anew"
    ):
        Policy.load(tmp_path, tiny_reasoner)
