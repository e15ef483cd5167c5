from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from reverse_codi.reasoners import half_precision
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.half_precision import widen_frozen_layers

INPUTS, OUTPUTS = 24, 40
ROWS = {"one row": (1,), "few": (2, 3), "many": (5, 7)}


@pytest.fixture(autouse=True)
def without_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU like most: no instructions for bfloat16. Parts are so small that a layer has several."""
    monkeypatch.setattr(half_precision, "has_fast_bfloat16", lambda on_cpu: False)
    monkeypatch.setattr(half_precision, "_PART", 3 * INPUTS)


def layers() -> list[nn.Module]:
    torch.manual_seed(0)
    convolution = Conv1D(OUTPUTS, INPUTS)
    nn.init.normal_(convolution.weight)
    nn.init.normal_(convolution.bias)
    made = [nn.Linear(INPUTS, OUTPUTS), nn.Linear(INPUTS, OUTPUTS, bias=False), convolution]
    return [layer.to(torch.bfloat16).requires_grad_(False) for layer in made]


@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("number", range(3))
def test_a_widened_layer_computes_what_float32_would_and_its_gradient(
    number: int, shape: tuple[int, ...]
) -> None:
    layer = layers()[number]
    exact = copy.deepcopy(layer).float()
    widen_frozen_layers(layer)
    x = torch.randn(*shape, INPUTS).bfloat16().requires_grad_()
    reference = x.detach().float().requires_grad_()
    found, wanted = layer(x), exact(reference)
    assert found.dtype == torch.bfloat16 and found.shape == (*shape, OUTPUTS)
    torch.testing.assert_close(found.float(), wanted, rtol=2**-6, atol=0.05)
    weights = torch.randn(*shape, OUTPUTS)
    (found.float() * weights).sum().backward()
    (wanted * weights.bfloat16().float()).sum().backward()
    assert x.grad is not None and reference.grad is not None
    torch.testing.assert_close(x.grad.float(), reference.grad, rtol=2**-6, atol=0.05)


def test_frozen_half_precision_layers_alone_are_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    product = half_precision._product
    monkeypatch.setattr(
        half_precision, "_product", lambda x, *rest: (calls.append(len(x)), product(x, *rest))[1]
    )
    [layer, *_] = layers()
    single = copy.deepcopy(layer).float()
    widen_frozen_layers(single)
    single(torch.randn(9, INPUTS))
    assert type(single) is nn.Linear and not calls
    keys = list(layer.state_dict())
    widen_frozen_layers(layer)
    assert isinstance(layer, nn.Linear) and list(layer.state_dict()) == keys
    x = torch.randn(9, INPUTS).bfloat16()
    layer(x)
    assert calls == [9]
    layer.requires_grad_(True)
    with torch.no_grad():
        layer(x)
    assert calls == [9, 9]
    calls.clear()  # trained, so its own gradient is wanted
    layer(x).sum().backward()
    assert not calls and layer.weight.grad is not None


def test_nothing_is_widened_where_the_cpu_has_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_precision, "has_fast_bfloat16", lambda on_cpu: True)
    [layer, *_] = layers()
    widen_frozen_layers(layer)
    assert type(layer) is nn.Linear


def test_a_reasoner_in_half_precision_is_loaded_with_widened_layers(
    tmp_path: Path, tiny_folders: tuple[Path, Path]
) -> None:
    single = CodiReasoner.from_pretrained(tiny_folders[0])
    assert not any(isinstance(m, half_precision._WideLinear) for m in single.model.modules())
    single.model.bfloat16()
    single.save_pretrained(tmp_path / "half")
    half = CodiReasoner.from_pretrained(tmp_path / "half")
    assert any(isinstance(m, half_precision._WideLinear) for m in half.model.modules())
