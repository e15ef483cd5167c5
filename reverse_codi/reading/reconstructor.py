"""A reader that is trained along with the verbalizer: text in, thought out.

The reconstructor of natural language autoencoders: a copy of the reasoner's language model, cut after some
layers, with a LoRA and one linear head a site. It needs no linear relation between read states and thoughts,
and so no frozen map; the price is that it learns whatever code the verbalizer writes, sense or not.

Shapes: N texts, U distinct texts, B rows of a batch, w the language model's width, d the thoughts' width.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from reverse_codi.config import Section
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.sites import Site

FILE = "reconstructor.safetensors"
# Heads begin this near 0, so that the first prediction is the site's mean, yet gradients reach the LoRA.
HEAD_STD = 1e-3
# A batch of degenerate texts in early RL must not throw the weights far off.
MAX_GRADIENT_NORM = 1.0


class ReconstructorError(ValueError):
    """A reconstructor does not fit what it is used with."""


class ReconstructorSection(Section):
    """The co-trained reader."""

    layers: int = Field(default=0, ge=0)
    """First transformer layers of the language model that are kept; 0 for all."""
    rank: int = Field(default=16, gt=0)
    """LoRA rank."""
    alpha: int = Field(default=32, gt=0)
    """LoRA alpha."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW's, constant: the texts it reads never stop changing."""
    batch_size: int = Field(default=128, gt=0)
    """Texts a forward pass, and texts a step where it is fitted beforehand."""
    steps: int = Field(default=500, ge=0)
    """Steps where it is fitted beforehand; those beside RL are not counted here."""
    seed: int = 0
    """Of first weights and data order."""


@dataclass(frozen=True)
class Scale:
    """How a site's thoughts are standardized: one mean vector, one scalar deviation.

    Attributes:
        mean: [d].
        std: root of the mean squared distance to `mean` per dimension.
    """

    mean: Tensor
    std: float

    @classmethod
    def of(cls, thoughts: Tensor, mean: Tensor | None = None) -> Self:
        """The scale of thoughts [N, d], about `mean` [d] if it is given.

        Raises:
            ReconstructorError: no thoughts, or all alike.
        """
        centre = thoughts.mean(0) if mean is None else mean
        std = (thoughts - centre).square().mean().sqrt().item()
        if not std > 0:  # NaN where there are none
            problem = f"{len(thoughts)} thoughts have a standard deviation of {std}"
            raise ReconstructorError(f"{problem}; give some that differ")
        return cls(centre.float().cpu(), std)


class Reconstructor:
    """Predicts thoughts from texts and learns to; `new` and `load` make one.

    Args:
        reasoner: tokenizes and pads; its weights stay as they are.
        lm: cut language model with a LoRA.
        heads: one linear layer a site, [2w] to [d].
        scales: one a site.
        section: hyperparameters.
        updates: AdamW steps so far.
    """

    def __init__(
        self,
        reasoner: CodiReasoner,
        lm: nn.Module,
        heads: nn.ModuleDict,
        scales: Mapping[Site, Scale],
        section: ReconstructorSection,
        updates: int = 0,
    ) -> None:
        self.reasoner = reasoner
        # Evaluation mode in training too: with dropout a text's score would depend on chance.
        self.module = nn.ModuleDict({"lm": lm, "heads": heads}).eval()
        self.scales = dict(scales)
        self.section = section
        self.updates = updates
        self.optimizer = torch.optim.AdamW(self._trained().values(), lr=section.learning_rate)

    @classmethod
    def new(
        cls, reasoner: CodiReasoner, sites: Mapping[Site, Scale], section: ReconstructorSection
    ) -> Self:
        """One that predicts about each site's mean, on a copy of the reasoner's language model.

        Args:
            reasoner: the frozen reasoner.
            sites: every site that may be asked for, with its scale.
            section: hyperparameters.

        Raises:
            ReconstructorError: the language model has fewer layers than `section.layers`.
        """
        lora = LoraConfig(
            r=section.rank,
            lora_alpha=section.alpha,
            target_modules="all-linear",
            task_type="FEATURE_EXTRACTION",
        )
        with torch.random.fork_rng():  # the caller's random state stays as it is
            torch.manual_seed(section.seed)
            lm = get_peft_model(first_layers(reasoner.lm, section.layers), lora)
            heads = nn.ModuleDict(
                {str(site): nn.Linear(2 * reasoner.width, len(scale.mean)) for site, scale in sites.items()}
            )
            for head in heads.values():
                nn.init.normal_(cast(nn.Linear, head).weight, std=HEAD_STD)
                nn.init.zeros_(cast(nn.Linear, head).bias)
        return cls(reasoner, lm, heads.to(reasoner.device), sites, section)

    @torch.no_grad()
    def predict(self, texts: Sequence[str], sites: Sequence[Site]) -> Tensor:
        """The thoughts [N, d] that texts stand for, on the CPU; each distinct text is read once.

        Raises:
            ReconstructorError: a site without a head.
        """
        scale = self._scale(sites)
        rows = {text: row for row, text in enumerate(dict.fromkeys(text.strip() for text in texts))}
        features = torch.empty(len(rows), 2 * self.reasoner.width, device=self.reasoner.device)
        for batch, ids in self._batches(list(rows)):
            features[batch] = self._features(ids)
        own = features[[rows[text.strip()] for text in texts]]
        return self._standardized(own, sites).cpu() * scale.std + scale.mean

    def update(self, texts: Sequence[str], sites: Sequence[Site], targets: Tensor) -> float:
        """One AdamW step on the mean squared error over the site's variance, and that error before it.

        Args:
            texts: N texts, at least one.
            sites: the site of each.
            targets: [N, d] the thoughts that they stand for.
        """
        scale = self._scale(sites)
        wanted = ((targets.float().cpu() - scale.mean) / scale.std).to(self.reasoner.device)
        self.optimizer.zero_grad()
        total = 0.0
        with torch.enable_grad():  # scoring may run without
            for batch, ids in self._batches([text.strip() for text in texts]):
                predicted = self._standardized(self._features(ids), [sites[i] for i in batch])
                # Shares of the batch, so that its size sets memory only, not the step.
                loss = (predicted - wanted[batch]).square().mean() * (len(batch) / len(texts))
                loss.backward()
                total += loss.item()
        nn.utils.clip_grad_norm_(self._trained().values(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.updates += 1
        return total

    def fit(
        self,
        texts: Sequence[str],
        sites: Sequence[Site],
        targets: Tensor,
        steps: int,
        batch_size: int,
        seed: int,
    ) -> list[float]:
        """Train on random batches and return the loss of each step; arguments as in `update`."""
        generator = torch.Generator().manual_seed(seed)
        losses = []
        for _ in range(steps):
            rows = torch.randperm(len(texts), generator=generator)[:batch_size].tolist()
            losses.append(self.update([texts[i] for i in rows], [sites[i] for i in rows], targets[rows]))
        return losses

    # ---- files

    def save(self, folder: str | Path) -> None:
        """Write `reconstructor.safetensors` whole or not at all: trained weights and scales.

        Its header holds section, updates, time and reasoner hash as JSON: in one file they cannot part. The
        optimizer's state is not kept.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self._trained().items()}
        tensors |= {f"mean/{site}": scale.mean.contiguous() for site, scale in self.scales.items()}
        record = {
            "reasoner_hash": self.reasoner.content_hash,
            "section": self.section.model_dump(mode="json"),
            "stds": {str(site): scale.std for site, scale in self.scales.items()},
            "updates": self.updates,
            "saved_at": time.time(),
        }
        temporary = path / f".{FILE}.{os.getpid()}"
        save_file(tensors, temporary, metadata={"record": json.dumps(record)})
        os.replace(temporary, path / FILE)

    @classmethod
    def load(
        cls, folder: str | Path, reasoner: CodiReasoner, section: ReconstructorSection | None = None
    ) -> Self:
        """Read what `save` wrote.

        Args:
            folder: where it was saved.
            reasoner: the one that it was made of.
            section: how to go on training; layers, rank and alpha must be the saved ones'. As saved if None.

        Raises:
            FileNotFoundError: no such file.
            ReconstructorError: made of another reasoner, or of another shape.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {folder} holds no reconstructor")
        with safe_open(path, framework="pt") as file:
            record = json.loads(file.metadata()["record"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if record["reasoner_hash"] != reasoner.content_hash:
            raise ReconstructorError(
                f"{path} was made of the reasoner with hash {record['reasoner_hash']}, the one at hand has "
                f"{reasoner.content_hash}; load that reasoner, or start a new reconstructor"
            )
        saved = ReconstructorSection(**record["section"])
        for name in ("layers", "rank", "alpha"):
            if section is not None and getattr(section, name) != getattr(saved, name):
                problem = f"{path} has {name} {getattr(saved, name)}, not {getattr(section, name)}"
                raise ReconstructorError(f"{problem}; ask for that, or start a new reconstructor")
        scales = {
            Site.parse(site): Scale(tensors.pop(f"mean/{site}"), std) for site, std in record["stds"].items()
        }
        loaded = cls.new(reasoner, scales, section or saved)
        trained = loaded._trained()
        if trained.keys() != tensors.keys():
            raise ReconstructorError(
                f"{path} lacks or adds {sorted(trained.keys() ^ tensors.keys())}; start a new reconstructor"
            )
        with torch.no_grad():
            for name, value in tensors.items():
                trained[name].copy_(value)
        loaded.updates = record["updates"]
        return loaded

    # ---- inside

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in self.module.named_parameters() if weight.requires_grad}

    def _scale(self, sites: Sequence[Site]) -> RowScale:
        if unknown := sorted(set(sites) - self.scales.keys()):
            known = ", ".join(map(str, sorted(self.scales)))
            raise ReconstructorError(f"no head for site {unknown[0]}; there is one for {known}")
        if not sites:
            return RowScale(torch.empty(0, self.reasoner.width), torch.empty(0, 1))
        scales = [self.scales[site] for site in sites]
        stds = torch.tensor([scale.std for scale in scales])[:, None]
        return RowScale(torch.stack([scale.mean for scale in scales]), stds)

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Row numbers and token ids of texts of like length, `batch_size` at a time."""
        # Where there is nothing to read, the end-of-text token alone, as the frozen reader has it.
        rows = [self.reasoner.ids(text) or [self.reasoner.tokenizer.eos_token_id] for text in texts]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(order), self.section.batch_size):
            batch = order[start : start + self.section.batch_size]
            yield batch, [rows[i] for i in batch]

    def _features(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """The last token's state and the mean over tokens [B, 2w], each with mean 0 and variance 1."""
        ids, mask = self.reasoner.left_padded(rows)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.module["lm"](input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        states = out.last_hidden_state  # [B, T, w]
        real = mask[..., None].to(states.dtype)
        parts = [states[:, -1], (states * real).sum(1) / real.sum(1)]
        return torch.cat([F.layer_norm(part, part.shape[-1:]) for part in parts], -1)

    def _standardized(self, features: Tensor, sites: Sequence[Site]) -> Tensor:
        """Predicted thoughts [N, d] in units of their scales, from features [N, 2w]."""
        width = len(next(iter(self.scales.values())).mean)
        out = features.new_empty(len(sites), width)
        heads = cast(nn.ModuleDict, self.module["heads"])
        for site in dict.fromkeys(sites):
            rows = [row for row, other in enumerate(sites) if other == site]
            out[rows] = heads[str(site)](features[rows])
        return out


@dataclass(frozen=True)
class RowScale:
    """Scales of N rows.

    Attributes:
        mean: [N, d].
        std: [N, 1].
    """

    mean: Tensor
    std: Tensor


def first_layers(lm: PreTrainedModel, n: int) -> PreTrainedModel:
    """A float32 copy of a language model without output head and without layers after the n-th; all if 0.

    The norm after the last layer stays.

    Raises:
        ReconstructorError: it has fewer layers, or keeps them in no list of modules.
    """
    base = cast(PreTrainedModel, copy.deepcopy(lm.base_model).float())
    total = base.config.num_hidden_layers
    if n > total:
        raise ReconstructorError(f"layers = {n}: this language model has {total}; ask for at most that")
    for name, module in base.named_children():
        if isinstance(module, nn.ModuleList) and len(module) == total:
            setattr(base, name, module[: n or total])
            base.config.num_hidden_layers = n or total
            return base
    raise ReconstructorError(f"{type(base).__name__} has no list of its {total} layers; only such can be cut")
