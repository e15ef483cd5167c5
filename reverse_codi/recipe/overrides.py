"""Values laid over a recipe's in Python; `utils.config.override` does it for the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def laid_over(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `overrides` over them; neither is changed.

    A mapping is laid over the mapping that is there. A key with dots means the key inside, whose value is
    replaced.

    >>> laid_over({"grpo": {"steps": 60, "seed": 1}}, {"grpo": {"steps": 10}, "trace.n": 5})
    {'grpo': {'steps': 10, 'seed': 1}, 'trace': {'n': 5}}
    """
    laid = dict(values)
    for key, value in overrides.items():
        *sections, leaf = key.split(".")
        target = laid
        for section in sections:
            inside = target.get(section)
            target[section] = dict(inside) if isinstance(inside, Mapping) else {}
            target = target[section]
        if isinstance(value, Mapping):
            there = target.get(leaf)
            value = laid_over(there if isinstance(there, Mapping) and not sections else {}, value)
        # YAML has no paths.
        target[leaf] = os.fspath(value) if isinstance(value, PurePath) else value
    return laid
