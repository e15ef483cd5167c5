"""Text that users hand in: one decoder, and one notion of a line, for every reader.

UTF-8, UTF-8 with a byte order mark, and UTF-16 with one. A line ends in LF or CRLF and in nothing else:
U+2028 and its like are text.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from reverse_codi.errors import UserError

STANDARD_INPUT = "-"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Those of UTF-16, too, begin the first of these.
UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_FIX = "save the file as UTF-8, or as UTF-16 with a byte order mark"


class TextError(UserError):
    """A file is no text; the message names file, line and byte."""


def read_text(path: str | Path) -> str:
    """The whole text of a file, without its byte order mark.

    Raises:
        TextError: a byte is no text.
    """
    return decoded(Path(path).read_bytes(), str(path))


def read_lines(place: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a file, or of standard input for "-": see `lines_of`."""
    if str(place) == STANDARD_INPUT:
        yield from lines_of(sys.stdin.buffer, "standard input")
        return
    with Path(place).open("rb") as file:
        yield from lines_of(file, str(place))


def lines_of(stream: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """The lines of a stream with their numbers from 1, without line ends and byte order mark.

    Args:
        stream: bytes; only a UTF-16 one is read as a whole.
        name: for messages.

    Raises:
        TextError: a byte is no text.
    """
    first = stream.readline()
    lines: Iterable[str]
    if first.startswith((*UTF_16, *UTF_32)):
        lines = decoded(first + stream.read(), name).split("\n")
    else:
        encoded = chain([first.removeprefix(codecs.BOM_UTF8)], stream)
        lines = (_decoded(line, "utf-8", name, number) for number, line in enumerate(encoded, start=1))
    for number, line in enumerate(lines, start=1):
        yield number, line.removesuffix("\n").removesuffix("\r")


def decoded(data: bytes, name: str) -> str:
    """The text of bytes, without their byte order mark.

    Raises:
        TextError: a byte is no text.
    """
    if data.startswith(UTF_32):
        raise TextError(f"{name}:1: the file is UTF-32; {_FIX}")
    return _decoded(data, "utf-16" if data.startswith(UTF_16) else "utf-8-sig", name, 1)


def half_character(text: str) -> str | None:
    """What is wrong with a text that holds half a surrogate pair; None if it holds none.

    Bytes of an argument that are no UTF-8 come so, and JSON can write them. No tokenizer takes them.
    """
    half = _SURROGATE.search(text)
    if half is None:
        return None
    code = f"U+{ord(half[0]):04X}"
    return f"character {half.start() + 1} is half a character ({code}); write the whole one in UTF-8"


def _decoded(data: bytes, encoding: str, name: str, line: int) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, errors="ignore")
        kind = encoding.removesuffix("-sig").upper()
        raise _no_text(name, line, before, data[error.start], kind) from None
    if "\0" in text:  # UTF-16 without a mark decodes as UTF-8 where it is English
        raise _no_text(name, line, text[: text.index("\0")], 0, "text")
    return text


def _no_text(name: str, line: int, before: str, byte: int, kind: str) -> TextError:
    """An error that names line and column of a byte, given the text `before` it."""
    at = f"{name}:{line + before.count(chr(10))}"
    column = len(before) - before.rfind("\n")
    return TextError(f"{at}: byte 0x{byte:02x} at column {column} is no {kind}; {_FIX}")
