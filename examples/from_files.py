"""Translate a store of vectors that were taken elsewhere, and put an edited thought back.

python examples/with_hooks.py
reverse-codi trace import --hidden-states runs/vectors/h.npy --latent-inputs runs/vectors/z.npy \
    --rows runs/vectors/rows.jsonl --reasoner embedded --out runs/vectors/traces
python examples/from_files.py
"""

import sys

import torch

from reverse_codi import Patch, TraceStore, Verbalizer


def main(folder):
    verbalizer = Verbalizer.from_pretrained("embedded")
    reasoner = verbalizer.reasoner
    store = TraceStore.open(folder, reasoner)
    print(verbalizer.translate_store(store))
    edited = store.latent_inputs.clone()  # [N, K, d]
    edited[:, 0] = verbalizer.latent_inputs(["12 + 6 = 18."], site="h0")
    where = torch.zeros(edited.shape[:2], dtype=torch.bool)
    where[:, 0] = True  # the other thoughts are thought anew
    chains = reasoner.think(store.questions, Patch(edited, where))
    print(store.outputs[0], "->", chains.outputs[0])
    return chains


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/vectors/traces")
