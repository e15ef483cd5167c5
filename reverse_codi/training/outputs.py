"""Where a run's output stays, whatever becomes of the folder that it runs in.

A recipe names its outputs by a path, or by a URL that fsspec takes (`s3://`, `gs://`, `hf://`, ...).
Everything in this package works on folders, so a run with a URL works in a folder of this machine, which
`storage.mirror` keeps equal to the URL. A path is used as it is: local, on NFS, or as `file:///data/run`. In
a Ray job a relative path goes below a results folder (`storage.job`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from reverse_codi.errors import RecipeError
from reverse_codi.processes.environment import writable
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.job import in_working_copy, is_job, is_url, lasting
from reverse_codi.storage.mirror import Mirror
from reverse_codi.storage.mirrors import mirrored
from reverse_codi.storage.stages import dotted

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

TRAIN, TRACE, DISTILL = "train", "trace", "distill"
OUTPUTS = (TRACE, DISTILL, TRAIN)
"""Sections with a key `out`, each before those that use what it makes."""
# Keys beside `*.out` whose folders are made where they are missing.
_WRITTEN = ("reasoner.converted",)


@contextmanager
def kept(recipe: Recipe, *sections: str) -> Iterator[Recipe]:
    """The recipe with folders for its outputs; what they hold at the end is where the recipe said.

    A recipe whose outputs are paths already comes back as it is.

    Args:
        recipe: as given.
        sections: those that will write, of `OUTPUTS`.

    Raises:
        UserError: see `settled` and `storage.mirrors.mirrored`.
    """
    settled_recipe, mirrors = settled(recipe, *sections)
    with mirrored(mirrors):
        yield settled_recipe


def keeping(
    *sections: str,
) -> Callable[[Callable[Concatenate[Recipe, P], R]], Callable[Concatenate[Recipe, P], R]]:
    """Make a function that gets a recipe work within `kept`."""

    def decorate(work: Callable[Concatenate[Recipe, P], R]) -> Callable[Concatenate[Recipe, P], R]:
        @wraps(work)
        def within(recipe: Recipe, *args: P.args, **kwargs: P.kwargs) -> R:
            with kept(recipe, *sections) as settled_recipe:
                return work(settled_recipe, *args, **kwargs)

        return cast("Callable[Concatenate[Recipe, P], R]", within)  # `wraps` names its first argument

    return decorate


def settled(recipe: Recipe, *sections: str) -> tuple[Recipe, list[Mirror]]:
    """The recipe with folders for its outputs, and what keeps those of URLs; nothing is read or written.

    Raises:
        RecipeError: in a job, a path of another machine.
        MirrorError: a URL that fsspec cannot open.
    """
    check_shipped(recipe)
    given, mirrors = recipe, list[Mirror]()
    for name in OUTPUTS:
        section = getattr(recipe, name)
        out = lasting(section.out)
        if is_url(out) and name in sections:
            out = out.rstrip("/")
            folder = _stand_in(out)
            mirrors.append(Mirror(f"{name}.out", out, folder))
            if name == TRACE:  # held-out traces have a store of their own beside it
                mirrors.append(Mirror(f"{name}.out", f"{out}-heldout", Path(f"{folder}-heldout")))
            out = str(folder)
        elif out != section.out and name in sections and not is_url(section.out):
            log.info(f"{name}.out = {section.out} goes to {out}: Ray deletes this job's working copy")
        if out != section.out:
            recipe = recipe.model_copy(update={name: section.model_copy(update={"out": out})})
    made_here = DISTILL in sections and given.reasoner.path == given.distill.out
    place = recipe.distill.out if made_here else _left_by_a_job(given.reasoner.path)
    if place != given.reasoner.path:
        recipe = recipe.model_copy(update={"reasoner": recipe.reasoner.model_copy(update={"path": place})})
    return recipe, mirrors


def check_shipped(recipe: Recipe) -> None:
    """Refuse a recipe that a job cannot follow, because it names paths of the machine that it came from.

    Raises:
        RecipeError: names each key with its path.
    """
    if not is_job():
        return
    values = dotted(recipe.model_dump(mode="json"))
    strange = {
        key: value
        for key, value in values.items()
        if not (key.endswith(".out") or key in _WRITTEN) and isinstance(value, str) and _is_elsewhere(value)
    }
    if strange:
        listed = "; ".join(f"{key} = {value}" for key, value in strange.items())
        raise RecipeError(
            f"not on the machine that runs this job: {listed}. Put such files into the directory that is "
            "submitted (--working-dir) and name them by their path in it, or name a place that all see"
        )


def _is_elsewhere(value: str) -> bool:
    """Whether a value is a path that cannot have come with the working directory, and is not here either.

    >>> _is_elsewhere("/no/such/folder"), _is_elsewhere("data/x.jsonl"), _is_elsewhere("{question}")
    (True, False, False)
    """
    path = value.rpartition(":")[0] if value.rpartition(":")[0].endswith(".py") else value  # file.py:function
    if "\n" in path or "{" in path or not path.startswith(("/", "~/", "../")) or path.startswith("//"):
        return False
    return not Path(path).expanduser().exists()


def _left_by_a_job(path: str) -> str:
    """A reasoner's path, in the results folder where an earlier job left it there."""
    place = lasting(path)
    if place == path or is_url(place) or Path(path).exists() or not Path(place).exists():
        return path
    log.info(f"reasoner.path = {path} is {place}, which an earlier job made")
    return place


def _stand_in(url: str) -> Path:
    """The folder of this machine in which a run with a URL works; the same for the same URL.

    It may be deleted when no run uses it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "reverse_codi", "outputs")
    if in_working_copy(cache) or not writable(cache):
        cache = Path(tempfile.gettempdir(), f"reverse_codi-{os.getuid()}", "outputs")
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return cache / f"{url.rstrip('/').rpartition('/')[2]}-{digest}"
