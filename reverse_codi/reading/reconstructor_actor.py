"""One reconstructor for a whole run: a Ray actor that all reward actors share, or a local object.

Shapes: N texts, d width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import ray
import torch
from pydantic import Field
from ray.exceptions import RayActorError
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerBase

from reverse_codi.reading.reconstructor import Reconstructor, Scale, saved_at
from reverse_codi.reading.reconstructor_network import ReconstructorSection
from reverse_codi.reasoners.codi import CodiConfig, CodiReasoner
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.config import Section

START_TIMEOUT_S = 120.0
TASK_RETRIES = 2


class CoTrainingSection(Section):
    """A reconstructor that is trained beside the verbalizer."""

    folder: str = ""
    """Folder of the start weights, as `Reconstructor.save` wrote them; "" means new ones. Use an absolute
    path if actors run on other machines."""
    out: str = ""
    """Folder where it is saved; "" means nowhere, and then a restarted actor begins again. Training continues
    what is already here, unless that is older than `folder`."""
    save_every: int = Field(default=10, ge=1)
    """Updates between two saves."""
    cpus: float = Field(default=1.0, ge=0)
    """CPUs, and therefore threads, of its actor, in addition to those of the rollout and reward actors."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs of its actor; if above 0, it runs on the GPU."""
    reconstructor: ReconstructorSection = ReconstructorSection()
    """Shape and training."""


@dataclass(frozen=True)
class Reconstructed:
    """The result of one call.

    Attributes:
        predicted: [N, d] predictions of the weights before the update.
        loss: mean squared error over the site's variance, also before the update.
        updates: AdamW steps so far, this one included.
    """

    predicted: Tensor
    loss: float
    updates: int


@dataclass(frozen=True)
class ReasonerParts:
    """A reasoner as data, because transformers' hooks on a used model cannot be pickled.

    Attributes:
        lm: configuration of the language model.
        weights: of the language model and the projection, on the CPU.
        tokenizer: its tokenizer.
        config: its configuration.
        batch_size: rows in one forward pass.
    """

    lm: PretrainedConfig
    weights: dict[str, Tensor]
    tokenizer: PreTrainedTokenizerBase
    config: CodiConfig
    batch_size: int

    @classmethod
    def of(cls, reasoner: CodiReasoner) -> Self:
        """The parts of a reasoner."""
        weights = {name: value.cpu() for name, value in reasoner.model.state_dict().items()}
        return cls(reasoner.lm.config, weights, reasoner.tokenizer, reasoner.config, reasoner.batch_size)

    def build(self, device: str) -> CodiReasoner:
        """Build the same reasoner, with the same content hash."""
        lm = AutoModelForCausalLM.from_config(self.lm, dtype=self.lm.dtype)
        config = self.config
        prj = projection(lm.config.hidden_size, config.projection_width)
        model = LatentLM(lm, prj, config.n_thoughts, config.bot_id, config.eot_id)
        model.load_state_dict(self.weights)
        return CodiReasoner(model.to(device), self.tokenizer, config, self.batch_size)


class CoTraining:
    """A reconstructor that first predicts and then learns.

    Args:
        reasoner: the reasoner that it is made of.
        sites: every site, with its scale.
        section: start weights, saves and hyperparameters.

    Raises:
        FileNotFoundError: `section.folder` holds no reconstructor.
        ReconstructorError: the saved one was made of another reasoner, or has another shape.
    """

    def __init__(
        self, reasoner: CodiReasoner, sites: Mapping[Site, Scale], section: CoTrainingSection
    ) -> None:
        self.section = section
        found = [folder for folder in (section.folder, section.out) if folder and saved_at(folder)]
        if section.folder and section.folder not in found:
            raise FileNotFoundError(f"folder {section.folder!r} holds no reconstructor; fit one, or drop it")
        # Newest first, so that what this run learned survives a restart.
        start = max(found, key=saved_at, default="")
        training = section.reconstructor
        self.reconstructor = (
            Reconstructor.load(start, reasoner, training)
            if start
            else Reconstructor.new(reasoner, sites, training)
        )

    def step(self, texts: Sequence[str], sites: Sequence[Site], targets: Tensor) -> Reconstructed:
        """Predict thoughts [N, d] of N >= 1 texts, then learn from their targets [N, d].

        Both happen in one call, so that no text is scored by weights that were trained on it in the same
        step.
        """
        predicted = self.reconstructor.predict(texts, sites)
        loss = self.reconstructor.update(texts, sites, targets)
        updates = self.reconstructor.updates
        if self.section.out and updates % self.section.save_every == 0:
            self.reconstructor.save(self.section.out)
        return Reconstructed(predicted, loss, updates)


class CoTrainingActor(CoTraining):
    """`CoTraining` in a Ray actor."""

    def __init__(
        self, reasoner: ReasonerParts, sites: Mapping[Site, Scale], section: CoTrainingSection
    ) -> None:
        # As in reward actors: more threads than CPUs make torch processes wait for each other.
        torch.set_num_threads(max(1, int(section.cpus)))
        super().__init__(reasoner.build("cuda" if section.gpus > 0 else "cpu"), sites, section)

    def ready(self) -> bool:
        """Return once the actor has started."""
        return True


class SharedCoTraining:
    """The only `CoTrainingActor` of a run, which the first caller starts; it takes the same arguments.

    It lives as long as the process that started it, so that it never outlives a run. The next caller starts
    another one, which continues from `section.out`.
    """

    def __init__(
        self, reasoner: CodiReasoner, sites: Mapping[Site, Scale], section: CoTrainingSection
    ) -> None:
        self._arguments = (ReasonerParts.of(reasoner), dict(sites), section)
        # Of the weights too: runs that follow each other in one Ray session may use other reasoners.
        identity = f"{reasoner.content_hash} {section.model_dump_json()}"
        self.name = f"reconstructor-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        self.actor = self._find()

    def step(self, texts: Sequence[str], sites: Sequence[Site], targets: Tensor) -> Reconstructed:
        """See `CoTraining.step`."""
        try:
            return self._call(texts, sites, targets)
        except (
            RayActorError
        ):  # without its owner Ray does not restart it; an error of the code itself is another type
            self.actor = self._find()
            return self._call(texts, sites, targets)

    def _call(self, texts: Sequence[str], sites: Sequence[Site], targets: Tensor) -> Reconstructed:
        result: Reconstructed = ray.get(self.actor.step.remote(list(texts), list(sites), targets))
        return result

    def _find(self) -> Any:
        section = self._arguments[-1]
        options = {"max_restarts": -1, "max_task_retries": TASK_RETRIES}
        share = {"num_cpus": section.cpus, "num_gpus": section.gpus}
        remote = ray.remote(CoTrainingActor).options(name=self.name, get_if_exists=True, **options, **share)
        actor: Any = remote.remote(*self._arguments)
        answers = actor.ready.remote()
        answered, _ = ray.wait([answers], timeout=START_TIMEOUT_S)
        if not answered:
            wants = f"it wants {section.cpus:g} CPU and {section.gpus:g} GPU"
            fix = "lower its cpus, or those of other actors"
            raise RuntimeError(f"the reconstructor did not start in {START_TIMEOUT_S:g} s: {wants}; {fix}")
        ray.get(answers)
        return actor


def co_training(
    reasoner: CodiReasoner, sites: Mapping[Site, Scale], section: CoTrainingSection
) -> CoTraining | SharedCoTraining:
    """The shared actor if Ray runs, else a local object (notebooks); arguments as in `CoTraining`."""
    return (SharedCoTraining if ray.is_initialized() else CoTraining)(reasoner, sites, section)
