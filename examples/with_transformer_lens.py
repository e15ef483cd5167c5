"""Take a reasoner's thoughts with TransformerLens, translate them, put an edited one back.

python examples/with_transformer_lens.py    pip install "reverse_codi[examples]"
"""

import copy

import torch
from transformer_lens.model_bridge import TransformerBridge

from reverse_codi import Reasoner, Verbalizer

QUESTION = "Umar has 12 cups. Then he picks 5 more. How many cups are left?"


def bridge_of(reasoner):
    """The language model under TransformerLens' names. The bridge replaces its modules: use a copy."""
    tokenizer = copy.deepcopy(reasoner.tokenizer)  # the bridge gives it other special tokens
    return TransformerBridge.boot_transformers("reasoner", hf_model=reasoner.lm, tokenizer=tokenizer)


def think(reasoner, bridge, question):
    """Hidden states h0..hK [K + 1, d], latent inputs z0..z(K-1) [K, d], and what the reasoner answers."""
    states, entered = [], []
    hooks = [
        # h_k is the residual stream at the last position, after the final norm.
        ("ln_final.hook_out", lambda vectors, hook: states.append(vectors[0, -1])),
        # Without position embeddings, what enters the first block is the latent input itself.
        ("blocks.0.hook_resid_pre", lambda vectors, hook: entered.append(vectors[0, -1])),
    ]
    with bridge.hooks(fwd_hooks=hooks):
        [answer] = reasoner.think([question]).outputs
    # The model runs once for the question, once at the begin-of-thought token, then on each latent input.
    k = reasoner.n_thoughts
    return torch.stack(states[1 : k + 2]), torch.stack(entered[2 : k + 2]), answer


def answer_with(reasoner, bridge, question, thought, latent_input):
    """The answer when a vector [d] is fed in place of one latent input; later thoughts follow from it."""
    calls = []

    def replace(vectors, hook):
        calls.append(hook)
        return latent_input.expand_as(vectors) if len(calls) == thought + 3 else vectors

    with bridge.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", replace)]):
        [answer] = reasoner.think([question]).outputs
    return answer


def main():
    verbalizer = Verbalizer.from_pretrained("embedded")
    watched = Reasoner.from_pretrained("embedded")
    bridge = bridge_of(watched)
    states, latent_inputs, answer = think(watched, bridge, QUESTION)
    k = watched.n_thoughts
    print(verbalizer.translate_vectors(states[None, :k], sites="h0..", questions=[QUESTION]))
    [edited] = verbalizer.latent_inputs(["12 + 6 = 18."], site="h0")
    print(answer, "->", answer_with(watched, bridge, QUESTION, 0, edited))
    return states, latent_inputs


if __name__ == "__main__":
    main()
