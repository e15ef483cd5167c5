"""Take a reasoner's thoughts with PyTorch's forward hooks, translate them, put an edited one back.

python examples/with_hooks.py [FOLDER]      the vectors are saved there, runs/vectors if none is given
"""

import json
import sys
from pathlib import Path

import numpy
import torch

from reverse_codi import Verbalizer

QUESTION = "Umar has 12 cups. Then he picks 5 more. How many cups are left?"


def think(reasoner, question):
    """Hidden states h0..hK [K + 1, d], latent inputs z0..z(K-1) [K, d], and what the reasoner answers."""
    states, fed = [], []
    hooks = [
        # h_k is the residual stream at the last position, after the final norm.
        reasoner.lm.base_model.norm.register_forward_hook(lambda *call: states.append(call[-1][0, -1])),
        reasoner.model.prj.register_forward_hook(lambda *call: fed.append(call[-1][0, -1])),
    ]
    try:
        [answer] = reasoner.think([question]).outputs
    finally:
        for hook in hooks:
            hook.remove()
    # The norm runs once for the question, then for each of h0..hK, then for each token of the answer.
    return torch.stack(states[1 : reasoner.n_thoughts + 2]), torch.stack(fed), answer


def answer_with(reasoner, question, thought, latent_input):
    """The answer when a vector [d] is fed in place of one latent input; later thoughts follow from it."""
    calls = []

    def replace(module, inputs, output):
        calls.append(module)
        return latent_input.expand_as(output) if len(calls) == thought + 1 else None

    hook = reasoner.model.prj.register_forward_hook(replace)
    try:
        [answer] = reasoner.think([question]).outputs
    finally:
        hook.remove()
    return answer


def main(folder):
    verbalizer = Verbalizer.from_pretrained("embedded")
    reasoner = verbalizer.reasoner
    states, latent_inputs, answer = think(reasoner, QUESTION)
    k = reasoner.n_thoughts
    print(verbalizer.translate_vectors(states[None, :k], sites="h0..", questions=[QUESTION]))
    [edited] = verbalizer.latent_inputs(["12 + 6 = 18."], site="h0")
    print(answer, "->", answer_with(reasoner, QUESTION, 0, edited))
    folder.mkdir(parents=True, exist_ok=True)
    numpy.save(folder / "h.npy", states[None])  # [N, K + 1, d]
    numpy.save(folder / "z.npy", latent_inputs[None])  # [N, K, d]
    (folder / "rows.jsonl").write_text(json.dumps({"question": QUESTION, "output": answer}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/vectors"))
