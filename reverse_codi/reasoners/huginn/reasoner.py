"""Reading with a recurrent-depth model: states for every token and iteration, and their logit lens.

A state t5:16 (`Site`) is the core block's output at token 5 after 16 iterations. The coda and the head read
it as a next-token state, which is the logit lens of that iteration. Results do not depend on batch
composition: rows are padded on the right, where no earlier token attends. All methods run in evaluation mode
without gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from reverse_codi.errors import blamed_on
from reverse_codi.reasoners.batches import batches
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.hashing import tokenizer_hash, weights_hash
from reverse_codi.reasoners.huginn.checkpoint import load_model, local_folder, save_model
from reverse_codi.reasoners.huginn.initial import InitialStates
from reverse_codi.reasoners.huginn.model import HuginnModel, Pass, RecurrentContext
from reverse_codi.reasoners.huginn.replacing import Replaced, checked, swapped
from reverse_codi.reasoners.plain_text import Filled, decoded_answer, keep_plain
from reverse_codi.reasoners.text_limits import TextLimitError, check_whole
from reverse_codi.storage.folders import whole_files

ANSWER_CUE = "The answer is"
"""The text before an answer, as in the solved problems of the prompt."""


class HuginnReasoner:
    """A recurrent-depth model with its tokenizer.

    Args:
        model: its tensors.
        tokenizer: its tokenizer, which is changed to read text as characters only (`keep_plain`); this class
            adds padding and the begin-of-text token.
        batch_size: texts a forward pass.

    Raises:
        CheckpointError: the tokenizer has ids without a row in the embedding table.
    """

    def __init__(self, model: HuginnModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 16) -> None:
        highest = max(tokenizer.get_vocab().values(), default=0)
        if highest >= model.config.vocab_size:
            raise CheckpointError(
                f"the tokenizer has token id {highest}, the embedding table {model.config.vocab_size} rows; "
                "this is another model's tokenizer"
            )
        keep_plain(tokenizer)
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.config = model.config
        self.batch_size = batch_size

    @property
    def width(self) -> int:
        """The width d of a state."""
        return self.config.n_embd

    @property
    def answer_cue(self) -> str:
        """What is written before an answer."""
        return ANSWER_CUE

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.table.device

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 over weights and configuration."""
        return weights_hash(self.model.state_dict(), self.config.values())

    @functools.cached_property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer's definition."""
        return tokenizer_hash(self.tokenizer)

    # ---- text in, ids out

    def ids(self, text: str | Filled) -> list[int]:
        """Token ids of a text, after the begin-of-text token: t0 is that token.

        The tokenizer adds no special tokens, because it may end every text, which is not over yet. Control
        tokens in a text are read as characters; only those of a template (`Filled`) are tokens.

        Raises:
            TextLimitError: no token is left, more than the model has positions for, or half a character.
        """
        encoded = self._text_ids(text)
        if self.config.bos_token_id is not None:
            encoded = [self.config.bos_token_id, *encoded]
        if not encoded:
            raise TextLimitError(
                f"{str(text)!r} has no tokens, and this model no begin-of-text token; give some text"
            )
        self._check_length(len(encoded))
        return encoded

    def _text_ids(self, text: str | Filled) -> list[int]:
        check_whole([str(text)])
        if isinstance(text, Filled):
            return text.ids(self.tokenizer)
        encoded: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return encoded

    def _check_length(self, tokens: int) -> None:
        if tokens > self.config.block_size:
            raise TextLimitError(f"{tokens} tokens, but the model has {self.config.block_size} positions")

    def tokens(self, text: str | Filled) -> list[str]:
        """The text of each token for which `read` returns states."""
        return [self.decode([token]) for token in self.ids(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special ones too."""
        return str(self.tokenizer.decode(list(ids)))

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids [B, T] and mask [B, T], padded on the right (which token pads is never seen)."""
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
        return ids.to(self.device), mask.to(self.device)

    # ---- states

    @torch.no_grad()
    def read(
        self,
        texts: Sequence[str | Filled],
        iterations: int | None = None,
        seed: int = 0,
        replaced: Sequence[Replaced] | None = None,
    ) -> list[Tensor]:
        """States of every token after every iteration.

        Args:
            texts: N texts.
            iterations: how often the core block runs; the training mean if None.
            seed: seed of the initial states; every text starts from it.
            replaced: for each text, states that replace its own; later iterations, and later tokens there,
                are computed from them.

        Returns one [iterations + 1, T, d] float32 tensor for each text, on the CPU: index i is the state
        after i iterations, 0 the random one.

        Raises:
            ValueError: a site to replace is not one of these states.
        """
        n = self._iterations(iterations)
        rows = [self.ids(text) for text in texts]
        swaps = checked(replaced, [len(row) for row in rows], n)
        states: list[Tensor] = [torch.empty(0)] * len(rows)
        for batch in batches(list(map(len, rows)), self.batch_size):
            ids, mask = self._padded([rows[i] for i in batch])
            first = _initial([InitialStates(self.config, seed) for _ in batch], mask.sum(1).tolist())
            passing = self._recur(ids, first, self.model.enter(mask), n, [swaps[i] for i in batch])
            stacked = torch.stack([state.float().cpu() for state in passing], 1)  # [B, n + 1, T, d]
            for row, i in enumerate(batch):
                states[i] = stacked[row, :, : len(rows[i])].clone()
        return states

    def _recur(
        self, ids: Tensor, initial: Tensor, tokens: Pass, n: int, swaps: Sequence[Replaced] = ()
    ) -> Iterator[Tensor]:
        """States [B, T, d] of token ids [B, T] after 0, 1, ..., n iterations."""
        embedded = self.model.embed(ids, tokens)
        states = swapped(initial.to(embedded), swaps, 0)
        yield states
        for i in range(1, n + 1):
            states = swapped(self.model.iterate(states, embedded, tokens), swaps, i)
            yield states

    def _iterations(self, iterations: int | None) -> int:
        n = self.config.mean_recurrence if iterations is None else iterations
        if n < 0:
            raise ValueError(f"{n} iterations; give 0 or more")
        return n

    # ---- what states say

    @torch.no_grad()
    def normed(self, states: Tensor) -> Tensor:
        """States [*, d] after the model's last norm, as the coda and trajectories use them."""
        return self.model.norm(states.to(self.model.table)).float().cpu()

    @torch.no_grad()
    def lens(self, states: Tensor) -> Tensor:
        """Next-token logits [*, T, V] of one text's states [*, T, d]: the logit lens of each iteration.

        The coda attends to earlier tokens' states of the same iteration, so all tokens from the first are
        needed. The logits of the last iteration are the model's own.
        """
        flat = states.reshape(-1, *states.shape[-2:])
        logits = [self._lens_of_batch(part) for part in flat.split(self.batch_size)]
        return torch.cat(logits).reshape(*states.shape[:-1], -1)

    def _lens_of_batch(self, states: Tensor) -> Tensor:
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=self.device)
        finished = self.model.finish(states.to(self.model.table), self.model.enter(mask))
        return self.model.logits(finished).cpu()

    def top_tokens(self, states: Tensor, k: int) -> list[list[list[str]]]:
        """The k likeliest next tokens by the lens, [iteration][token][k], of one text's states [n, T, d]."""
        # One iteration at a time: with a large vocabulary the logits of all would fill the memory.
        tops = [self.lens(at).topk(k).indices.tolist() for at in states]
        return [[[self.decode([token]) for token in top] for top in at] for at in tops]

    @torch.no_grad()
    def answer(
        self,
        texts: Sequence[str | Filled],
        iterations: int | None = None,
        seed: int = 0,
        max_new_tokens: int = 64,
        replaced: Sequence[Replaced] | None = None,
    ) -> list[str]:
        """Continue texts greedily, with the same number of iterations for every token.

        Args:
            texts: N texts.
            iterations: as for `read`.
            seed: as for `read`; new tokens continue the draws of their text.
            max_new_tokens: the longest answer.
            replaced: as for `read`, of the texts' own tokens.
        """
        n = self._iterations(iterations)
        rows = [self.ids(text) for text in texts]
        swaps = checked(replaced, [len(row) for row in rows], n)
        self._check_length(max(map(len, rows), default=0) + max_new_tokens)
        answers = [""] * len(rows)
        for batch in batches(list(map(len, rows)), self.batch_size):
            new = self._greedy([rows[i] for i in batch], [swaps[i] for i in batch], n, seed, max_new_tokens)
            for i, ids in zip(batch, new, strict=True):
                answers[i] = decoded_answer(self.tokenizer, ids)
        return answers

    def _greedy(
        self, rows: list[list[int]], swaps: list[Replaced], n: int, seed: int, max_new: int
    ) -> list[list[int]]:
        """New token ids of each row, the end-of-text token left out."""
        context = RecurrentContext.empty(len(rows), self.device)
        draws = [InitialStates(self.config, seed) for _ in rows]
        new: list[list[int]] = [[] for _ in rows]
        done = [False] * len(rows)
        ids, mask = self._padded(rows)
        for _ in range(max_new):
            tokens = self.model.enter(mask, context)
            initial = _initial(draws, mask.sum(1).tolist())
            for states in self._recur(ids, initial, tokens, n, swaps):  # noqa: B007 - the last one is used
                pass
            finished = self.model.finish(states, tokens)
            last = finished[torch.arange(len(mask), device=mask.device), mask.sum(1) - 1]  # [B, d]
            chosen = self.model.logits(last).argmax(-1)  # [B]
            for row, token in enumerate(chosen.tolist()):
                done[row] |= token in self.config.eos_token_ids
                if not done[row]:
                    new[row].append(token)
            if all(done):
                break
            ids, mask = chosen[:, None], torch.ones_like(chosen[:, None], dtype=torch.bool)
            swaps = []  # of the texts' own tokens, which have been read
        return new

    # ---- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights, configuration and tokenizer in the public layout."""
        with whole_files(folder) as temporary:
            self.tokenizer.save_pretrained(temporary)
            save_model(self.model, temporary)

    @classmethod
    def from_pretrained(
        cls, model: str | Path, device: str = "cpu", dtype: torch.dtype | None = None, batch_size: int = 16
    ) -> Self:
        """Load a folder or a hub id in the public layout; no code of the repository is run.

        Raises:
            FileNotFoundError: a file is missing.
            CheckpointError: a tensor, the configuration or the tokenizer does not fit.
        """
        folder = local_folder(str(model))
        weights = load_model(folder, device, dtype)
        # Not by AutoTokenizer, which would need the repository's own configuration class.
        with blamed_on(f"the tokenizer of {folder}", CheckpointError, "fetch the checkpoint again"):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        return cls(weights, tokenizer, batch_size)


def _initial(draws: Sequence[InitialStates], lengths: Sequence[int]) -> Tensor:
    """The next tokens' initial states [B, T, d]; padding draws none."""
    rows = [draw.draw(length) for draw, length in zip(draws, lengths, strict=True)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
