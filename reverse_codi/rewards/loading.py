"""From the place of a reward, a file or a module, to the module; errors name the user's file and line."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.utils.user_code import in_one_line, raised_at

T = TypeVar("T")
# Every reward file imports these, and a copy of them may lie beside it, as in a Ray job.
_OURS = ("reward", "reverse_codi")


def module_of(place: str, root: str = "") -> ModuleType:
    """The module `place`; those in `root` and in the working directory are found too.

    Raises:
        RecipeError: there is none, or it cannot be imported.
    """
    _findable([Path(root).resolve(), Path.cwd()])  # an actor's Python does not look where the driver's does

    def imported() -> ModuleType:
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise  # the module is there, something that it imports is not
            fix = f"install {error.name!r} or put it on PYTHONPATH"
            raise RecipeError(f"no module {place!r}; {fix}") from None

    return users(imported, f"module {place!r} cannot be imported")


def module_in(place: str, root: str = "") -> ModuleType:
    """The file `place` as a module; modules beside it can be imported, as a script's can.

    Raises:
        RecipeError: there is no such file, it cannot be imported, or Python takes another for one beside it.
    """
    # An actor on the driver's machine finds it where the driver did, one elsewhere in its own copy of the
    # job's working directory.
    paths = list(dict.fromkeys([Path(root, place).resolve(), Path(place).resolve()]))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        there = [str(file.name) for tried in paths for file in tried.parent.glob("*.py")]
        near = difflib.get_close_matches(paths[0].name, there, n=1)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise RecipeError(f"no reward file {place!r}: looked for {' and '.join(map(str, paths))}{hint}")
    # Files of one name in two folders are two modules.
    name = f"_reward_file_{path.stem}_{zlib.crc32(bytes(path)):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} cannot be imported as Python")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    _findable([path.parent])
    refuse_hidden_neighbours(path)
    sys.modules[name] = module  # annotations are resolved through it
    users(lambda: loader.exec_module(module), f"{path} cannot be imported", str(path))
    return module


def users(work: Callable[[], T], problem: str, file: str | None = None) -> T:
    """What `work` returns; whatever the user's code raises becomes one line with its file and line.

    Raises:
        RecipeError: `work` raised something else than a `UserError`, `SystemExit` included.
    """
    try:
        return work()
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # user code may raise anything
        kind, where = type(error).__name__, raised_at(error, file)
        raise RecipeError(f"{problem}: {kind} at {where}: {in_one_line(error)}") from error


def refuse_hidden_neighbours(path: Path) -> None:
    """Refuse a file that imports a module of which one lies beside it, where Python would take another.

    Folders of reward files come last in Python's search, so that a neighbour called `json.py` breaks nothing
    else. Then the user's own `helpers.py` must not give way silently to an installed one, or to the neighbour
    of another reward file.

    Raises:
        RecipeError: there is such a module.
    """
    for name in sorted(_imports(path).difference(_OURS)):
        beside = (path.parent / f"{name}.py", path.parent / name / "__init__.py")
        neighbour = next((file for file in beside if file.is_file()), None)
        if neighbour is None:
            continue
        loaded = sys.modules.get(name)
        spec = getattr(loaded, "__spec__", None) if loaded else importlib.util.find_spec(name)
        origin = None if spec is None else spec.origin
        if origin is None or not _same(Path(origin), neighbour):
            what = f"the module {name!r} that Python finds first is {origin or 'built in'}"
            raise RecipeError(
                f"{path} imports {name!r} and {neighbour} lies beside it, but {what}; rename yours"
            )


def _imports(path: Path) -> set[str]:
    """First names of all modules that a file imports; none where it is no Python, which importing it says."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):
        return set()
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    parts = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in [*plain, *filter(None, parts)]}


def _same(one: Path, other: Path) -> bool:
    """Whether two files are one, or a copy, as a Ray job makes of its working directory."""
    return one.is_file() and (one.resolve() == other.resolve() or one.read_bytes() == other.read_bytes())


def _findable(folders: Iterable[Path]) -> None:
    """Let Python find modules in folders, after all other places, also when a function imports them late."""
    sys.path += [str(folder) for folder in folders if folder.is_dir() and str(folder) not in sys.path]
    importlib.invalidate_caches()  # a file may have been written since
