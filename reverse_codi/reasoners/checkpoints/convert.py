"""A public checkpoint in the project's own format: merged, renamed, every tensor accounted for.

Everything is checked before anything is written. Readers, engines and actors on other machines load only the
written folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from reverse_codi.reasoners.checkpoints.accounting import (
    apart,
    check_finite,
    check_fits,
    copies,
    shapes,
    skeleton,
)
from reverse_codi.reasoners.checkpoints.base_fit import check_base
from reverse_codi.reasoners.checkpoints.description import Description, describe
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.facts import facts_of
from reverse_codi.reasoners.checkpoints.files import Weights, read_weights, weight_files
from reverse_codi.reasoners.checkpoints.layouts import Family, Parts, recognise, split
from reverse_codi.reasoners.checkpoints.lora import merge
from reverse_codi.reasoners.checkpoints.prompting import cue_of, layout_of, prompting
from reverse_codi.reasoners.checkpoints.report import Report
from reverse_codi.reasoners.checkpoints.vocabulary import (
    check_second_name,
    table_name,
    tied,
    vocabulary,
    without_padding,
)
from reverse_codi.reasoners.codi_config import CONFIG_FILE, PROJECTION_FILE, WEIGHTS_FILE, CodiConfig
from reverse_codi.reasoners.latent_lm import projection
from reverse_codi.recipe.reasoner import Source
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.storage.folders import whole_folder
from reverse_codi.storage.job import lasting_folder

REPORT_FILE = "import.json"
FORMAT = 2
"""Increases when the conversion of a checkpoint changes, so that old conversions are not used."""


@dataclass(frozen=True)
class Converted:
    """A reasoner before it is written to files.

    Attributes:
        config: of the language model.
        model: its tensors.
        projection: tensors of `prj`; empty without one.
        reasoner: configuration of the reasoner.
        tokenizer: its tokenizer.
        report: the report on every tensor.
    """

    config: PretrainedConfig
    model: dict[str, Tensor]
    projection: dict[str, Tensor]
    reasoner: CodiConfig
    tokenizer: PreTrainedTokenizerBase
    report: Report


def converted_folder(source: Source, checkpoint: Path) -> Path:
    """The folder of a checkpoint in the own format, made on the first call.

    Args:
        source: section of the recipe.
        checkpoint: path of the checkpoint.

    Raises:
        CheckpointError: it fits no layout, or a tensor, file or token is missing, unknown or misshapen.
    """
    files = weight_files(checkpoint)
    out = lasting_folder(source.converted) / f"{checkpoint.resolve().name}-{_key(source, checkpoint, files)}"
    if (out / REPORT_FILE).is_file():
        return out
    weights = read_weights(files)
    recognise(weights.tensors, weights.source)  # before anything is asked of a base
    facts_of(source).thoughts(weights.source)
    write(convert(source, weights, describe(source, checkpoint)), out)
    return out


def _key(source: Source, checkpoint: Path, files: list[Path]) -> str:
    """A hash over the recipe's section and the checkpoint's files."""
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint
    read = sorted({*files, *folder.glob("*.json")})
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in read]
    note = source.model_dump(mode="json", include=set(Source.model_fields) - {"converted"})
    facts = facts_of(source).values()
    return hashlib.sha256(json.dumps([FORMAT, note, facts, stamps]).encode()).hexdigest()[:12]


def convert(source: Source, weights: Weights, description: Description) -> Converted:
    """Account for every tensor and merge, without writing.

    Raises:
        CheckpointError: as in `converted_folder`.
    """
    family = recognise(weights.tensors, weights.source)
    facts = facts_of(source)
    n_thoughts = facts.thoughts(weights.source)
    parts = split(family, weights.tensors)
    _check_needed(parts, weights)
    where = _Where(weights, family)
    config, tokenizer = description.config, description.tokenizer
    layout = layout_of(family, tokenizer, facts.layout)

    table = table_name(config)
    check_base(config, parts.model, table, weights.source, description.config_from)
    check_second_name(family, parts, table, weights)
    described = str(description.tokenizer_from)
    found = vocabulary(layout, tokenizer, config, len(parts.model[table]), described)
    fields = prompting(layout, tokenizer, config, found.rows, described)
    if source.question_format is not None:
        fields["question_format"] = source.question_format
    if source.answer_cue is not None:
        fields["cue"] = cue_of(tokenizer, source.answer_cue)
    lengths = {"max_answer_tokens": source.max_answer_tokens, "max_written_tokens": source.max_written_tokens}
    fields |= {name: length for name, length in lengths.items() if length is not None}
    parts = without_padding(parts, table, found)
    config.vocab_size = found.rows
    model = skeleton(config)
    merged = merge(parts.model, model, lambda: facts.alpha(weights.source), where.model)
    tensors, note = tied(merged.tensors, model, parts)
    expected = {
        name: shape for name, shape in shapes(model.state_dict()).items() if name not in copies(model)
    }
    check_fits(expected, shapes(tensors), weights.source, where.model)
    width = _projection_width(family, parts, config.hidden_size, weights)

    dtype: torch.dtype = getattr(torch, source.dtype)
    config.dtype, config.architectures = dtype, [type(model).__name__]
    reasoner = CodiConfig(
        n_thoughts=n_thoughts,
        projection_width=width,
        reference_masking=source.reference_masking,
        **fields,
    )
    report = Report(
        source=source.path,
        files=[file.name for file in weights.files],
        layout=f"{layout} ({family.name})",
        config_from=str(description.config_from),
        tokenizer_from=described,
        n_tensors=len(weights.tensors),
        merged=list(merged.modules),
        rank=merged.rank,
        alpha=facts.lora_alpha.value if facts.lora_alpha and merged.modules else 0,
        aside={kind: len(named) for kind, named in parts.aside.items()},
        tied=note,
        wrappers=list(weights.wrappers),
        padding=found.padding,
        facts=facts.named(bool(merged.modules)),
        n_base=sum(tensor.numel() for tensor in tensors.values()),
        n_lora=merged.n_lora,
        n_projection=sum(tensor.numel() for tensor in parts.projection.values()),
        n_aside=sum(tensor.numel() for kind in parts.aside.values() for tensor in kind.values()),
        prompting=reasoner.recorded(),
    )
    return Converted(
        config,
        _stored(tensors, dtype, where.model),
        _stored(parts.projection, dtype, lambda name: f"{family.projection}{name}"),
        reasoner,
        tokenizer,
        report,
    )


def _check_needed(parts: Parts, weights: Weights) -> None:
    """Refuse tensors that belong to nothing, and values that no model can have."""
    if parts.unknown:
        names = ", ".join(weights.place(name) for name in sorted(parts.unknown)[:8])
        raise CheckpointError(f"{weights.source}: {len(parts.unknown)} unknown tensors ({names})")
    aside = {name for named in parts.aside.values() for name in named}
    check_finite({key: t for key, t in weights.tensors.items() if key not in aside}, weights.place)


def _stored(
    tensors: Mapping[str, Tensor], dtype: torch.dtype, place: Callable[[str], str]
) -> dict[str, Tensor]:
    """Tensors for writing: of one type, and without shared memory."""
    typed = apart({name: tensor.to(dtype) for name, tensor in tensors.items()})
    name = str(dtype).removeprefix("torch.")
    check_finite(typed, place, f"it does not fit into {name}; set reasoner.dtype to bfloat16 or float32")
    return typed


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
                return self.weights.place(candidate)
        return prefix + name


def _projection_width(family: Family, parts: Parts, width: int, weights: Weights) -> int:
    """Hidden width of the projection, which must be complete; 0 for a family without one."""
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


def write(converted: Converted, out: Path) -> None:
    """Write the own format; the folder is complete or does not exist."""
    with whole_folder(out, replace=False) as temporary:  # another process may have been faster
        converted.config.save_pretrained(temporary)
        converted.tokenizer.save_pretrained(temporary)
        save_file(converted.model, temporary / WEIGHTS_FILE, metadata={"format": "pt"})
        if converted.projection:
            save_file(converted.projection, temporary / PROJECTION_FILE)
        write_whole(temporary / CONFIG_FILE, strict_json(converted.reasoner.recorded(), indent=2) + "\n")
        write_whole(temporary / REPORT_FILE, strict_json(asdict(converted.report), indent=2) + "\n")
