"""YAML as people write it: whatever is wrong with a text is one error, which says what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

MOST_VALUES = 1_000_000
"""Values that a text may stand for once its aliases are written out; a recipe has some hundred."""
MOST_MERGED = 10_000
"""Keys of one mapping, those that `<<` merges into it included."""


class YamlError(ValueError):
    """A text cannot be read as YAML, or stands for no finite value; the message goes on from its name."""


class DuplicateKeyError(YamlError):
    """A mapping has a key twice; YAML as PyYAML reads it would drop the first without a word."""


class UniqueKeys(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that stands twice in one mapping."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written: before `<<` merges others in, whose keys may be written again."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and (before := first.get((key.tag, key.value))):
                both = f"lines {before} and {line}"
                raise DuplicateKeyError(f"key {key.value!r} stands twice, in {both}; join them into one")
            first[key.tag, str(key.value)] = line
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names into a mapping; merges of merges multiply, so their number is bounded."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_MERGED:
            raise YamlError(f"merges more than {MOST_MERGED:,} keys into one mapping")


def load_yaml(text: str) -> Any:
    """The value of a YAML text, which runs no code.

    Raises:
        YamlError: it is no YAML, has a key twice, or its aliases stand for a value that does not end.
    """
    try:
        value = yaml.load(text, UniqueKeys)
    except YamlError:
        raise
    except RecursionError:
        raise YamlError("is nested too deep") from None
    except yaml.YAMLError as error:
        raise YamlError(f"is not YAML: {error}") from None
    # PyYAML's own constructors raise these: of the date 2001-13-45, of `!!int x`, of `!!timestamp x`.
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise YamlError(f"is not YAML: {' '.join(str(error).split())}") from None
    if _written_out(value, {}, set()) > MOST_VALUES:
        raise YamlError(f"has aliases that stand for more than {MOST_VALUES:,} values, or for themselves")
    return value


def _written_out(value: Any, known: dict[int, int], inside: set[int]) -> int:
    """Number of values once aliases are written out; `MOST_VALUES` + 1 for one that holds itself."""
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list | tuple | set):
        parts = list(value)
    else:
        return 1
    if id(value) in inside:
        return MOST_VALUES + 1
    if id(value) not in known:
        inside.add(id(value))
        known[id(value)] = 1 + sum(_written_out(part, known, inside) for part in parts)
        inside.discard(id(value))
    return known[id(value)]
