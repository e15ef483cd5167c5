"""A policy on its way from the trainer to the engines: a folder, and what its files were when sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from reverse_codi.rollout.errors import PolicyFilesError
from reverse_codi.storage.files import file_sha256
from reverse_codi.trainers.checkpoints import ADAPTER_CONFIG, POLICY_WEIGHTS

FILES = (ADAPTER_CONFIG, POLICY_WEIGHTS)
"""What engines read of a folder."""


def digest_of(folder: str | Path) -> str:
    """SHA-256 of the files that engines read; one that is missing counts as empty."""
    files = (Path(folder, name) for name in FILES)
    parts = [file_sha256(file) if file.is_file() else "" for file in files]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def check(folder: str | Path, digest: str) -> None:
    """Refuse files that another process sees otherwise than they were written.

    Raises:
        PolicyFilesError: they are not what `digest` was taken of.
    """
    if digest_of(folder) != digest:
        raise PolicyFilesError(
            f"the files in {folder} are not those that the trainer wrote: something changed them, or the "
            "disk that actors read is damaged or behind (a network file system's cache)"
        )


@dataclass(frozen=True)
class PolicyFiles:
    """One version of a policy.

    Attributes:
        folder: a PEFT adapter, by its whole path.
        version: of the policy.
        digest: of its files, see `digest_of`.
    """

    folder: str
    version: int
    digest: str

    @classmethod
    def of(cls, folder: str | Path, version: int) -> Self:
        """The policy in a folder as it is now."""
        path = Path(folder).resolve()
        return cls(str(path), version, digest_of(path))

    def load(self, actor: Any) -> Any:
        """Ask an actor to load it; returns the ObjectRef of the version that it acknowledges."""
        return actor.load_policy.remote(self.folder, self.version, self.digest)
