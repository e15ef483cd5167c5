"""How a reward function is declared, and how a recipe's name becomes one.

    @reward(worst=-1.0)
    def my_reward(batch: RewardBatch) -> list[float | None]: ...

It may be async. A second parameter `config`, annotated with a `Section`, receives the recipe's
`options`. A class whose `__init__` takes such a `config` (or nothing) and whose instances are called
with the batch serves where something must be loaded once.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import BaseModel

from reverse_codi.config import RecipeError, validated
from reverse_codi.reading.spec import LAYERS
from reverse_codi.rewarding import Registered, RewardFunction

ENTRY_POINTS = "reverse_codi.rewards"
_MARK = "__registered_reward__"

C = TypeVar("C", bound=Callable[..., Any])


def reward(
    *,
    worst: float,
    name: str | None = None,
    supervised: bool = False,
    slow: bool = False,
    layers: str = "",
) -> Callable[[C], C]:
    """Declare a function or class as a reward; it is returned unchanged.

    Args:
        worst: what a truncated or empty text gets; at most what the function may return.
        name: what recipes and metrics call it; the function's own name if None.
        supervised: it uses gold labels, so it is for ablations only.
        slow: it mostly waits, as for a server: run it beside the others. Async ones always do.
        layers: what it wants in `batch.layers` beside the recipe's: "all", "final" or numbers joined by
            commas (0: embeddings). They come from the one reading that all rewards share.

    Raises:
        ValueError: `worst` is NaN or infinite, or `layers` names none.
    """
    if not math.isfinite(worst):
        raise ValueError(f"worst = {worst}: a failed text's reward must be finite; give the lower bound")
    if layers and not re.match(LAYERS, layers):
        raise ValueError(f"layers = {layers!r}: write 'all', 'final' or numbers joined by commas, as '0,2'")

    def declare(declared: C) -> C:
        description = (inspect.getdoc(declared) or "").partition("\n")[0]
        function = cast(RewardFunction, declared)
        own_name = name or declared.__name__
        record = Registered(own_name, function, worst, description, supervised, slow, layers)
        setattr(declared, _MARK, record)
        return declared

    return declare


def find(name: str, options: Mapping[str, Any] | None = None, root: str = "") -> Registered:
    """The reward function of a recipe's name, with its options bound.

    Args:
        name: a name from the package `reward`, an entry point of the group `reverse_codi.rewards`,
            `module:function` or `./path.py:function`.
        options: fields of the function's config.
        root: folder that a file's path is relative to, before the working directory is tried.

    Raises:
        RecipeError: nothing has this name (the nearest are listed), it was not declared with
            `@reward`, or its config refuses the options.
    """
    return _bound(declared(name, root), options or {})


def names() -> dict[str, Registered]:
    """Every reward function of the package `reward`, by name."""
    import reward as package

    found: dict[str, Registered] = {}
    for info in pkgutil.iter_modules(package.__path__, "reward."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            record = getattr(value, _MARK, None)
            if isinstance(record, Registered) and value.__module__ == info.name:
                found[record.name] = record
    return found


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """The reward functions of other packages, by name, not loaded."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def config_model(record: Registered) -> type[BaseModel] | None:
    """The model of a declared function's options; None where it takes none.

    Raises:
        RecipeError: its parameter `config` is not annotated with a model.
    """
    function: Any = record.function
    if "config" not in inspect.signature(function).parameters:
        return None
    model = get_type_hints(function.__init__ if inspect.isclass(function) else function).get("config")
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise RecipeError(f"reward {record.name}: its config is a {model}; annotate it with a Section")
    return model


def declared(name: str, root: str = "") -> Registered:
    """The reward function of a recipe's name as it was declared, without options; see `find`."""
    place, colon, attribute = name.rpartition(":")
    if colon:
        return _declared(_file(place, root) if place.endswith(".py") else _module(place), attribute)
    known = names()
    if name in known:
        return known[name]
    entries = entry_points()
    if name in entries:
        return _marked(entries[name].load(), f"entry point {name!r}")
    everything = sorted({*known, *entries})
    near = difflib.get_close_matches(name, everything, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}" if near else f"known are {', '.join(everything)}"
    forms = "module:function or ./path.py:function"
    raise RecipeError(f"no reward function is named {name!r}; {hint}; for your own write {forms}")


def _module(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # the module is there, something that it imports is not
        mend = f"install {error.name!r} or put it on PYTHONPATH"
        raise RecipeError(f"no module {place!r}; {mend}") from None


def _file(place: str, root: str) -> ModuleType:
    # An actor on the driver's machine finds it where the driver did, one elsewhere in its own copy of the
    # job's working directory.
    paths = list(dict.fromkeys([Path(root, place).resolve(), Path(place).resolve()]))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        there = [str(file.name) for tried in paths for file in tried.parent.glob("*.py")]
        near = difflib.get_close_matches(paths[0].name, there, n=1)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise RecipeError(f"no reward file {place!r}: looked for {' and '.join(map(str, paths))}{hint}")
    name = f"_reward_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are resolved through it
    spec.loader.exec_module(module)
    return module


def _declared(module: ModuleType, attribute: str) -> Registered:
    if not hasattr(module, attribute):
        there = [key for key, value in vars(module).items() if hasattr(value, _MARK)]
        near = difflib.get_close_matches(attribute, there, n=3) or there
        have = f"it declares {', '.join(near)}" if near else "it declares none with @reward"
        raise RecipeError(f"{module.__file__} has no reward function {attribute!r}; {have}")
    return _marked(getattr(module, attribute), f"{attribute!r} of {module.__file__}")


def _marked(value: object, source: str) -> Registered:
    record = getattr(value, _MARK, None)
    if not isinstance(record, Registered):
        raise RecipeError(f"{source} is no reward function; declare its worst value with @reward(worst=...)")
    return record


def _bound(record: Registered, options: Mapping[str, Any]) -> Registered:
    function: Any = record.function
    arguments: dict[str, BaseModel] = {}
    if model := config_model(record):
        arguments["config"] = validated(model, dict(options), f"options of reward {record.name}")
    elif options:
        raise RecipeError(f"reward {record.name} takes no options; drop {', '.join(options)}")
    if inspect.isclass(function):
        return replace(record, function=cast(RewardFunction, function(**arguments)))
    return replace(record, function=functools.partial(function, **arguments)) if arguments else record
