"""The CODI reasoner: text in, latent chains and answers out (arXiv 2502.21074).

Coconut (arXiv 2412.06769) is the same loop without a projection and with other tokens. `CodiConfig` holds
what differs between public checkpoints. Results do not depend on batch composition: left padding is masked in
the question, in every latent pass and in the answer (unless `reference_masking` is set). All methods run in
evaluation mode without gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reverse_codi.errors import UserError
from reverse_codi.reasoners.base import Chains, Patch, described
from reverse_codi.reasoners.batches import CPU_TOKENS, batches
from reverse_codi.reasoners.card import reasoner_card
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.own import read_own
from reverse_codi.reasoners.codi_config import CONFIG_FILE, PROJECTION_FILE, CodiConfig
from reverse_codi.reasoners.distill.data import padded
from reverse_codi.reasoners.distill.new_model import new_language_model
from reverse_codi.reasoners.half_precision import widen_frozen_layers
from reverse_codi.reasoners.hashing import tokenizer_hash, weights_hash
from reverse_codi.reasoners.latent_lm import CachedContext, LatentLM
from reverse_codi.reasoners.own_states import own_states
from reverse_codi.reasoners.plain_text import Filled, decoded, decoded_answer, keep_plain
from reverse_codi.reasoners.text_limits import check_room, check_whole
from reverse_codi.storage.cards import write_card
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.storage.folders import whole_files
from reverse_codi.storage.hub import pushed
from reverse_codi.utils.finite import NotFiniteError, non_finite
from reverse_codi.utils.micro_batch import rows_at_once
from reverse_codi.utils.shown import brief

__all__ = ["PROJECTION_FILE", "CheckpointError", "CodiConfig", "CodiReasoner", "new_language_model"]

REFERENCE_BATCH = 128
"""Rows at once with reference masking: the batch of CODI's published figures."""


class CodiReasoner:
    """A CODI model with its tokenizer.

    Args:
        model: language model and projection.
        tokenizer: its tokenizer, which is changed to read text as characters only (`keep_plain`); this class
            pads, on the left.
        config: see `CodiConfig`.
        batch_size: rows a forward pass.

    Attributes:
        path: folder that it was loaded from or saved to last; None for one that was never saved.
    """

    def __init__(
        self, model: LatentLM, tokenizer: PreTrainedTokenizerBase, config: CodiConfig, batch_size: int = 512
    ) -> None:
        keep_plain(tokenizer, (config.bot_id, config.eot_id))
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.config = config
        self.batch_size = batch_size
        self.path: Path | None = None

    def __repr__(self) -> str:
        """Its shape, where it is, and the first digits of its content hash."""
        return described(self, layers=self.lm.config.num_hidden_layers, device=str(self.device))

    @property
    def n_thoughts(self) -> int:
        """K."""
        return self.config.n_thoughts

    @property
    def width(self) -> int:
        """The width d of hidden states and latent inputs."""
        return self.model.width

    @property
    def answer_cue(self) -> str:
        """The text before an answer; "" if the answer stands alone."""
        return self.config.cue

    @property
    def lm(self) -> PreTrainedModel:
        """The merged language model: the verbalizer's base and the reader."""
        return self.model.lm

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.lm.device

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 over weights and configuration."""
        return weights_hash(self.model.state_dict(), self.config.recorded())

    @functools.cached_property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer's definition."""
        return tokenizer_hash(self.tokenizer)

    # ---- text in, ids out

    def ids(self, text: str) -> list[int]:
        """Token ids of plain text, in which control tokens are read as characters."""
        return self.ids_of([text])[0]

    def question_ids(self, question: str) -> list[int]:
        """Token ids of a question as the model is asked it, up to where thoughts or written steps begin."""
        asked = Filled(self.config.question_format, {"{question}": question})
        return [*self.config.begin_ids, *asked.ids(self.tokenizer)]

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """The `ids` of N texts; one call of the tokenizer for all of them is several times as fast."""
        return self._tokenized(texts, "input_ids")

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """The characters of each token; see `reasoners.base.Reasoner`."""
        return self._tokenized(texts, "offset_mapping")

    def _tokenized(self, texts: Sequence[str], what: str) -> list[Any]:
        """One entry of the tokenizer's answer for N texts, which it takes only if there are any."""
        if not texts:
            return []
        mapping = what == "offset_mapping"
        return list(
            self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=mapping)[what]
        )

    @torch.no_grad()
    def embed(self, text: str) -> Tensor:
        """Input embeddings [T, d] of a text."""
        return self.model.embed(torch.tensor(self.ids(text), device=self.device))

    @torch.no_grad()
    def embed_question(self, question: str) -> Tensor:
        """Input embeddings [T, d] of a question, after which the model writes its steps."""
        ids = [*self.question_ids(question), *self.config.written_ids]
        return self.model.embed(torch.tensor(ids, device=self.device))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of sampled token ids, up to the end-of-text token; see `plain_text.decoded`."""
        return decoded(self.tokenizer, ids)

    def left_padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids [B, T] and mask [B, T], padded on the left."""
        ids, mask = padded(rows, self.tokenizer.pad_token_id, left=True)
        return ids.to(self.device), mask.to(self.device)

    def _batches(self, lengths: Sequence[int] | Sequence[tuple[int, str]]) -> Iterator[list[int]]:
        """Row indices in batches of similar length, so that there is little padding; equal texts together."""
        return batches(lengths, self.batch_size, CPU_TOKENS if self.device.type == "cpu" else None)

    def _asked(self, questions: Sequence[str]) -> Iterator[tuple[list[int], CachedContext]]:
        """Row indices in batches, with the context of each batch's questions up to bot."""
        check_whole(questions)
        rows = [[*self.question_ids(question), *self.config.before_bot] for question in questions]
        lengths = [len(row) + 2 + self.n_thoughts for row in rows]
        check_room(self.lm.config, questions, lengths, "thoughts")
        padding = self.config.reference_masking
        # With reference masking in the given order: the batch then decides the answers.
        together = _in_order(len(rows)) if padding else self._batches([len(row) for row in rows])
        for batch in together:
            yield batch, self.model.start(*self.left_padded([rows[i] for i in batch]), padding)[1]

    def _patched(self, patch: Patch | None, batch: list[int]) -> tuple[Tensor | None, Tensor | None]:
        """The replacing vectors [B, K, d] and where they apply [B, K], of one batch."""
        if patch is None:
            return None, None
        return patch.latent_inputs[batch].to(self.device), patch.where[batch].to(self.device)

    # ---- the protocol

    @torch.no_grad()
    def think(
        self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
    ) -> Chains:
        """Think and answer greedily; see `reasoners.base.Reasoner`."""
        n = self.n_thoughts if n_thoughts is None else n_thoughts
        hidden_states = torch.empty(len(questions), n + 1, self.width)
        latent_inputs = torch.empty(len(questions), n, self.width)
        outputs = [""] * len(questions)
        for batch, context in self._asked(questions):
            vectors, where = self._patched(patch, batch)
            thoughts = self.model.think(context, vectors, where, n, self.config.reference_masking)
            hidden_states[batch], latent_inputs[batch] = (
                thoughts.hidden_states.float().cpu(),
                thoughts.latent_inputs.float().cpu(),
            )
            eot = torch.full((len(batch),), self.config.eot_id, device=self.device)
            answers = self.model.greedy(
                context,
                eot,
                self.tokenizer.eos_token_id,
                self.config.max_answer_tokens,
                self.config.unwritten_ids,
            )
            for i, answer in zip(batch, answers, strict=True):
                outputs[i] = decoded_answer(self.tokenizer, answer)
        if non_finite([("h", hidden_states), ("z", latent_inputs)]) is not None:
            good = hidden_states.isfinite().flatten(1).all(1) & latent_inputs.isfinite().flatten(1).all(1)
            question = questions[int((~good).nonzero()[0])]
            raise NotFiniteError(
                f"the thoughts about {brief(question)} are not finite; check the weights and the "
                f"configuration of {self.path or 'this reasoner'}"
            )
        return Chains(hidden_states, latent_inputs, outputs)

    @torch.no_grad()
    def answer_states(self, questions: Sequence[str], patch: Patch | None = None) -> Tensor:
        """The states [N, d] at CODI's distillation point: the answer cue's last token, after the thoughts."""
        cue = Filled(self.config.cue).ids(self.tokenizer)
        tail = torch.tensor([[self.config.eot_id, *cue]], device=self.device)
        states = torch.empty(len(questions), self.width)
        for batch, context in self._asked(questions):
            vectors, where = self._patched(patch, batch)
            self.model.think(context, vectors, where, see_padding=self.config.reference_masking)
            step = self.model.extend(context, self.model.embed(tail).expand(len(batch), -1, -1))
            states[batch] = step.last[:, -1].float().cpu()
        return states

    @torch.no_grad()
    def project(self, hidden_states: Tensor) -> Tensor:
        """Latent inputs of hidden states, on the CPU; see `reasoners.base.Reasoner`."""
        latent_inputs: Tensor = self.model.prj(hidden_states.to(self.lm.device, self.lm.dtype)).float().cpu()
        return latent_inputs

    @torch.no_grad()
    def logits(self, hidden_states: Tensor) -> Tensor:
        """Next-token logits of hidden states, on the CPU; see `reasoners.base.Reasoner`."""
        return self.model.logits(hidden_states.to(self.lm.device, self.lm.dtype)).float().cpu()

    @torch.no_grad()
    def nll(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        """Negative log-likelihood a token; see `reasoners.base.Reasoner`."""
        check_whole(texts)
        targets = self.ids_of(texts)
        alone = list(self.config.begin_ids) or [self.tokenizer.eos_token_id]
        prefixes = [alone] * len(targets) if questions is None else self.before_steps(questions)
        total = [len(p) + len(t) for p, t in zip(prefixes, targets, strict=True)]
        check_room(self.lm.config, texts, total, "what stands before it")
        result = torch.zeros(len(targets))
        for batch in self._batches(total):
            ids, mask = self.left_padded([prefixes[i] + targets[i] for i in batch])
            step, _ = self.model.start(ids, mask)
            lengths = [len(targets[i]) for i in batch]
            states = [step.last[row, -1 - n : -1] for row, n in enumerate(lengths)]  # each predicts a token
            logprobs = self._logprobs(torch.cat(states), [token for i in batch for token in targets[i]])
            for i, text in zip(batch, logprobs.split(lengths), strict=True):
                if len(text):
                    result[i] = -text.mean()
        return result

    def _logprobs(self, states: Tensor, next_ids: Sequence[int]) -> Tensor:
        """Log-probabilities [M], on the CPU, of the tokens that follow final hidden states [M, d]."""
        ids = torch.tensor(next_ids, dtype=torch.long, device=self.device)[:, None]
        rows = rows_at_once(3 * self.lm.config.vocab_size, max(1, len(states)))
        parts = zip(states.split(rows), ids.split(rows), strict=True)
        found = [self.model.logits(part).float().log_softmax(-1).gather(1, at)[:, 0] for part, at in parts]
        return torch.cat(found).cpu()

    def write(self, questions: Sequence[str], begun: Sequence[str] | None = None) -> list[str]:
        """Solve in written steps, greedily; see `reasoners.base.Reasoner`."""
        rows = self.before_steps(questions)
        begun = [""] * len(rows) if begun is None else begun
        return self.continued([row + self.ids(start) for row, start in zip(rows, begun, strict=True)])

    @torch.no_grad()
    def continued(self, rows: Sequence[list[int]]) -> list[str]:
        """The text that CoT mode writes, greedily, after token ids."""
        outputs = [""] * len(rows)
        for batch in self._batches([len(row) for row in rows]):
            # The last token opens the decoding, so that `greedy` predicts the first new one.
            _, context = self.model.start(*self.left_padded([rows[i][:-1] for i in batch]))
            first = torch.tensor([rows[i][-1] for i in batch], device=self.device)
            written = self.model.greedy(
                context, first, self.tokenizer.eos_token_id, self.config.max_written_tokens
            )
            for i, ids in zip(batch, written, strict=True):
                outputs[i] = self.solution(ids)
        return outputs

    def solution(self, ids: Sequence[int]) -> str:
        """Text of a written solution; eot between steps and an answer that stands alone begins a line."""
        if self.config.cue or self.config.eot_id not in ids:
            return decoded_answer(self.tokenizer, ids)
        end = list(ids).index(self.config.eot_id)
        return "\n".join(decoded_answer(self.tokenizer, part) for part in (ids[:end], ids[end + 1 :]))

    @torch.no_grad()
    def read(
        self, texts: Sequence[str], questions: Sequence[str] | None = None, suffix: str = ""
    ) -> list[Tensor]:
        """Read texts with the frozen model; see `reasoners.base.Reasoner`."""
        check_whole(texts)
        tail = self.ids(suffix) if suffix else []
        # For an empty text the state is that of the end-of-text token alone.
        rows = [ids + tail or [self.tokenizer.eos_token_id] for ids in self.ids_of(texts)]
        distinct = list(dict.fromkeys(questions or ()))
        before = dict(zip(distinct, self.before_steps(distinct), strict=True))
        alone = list(self.config.begin_ids)
        prefixes = [alone] * len(rows) if questions is None else [before[asked] for asked in questions]
        lengths = [len(p) + len(r) for p, r in zip(prefixes, rows, strict=True)]
        check_room(self.lm.config, texts, lengths, "what stands around it")
        if questions is not None and len(distinct) < len(rows):
            return self._read_after(rows, questions, before)
        states: list[Tensor] = [torch.empty(0)] * len(rows)
        for batch in self._batches(lengths):
            ids, mask = self.left_padded([prefixes[i] + rows[i] for i in batch])
            out = self.model.lm.base_model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                output_hidden_states=True,
            )
            own = own_states(out.hidden_states, [len(rows[i]) for i in batch], last=True)
            for i, of_text in zip(batch, own, strict=True):
                states[i] = of_text
        return states

    def _read_after(
        self, rows: Sequence[list[int]], questions: Sequence[str], before: Mapping[str, list[int]]
    ) -> list[Tensor]:
        """States [L + 1, T, d] of token ids after questions, each of which is read once in a batch.

        Args:
            rows: N token ids of texts.
            questions: N questions.
            before: the token ids that come before a question's texts.
        """
        states: list[Tensor] = [torch.empty(0)] * len(rows)
        for batch in self._batches([(len(before[question]), question) for question in questions]):
            place = {question: row for row, question in enumerate(dict.fromkeys(questions[i] for i in batch))}
            _, context = self.model.start(*self.left_padded([before[question] for question in place]))
            owners = torch.tensor([place[questions[i]] for i in batch], device=self.device)
            ids, mask = padded([rows[i] for i in batch], self.tokenizer.pad_token_id)
            ids, mask = ids.to(self.device), mask.to(self.device)
            step = self.model.extend(context.taken(owners), self.model.embed(ids), mask, layers=True)
            own = own_states(step.layers, [len(rows[i]) for i in batch], last=False)
            for i, of_text in zip(batch, own, strict=True):
                states[i] = of_text
        return states

    def before_steps(self, questions: Sequence[str]) -> list[list[int]]:
        """Token ids up to where written steps begin."""
        return [[*self.question_ids(question), *self.config.written_ids] for question in questions]

    # ---- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write language model, tokenizer, projection, configuration (safetensors and JSON) and a card."""
        path = Path(folder)
        self.write_files(path, reasoner_card(self, str(path)))
        self.path = path

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        base_model: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, as one commit.

        Args:
            repo_id: "owner/name"; made if there is none.
            license: as the hub names it, "apache-2.0"; for the card.
            base_model: hub id of the language model that it was made from; for the card.
            private: whether a new repository is private; None leaves it to the owner's settings.
            revision: branch; `main` if None.
            token: of the hub; if None, that of `hf auth login` or HF_TOKEN.

        Returns:
            The commit's address.

        Raises:
            HubError: the hub refused, or cannot be reached.
        """
        card = reasoner_card(self, repo_id, license, base_model)
        return pushed(
            lambda folder: self.write_files(folder, card),
            repo_id,
            private=private,
            revision=revision,
            token=token,
        )

    def write_files(self, path: Path, card: str) -> None:
        """Write the files of `save_pretrained` with a card; `self.path` stays as it is."""
        (path / CONFIG_FILE).unlink(missing_ok=True)  # which says that the others are complete
        with whole_files(path) as temporary:
            self.model.lm.save_pretrained(temporary)
            self.tokenizer.save_pretrained(temporary)
            prj = {name: tensor.contiguous() for name, tensor in self.model.prj.state_dict().items()}
            if prj:
                save_file(prj, temporary / PROJECTION_FILE)
        write_whole(path / CONFIG_FILE, strict_json(self.config.recorded(), indent=2) + "\n")
        write_card(path, card)

    def saved_path(self) -> Path:
        """`path`, where engines load the language model from.

        Raises:
            UserError: the reasoner was never saved.
        """
        if self.path is None:
            raise UserError(
                "this reasoner was never saved, so no engine can load its language model (path is None); "
                "call reasoner.save_pretrained(folder) first"
            )
        return self.path

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu", batch_size: int = 512) -> Self:
        """Load what `save_pretrained` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            CheckpointError: a tensor is missing, unknown or of another shape.
        """
        own = read_own(Path(folder))
        widen_frozen_layers(own.model)
        reasoner = cls(own.model.to(device), own.tokenizer, own.config, batch_size)
        reasoner.path = Path(folder)
        return reasoner


def _in_order(n: int) -> Iterator[list[int]]:
    for start in range(0, n, REFERENCE_BATCH):
        yield list(range(start, min(start + REFERENCE_BATCH, n)))
