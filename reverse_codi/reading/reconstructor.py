"""A reader that is trained beside the verbalizer: text in, thought out.

This is the decoder of a natural language autoencoder: a copy of the first layers of the reasoner's language
model, with a LoRA and one linear head for each site. It needs no linear relation between states and thoughts,
and so no frozen map. The price: it learns any code that the verbalizer writes, meaningful or not.

Shapes: N texts, U distinct texts, w the language model's width, d the thoughts' width.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reverse_codi.reading.reconstructor_network import (
    ReconstructorError,
    ReconstructorNetwork,
    ReconstructorSection,
)
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.hashing import weights_hash
from reverse_codi.reasoners.sites import Site
from reverse_codi.storage.files import DamagedError, strict_json, whole_file
from reverse_codi.utils.console import progress
from reverse_codi.utils.finite import check_loss

FILE = "reconstructor.safetensors"
CONTENT = "content"
"""Key of the hash of its tensors."""
# A batch of degenerate texts in early RL must not change the weights much.
MAX_GRADIENT_NORM = 1.0


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
            ReconstructorError: there are no thoughts, or all are equal.
        """
        centre = thoughts.mean(0) if mean is None else mean
        std = (thoughts - centre).square().mean().sqrt().item()
        if not std > 0:  # NaN where there are none
            problem = f"{len(thoughts)} thoughts have a standard deviation of {std}"
            raise ReconstructorError(f"{problem}; give some that differ")
        return cls(centre.float().cpu(), std)


class Reconstructor:
    """Predicts thoughts from texts, and learns to; `new` and `load` make one.

    Args:
        reasoner: tokenizes and pads; its weights stay as they are.
        network: on the reasoner's device.
        scales: one for each of the network's sites.
        section: hyperparameters.
        updates: AdamW steps so far.
    """

    def __init__(
        self,
        reasoner: CodiReasoner,
        network: ReconstructorNetwork,
        scales: Mapping[Site, Scale],
        section: ReconstructorSection,
        updates: int = 0,
    ) -> None:
        self.reasoner = reasoner
        self.network = network
        self.scales = dict(scales)
        self.section = section
        self.updates = updates
        self.optimizer = torch.optim.AdamW(network.trained.values(), lr=section.learning_rate)

    @classmethod
    def new(cls, reasoner: CodiReasoner, sites: Mapping[Site, Scale], section: ReconstructorSection) -> Self:
        """A new reconstructor, which predicts about the mean of each site.

        Args:
            reasoner: the frozen reasoner.
            sites: every site, with its scale.
            section: hyperparameters.

        Raises:
            ReconstructorError: the language model has fewer layers than `section.layers`.
        """
        network = ReconstructorNetwork(reasoner.lm, list(sites), reasoner.width, section)
        return cls(reasoner, network, sites, section)

    @torch.no_grad()
    def predict(self, texts: Sequence[str], sites: Sequence[Site]) -> Tensor:
        """The thoughts [N, d] that texts predict, on the CPU; each distinct text is read once.

        Raises:
            ReconstructorError: a site has no head.
        """
        mean, std = self._scale(sites)
        rows = {text: row for row, text in enumerate(dict.fromkeys(text.strip() for text in texts))}
        features = torch.empty(len(rows), 2 * self.reasoner.width, device=self.reasoner.device)
        for batch, ids in self._batches(list(rows)):
            features[batch] = self._features(ids)
        own = features[[rows[text.strip()] for text in texts]]
        return self.network(own, sites).cpu() * std + mean

    def update(self, texts: Sequence[str], sites: Sequence[Site], targets: Tensor) -> float:
        """Make one AdamW step on the mean squared error over the site's variance; return the error before it.

        Args:
            texts: N texts, at least one.
            sites: the site of each.
            targets: [N, d] the thoughts of the texts.

        Raises:
            NotFiniteError: the error is not finite; the weights are unchanged.
        """
        mean, std = self._scale(sites)
        wanted = ((targets.float().cpu() - mean) / std).to(self.reasoner.device)
        self.optimizer.zero_grad()
        total = 0.0
        with torch.enable_grad():  # scoring may run without
            for batch, ids in self._batches([text.strip() for text in texts]):
                predicted = self.network(self._features(ids), [sites[i] for i in batch])
                # Shares of the batch, so that its size sets memory only, not the step.
                loss = (predicted - wanted[batch]).square().mean() * (len(batch) / len(texts))
                loss.backward()
                total += loss.item()
        check_loss(total, self.updates + 1, "the reconstructor's learning_rate", self.section.learning_rate)
        nn.utils.clip_grad_norm_(self.network.trained.values(), MAX_GRADIENT_NORM)
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
        """Train on random batches and return the loss of each step; arguments as in `update`.

        The learning rate falls linearly to 0, and is restored afterwards.
        """
        generator = torch.Generator().manual_seed(seed)
        [group] = self.optimizer.param_groups
        rate, losses = group["lr"], []
        with progress("reconstructor", steps) as advance:
            for step in range(steps):
                group["lr"] = rate * (1 - step / steps)
                rows = torch.randperm(len(texts), generator=generator)[:batch_size].tolist()
                losses.append(self.update([texts[i] for i in rows], [sites[i] for i in rows], targets[rows]))
                advance(1)
        group["lr"] = rate
        return losses

    # ---- files

    def save(self, folder: str | Path) -> None:
        """Write `reconstructor.safetensors` atomically: trained weights and scales.

        Its header holds section, updates, time and reasoner hash as JSON, so that one file has everything.
        The optimizer's state is not kept.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.network.trained.items()}
        tensors |= {f"mean/{site}": scale.mean.contiguous() for site, scale in self.scales.items()}
        record = {
            "reasoner_hash": self.reasoner.content_hash,
            "section": self.section.model_dump(mode="json"),
            "stds": {str(site): scale.std for site, scale in self.scales.items()},
            "updates": self.updates,
            "saved_at": time.time(),
            CONTENT: weights_hash(tensors, {}),  # within, for a reader may come while it is written anew
        }
        with whole_file(path / FILE) as temporary:
            save_file(tensors, temporary, metadata={"record": strict_json(record)})

    @classmethod
    def load(
        cls, folder: str | Path, reasoner: CodiReasoner, section: ReconstructorSection | None = None
    ) -> Self:
        """Read what `save` wrote.

        Args:
            folder: where it was saved.
            reasoner: the reasoner that it was made of.
            section: hyperparameters for further training; layers, rank and alpha must be the saved ones. None
                takes the saved section.

        Raises:
            FileNotFoundError: no such file.
            ReconstructorError: it was made of another reasoner, or has another shape.
            DamagedError: it is cut, or not what was written.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {folder} holds no reconstructor")
        try:
            opened = safe_open(path, framework="pt")
        except SafetensorError as error:
            raise DamagedError(f"{path} is cut or damaged ({error}); remove it to fit it anew") from None
        with opened as file:
            record = json.loads(file.metadata()["record"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if CONTENT in record and record[CONTENT] != weights_hash(tensors, {}):  # not in version 0.1.0
            raise DamagedError(f"{path} was changed or damaged after it was written; remove it")
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
        trained = loaded.network.trained
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

    def _scale(self, sites: Sequence[Site]) -> tuple[Tensor, Tensor]:
        """Mean [N, d] and deviation [N, 1] of each row."""
        if unknown := sorted(set(sites) - self.scales.keys()):
            known = ", ".join(map(str, sorted(self.scales)))
            raise ReconstructorError(f"no head for site {unknown[0]}; there is one for {known}")
        if not sites:
            return torch.empty(0, self.reasoner.width), torch.empty(0, 1)
        scales = [self.scales[site] for site in sites]
        stds = torch.tensor([scale.std for scale in scales])[:, None]
        return torch.stack([scale.mean for scale in scales]), stds

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Row numbers and token ids of texts of similar length, `batch_size` at a time."""
        # An empty text is read as the end-of-text token alone, as by the frozen reader.
        rows = [self.reasoner.ids(text) or [self.reasoner.tokenizer.eos_token_id] for text in texts]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(order), self.section.batch_size):
            batch = order[start : start + self.section.batch_size]
            yield batch, [rows[i] for i in batch]

    def _features(self, rows: Sequence[Sequence[int]]) -> Tensor:
        ids, mask = self.reasoner.left_padded(rows)
        return self.network.features(ids, mask)


def saved_at(folder: str | Path) -> float:
    """When the reconstructor in a folder was saved, in seconds since 1970; 0 if there is none.

    The file's own date would change when the file is copied.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return 0.0
    with safe_open(path, framework="pt") as file:
        return float(json.loads(file.metadata()["record"])["saved_at"])
