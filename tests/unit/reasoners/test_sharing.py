from __future__ import annotations

import torch
from torch import nn

from reverse_codi.reasoners.hashing import weights_hash
from reverse_codi.reasoners.sharing import sharing_weights
from tests.tiny import make_tiny_reasoner


def test_the_weights_are_in_memory_once_and_ties_stay() -> None:
    lm = make_tiny_reasoner().lm
    copy = sharing_weights(lm)
    ours, theirs = dict(lm.named_parameters()), dict(copy.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(theirs[name].data_ptr() == weight.data_ptr() for name, weight in ours.items())
    assert not any(theirs[name] is weight for name, weight in ours.items())
    tied = lm.get_output_embeddings().weight is lm.get_input_embeddings().weight
    assert (copy.get_output_embeddings().weight is copy.get_input_embeddings().weight) == tied


def test_what_is_done_to_the_copy_does_not_reach_the_first() -> None:
    reasoner = make_tiny_reasoner()
    before = weights_hash(reasoner.lm.state_dict(), {})
    asked = torch.tensor([[1, 2, 3]])
    said = reasoner.lm(input_ids=asked).logits
    copy = sharing_weights(reasoner.lm)
    copy.requires_grad_(True)
    copy.set_attn_implementation("eager")
    copy.register_forward_hook(lambda *_: 1 / 0)
    copy.get_submodule("model.layers.0.mlp").register_parameter("extra", nn.Parameter(torch.zeros(1)))
    copy.to(torch.bfloat16)
    for buffer in copy.buffers():
        buffer.zero_()
    assert not any(weight.requires_grad for weight in reasoner.lm.parameters())
    assert reasoner.lm.config._attn_implementation == "sdpa"
    assert weights_hash(reasoner.lm.state_dict(), {}) == before
    assert torch.equal(reasoner.lm(input_ids=asked).logits, said)
