from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.distill import mixed_precision
from tests.tiny import make_tiny_reasoner


def test_it_equals_sdpa_with_and_without_padding() -> None:
    lm = make_tiny_reasoner().lm
    ids = torch.randint(3, 100, (3, 9), generator=torch.Generator().manual_seed(0))
    padded = torch.ones_like(ids)
    padded[0, :4] = 0
    for mask in (torch.ones_like(ids), padded):
        with torch.no_grad():
            lm.set_attn_implementation("sdpa")
            expected = lm(input_ids=ids, attention_mask=mask).logits
            mixed_precision.register()
            lm.set_attn_implementation(mixed_precision.FLOAT32_SDPA)
            found = lm(input_ids=ids, attention_mask=mask).logits
        # Padded positions attend to nothing that counts.
        assert torch.allclose(found[mask.bool()], expected[mask.bool()], atol=1e-5)


def test_without_padding_the_future_is_hidden() -> None:
    lm = make_tiny_reasoner().lm
    mixed_precision.register()
    lm.set_attn_implementation(mixed_precision.FLOAT32_SDPA)
    ids = torch.randint(3, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, -1] = 7
    with torch.no_grad():
        first, second = lm(input_ids=ids).logits, lm(input_ids=changed).logits
    assert torch.allclose(first[:, :-1], second[:, :-1], atol=1e-6)


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_and_its_attention_go_together(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    lm = make_tiny_reasoner().lm
    monkeypatch.setattr(mixed_precision, "has_fast_bfloat16", lambda on_cpu: fast)
    with mixed_precision.training_precision(lm, on_cpu=True) as arguments:
        assert arguments == {"bf16": fast, "use_cpu": True, "dataloader_pin_memory": False}
        assert (lm.config._attn_implementation == mixed_precision.FLOAT32_SDPA) == fast
    assert lm.config._attn_implementation == "sdpa"


def test_instructions_of_the_processor_decide() -> None:
    """torch's private names that we use are there, and say what the system says."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("is about x86 processors")
    with open("/proc/cpuinfo") as cpuinfo:
        flags = cpuinfo.read().split()
    assert mixed_precision.has_fast_bfloat16(on_cpu=True) == ("avx512_bf16" in flags or "amx_tile" in flags)
