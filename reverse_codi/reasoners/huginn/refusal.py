"""The refusal of models with recurrent depth, with its reason, before any work is done."""

from __future__ import annotations

from pathlib import Path

from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.huginn.checkpoint import INDEX, WEIGHTS, is_recurrent_depth, tensor_files

REASON = (
    "a recurrent-depth model (Huginn) has no thoughts to translate: its states come from reading the text "
    "itself, so the text is the shortest translation and a text that restates it wins every reward; look at "
    "its states with `reverse-codi trajectories`"
)


def recurrent_depth_folder(folder: Path) -> bool:
    """Whether a folder holds a recurrent-depth model, by the names of its tensors."""
    stored = (folder / INDEX).is_file() or (folder / WEIGHTS).is_file()
    return stored and is_recurrent_depth(tensor_files(folder))


def refuse_translation(folder: Path) -> None:
    """Refuse the folder of a recurrent-depth model.

    Raises:
        RecipeError: the folder holds one.
    """
    if recurrent_depth_folder(folder):
        raise RecipeError(f"{folder}: {REASON}")
