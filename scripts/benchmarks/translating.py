"""Translation: thoughts a second with texts, matches and trust, against generating the texts alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting
from reverse_codi.reasoners.plain_text import decoded
from reverse_codi.rollout.merging import Base
from reverse_codi.verbalize.verbalizer import Verbalizer


@contextmanager
def verbalize(at: Setting, work: Path) -> Iterator[Row]:
    """All thoughts of the problems; both sides must write the same texts."""
    verbalizer = Verbalizer.from_pretrained(at.adapter, at.reasoner)
    questions = [problem.question for problem in at.problems]
    n = float(len(questions) * len(verbalizer.sites))
    model = Base(at.base, torch.float32).merged(at.adapter)
    policy, new_tokens = verbalizer.translator.policy, verbalizer.translator.max_new_tokens
    wanted = [translation.text for translation in verbalizer.translate(questions)]

    def ours() -> float:
        verbalizer.translate(questions)
        return n

    @torch.inference_mode()
    def generate() -> float:
        inputs = at.reasoner.think(questions).latent_inputs
        slots = inputs[:, [site.index for site in verbalizer.sites]].flatten(0, 1)[:, None]
        prompts = torch.stack(policy.prompt_embeds(policy.verbalizer_config.inject(slots)))
        out = model.generate(
            inputs_embeds=prompts,
            attention_mask=torch.ones(prompts.shape[:2], dtype=torch.long),
            do_sample=False,
            max_new_tokens=new_tokens,
            pad_token_id=policy.tokenizer.eos_token_id,
        )
        texts = [decoded(policy.tokenizer, row) for row in out.tolist()]
        assert texts == wanted, "generate writes otherwise"
        return n

    yield Row(
        "verbalize",
        "thoughts/s",
        [Side("ours: texts, matches and trust", ours), Side("transformers generate: texts", generate)],
        {"verbalize.vs_generate": ("ours: texts, matches and trust", "transformers generate: texts")},
    )
