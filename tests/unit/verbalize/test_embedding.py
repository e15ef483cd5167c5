from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from reverse_codi.verbalize.embedding import LatentEmbedding

V, D = 20, 32


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=V,
        hidden_size=D,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def bank() -> torch.Tensor:
    return torch.randn(3, D, generator=torch.Generator().manual_seed(1))


def with_lora(model: LlamaForCausalLM) -> PeftModel:
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return model


def test_looks_up_tokens_and_vectors(model: LlamaForCausalLM, bank: torch.Tensor) -> None:
    table = model.get_input_embeddings().weight.detach().clone()
    latent = LatentEmbedding.install(model)
    with latent.bank(bank):
        ids = torch.tensor([[1, V + 2, 3], [V, V - 1, 0]])
        embedded = latent(ids)
    expected = torch.stack(
        [torch.stack([table[1], bank[2], table[3]]), torch.stack([bank[0], table[V - 1], table[0]])]
    )
    assert torch.equal(embedded, expected)


def test_ids_alone_give_what_embeddings_give(model: LlamaForCausalLM, bank: torch.Tensor) -> None:
    ids = torch.tensor([[4, V + 1, 7]])
    embeds = torch.stack(
        [*model.get_input_embeddings()(torch.tensor([4])), bank[1], model.model.embed_tokens.weight[7]]
    )
    expected = model(inputs_embeds=embeds[None]).logits
    with LatentEmbedding.install(model).bank(bank):
        assert torch.equal(model(input_ids=ids).logits, expected)


@pytest.mark.parametrize(("bad", "row"), [(V + 3, "3"), (V + 50, "50")])
def test_beyond_the_bank(model: LlamaForCausalLM, bank: torch.Tensor, bad: int, row: str) -> None:
    latent = LatentEmbedding.install(model)
    with (
        latent.bank(bank),
        pytest.raises(IndexError, match=rf"bank row {row} does not exist in a bank of 3 rows"),
    ):
        latent(torch.tensor([1, bad]))


def test_negative_ids_are_refused(model: LlamaForCausalLM, bank: torch.Tensor) -> None:
    latent = LatentEmbedding.install(model)
    with latent.bank(bank), pytest.raises(IndexError):
        latent(torch.tensor([-1, V]))


@pytest.mark.parametrize("shape", [(3, D + 1), (D,), (1, 3, D)])
def test_bank_of_another_shape(model: LlamaForCausalLM, shape: tuple[int, ...]) -> None:
    latent = LatentEmbedding.install(model)
    with pytest.raises(ValueError, match=rf"needs \[N, {D}\]"), latent.bank(torch.zeros(shape)):
        pass


def test_bank_with_nan_names_its_row(model: LlamaForCausalLM, bank: torch.Tensor) -> None:
    bank[1, 5] = float("nan")
    latent = LatentEmbedding.install(model)
    with pytest.raises(ValueError, match="bank row 1"), latent.bank(bank):
        pass


def test_a_bank_within_a_bank_gives_way_to_the_former_one(
    model: LlamaForCausalLM, bank: torch.Tensor
) -> None:
    latent, other = LatentEmbedding.install(model), torch.randn(5, D)
    assert latent.vectors.shape == (0, D)
    with latent.bank(bank):
        with latent.bank(other):
            assert torch.equal(latent(torch.tensor([V + 4])), other[4:])
        assert torch.equal(latent(torch.tensor([V])), bank[:1])
        with pytest.raises(IndexError, match=r"bank row 4 .* 3 rows; use it within `with embedding\.bank"):
            latent(torch.tensor([V + 4]))
    assert latent.vectors.shape == (0, D)


def test_an_exception_puts_the_former_bank_back_and_a_refused_bank_leaves_it(
    model: LlamaForCausalLM, bank: torch.Tensor
) -> None:
    latent = LatentEmbedding.install(model)
    with latent.bank(bank):
        with pytest.raises(RuntimeError, match="in the block"), latent.bank(torch.zeros(1, D)):
            raise RuntimeError("in the block")
        assert torch.equal(latent.vectors, bank)
        with pytest.raises(ValueError, match="needs"), latent.bank(torch.zeros(1, D + 1)):
            pass
        assert torch.equal(latent.vectors, bank)
    with pytest.raises(RuntimeError), latent.bank(bank):
        raise RuntimeError
    assert len(latent.vectors) == 0


def test_installing_twice_changes_nothing(model: LlamaForCausalLM) -> None:
    first = LatentEmbedding.install(model)
    assert LatentEmbedding.install(model) is first
    assert LatentEmbedding.install(with_lora(model)) is first


def test_the_head_stays_tied_and_keys_stay(model: LlamaForCausalLM, bank: torch.Tensor) -> None:
    keys = set(model.state_dict())
    with LatentEmbedding.install(model).bank(bank):
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        model.tie_weights()
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert set(model.state_dict()) == keys  # the bank is not among them


def test_a_whole_model_saves_and_loads_as_before(
    model: LlamaForCausalLM, bank: torch.Tensor, tmp_path: Path
) -> None:
    with LatentEmbedding.install(model).bank(bank):
        model.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(again(ids).logits, model(ids).logits)


def test_adapters_save_without_embedding_or_bank(
    model: LlamaForCausalLM, bank: torch.Tensor, tmp_path: Path
) -> None:
    plain = copy.deepcopy(model)
    latent = LatentEmbedding.install(model)
    policy = with_lora(model)
    with latent.bank(bank):
        policy.save_pretrained(str(tmp_path))
    assert all("lora_" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    ids = torch.tensor([[1, 2, 3]])
    loaded = PeftModel.from_pretrained(plain, str(tmp_path)).eval()
    assert torch.equal(loaded(ids).logits, policy.eval()(ids).logits)


def test_the_reference_pass_sees_the_vectors(model: LlamaForCausalLM, bank: torch.Tensor) -> None:
    ids = torch.tensor([[V + 2, 5]])
    with LatentEmbedding.install(model).bank(bank):
        base = model(ids).logits
        policy = with_lora(model).eval()
        assert not torch.allclose(policy(ids).logits, base)
        with policy.disable_adapter():
            assert torch.equal(policy(ids).logits, base)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_with_checkpointing(model: LlamaForCausalLM, bank: torch.Tensor, reentrant: bool) -> None:
    ids = torch.tensor([[V, 3, V + 2, 4]])
    latent = LatentEmbedding.install(model)
    policy = with_lora(model).train()

    def gradients() -> dict[str, torch.Tensor]:
        policy.zero_grad()
        with latent.bank(bank):
            policy(ids, labels=ids.clamp(max=V - 1)).loss.backward()
        return {name: w.grad.clone() for name, w in policy.named_parameters() if w.grad is not None}

    plain = gradients()
    policy.enable_input_require_grads()
    policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    checkpointed = gradients()
    assert plain.keys() == checkpointed.keys() and all("lora_" in name for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient)


def test_the_bank_follows_the_model(model: LlamaForCausalLM, bank: torch.Tensor) -> None:
    latent = LatentEmbedding.install(model)
    with latent.bank(bank):
        model.to(torch.bfloat16)
        assert latent(torch.tensor([V, 1])).dtype == torch.bfloat16


def test_what_cannot_be_replaced(model: LlamaForCausalLM) -> None:
    class Scaled(torch.nn.Embedding):
        pass

    hooked = copy.deepcopy(model)
    hooked.enable_input_require_grads()
    with pytest.raises(ValueError, match="hooks"):
        LatentEmbedding.install(hooked)
    model.set_input_embeddings(Scaled(V, D))
    with pytest.raises(TypeError, match="Scaled"):
        LatentEmbedding.install(model)
