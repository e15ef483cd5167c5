"""A second language model, which measures only how ordinary a text is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from reverse_codi.errors import UserError, blamed_on
from reverse_codi.reasoners.plain_text import keep_plain
from reverse_codi.reasoners.text_limits import check_room, check_whole
from reverse_codi.utils.micro_batch import rows_at_once


class LanguageModelError(UserError):
    """No language model could be loaded; the message names where from."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer.

    Attributes:
        model: frozen.
        tokenizer: its tokenizer, which is changed to read text as characters only (`keep_plain`).
        batch_size: texts a forward pass; fewer where their logits would take too much memory.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Make the tokenizer read what looks like a control token as characters."""
        keep_plain(self.tokenizer)

    @staticmethod
    def load(source: str, device: str = "cpu") -> LanguageModel:
        """Load from a folder, a hub id, or a GGUF file (which needs the package gguf).

        Raises:
            LanguageModelError: nothing could be loaded.
        """
        path = Path(source)
        gguf = path.suffix == ".gguf"
        where, named = (str(path.parent), {"gguf_file": path.name}) if gguf else (source, {})
        fix = "give a folder with a transformers checkpoint, a hub id, or a .gguf file"
        with blamed_on(f"the language model {source!r}", LanguageModelError, fix, "could not be loaded"):
            # No code that a checkpoint names is run, and nobody is asked at the terminal whether it may be.
            model = AutoModelForCausalLM.from_pretrained(where, **named, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(where, **named, trust_remote_code=False)
        return LanguageModel(model.eval().requires_grad_(False).to(device), tokenizer)

    @torch.no_grad()
    def nll(self, texts: Sequence[str]) -> Tensor:
        """Mean negative log-likelihood a token [N] of texts after the start (else end) token, in nats.

        An empty text has 0.
        """
        start = self.tokenizer.bos_token_id
        start = self.tokenizer.eos_token_id if start is None else start
        check_whole(texts)
        rows = [self.tokenizer(text, add_special_tokens=False).input_ids for text in texts]
        lengths = [1 + len(row) for row in rows]
        check_room(self.model.config.get_text_config(), texts, lengths, "its start")
        result = torch.zeros(len(rows))
        order = sorted((i for i, row in enumerate(rows) if row), key=lambda i: len(rows[i]))
        words, first = self.model.config.get_text_config().vocab_size, 0
        while batch := order[first : first + self.batch_size]:
            longest = len(rows[batch[-1]])
            batch = batch[: rows_at_once(3 * (longest + 1) * words, self.batch_size)]
            first, longest = first + len(batch), len(rows[batch[-1]])
            # Padding stands on the right, where a causal model's earlier tokens do not see it.
            ids = torch.tensor([[start, *rows[i], *[start] * (longest - len(rows[i]))] for i in batch])
            ids = ids.to(self.model.device)
            scores = self.model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
            logprobs = scores.gather(2, ids[:, 1:, None])[:, :, 0].cpu()
            for place, i in enumerate(batch):
                result[i] = -logprobs[place, : len(rows[i])].mean()
        return result
