"""Traces: questions a second, against the plain loop: batches of one size in the given order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import DynamicCache

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting, matrix_products
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split

BATCH = 32


@contextmanager
def trace(at: Setting, work: Path) -> Iterator[Row]:
    """Think and answer; the plain loop must give the same answers."""
    n = 64 if at.size == "135m" else 512
    questions = [problem.question for problem in Arithmetic().problems(Split.HELDOUT, n, seed=1)]
    reasoner = at.reasoner
    wanted = reasoner.think(questions[:BATCH]).outputs

    def ours() -> float:
        reasoner.think(questions)
        return float(n)

    def plain() -> float:
        for start in range(0, n, BATCH):
            found = _plain(at, questions[start : start + BATCH])
            # Random weights in half precision choose by what sums differ by.
            assert start or found == wanted or at.dtype != "float32", "the plain loop answers otherwise"
        return float(n)

    def limit() -> float:
        matrix_products(reasoner, tokens)
        return float(n)

    # Bot, the thoughts, eot, and the answer with the token that ends it.
    beside = 3 + reasoner.n_thoughts
    tokens = sum(len(reasoner.question_ids(question)) + beside for question in questions)
    tokens += sum(len(reasoner.ids(output)) for output in reasoner.think(questions).outputs)
    loop = f"plain loop, batches of {BATCH}"
    yield Row(
        "trace",
        "questions/s",
        [Side("ours", ours), Side(loop, plain), Side("matrix products alone", limit)],
        {"trace.vs_loop": ("ours", loop), "trace.vs_matmul": ("ours", "matrix products alone")},
    )


@torch.no_grad()
def _plain(at: Setting, questions: list[str]) -> list[str]:
    """CODI's loop as its authors' script has it: a cache that grows with each pass, greedy answers."""
    reasoner, lm, prj = at.reasoner, at.reasoner.lm, at.reasoner.model.prj
    config = reasoner.config
    rows = [[*reasoner.question_ids(question), *config.before_bot, config.bot_id] for question in questions]
    ids, mask = reasoner.left_padded(rows)
    cache = DynamicCache()

    def step(embeds: torch.Tensor) -> torch.Tensor:
        nonlocal mask
        if cache.get_seq_length():
            mask = torch.cat([mask, mask.new_ones(len(mask), embeds.shape[1])], 1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
        out = lm.base_model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
        )
        return out.hidden_states[-1][:, -1]

    table = lm.get_input_embeddings()
    last = step(table(ids))
    for _ in range(config.n_thoughts):
        last = step(prj(last)[:, None])
    token = torch.full((len(rows),), config.eot_id, device=reasoner.device)
    written: list[list[int]] = [[] for _ in rows]
    ended = torch.zeros(len(rows), dtype=torch.bool, device=reasoner.device)
    for _ in range(config.max_answer_tokens):
        last = step(table(token)[:, None])
        logits = lm.get_output_embeddings()(last)
        logits[:, list(config.unwritten_ids)] = -torch.inf
        token = logits.argmax(-1)
        for row, (chosen, over) in enumerate(zip(token.tolist(), ended.tolist(), strict=True)):
            if not over:
                written[row].append(chosen)
        ended |= token == reasoner.tokenizer.eos_token_id
        if bool(ended.all()):
            break
    from reverse_codi.reasoners.plain_text import decoded_answer

    return [decoded_answer(reasoner.tokenizer, row) for row in written]
