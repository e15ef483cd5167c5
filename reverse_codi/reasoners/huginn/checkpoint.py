"""The public files of a recurrent-depth model: config.json and safetensors, in one file or in shards.

The checkpoint on the hub (77 tensors, 3,911,400,096 numbers) holds two tensors that are not parameters: a
copy of the tied head, and the table of rotary positions. Both are recognised by name, compared with what they
repeat, and set aside. 3,564,976,800 parameters are left.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from reverse_codi.reasoners.checkpoints.accounting import check_finite
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import shapes_in, weight_map
from reverse_codi.reasoners.checkpoints.source import fetched
from reverse_codi.reasoners.huginn.config import CONFIG_FILE, HuginnConfig
from reverse_codi.reasoners.huginn.model import HuginnModel, rotation
from reverse_codi.storage.files import strict_json, whole_file, write_whole

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
HEAD, ROTARY, TABLE = "lm_head.weight", "freqs_cis", "transformer.wte.weight"
# Tensors that no other layout has.
LANDMARKS = ("transformer.adapter.weight", "transformer.core_block.0.attn.Wqkv.weight")
# bfloat16 keeps a cosine to 2^-9; another base or another layout is off by far more.
_ROTARY_TOLERANCE = 1e-2


def is_recurrent_depth(keys: Iterable[str]) -> bool:
    """Whether the tensors of a checkpoint have the names of a recurrent-depth model."""
    return set(keys) >= set(LANDMARKS)


def local_folder(model: str) -> Path:
    """The folder of a checkpoint: the path itself, or the local copy of a hub id, which is fetched if needed.

    Raises:
        CheckpointError: neither a folder nor a model on the hub has this name, or the hub cannot be reached.
    """
    # Only weights and tokenizer: the repository's Python files are never run.
    folder = fetched(model, None, ["*.json", "*.safetensors"], "MODEL")
    if not folder.is_dir():
        raise CheckpointError(f"{model} is no folder; give a folder or a hub id (owner/name)")
    return folder


def tensor_files(folder: Path) -> dict[str, Path]:
    """The file of every tensor of a checkpoint, by name.

    Raises:
        FileNotFoundError: there is no safetensors file.
        CheckpointError: a file is damaged, or index and shards disagree.
    """
    if (folder / INDEX).is_file():
        index = weight_map(folder / INDEX)
        shards = [folder / file for file in sorted(set(index.values()))]
        found = {name: shard for shard in shards for name in _names(shard)}
        if astray := [name for name, file in index.items() if found.get(name) != folder / file]:
            listed = "; ".join(f"{name} is missing in {index[name]}" for name in sorted(astray))
            raise CheckpointError(f"{folder / INDEX}: {listed}")
        return found
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder} holds neither {INDEX} nor {WEIGHTS}; only safetensors are loaded")
    return dict.fromkeys(_names(folder / WEIGHTS), folder / WEIGHTS)


def _names(file: Path) -> list[str]:
    if not file.is_file():
        raise CheckpointError(f"{file} is missing, which {INDEX} lists; fetch the checkpoint again")
    return list(shapes_in(file))


def load_model(folder: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> HuginnModel:
    """Load a checkpoint, frozen and in evaluation mode, after every name and shape has been checked.

    Args:
        folder: config.json and safetensors.
        device: where the weights go.
        dtype: of the weights; as the embedding table is stored if None.

    Raises:
        FileNotFoundError: a file is missing.
        CheckpointError: a tensor is missing, unknown, has another shape, or differs from what it should
            repeat.
    """
    files = tensor_files(folder)
    if not is_recurrent_depth(files):
        keys = " and ".join(LANDMARKS)
        raise CheckpointError(f"{folder} holds no recurrent-depth model: looked for {keys}")
    config = HuginnConfig.read(folder / CONFIG_FILE)
    with torch.device("meta"):
        model = HuginnModel(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    copies: dict[str, tuple[int, ...]] = {ROTARY: (1, config.block_size, 1, config.head_width // 2, 2)}
    if config.tie_embeddings:
        copies[HEAD] = shapes[TABLE]
    _check_layout(shapes, copies, files, folder)
    tensors: dict[str, Tensor] = {}
    repeated: dict[str, Tensor] = {}
    for file in sorted(set(files.values())):
        with safe_open(file, "pt", device=device) as source:
            for name in source.keys():  # noqa: SIM118 - not a mapping
                if name in shapes:
                    tensors[name] = source.get_tensor(name)
                else:
                    repeated[name] = source.get_tensor(name)
    _check_copies(repeated, tensors[TABLE], config, folder)
    check_finite(tensors, lambda name: f"{files[name]}: {name}")
    kind = dtype or tensors[TABLE].dtype
    model.load_state_dict({name: tensor.to(kind) for name, tensor in tensors.items()}, assign=True)
    return model.requires_grad_(False).eval()


def _check_layout(
    shapes: dict[str, tuple[int, ...]],
    copies: dict[str, tuple[int, ...]],
    files: dict[str, Path],
    folder: Path,
) -> None:
    known = shapes | copies
    problems = [f"{name} is missing" for name in shapes.keys() - files.keys()]
    problems += [f"{name} in {files[name].name} is unknown" for name in files.keys() - known.keys()]
    for file in sorted(set(files.values())):
        with safe_open(file, "pt") as source:
            for name in source.keys() & known.keys():
                shape = tuple(source.get_slice(name).get_shape())
                if shape != known[name]:
                    problems.append(f"{name} in {file.name} has shape {shape}, not {known[name]}")
    if problems:
        raise CheckpointError(f"{folder}: " + "; ".join(sorted(problems)))


def _check_copies(copies: dict[str, Tensor], table: Tensor, config: HuginnConfig, folder: Path) -> None:
    if HEAD in copies and not torch.equal(copies[HEAD], table):
        raise CheckpointError(
            f"{folder}: {HEAD} differs from {TABLE}, but {CONFIG_FILE} has tie_embeddings; set that to false"
        )
    if ROTARY in copies:
        positions = torch.arange(config.block_size, device=table.device)[None]
        cosines_sines = rotation(positions, config).movedim(0, -1)  # [1, S, 1, d / 2H, 2]
        if (copies[ROTARY].float() - cosines_sines).abs().max() > _ROTARY_TOLERANCE:
            raise CheckpointError(f"{folder}: {ROTARY} is not that of rope_base {config.rope_base:g}")


def save_model(model: HuginnModel, folder: Path) -> None:
    """Write config.json and model.safetensors in the public layout."""
    write_whole(folder / CONFIG_FILE, strict_json(model.config.values(), indent=2) + "\n")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
