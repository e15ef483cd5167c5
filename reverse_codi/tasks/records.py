"""A user's records, as questions or as texts: a file of any known kind, or standard input."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.storage.text_files import STANDARD_INPUT, read_lines
from reverse_codi.tasks.corpus import Row, jsonl_rows
from reverse_codi.tasks.source import READERS, json_rows, read_file

PLAIN = ".txt"
# How a JSON list begins; "[name] owns 9 cups" is a line of text.
JSON_LIST = re.compile(r'\s*\[\s*([{"\]]|$)')


@dataclass(frozen=True)
class Records:
    """The content of a file.

    Attributes:
        name: name of the file, for messages.
        rows: its records in order; plain lines become `{"text": line}`.
        plain: whether the file consists of plain lines.
    """

    name: str
    rows: list[Row]
    plain: bool


def read_records(place: str) -> Records:
    """The records of a file, or of standard input for "-".

    The file's name decides between JSON lines, JSON, Parquet and CSV. For a text file, another name and
    standard input the first line decides between plain lines, JSON lines and a JSON list. Empty lines are
    skipped.

    Raises:
        UserError: the file does not exist, or its content does not fit its kind; names file and line.
    """
    path = Path(place)
    name = "standard input" if place == STANDARD_INPUT else place
    if place != STANDARD_INPUT and path.is_dir():
        raise UserError(f"{place} is a folder; give a file of it")
    if place != STANDARD_INPUT and not path.exists():
        raise UserError(f"no file {place}; check its name")
    if place != STANDARD_INPUT and path.suffix in READERS and path.suffix != PLAIN:
        return Records(name, list(read_file(path)), plain=False)
    lines = [(number, line) for number, line in read_lines(place) if line.strip()]
    first = lines[0][1] if lines else ""
    if first.lstrip().startswith("{"):
        return Records(name, list(jsonl_rows(lines, name)), plain=False)
    if JSON_LIST.match(first):
        blank = [""] * lines[-1][0]  # so that lines are counted as in the file
        for number, line in lines:
            blank[number - 1] = line
        return Records(name, list(json_rows("\n".join(blank), name)), plain=False)
    for number, line in lines:
        if line.lstrip().startswith("{"):
            raise UserError(f"{name}:{number} is JSON among plain lines; write all lines as JSON, or none")
    return Records(name, [Row(f"{name}:{number}", {"text": line}) for number, line in lines], plain=True)
