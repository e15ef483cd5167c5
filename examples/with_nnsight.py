"""Take a reasoner's thoughts with nnsight, translate them, put an edited one back.

python examples/with_nnsight.py             pip install "reverse_codi[examples]"
"""

import torch
from nnsight import NNsight

from reverse_codi import Verbalizer

QUESTION = "Umar has 12 cups. Then he picks 5 more. How many cups are left?"


def think(reasoner, question):
    """Hidden states h0..hK [K + 1, d], latent inputs z0..z(K-1) [K, d], and what the reasoner answers."""
    model, k = NNsight(reasoner.model), reasoner.n_thoughts
    with model.trace([question], fn=reasoner.think) as tracer:
        states = list().save()  # noqa: C408 - nnsight saves what a call makes
        for _ in tracer.iter[1 : k + 2]:  # call 0 of the norm reads the question, 1 to K + 1 give h0..hK
            states.append(model.lm.model.norm.output[0, -1])
    with model.trace([question], fn=reasoner.think) as tracer:
        fed = list().save()  # noqa: C408
        for _ in tracer.iter[:k]:
            fed.append(model.prj.output[0, -1])
        chains = tracer.result.save()
    return torch.stack(states), torch.stack(fed), chains.outputs[0]


def answer_with(reasoner, question, thought, latent_input):
    """The answer when a vector [d] is fed in place of one latent input; later thoughts follow from it."""
    model = NNsight(reasoner.model)
    with model.trace([question], fn=reasoner.think) as tracer:
        for _ in tracer.iter[thought : thought + 1]:
            model.prj.output[:] = latent_input
        chains = tracer.result.save()
    return chains.outputs[0]


def main():
    verbalizer = Verbalizer.from_pretrained("embedded")
    reasoner = verbalizer.reasoner
    states, latent_inputs, answer = think(reasoner, QUESTION)
    k = reasoner.n_thoughts
    print(verbalizer.translate_vectors(states[None, :k], sites="h0..", questions=[QUESTION]))
    [edited] = verbalizer.latent_inputs(["12 + 6 = 18."], site="h0")
    print(answer, "->", answer_with(reasoner, QUESTION, 0, edited))
    return states, latent_inputs


if __name__ == "__main__":
    main()
