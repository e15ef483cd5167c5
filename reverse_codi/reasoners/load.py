"""Find a reasoner by name, folder, weight file or hub id, whoever made it.

Other packages add backends by entry points of the group `reverse_codi.reasoners`: a name for
`reasoner.layout`, and an object that meets `Backend`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from reverse_codi.errors import RecipeError, blamed_on
from reverse_codi.processes.environment import check_device
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.checkpoints.convert import REPORT_FILE, converted_folder
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.report import Report
from reverse_codi.reasoners.checkpoints.source import ASSETS, located
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.codi_config import CONFIG_FILE
from reverse_codi.reasoners.huginn.refusal import REASON, recurrent_depth_folder, refuse_translation
from reverse_codi.recipe.reasoner import LayoutName, ReasonerSection, Source
from reverse_codi.storage.json_files import read_object

__all__ = [
    "ASSETS",
    "Backend",
    "import_report",
    "is_recurrent_depth",
    "load_reasoner",
    "open_reasoner",
    "reasoner_folder",
    "refuse_recurrent_depth",
]

GROUP = "reverse_codi.reasoners"
# Keys that a recipe gives for a public checkpoint, and that files in the own format hold themselves.
_SAID_BY_OWN = {
    *("n_thoughts", "lora_alpha", "question_format", "dtype", "reference_masking"),
    *("max_answer_tokens", "max_written_tokens"),
}


class Backend(Protocol):
    """Loads the checkpoints of one kind of reasoner."""

    def recognises(self, checkpoint: Path) -> bool:
        """Whether a folder or file holds such a checkpoint."""
        ...

    def load(self, checkpoint: Path, source: Source, device: str) -> Reasoner:
        """The frozen reasoner, in evaluation mode."""
        ...


@runtime_checkable
class StatesAnswers(Protocol):
    """What says where its answers stand; a backend of another package may lack it."""

    @property
    def answer_cue(self) -> str:
        """What it writes before an answer; "" where the answer is written alone."""
        ...


@functools.cache
def backends() -> Mapping[str, Backend]:
    """Backends of other packages, by the name of their entry point.

    Raises:
        CheckpointError: a backend has a built-in name, or two have the same.
    """
    found: dict[str, Backend] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in [*LayoutName, *found]:
            raise CheckpointError(f"entry point {entry.name!r} = {entry.value} of {GROUP}: the name is taken")
        found[entry.name] = entry.load()
    return found


def open_reasoner(source: str | Path | Source, device: str | None = None) -> Reasoner:
    """Load any reasoner that thinks and reads, also one whose thoughts RL cannot translate.

    Args:
        source: a path, a hub id, `embedded`, or a recipe's section.
        device: where the weights go; the section's own if None, else the CPU.

    Raises:
        CheckpointError: it fits no layout, its files are incomplete, or a reasoner of another package does
            not define where its answers stand.
        RecipeError: it has recurrent depth, and so no thoughts to translate.
        MachineError: there is no such device.
    """
    source = as_source(source)
    if device is None:
        device = source.device if isinstance(source, ReasonerSection) else "cpu"
    refuse_recurrent_depth(source)
    check_device(device, "device")
    checkpoint = located(source)
    refuse_translation(checkpoint)
    backend = _backend(source, checkpoint)
    if backend is not None:
        return _answering(backend.load(checkpoint, source, device))
    return CodiReasoner.from_pretrained(_own_folder(source, checkpoint), device)


def _answering(reasoner: Reasoner) -> Reasoner:
    """Refuse a reasoner that does not define where its answers stand: each would count as wrong."""
    if not isinstance(reasoner, StatesAnswers):
        raise CheckpointError(
            f"{type(reasoner).__name__} has no answer_cue; give it the words that come before its answers, "
            '"" where an answer stands alone'
        )
    return reasoner


def load_reasoner(source: str | Path | Source, device: str | None = None) -> CodiReasoner:
    """Load a reasoner whose language model can become a verbalizer; see `open_reasoner`.

    Raises:
        CheckpointError: also for a reasoner of another kind.
    """
    reasoner = open_reasoner(source, device)
    if not isinstance(reasoner, CodiReasoner):
        raise CheckpointError(
            f"{as_source(source).path} is a {type(reasoner).__name__}: it thinks and reads, but "
            "translation is for reasoners that feed thoughts back as input embeddings (CODI, Coconut)"
        )
    return reasoner


def reasoner_folder(source: str | Path | Source) -> Path:
    """The folder in the own format that a reasoner is loaded from; engines take the language model there.

    Raises:
        CheckpointError: as in `open_reasoner`; also for a backend of another package, which has no such
            folder.
    """
    source = as_source(source)
    refuse_recurrent_depth(source)
    checkpoint = located(source)
    refuse_translation(checkpoint)
    if _backend(source, checkpoint) is not None:
        raise CheckpointError(f"{source.path} belongs to another package's backend and has no own format")
    return _own_folder(source, checkpoint)


def refuse_recurrent_depth(source: Source) -> None:
    """Refuse a recipe that names a layout with recurrent depth; nothing is fetched.

    Raises:
        RecipeError: the recipe names one.
    """
    if source.layout == LayoutName.HUGINN:
        raise RecipeError(f"{source.path}: {REASON}")


def is_recurrent_depth(source: Source) -> bool:
    """Whether a reasoner has recurrent depth, by its recipe or, once fetched, by its tensors' names."""
    return source.layout == LayoutName.HUGINN or recurrent_depth_folder(located(source))


def import_report(folder: Path) -> Report | None:
    """The report on the public checkpoint that a folder was made of; None for a reasoner trained here."""
    file = folder / REPORT_FILE
    if not file.is_file():
        return None
    with blamed_on(file, CheckpointError, "delete its folder to convert the checkpoint again"):
        return Report(**read_object(file, "remove the folder to convert anew"))


def as_source(source: str | Path | Source) -> Source:
    """A path as a recipe would name it."""
    return source if isinstance(source, Source) else Source(path=str(source))


def _backend(source: Source, checkpoint: Path) -> Backend | None:
    if source.layout in backends():
        return backends()[source.layout]
    if source.layout not in list(LayoutName):
        known = ", ".join([*LayoutName, *backends()])
        raise CheckpointError(f"reasoner.layout = {source.layout!r} is unknown; choose from: {known}")
    if source.layout != LayoutName.AUTO or _is_own(checkpoint):
        return None
    return next((backend for backend in backends().values() if backend.recognises(checkpoint)), None)


def _is_own(checkpoint: Path) -> bool:
    return (checkpoint / CONFIG_FILE).is_file()


def _own_folder(source: Source, checkpoint: Path) -> Path:
    if source.layout == LayoutName.OWN or _is_own(checkpoint):
        if source.layout not in (LayoutName.AUTO, LayoutName.OWN):
            raise CheckpointError(
                f"reasoner.layout = {source.layout!r}, but {checkpoint} is in the own format"
            )
        if given := source.model_dump(include=_SAID_BY_OWN, exclude_defaults=True):
            key, value = next(iter(given.items()))
            raise CheckpointError(
                f"reasoner.{key} = {value!r} is for public checkpoints; {checkpoint} is in the own format, "
                "whose files say it; leave the key out"
            )
        return checkpoint
    if checkpoint.is_dir() and not any(checkpoint.iterdir()):
        return checkpoint
    return converted_folder(source, checkpoint)
