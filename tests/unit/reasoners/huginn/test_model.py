from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.reasoners.codi import CheckpointError
from reverse_codi.reasoners.huginn.config import HuginnConfig
from reverse_codi.reasoners.huginn.initial import InitialStates
from reverse_codi.reasoners.huginn.model import HuginnModel
from tests.huginn import looped, make_tiny_huginn
from tests.tiny import make_problems

HERE = Path("config.json")

# The public config.json of huginn-0125, as it is described in public.
PUBLISHED = {
    "model_type": "huginn_raven",
    "architecture_class_name": "RecurrentGPT",
    "block_class_name": "SandwichBlock",
    "norm_class_name": "RMSNorm_llama",
    "mlp_class_name": "GatedMLP",
    "nonlin_name": "SiLU",
    "injection_type": "linear",
    "state_init": "like-init",
    "n_embd": 5280,
    "n_heads": 55,
    "num_key_value_heads": 55,
    "intermediate_size": 17920,
    "vocab_size": 65536,
    "padded_vocab_size": 65536,
    "n_layers": 8,
    "n_layers_in_prelude": 2,
    "n_layers_in_recurrent_block": 4,
    "n_layers_in_coda": 2,
    "mean_recurrence": 32,
    "norm_eps": 1e-06,
    "qk_bias": True,
    "bias": False,
    "tie_embeddings": True,
    "rope_base": 50000,
    "block_size": 4096,
    "test_time_noise": 0,
    "init_values": {"std": 0.008703882797784892, "embed_scale": 72.6636084983398},
    "bos_token_id": 65504,
    "eos_token_id": [65505, 65508],
    "pad_token_id": 65509,
}


def test_the_public_configuration_is_the_default() -> None:
    config = HuginnConfig.of(PUBLISHED, HERE)
    exact = {k: v for k, v in vars(config).items() if k not in ("state_std", "embed_scale")}
    assert exact == {k: v for k, v in vars(HuginnConfig()).items() if k in exact}
    assert config.state_std == pytest.approx(HuginnConfig().state_std, rel=1e-12)
    assert config.embed_scale == pytest.approx(HuginnConfig().embed_scale, rel=1e-12)
    assert HuginnConfig.of(config.values(), HERE) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"injection_type": "add"}, "injection_type is 'add'; only 'linear' is built here"),
        ({"test_time_noise": 0.1}, "test_time_noise is 0.1"),
        ({"num_key_value_heads": 11}, "num_key_value_heads is 11; only 55"),
        ({"n_heads": 50, "num_key_value_heads": 50}, "n_embd 5280 is no even multiple of n_heads 50"),
    ],
)
def test_another_architecture_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        HuginnConfig.of(PUBLISHED | change, HERE)


def test_a_missing_key_is_named() -> None:
    rest = {key: value for key, value in PUBLISHED.items() if key not in ("n_embd", "vocab_size")}
    with pytest.raises(CheckpointError, match=r"config\.json: n_embd, vocab_size missing"):
        HuginnConfig.of(rest, HERE)


def test_names_shapes_and_count_at_true_size() -> None:
    with torch.device("meta"):
        model = HuginnModel(HuginnConfig())
    block = {
        "norm_1.weight": (5280,),
        "attn.qk_bias": (2, 1, 55, 96),
        "attn.Wqkv.weight": (15840, 5280),
        "attn.proj.weight": (5280, 5280),
        "norm_2.weight": (5280,),
        "norm_3.weight": (5280,),
        "mlp.fc.weight": (35840, 5280),
        "mlp.proj.weight": (5280, 17920),
        "norm_4.weight": (5280,),
    }
    blocks = [
        ("prelude", 0),
        ("prelude", 1),
        *(("core_block", i) for i in range(4)),
        ("coda", 0),
        ("coda", 1),
    ]
    expected = {f"transformer.{p}.{i}.{name}": shape for p, i in blocks for name, shape in block.items()}
    expected |= {
        "transformer.wte.weight": (65536, 5280),
        "transformer.adapter.weight": (5280, 10560),
        "transformer.ln_f.weight": (5280,),
    }
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == expected
    # Public training records of this model: 75 gradient tensors of 3,564,976,800 elements.
    assert len(expected) == 75
    parameters = sum(weight.numel() for weight in model.parameters())
    assert parameters == 3_564_976_800
    # Public size of the checkpoint's files, which repeat the head and hold the rotary table.
    assert parameters + 65536 * 5280 + 4096 * 48 * 2 == 3_911_400_096


def test_states_and_logits_equal_straight_loops() -> None:
    reasoner = make_tiny_huginn()
    texts = [make_problems(1)[0].question, "3 * 4 = 12."]
    for text, states in zip(texts, reasoner.read(texts, 3, seed=7), strict=True):
        ids = reasoner.ids(text)
        initial = InitialStates(reasoner.config, 7).draw(len(ids))
        expected, logits = looped(reasoner.model.state_dict(), reasoner.config, ids, initial, 3)
        assert states.shape == (4, len(ids), 40)
        assert torch.allclose(states.double(), torch.stack(expected), atol=1e-4)
        assert torch.allclose(reasoner.lens(states)[-1].double(), logits, atol=1e-4)
        # The loops notice what they should: an iteration moves states far more than the tolerance.
        assert (states[1:] - states[:-1]).abs().amax((1, 2)).min() > 0.1


def test_an_untied_head_and_an_adapter_bias_are_used() -> None:
    reasoner = make_tiny_huginn(tie_embeddings=False, bias=True)
    assert {"lm_head.weight", "transformer.adapter.bias"} <= reasoner.model.state_dict().keys()
    [states] = reasoner.read(["3 * 4 = 12."], 2)
    before = reasoner.lens(states)
    reasoner.model.lm_head.weight.mul_(2)
    assert torch.allclose(reasoner.lens(states), 2 * before, atol=1e-5)
    reasoner.model.transformer.adapter.bias.add_(1)
    assert not torch.allclose(reasoner.read(["3 * 4 = 12."], 2)[0][1], states[1], atol=1e-3)


def test_initial_states_are_a_scaled_truncated_normal() -> None:
    config = HuginnConfig(n_embd=1000, n_heads=5)
    draws = InitialStates(config, 3).draw(200) / (config.state_std * config.embed_scale)
    assert draws.abs().max() <= 3 + 1e-5
    assert draws.abs().max() > 2.9
    assert float(draws.mean()) == pytest.approx(0, abs=0.01)
    # Standard deviation of a normal cut off at 3: sqrt(1 - 6 phi(3) / (2 Phi(3) - 1)).
    assert float(draws.std()) == pytest.approx(0.9866, abs=0.005)


def test_initial_states_depend_on_seed_and_place_alone() -> None:
    config = HuginnConfig(n_embd=40, n_heads=5)
    whole = InitialStates(config, 1).draw(5)
    piecewise = InitialStates(config, 1)
    assert torch.equal(torch.cat([piecewise.draw(2), piecewise.draw(0), piecewise.draw(3)]), whole)
    assert not torch.equal(InitialStates(config, 2).draw(5), whole)
    assert not torch.equal(whole[0], whole[1])
