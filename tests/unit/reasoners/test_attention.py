from __future__ import annotations

import torch

from reverse_codi.reasoners import attention
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
            attention.register()
            lm.set_attn_implementation(attention.FLOAT32_SDPA)
            found = lm(input_ids=ids, attention_mask=mask).logits
        # Padded positions attend to nothing that counts.
        assert torch.allclose(found[mask.bool()], expected[mask.bool()], atol=1e-5)


def test_without_padding_the_future_is_hidden() -> None:
    lm = make_tiny_reasoner().lm
    attention.register()
    lm.set_attn_implementation(attention.FLOAT32_SDPA)
    ids = torch.randint(3, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, -1] = 7
    with torch.no_grad():
        first, second = lm(input_ids=ids).logits, lm(input_ids=changed).logits
    assert torch.allclose(first[:, :-1], second[:, :-1], atol=1e-6)
