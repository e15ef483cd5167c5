"""The CODI reasoner: text in, latent chains and answers out (arXiv 2502.21074).

Results do not depend on batch composition: left padding is masked in the question, in every latent
pass and in the answer. All methods run in evaluation mode without gradients.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reverse_codi.reasoners.base import Chains, Patch
from reverse_codi.reasoners.hashing import tokenizer_hash, weights_hash
from reverse_codi.reasoners.latent_lm import LatentLM, projection

CONFIG_FILE = "reasoner.json"
PROJECTION_FILE = "projection.safetensors"


class CheckpointError(ValueError):
    """A checkpoint does not fit; the message names the file and the tensor."""


@dataclass(frozen=True)
class CodiConfig:
    """What a CODI checkpoint needs beyond its language model.

    Attributes:
        n_thoughts: K.
        projection_width: hidden width of `prj`.
        bot_id: begin-of-thought token id; may lie beyond the tokenizer's vocabulary.
        eot_id: end-of-thought token id.
        cue: what the model writes between its thoughts and the answer.
        max_answer_tokens: longest answer, cue included.
        max_written_tokens: longest text-mode solution.
    """

    n_thoughts: int
    projection_width: int
    bot_id: int
    eot_id: int
    cue: str = "The answer is:"
    max_answer_tokens: int = 12
    max_written_tokens: int = 64


class CodiReasoner:
    """A CODI model with its tokenizer.

    Args:
        model: language model and projection.
        tokenizer: its tokenizer; padding is done here, on the left.
        config: see `CodiConfig`.
        batch_size: rows a forward pass.
    """

    def __init__(
        self, model: LatentLM, tokenizer: PreTrainedTokenizerBase, config: CodiConfig, batch_size: int = 512
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.config = config
        self.batch_size = batch_size

    @property
    def n_thoughts(self) -> int:
        """K."""
        return self.config.n_thoughts

    @property
    def width(self) -> int:
        """The width d of readouts and fed vectors."""
        return self.model.width

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
        return weights_hash(self.model.state_dict(), asdict(self.config))

    @functools.cached_property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer's definition."""
        return tokenizer_hash(self.tokenizer)

    # ---- text in, ids out

    def ids(self, text: str) -> list[int]:
        """Token ids of plain text, without special tokens."""
        encoded: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return encoded

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token; see `reasoners.base.Reasoner`."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(encoded["offset_mapping"])

    @torch.no_grad()
    def embed(self, text: str) -> Tensor:
        """Input embeddings [T, d] of a text."""
        return self.model.embed(torch.tensor(self.ids(text), device=self.device))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
        # A word-level tokenizer puts a space between any two tokens.
        return re.sub(r"(?<=\() | (?=[.,:;?)])", "", text) if self._word_level else text

    @functools.cached_property
    def _word_level(self) -> bool:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        return backend is not None and backend.decoder is None

    def left_padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids [B, T] and mask [B, T], padded on the left."""
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(r)) + list(r) for r in rows], dtype=torch.long)
        mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows], dtype=torch.long)
        return ids.to(self.device), mask.to(self.device)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Row indices in batches of like length, so that little is padded."""
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    # ---- the protocol

    @torch.no_grad()
    def think(
        self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
    ) -> Chains:
        """Think and answer greedily; see `reasoners.base.Reasoner`."""
        n = self.n_thoughts if n_thoughts is None else n_thoughts
        rows = [self.ids(question) for question in questions]
        readouts = torch.empty(len(rows), n + 1, self.width)
        fed = torch.empty(len(rows), n, self.width)
        outputs = [""] * len(rows)
        for batch in self._batches([len(row) for row in rows]):
            _, context = self.model.start(*self.left_padded([rows[i] for i in batch]))
            vectors = None if patch is None else patch.fed[batch].to(self.device)
            where = None if patch is None else patch.where[batch].to(self.device)
            thoughts = self.model.think(context, vectors, where, n)
            readouts[batch], fed[batch] = thoughts.readouts.float().cpu(), thoughts.fed.float().cpu()
            eot = torch.full((len(batch),), self.config.eot_id, device=self.device)
            answers = self.model.greedy(
                context, eot, self.tokenizer.eos_token_id, self.config.max_answer_tokens
            )
            for i, answer in zip(batch, answers, strict=True):
                outputs[i] = self.decode(answer)
        return Chains(readouts, fed, outputs)

    @torch.no_grad()
    def answer_states(self, questions: Sequence[str]) -> Tensor:
        """The states [N, d] at CODI's distillation point: the answer cue's last token, after the thoughts."""
        rows = [self.ids(question) for question in questions]
        tail = torch.tensor([[self.config.eot_id, *self.ids(self.config.cue)]], device=self.device)
        states = torch.empty(len(rows), self.width)
        for batch in self._batches([len(row) for row in rows]):
            _, context = self.model.start(*self.left_padded([rows[i] for i in batch]))
            self.model.think(context)
            step = self.model.extend(context, self.model.embed(tail).expand(len(batch), -1, -1))
            states[batch] = step.last[:, -1].float().cpu()
        return states

    @torch.no_grad()
    def project(self, readouts: Tensor) -> Tensor:
        """Fed vectors of readouts, on the CPU; see `reasoners.base.Reasoner`."""
        fed: Tensor = self.model.prj(readouts.to(self.device)).float().cpu()
        return fed

    @torch.no_grad()
    def logits(self, readouts: Tensor) -> Tensor:
        """Next-token logits of readouts, on the CPU; see `reasoners.base.Reasoner`."""
        return self.model.logits(readouts.to(self.device)).float().cpu()

    @torch.no_grad()
    def nll(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        """Negative log-likelihood a token; see `reasoners.base.Reasoner`."""
        targets = [self.ids(text) for text in texts]
        eos = self.tokenizer.eos_token_id
        prefixes = [[eos]] * len(targets) if questions is None else [self.ids(q) for q in questions]
        result = torch.zeros(len(targets))
        for batch in self._batches([len(p) + len(t) for p, t in zip(prefixes, targets, strict=True)]):
            ids, mask = self.left_padded([prefixes[i] + targets[i] for i in batch])
            step, _ = self.model.start(ids, mask)
            scores = self.model.logits(step.last[:, :-1]).log_softmax(-1)  # [B, T - 1, V]
            said = scores.gather(2, ids[:, 1:, None])[:, :, 0].float().cpu()
            for row, i in enumerate(batch):
                if targets[i]:
                    result[i] = -said[row, -len(targets[i]) :].mean()
        return result

    @torch.no_grad()
    def write(self, questions: Sequence[str], begun: Sequence[str] | None = None) -> list[str]:
        """Solve in written steps, greedily; see `reasoners.base.Reasoner`."""
        rows = [self.ids(question) for question in questions]
        if begun is not None:
            rows = [row + self.ids(start) for row, start in zip(rows, begun, strict=True)]
        outputs = [""] * len(rows)
        for batch in self._batches([len(row) for row in rows]):
            # The last token opens the decoding, so that `greedy` predicts the first new one.
            _, context = self.model.start(*self.left_padded([rows[i][:-1] for i in batch]))
            first = torch.tensor([rows[i][-1] for i in batch], device=self.device)
            written = self.model.greedy(
                context, first, self.tokenizer.eos_token_id, self.config.max_written_tokens
            )
            for i, ids in zip(batch, written, strict=True):
                outputs[i] = self.decode(ids)
        return outputs

    @torch.no_grad()
    def read(
        self, texts: Sequence[str], questions: Sequence[str] | None = None, suffix: str = ""
    ) -> list[Tensor]:
        """Read texts with the frozen model; see `reasoners.base.Reasoner`."""
        tail = self.ids(suffix) if suffix else []
        # Where there is nothing to read, the state is that of the end-of-text token alone.
        rows = [self.ids(text) + tail or [self.tokenizer.eos_token_id] for text in texts]
        states: list[Tensor] = [torch.empty(0)] * len(rows)
        prefixes = [[]] * len(rows) if questions is None else [self.ids(q) for q in questions]
        for batch in self._batches([len(p) + len(r) for p, r in zip(prefixes, rows, strict=True)]):
            ids, mask = self.left_padded([prefixes[i] + rows[i] for i in batch])
            out = self.model.lm.base_model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                output_hidden_states=True,
            )
            layers = torch.stack(out.hidden_states, 1).float().cpu()  # [B, L + 1, T, d]
            for row, i in enumerate(batch):
                states[i] = layers[row, :, layers.shape[2] - len(rows[i]) :].clone()
        return states

    # ---- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write language model, tokenizer, projection and configuration as safetensors and JSON."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.model.lm.save_pretrained(path)
        self.tokenizer.save_pretrained(path)
        save_file({k: v.contiguous() for k, v in self.model.prj.state_dict().items()}, path / PROJECTION_FILE)
        (path / CONFIG_FILE).write_text(json.dumps(asdict(self.config), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu", batch_size: int = 512) -> Self:
        """Load what `save_pretrained` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            CheckpointError: a tensor is missing, unknown or of another shape.
        """
        path = Path(folder)
        if not (path / CONFIG_FILE).is_file():
            raise FileNotFoundError(f"{path / CONFIG_FILE} is missing: {path} holds no CODI reasoner")
        config = CodiConfig(**json.loads((path / CONFIG_FILE).read_text()))
        loaded = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
        # A pair where loading info is asked for, which the annotation does not say.
        lm, info = cast(tuple[PreTrainedModel, dict[str, Any]], loaded)
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if info[kind]:
                raise CheckpointError(
                    f"{path}: {kind.replace('_', ' ')} of the language model: {sorted(info[kind])}"
                )
        prj = projection(lm.config.hidden_size, config.projection_width)
        load_strictly(prj, load_file(path / PROJECTION_FILE), path / PROJECTION_FILE)
        model = LatentLM(lm, prj, config.n_thoughts, config.bot_id, config.eot_id).to(device)
        return cls(model, AutoTokenizer.from_pretrained(path), config, batch_size)


def load_strictly(module: torch.nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Load a state dict; a missing, unknown or misshapen tensor is an error that names it."""
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    problems += [f"{name} is unknown" for name in tensors.keys() - expected.keys()]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    ]
    if problems:
        raise CheckpointError(f"{source}: " + "; ".join(sorted(problems)))
    module.load_state_dict(tensors)


def new_language_model(tokenizer: PreTrainedTokenizerBase, **shape: Any) -> PreTrainedModel:
    """A fresh Llama with three rows after the vocabulary: pad, bot and eot, as CODI lays them out.

    Args:
        tokenizer: gives the vocabulary's size and the special ids.
        **shape: keyword arguments of `LlamaConfig` (hidden_size, num_hidden_layers, ...).
    """
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(tokenizer) + 3,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
        **shape,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model
