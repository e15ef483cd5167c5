"""A public checkpoint in the project's own format: merged, renamed, every tensor accounted for.

Nothing is written before everything has been checked, and nothing is loaded but what was written: readers,
engines and actors on other machines all open the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from reverse_codi.files import strict_json
from reverse_codi.reasoners.checkpoints.accounting import check_fits, copies, shapes, skeleton
from reverse_codi.reasoners.checkpoints.description import Description, describe
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import Weights, read_weights, weight_files
from reverse_codi.reasoners.checkpoints.layouts import Family, Parts, recognise, split
from reverse_codi.reasoners.checkpoints.lora import Merged, merge
from reverse_codi.reasoners.checkpoints.prompting import layout_of, prompting
from reverse_codi.reasoners.checkpoints.report import Report
from reverse_codi.reasoners.checkpoints.source import Source
from reverse_codi.reasoners.codi_config import CONFIG_FILE, PROJECTION_FILE, WEIGHTS_FILE, CodiConfig
from reverse_codi.reasoners.latent_lm import projection

REPORT_FILE = "import.json"
N_THOUGHTS = 6
"""K of every checkpoint that is public."""
FORMAT = 1
"""Moves when the same checkpoint would be converted otherwise, so that old conversions are not used."""


@dataclass(frozen=True)
class Converted:
    """A reasoner as files are made of it.

    Attributes:
        config: of the language model.
        model: its tensors.
        projection: tensors of `prj`; empty without one.
        reasoner: configuration of the reasoner.
        tokenizer: its tokenizer.
        report: what was done.
    """

    config: PretrainedConfig
    model: dict[str, Tensor]
    projection: dict[str, Tensor]
    reasoner: CodiConfig
    tokenizer: PreTrainedTokenizerBase
    report: Report


def converted_folder(source: Source, checkpoint: Path) -> Path:
    """The own format of a checkpoint, made on the first call.

    Args:
        source: what the recipe says.
        checkpoint: where it lies.

    Raises:
        CheckpointError: it fits no layout, or a tensor, file or token is missing, unknown or misshapen.
    """
    files = weight_files(checkpoint)
    out = Path(source.converted) / f"{checkpoint.resolve().name}-{_key(source, checkpoint, files)}"
    if (out / REPORT_FILE).is_file():
        return out
    weights = read_weights(files)
    recognise(weights.tensors, weights.source)  # before anything is asked of a base
    write(convert(source, weights, describe(source, checkpoint)), out)
    return out


def _key(source: Source, checkpoint: Path, files: list[Path]) -> str:
    """Changes with the recipe's words on the checkpoint and with any of its files."""
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint
    read = sorted({*files, *folder.glob("*.json")})
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in read]
    said = source.model_dump(mode="json", include=set(Source.model_fields) - {"converted"})
    return hashlib.sha256(json.dumps([FORMAT, said, stamps]).encode()).hexdigest()[:12]


def convert(source: Source, weights: Weights, description: Description) -> Converted:
    """Account for every tensor and merge; nothing is written."""
    family = recognise(weights.tensors, weights.source)
    parts = split(family, weights.tensors)
    where = _Where(weights, family)
    config, tokenizer = description.config, description.tokenizer
    layout = layout_of(family, tokenizer, source.layout)

    rows = _rows(config, parts, where)
    fields = prompting(layout, tokenizer, config, rows, str(description.tokenizer_from))
    config.vocab_size = rows
    model = skeleton(config)
    merged = merge(parts.model, model, source.lora_alpha, where.model)
    tensors, tied = _untied(merged.tensors, model)
    expected = {
        name: shape for name, shape in shapes(model.state_dict()).items() if name not in copies(model)
    }
    check_fits(expected, shapes(tensors), weights.source, where.model)
    if parts.unknown:
        names = ", ".join(f"{weights.origin[name].name}: {name}" for name in sorted(parts.unknown)[:8])
        raise CheckpointError(f"{weights.source}: {len(parts.unknown)} unknown tensors ({names})")
    _check_copies(parts, tensors, model)
    width = _projection_width(family, parts, config.hidden_size, weights)

    dtype: torch.dtype = getattr(torch, source.dtype)
    config.dtype, config.architectures = dtype, [type(model).__name__]
    if source.question_format is not None:
        fields["question_format"] = source.question_format
    reasoner = CodiConfig(
        n_thoughts=source.n_thoughts or N_THOUGHTS,
        projection_width=width,
        reference_masking=source.reference_masking,
        **fields,
    )
    return Converted(
        config,
        {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()},
        {name: tensor.to(dtype).contiguous() for name, tensor in parts.projection.items()},
        reasoner,
        tokenizer,
        _report(
            source, weights, description, f"{layout} ({family.name})", parts, merged, tensors, tied, reasoner
        ),
    )


class _Where:
    """Names tensors as their file does."""

    def __init__(self, weights: Weights, family: Family) -> None:
        self.weights, self.family = weights, family

    def model(self, name: str) -> str:
        """A tensor of the language model, by its plain name or PEFT's."""
        prefix = self.family.model
        stem, dot, kind = name.rpartition(".")
        for candidate in (prefix + name, f"{prefix}{stem}.base_layer{dot}{kind}"):
            if candidate in self.weights.origin:
                return f"{self.weights.origin[candidate].name}: {candidate}"
        return prefix + name


def _rows(config: PretrainedConfig, parts: Parts, where: _Where) -> int:
    """Rows of the checkpoint's input embedding."""
    model = skeleton(config)
    table = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is table) + ".weight"
    if name not in parts.model:
        raise CheckpointError(f"{where.weights.source}: {where.model(name)} is missing: the input embedding")
    return len(parts.model[name])


def _untied(tensors: Mapping[str, Tensor], model: PreTrainedModel) -> tuple[dict[str, Tensor], str]:
    """The tensors without copies of tied ones, and what to say of those."""
    rest, said = dict(tensors), ""
    for name, kept in copies(model).items():
        other = rest.pop(name, None)
        if other is not None and kept in rest:
            same = other.shape == rest[kept].shape and torch.equal(other, rest[kept])
            said = f"{name} is {'the same as' if same else 'other than'} {kept}, which its authors use too"
    return rest, said


def _check_copies(parts: Parts, tensors: Mapping[str, Tensor], model: PreTrainedModel) -> None:
    """Coconut's second name of the embeddings must say the same as the first."""
    table = model.get_input_embeddings()
    first = next(name for name, module in model.named_modules() if module is table) + ".weight"
    for name, tensor in parts.aside.get("second name of the input embeddings", {}).items():
        if tensor.shape != tensors[first].shape or not torch.equal(tensor, tensors[first]):
            raise CheckpointError(f"{name} is no copy of {first}: the checkpoint was put together from two")


def _projection_width(family: Family, parts: Parts, width: int, weights: Weights) -> int:
    """Hidden width of the projection, whose tensors must all be there; 0 for a family without one."""
    if family.projection is None:
        return 0
    first = parts.projection.get("1.weight")
    hidden = len(first) if first is not None else width
    with torch.device("meta"):
        expected = shapes(projection(width, hidden).state_dict())
    prefix = family.projection
    check_fits(
        {prefix + name: shape for name, shape in expected.items()},
        {prefix + name: shape for name, shape in shapes(parts.projection).items()},
        weights.source,
    )
    return hidden


def _report(
    source: Source,
    weights: Weights,
    description: Description,
    layout: str,
    parts: Parts,
    merged: Merged,
    tensors: Mapping[str, Tensor],
    tied: str,
    reasoner: CodiConfig,
) -> Report:
    low = [tensor for name, tensor in parts.model.items() if name.endswith(".lora_A.default.weight")]
    aside = [tensor for kind in parts.aside.values() for tensor in kind.values()]
    return Report(
        source=source.path,
        files=[file.name for file in weights.files],
        layout=layout,
        config_from=str(description.config_from),
        tokenizer_from=str(description.tokenizer_from),
        n_tensors=len(weights.tensors),
        merged=list(merged.modules),
        rank=len(low[0]) if low else 0,
        alpha=source.lora_alpha,
        aside={kind: len(named) for kind, named in parts.aside.items()},
        tied=tied,
        n_base=sum(tensor.numel() for tensor in tensors.values()),
        n_lora=merged.n_lora,
        n_projection=sum(tensor.numel() for tensor in parts.projection.values()),
        n_aside=sum(tensor.numel() for tensor in aside),
        prompting=reasoner.recorded(),
    )


def write(converted: Converted, out: Path) -> None:
    """Write the own format under a temporary name and rename it: a folder is whole or not there."""
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    converted.config.save_pretrained(temporary)
    converted.tokenizer.save_pretrained(temporary)
    save_file(converted.model, temporary / WEIGHTS_FILE, metadata={"format": "pt"})
    if converted.projection:
        save_file(converted.projection, temporary / PROJECTION_FILE)
    (temporary / CONFIG_FILE).write_text(strict_json(converted.reasoner.recorded(), indent=2) + "\n")
    (temporary / REPORT_FILE).write_text(strict_json(asdict(converted.report), indent=2) + "\n")
    if out.is_dir():  # another process was faster
        shutil.rmtree(temporary)
    else:
        temporary.rename(out)
