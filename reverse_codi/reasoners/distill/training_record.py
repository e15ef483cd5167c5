"""A record of a reasoner's training beside its weights, which is not part of its hash."""

from __future__ import annotations

from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.utils.shown import brief

FILE = "training.json"
_LONGEST = "longest_question"


def write_record(folder: str | Path, longest_question: int) -> None:
    """Record the number of tokens in the longest training question."""
    write_whole(Path(folder) / FILE, strict_json({_LONGEST: longest_question}) + "\n")


def trained_length(folder: str | Path) -> int | None:
    """Number of tokens in the longest training question of a folder's reasoner; None if unknown.

    Raises:
        UserError: the file is damaged.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        return None
    longest = read_object(file, "train the reasoner anew").get(_LONGEST)
    if not isinstance(longest, int) or longest < 0:
        raise UserError(
            f"{file}: {_LONGEST} is {brief(longest)}; give a number of tokens, or delete the file"
        )
    return longest
