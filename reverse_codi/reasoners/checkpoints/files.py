"""The weight files of a checkpoint, read without running any code from them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from reverse_codi.errors import blamed_on
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.storage.files import is_plain_name
from reverse_codi.storage.json_files import read_object
from reverse_codi.utils.shown import brief, cut

INDEX_SUFFIX = ".index.json"
TORCH_SUFFIXES = (".bin", ".pt", ".pth")
# Files that the Trainer, Accelerate and DeepSpeed write beside the weights.
_NO_STATE = (
    "training_args.bin",
    "optimizer*",
    "scheduler*",
    "scaler*",
    "rng_state*",
    "*_optim_states.pt",
)
_POINTER = b"version https://git-lfs.github.com/spec/"
# Prefixes that torch.compile, DistributedDataParallel and FSDP put before names.
_WRAPPER = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PARALLEL = "module."


@dataclass(frozen=True)
class Weights:
    """Tensors and the file that each comes from.

    Attributes:
        tensors: by key, without the prefix of a wrapper.
        origin: the file of each key.
        files: every file that was read.
        stored: the keys as stored, if a wrapper changed them.
    """

    tensors: dict[str, Tensor]
    origin: dict[str, Path]
    files: tuple[Path, ...]
    stored: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The files, for messages about tensors that none of them holds."""
        return ", ".join(map(str, self.files))

    def place(self, key: str) -> str:
        """The name of a tensor in messages: its file, and its key there."""
        return f"{self.origin[key].name}: {self.stored.get(key, key)}"

    @property
    def wrappers(self) -> tuple[str, ...]:
        """Prefixes that were removed from the stored keys."""
        found = [_WRAPPER.findall(name) or [name.removesuffix(key)] for key, name in self.stored.items()]
        return tuple(sorted({prefix for prefixes in found for prefix in prefixes}))


def weight_files(path: Path) -> list[Path]:
    """The weight files of a checkpoint: safetensors before pickles; or the path itself, if it is a file.

    Raises:
        CheckpointError: there are none, several exclude one another, or a shard is missing.
    """
    if path.is_file():
        return [path]
    for suffixes in ((".safetensors",), TORCH_SUFFIXES):
        if indexes := [
            index for suffix in suffixes for index in sorted(path.glob(f"*{suffix}{INDEX_SUFFIX}"))
        ]:
            return _shards(_one(path, indexes))
        files = [file for suffix in suffixes for file in path.glob(f"*{suffix}") if not _no_state(file)]
        if files:
            files.sort(key=_counted)
            return files if _numbered(files) else [_one(path, files)]
    # Coconut's own code saves its state without a suffix.
    return [_one(path, sorted((file for file in path.glob("checkpoint_*") if file.is_file()), key=_counted))]


def _no_state(file: Path) -> bool:
    return any(fnmatch(file.name, pattern) for pattern in _NO_STATE)


def _counted(path: Path) -> list[tuple[int, str]]:
    """Sorts names by the numbers in them: checkpoint_2 before checkpoint_10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _numbered(files: Sequence[Path]) -> bool:
    return all("-of-" in file.name for file in files)


def _one(path: Path, files: list[Path]) -> Path:
    if not files:
        inner = sorted((folder for folder in path.glob("checkpoint-*") if folder.is_dir()), key=_counted)
        hint = f"; name one of its {len(inner)} checkpoints: {inner[-1]}" if inner else ""
        raise CheckpointError(
            f"{path} holds no weights: looked for *.safetensors, then *.bin, *.pt, *.pth (not those of "
            f"optimizers and random states), then checkpoint_*{hint}"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise CheckpointError(f"{path} holds several checkpoints ({names}); name one: {files[-1]}")
    return files[0]


def _shards(index: Path) -> list[Path]:
    check_fetched(index)
    names = sorted(set(weight_map(index).values()))
    for name in names:
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{index.parent / name} is missing, though {index.name} lists it; fetch it")
    return [index.parent / name for name in names]


def weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor, by the index of a checkpoint in several files.

    Raises:
        CheckpointError: it is no index, or names a file that does not lie beside it.
    """
    found = read_object(index).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{index} has no weight_map of tensors and files; fetch it again")
    for tensor, name in found.items():
        if not isinstance(name, str) or not is_plain_name(name):
            raise CheckpointError(
                f"{index}: {cut(tensor)} lies in {brief(name)}, which is no name of a file beside it"
            )
    return found


def check_fetched(file: Path) -> None:
    """Refuse a Git LFS pointer, which stands in a clone in place of a large file.

    Raises:
        CheckpointError: the file is a pointer.
    """
    with file.open("rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{file} is a Git LFS pointer, not the file itself; run `git lfs pull` in {file.parent}, or "
                "fetch it from the hub"
            )


def read_weights(files: Sequence[Path]) -> Weights:
    """Read every tensor of some files.

    Raises:
        CheckpointError: a file is truncated or holds more than tensors, or two files have the same key.
    """
    read: dict[str, Tensor] = {}
    origin: dict[str, Path] = {}
    for file in files:
        for name, tensor in read_tensors(file).items():
            if name in origin:
                raise CheckpointError(f"{name} stands in {origin[name]} and in {file}; keep one")
            read[name], origin[name] = tensor, file
    plain = unwrapped(list(read))
    stored: dict[str, str] = {}
    for name, key in zip(read, plain, strict=True):
        if key in stored:
            raise CheckpointError(f"{stored[key]} and {name} are both {key} without their prefixes; keep one")
        stored[key] = name
    return Weights(
        {key: read[name] for key, name in stored.items()},
        {key: origin[name] for key, name in stored.items()},
        tuple(files),
        {key: name for key, name in stored.items() if key != name},
    )


def unwrapped(names: Sequence[str]) -> list[str]:
    """Names without the prefixes of torch.compile, DistributedDataParallel and FSDP.

    A model may use the name `module.` itself, so it is removed only if every name begins with it.
    """
    while True:
        plain = [_WRAPPER.sub("", name) for name in names]
        if plain and all(name.startswith(_PARALLEL) for name in plain):
            plain = [name.removeprefix(_PARALLEL) for name in plain]
        if plain == list(names):
            return plain
        names = plain


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read one file: safetensors, or a pickle that holds tensors only."""
    check_fetched(file)
    if file.suffix == ".safetensors":
        with _safetensors(file):
            return load_file(file)
    with blamed_on(file, CheckpointError, "fetch it again", "is cut off, or no torch file"):
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{file} is a pickle that holds more than tensors and may run code: it is not loaded "
                f"({cut(str(error).partition(chr(10))[0])}); ask its author for safetensors"
            ) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds a {type(state).__name__}, not tensors by name")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{file}: {name} is a {type(value).__name__}, not a tensor")
    return dict(state)


def shapes_in(file: Path) -> dict[str, torch.Size]:
    """Names and shapes of a safetensors file, from its header alone."""
    check_fetched(file)
    with _safetensors(file), safe_open(file, "pt") as opened:
        return {name: torch.Size(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 - no mapping


def _safetensors(file: Path) -> AbstractContextManager[None]:
    return blamed_on(file, CheckpointError, "fetch it again", "is cut off, or no safetensors file")
