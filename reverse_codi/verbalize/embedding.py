"""An input embedding whose ids beyond the vocabulary stand for vectors.

A thought enters a prompt as an ordinary token id, so it survives whatever a trainer does with ids
(shuffling, padding, splitting, the reference pass). Shapes: V rows of the table, N bank rows, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class LatentEmbedding(nn.Embedding):
    """Ids below V index the model's own table; id V + r is row r of a bank of vectors.

    It is an `nn.Embedding` that shares the original's Parameter, not a module around it: state-dict
    keys, weight tying, resizing and PEFT then see what they saw before.

    The bank is in use within a block, `with embedding.bank(vectors):`; outside of every block it is empty.
    It is no parameter and no buffer. It is never saved, gets no gradient, and DistributedDataParallel,
    which broadcasts buffers from rank 0, leaves it alone: each rank may hold a bank of its own.
    """

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__(
            table.num_embeddings,
            table.embedding_dim,
            padding_idx=table.padding_idx,
            max_norm=table.max_norm,
            norm_type=table.norm_type,
            scale_grad_by_freq=table.scale_grad_by_freq,
            sparse=table.sparse,
            _weight=table.weight.detach(),
        )
        self.weight = table.weight  # the same object: what is tied to it stays tied
        self.train(table.training)
        self._bank = table.weight.new_empty(0, table.embedding_dim).detach()

    @classmethod
    def install(cls, model: Any) -> LatentEmbedding:
        """Give a Hugging Face (or PEFT) model a `LatentEmbedding`; once is enough, again changes nothing.

        Call it before gradient checkpointing or a trainer hooks the embedding.

        Args:
            model: has `get_input_embeddings` and `set_input_embeddings`.

        Raises:
            TypeError: the embedding is not a plain `nn.Embedding` (Gemma's, say, scales what it looks up).
            ValueError: someone has put a hook on it, which would be lost.
        """
        table = model.get_input_embeddings()
        if isinstance(table, LatentEmbedding):
            return table
        if type(table) is not nn.Embedding:
            raise TypeError(
                f"the input embedding is a {type(table).__name__}; only nn.Embedding itself can be replaced"
            )
        if table._forward_hooks or table._forward_pre_hooks:
            raise ValueError(
                "the input embedding has hooks; install before gradient checkpointing or a trainer"
            )
        latent = cls(table)
        model.set_input_embeddings(latent)
        return latent

    @property
    def n_vocab(self) -> int:
        """V, the first id that means a vector."""
        return self.weight.shape[0]

    @property
    def vectors(self) -> Tensor:
        """[N, d], the bank in use; empty outside of every block of `bank`."""
        return self._bank

    @contextmanager
    def bank(self, vectors: Tensor) -> Iterator[None]:
        """Use a bank within the block; its end, by an exception too, puts the former one back.

        Args:
            vectors: [N, d], already scaled as the configuration says (`VerbalizerConfig.inject`).

        Raises:
            ValueError: the shape is not [N, d], or a value is not finite; the former bank stays.
        """
        former, self._bank = self._bank, self._as_bank(vectors)
        try:
            yield
        finally:
            self._bank = former

    def _as_bank(self, vectors: Tensor) -> Tensor:
        """The vectors as a bank, where the table is."""
        if vectors.dim() != 2 or vectors.shape[1] != self.embedding_dim:
            raise ValueError(
                f"the bank has shape {tuple(vectors.shape)}; this model needs [N, {self.embedding_dim}]: "
                "were the vectors taken from another reasoner?"
            )
        if not bool(torch.isfinite(vectors).all()):
            row = int((~torch.isfinite(vectors)).any(1).nonzero()[0])
            raise ValueError(f"bank row {row} holds a value that is not finite; drop that trace")
        return vectors.detach().to(self.weight.device, self.weight.dtype)

    @torch.no_grad()
    def of(self, ids: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        """Embeddings [T, d] or [N, T, d] of ids that are given as lists, without gradients."""
        embedded: Tensor = self(torch.tensor(ids, device=self.weight.device))
        return embedded

    def forward(self, input: Tensor) -> Tensor:
        """Ids [*] to embeddings [*, d].

        Raises:
            IndexError: an id is negative or beyond the bank's last row.
        """
        latent = input >= self.n_vocab
        if not bool(latent.any()):
            return super().forward(input)
        rows = input[latent] - self.n_vocab  # [M]
        self._check(int(rows.min()), int(rows.max()))
        if self._bank.device != self.weight.device or self._bank.dtype != self.weight.dtype:
            self._bank = self._bank.to(self.weight.device, self.weight.dtype)  # the model has moved since
        embedded = super().forward(input.masked_fill(latent, 0))  # [*, d]
        # Not in place: under gradient checkpointing the output of the lookup may be a leaf.
        return embedded.index_put(latent.nonzero(as_tuple=True), self._bank[rows])

    def _check(self, lowest: int, highest: int) -> None:
        bad = lowest if lowest < 0 else highest
        if not 0 <= bad < len(self._bank):
            raise IndexError(
                f"bank row {bad} does not exist in a bank of {len(self._bank)} rows; use it within "
                "`with embedding.bank(vectors):`"
            )
