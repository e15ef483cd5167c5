from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.own_states import own_states

LENGTHS = [2, 5, 3]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_text_has_the_states_of_its_own_tokens(last: bool, dtype: torch.dtype) -> None:
    layers = [torch.randn(3, 9, 4, dtype=dtype) for _ in range(2)]
    found = own_states(layers, LENGTHS, last=last)
    for row, (states, n) in enumerate(zip(found, LENGTHS, strict=True)):
        wanted = torch.stack([layer[row, 9 - n :] if last else layer[row, :n] for layer in layers])
        assert states.dtype == torch.float32
        assert torch.equal(states, wanted.float())


@pytest.mark.parametrize("last", [True, False])
def test_on_another_device_they_are_views_of_no_more_than_the_longest(last: bool) -> None:
    layers = [torch.empty(3, 9, 4, device="meta") for _ in range(2)]
    found = own_states(layers, LENGTHS, last=last)
    assert [tuple(states.shape) for states in found] == [(2, n, 4) for n in LENGTHS]
    assert {states.untyped_storage().nbytes() for states in found} == {3 * 2 * 5 * 4 * 4}
