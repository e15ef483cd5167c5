"""The weight files of a checkpoint, and reading them without running anything that they hold."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from reverse_codi.reasoners.checkpoints.errors import CheckpointError

INDEX_SUFFIX = ".index.json"
TORCH_SUFFIXES = (".bin", ".pt", ".pth")


@dataclass(frozen=True)
class Weights:
    """Tensors and the file that each comes from.

    Attributes:
        tensors: by key, as stored.
        origin: the file of each key.
        files: every file that was read.
    """

    tensors: dict[str, Tensor]
    origin: dict[str, Path]
    files: tuple[Path, ...]

    @property
    def source(self) -> str:
        """The files, for messages about tensors that none of them holds."""
        return ", ".join(map(str, self.files))


def weight_files(path: Path) -> list[Path]:
    """The weight files of a checkpoint: safetensors before pickles; a path that is a file is the one.

    Raises:
        CheckpointError: there are none, several that exclude one another, or a shard is missing.
    """
    if path.is_file():
        return [path]
    for suffixes in ((".safetensors",), TORCH_SUFFIXES):
        if indexes := [
            index for suffix in suffixes for index in sorted(path.glob(f"*{suffix}{INDEX_SUFFIX}"))
        ]:
            return _shards(_one(path, indexes))
        files = [file for suffix in suffixes for file in sorted(path.glob(f"*{suffix}"))]
        # training_args.bin is the Trainer's, and no state.
        if files := [file for file in files if file.name != "training_args.bin"]:
            return files if _numbered(files) else [_one(path, files)]
    # Coconut's own code saves its state without a suffix.
    return [_one(path, sorted(file for file in path.glob("checkpoint_*") if file.is_file()))]


def _numbered(files: Sequence[Path]) -> bool:
    return all("-of-" in file.name for file in files)


def _one(path: Path, files: list[Path]) -> Path:
    if not files:
        raise CheckpointError(
            f"{path} holds no weights: looked for *.safetensors, then *.bin, *.pt, *.pth, then checkpoint_*"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise CheckpointError(f"{path} holds several checkpoints ({names}); name one: {files[-1]}")
    return files[0]


def _shards(index: Path) -> list[Path]:
    names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for name in names:
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{index.parent / name} is missing, though {index.name} lists it; fetch it")
    return [index.parent / name for name in names]


def read_weights(files: Sequence[Path]) -> Weights:
    """Read every tensor of some files.

    Raises:
        CheckpointError: a file is cut off, holds more than tensors, or a key stands in two files.
    """
    tensors: dict[str, Tensor] = {}
    origin: dict[str, Path] = {}
    for file in files:
        for name, tensor in read_tensors(file).items():
            if name in origin:
                raise CheckpointError(f"{name} stands in {origin[name]} and in {file}; keep one")
            tensors[name], origin[name] = tensor, file
    return Weights(tensors, origin, tuple(files))


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read one file: safetensors, or a pickle that holds tensors only."""
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise CheckpointError(
                f"{file} is cut off, or no safetensors file ({error}); fetch it again"
            ) from None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is a pickle that holds more than tensors and may run code: it is not loaded "
            f"({str(error).splitlines()[0]}); ask its author for safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(
            f"{file} is cut off, or no torch file ({str(error).splitlines()[0]}); fetch it again"
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds a {type(state).__name__}, not tensors by name")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{file}: {name} is a {type(value).__name__}, not a tensor")
    return dict(state)


def shapes_in(file: Path) -> dict[str, torch.Size]:
    """Names and shapes of a safetensors file, from its header alone."""
    try:
        with safe_open(file, "pt") as opened:
            return {name: torch.Size(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise CheckpointError(
            f"{file} is cut off, or no safetensors file ({error}); fetch it again"
        ) from None
