"""Find a recipe by its path or by its name: `tiny` is the recipe `tiny.yaml` that comes with the package."""

from __future__ import annotations

import difflib
import re
from itertools import takewhile
from pathlib import Path

from reverse_codi.errors import RecipeError
from reverse_codi.storage.text_files import read_text

# A wheel carries the recipes inside the package; a clone of the repository has them beside it.
_PLACES = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[2] / "recipes")


def recipes() -> dict[str, Path]:
    """The recipes that come with the package: name -> file, sorted by name."""
    folder = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    return {file.stem: file for file in sorted(folder.glob("*.yaml"), key=lambda file: file.stem)}


def recipe_file(word: str | Path) -> Path:
    """The file that a word means: the path of a file first, else the name of a recipe of the package.

    Args:
        word: a path, or a name with or without `.yaml`.

    Raises:
        RecipeError: it is neither; the nearest path or name is proposed.
    """
    path = Path(word)
    if path.is_file():
        return path
    known = recipes()
    if len(path.parts) == 1 and (name := path.name.removesuffix(".yaml")) in known:
        return known[name]
    raise RecipeError(f"no recipe at {word}; {_advice(path, list(known))}")


def purpose(file: Path) -> str:
    """What a recipe is for: the first sentence of the comment that it begins with, or ""."""
    comment = takewhile(lambda line: line.startswith("#"), read_text(file).split("\n"))
    return re.split(r"[.;?](?:\s|$)", " ".join(line.lstrip("# ") for line in comment), maxsplit=1)[0]


def _advice(path: Path, names: list[str]) -> str:
    beside = [file.name for file in path.parent.glob("*.yaml")]
    if near := difflib.get_close_matches(path.name, beside, n=1):
        return f"did you mean {path.parent / near[0]}?"
    if near := difflib.get_close_matches(path.stem, names, n=1):
        return f"did you mean {near[0]!r}, which comes with the package?"
    return "give a file, or a name that `reverse-codi recipes` lists"
