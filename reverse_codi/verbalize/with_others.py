"""A training in several workers: what the first one sends, and what the others do.

The first worker runs the method, and reaches a trainer now and then. There it writes the policy down and
sends the others a job, by which they build the same trainer. DistributedDataParallel, which the Trainer
brings, then averages the gradients of all in each step. After the last step every worker holds the same
policy, and the others forget theirs.

Memory: each worker holds the reasoner, the adapter with its optimizer, and the bank of vectors: N x S x d
numbers, 344 MB for 42,000 thoughts of width 2,048. What is sent is the bank and the encoded texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from reverse_codi.processes.workers import is_first, n_workers, sent
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.verbalize.policy import Policy

SHARED = "shared-policy"
"""The folder that a policy is handed on in; it has to lie where every worker can read it."""


class Job(Protocol):
    """What another worker does in a training, given its own frozen reasoner and the run's recipe.

    It is sent by pickle, so it holds no function; those of a recipe each worker has from its start.
    """

    def __call__(self, reasoner: CodiReasoner, recipe: Recipe) -> None:
        """Take part from the first to the last step."""
        ...


@dataclass(frozen=True)
class SharedPolicy:
    """A policy as another worker loads it.

    Attributes:
        folder: adapter and configuration.
        vectors: [N, d], the bank in use.
    """

    folder: Path
    vectors: Tensor

    @contextmanager
    def loaded(self, reasoner: CodiReasoner) -> Iterator[Policy]:
        """The policy, with its bank in use within the block."""
        policy = Policy.load(self.folder, reasoner, trainable=True)
        with policy.embedding.bank(self.vectors):
            yield policy


@contextmanager
def with_others(policy: Policy, out: Path, job: Callable[[SharedPolicy], Job]) -> Iterator[None]:
    """Have the other workers, where there are any, take part in the training of the block.

    Args:
        policy: as it is before training; its bank is in use.
        out: folder of the training.
        job: makes what the others do.
    """
    if n_workers() == 1 or not is_first():
        yield
        return
    folder = out / SHARED
    policy.save(folder)
    sent(job(SharedPolicy(folder, policy.embedding.vectors)))
    yield
    shutil.rmtree(folder)


def take_part(recipe: Recipe) -> None:
    """Do the jobs that the first worker sends, until it sends none; the reasoner is loaded for the first."""
    reasoner: CodiReasoner | None = None
    while (job := sent()) is not None:
        reasoner = reasoner or load_reasoner(recipe.reasoner)
        job(reasoner, recipe)
