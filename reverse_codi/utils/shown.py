"""Values of users as messages show them: in one line, and no longer than a message may be."""

from __future__ import annotations

import re
import reprlib

_LONGEST = 200
# Control characters but tabs and line ends, and those that turn the direction of what follows.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxset = 3, 8, 8, 8, 8
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _LONGEST


def brief(value: object) -> str:
    """`repr` of a value, with the middle left out where it is long.

    Of nested lists and mappings the first entries are shown. YAML's aliases can make a value that is short to
    write and whose `repr` would never end.

    >>> brief("a" * 1000) == "'" + "a" * 97 + "..." + "a" * 98 + "'", brief({"steps": [1, 2.5]})
    (True, "{'steps': [1, 2.5]}")
    """
    try:
        return _SHORT.repr(value)
    except ValueError:  # a whole number of thousands of digits, which Python does not write out
        return f"a number of {len(bin(value)) if isinstance(value, int) else 'many'} bits"


def cut(text: str) -> str:
    """A text as it stands, its end left out where it is long, and escapes for what cannot be seen."""
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def printable(text: str) -> str:
    """A text with its invisible and direction-changing characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str) -> str:
    """A text of whatever origin as a terminal may show it: escapes for what would move, hide or turn it."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
