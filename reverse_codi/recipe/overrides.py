"""Values laid over a recipe's in Python; `utils.config.override` does it for the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from reverse_codi.utils.config import set_at


def laid_over(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `overrides` over them; neither is changed.

    A mapping is laid over the mapping that is there. A key with dots means the key inside, whose value is
    replaced.

    >>> laid_over({"grpo": {"steps": 60, "seed": 1}}, {"grpo": {"steps": 10}, "trace.n": 5})
    {'grpo': {'steps': 10, 'seed': 1}, 'trace': {'n': 5}}
    """
    laid = dict(values)
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            there = laid.get(key)
            value = laid_over(there if isinstance(there, Mapping) else {}, value)
        # YAML has no paths.
        set_at(laid, key, os.fspath(value) if isinstance(value, PurePath) else value)
    return laid
