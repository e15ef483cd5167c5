"""Read the thoughts of latent reasoning models: CODI in reverse.

from reverse_codi import Verbalizer

print(Verbalizer.from_pretrained("embedded").translate("Ann has 12 apples and buys 5 more."))
"""

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reverse_codi.evaluation.public import evaluate
    from reverse_codi.reasoners.base import Patch, Reasoner
    from reverse_codi.reasoners.sites import Site
    from reverse_codi.recipe.schema import Recipe
    from reverse_codi.rewards.batch import RewardBatch
    from reverse_codi.rewards.declare import reward
    from reverse_codi.traces.store import TraceStore
    from reverse_codi.train import train
    from reverse_codi.verbalize.verbalizer import Verbalizer

__version__ = "0.2.0"
__all__ = [
    "Patch",
    "Reasoner",
    "Recipe",
    "RewardBatch",
    "Site",
    "TraceStore",
    "Verbalizer",
    "evaluate",
    "reward",
    "train",
]

# Where each public name lies. It is imported when it is asked for: most need torch, which takes seconds.
_PLACES = {
    "Patch": "reverse_codi.reasoners.base",
    "Reasoner": "reverse_codi.reasoners.base",
    "Recipe": "reverse_codi.recipe.schema",
    "RewardBatch": "reverse_codi.rewards.batch",
    "Site": "reverse_codi.reasoners.sites",
    "TraceStore": "reverse_codi.traces.store",
    "Verbalizer": "reverse_codi.verbalize.verbalizer",
    "evaluate": "reverse_codi.evaluation.public",
    "reward": "reverse_codi.rewards.declare",
    "train": "reverse_codi.train",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reverse_codi.processes.environment import settle_and_say

    settle_and_say()
    value = getattr(_imported(_PLACES[name]), name)
    globals()[name] = value
    return value


def _imported(place: str) -> ModuleType:
    """A module of the package.

    Raises:
        NotInstalledError: it takes a package of the extra `train`.
    """
    from reverse_codi.errors import TRAINING, NotInstalledError

    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name not in TRAINING:
            raise
        raise NotInstalledError(error.name) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps public names: the import of the module `reverse_codi.train` would put it in place of `train`."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

# A program of ours begins, by `python -m` or as a worker of Ray, and imports what it needs itself.
if os.path.basename((getattr(sys, "argv", None) and sys.argv[0]) or "") in ("-m", "default_worker.py"):
    importlib.import_module("reverse_codi.processes.environment").settle()
