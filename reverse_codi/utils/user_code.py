"""Where in a user's own code something lies, for errors that name their file and line and not ours."""

from __future__ import annotations

import functools
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
# `reward` lies beside this package wherever both are installed.
_OURS = (_PACKAGE, _PACKAGE.parent / "reward")
_PYTHON = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")})


def innermost(function: Callable[..., Any]) -> Any:
    """The function or class that the user wrote, without bound options; of an object its class."""
    while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
        function = function.func if isinstance(function, functools.partial) else function.__wrapped__
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function)


def name_of(function: Callable[..., Any]) -> str:
    """`module:function` of what the user wrote: how a recipe file would name it.

    >>> name_of(in_one_line)
    'reverse_codi.utils.user_code:in_one_line'
    """
    written = innermost(function)
    return f"{written.__module__}:{written.__qualname__}"


def is_installed(module: ModuleType) -> bool:
    """Whether any Python of this environment can import a module: it is Python's, installed, or ours."""
    file = getattr(module, "__file__", None)
    if file is None:  # built in, or a program's `__main__` without a file
        return module.__name__ in sys.builtin_module_names
    return _is_others(file, None)


def file_of(function: Callable[..., Any]) -> str | None:
    """The file that a function or class was written in; None where there is none, as in a notebook's cell."""
    try:
        return inspect.getsourcefile(innermost(function))
    except TypeError:  # built in
        return None


def place_of(function: Callable[..., Any]) -> str:
    """`file:line` of a function's or class's first line, or its name where it has no file."""
    written = innermost(function)
    file = file_of(function)
    try:
        return f"{file}:{inspect.getsourcelines(written)[1]}"
    except (OSError, TypeError):
        return file or repr(written)


def raised_at(error: BaseException, file: str | None) -> str:
    """`file:line` of the last frame of the user's code in an error's traceback.

    Args:
        error: what was raised.
        file: the user's file; other files of its folder and below are the user's too.

    Returns:
        The last frame in the user's folder; if there is none, the last that is neither ours nor installed.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return file or "an unknown place"
    folder = None if file is None else Path(file).resolve().parent
    theirs = [frame for frame in frames if not _is_others(frame.filename, folder)]
    near = [frame for frame in theirs if folder and Path(frame.filename).resolve().is_relative_to(folder)]
    last = (near or theirs or frames)[-1]
    return f"{last.filename}:{last.lineno}"


def in_one_line(error: BaseException) -> str:
    """What an error says, in one line, whatever it is."""
    return " ".join(str(error).split())


def _is_others(filename: str, folder: Path | None) -> bool:
    """Whether a file is Python's, an installed package's or ours, and the user's folder is none of these."""
    if filename.startswith("<frozen"):
        return True
    others = [other for other in (*_OURS, *_PYTHON) if folder is None or not folder.is_relative_to(other)]
    return any(Path(filename).resolve().is_relative_to(other) for other in others)
