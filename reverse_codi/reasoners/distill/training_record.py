"""A record of a reasoner's training beside its weights, which is not part of its hash."""

from __future__ import annotations

from pathlib import Path

from reverse_codi.utils.files import read_json, strict_json, write_whole

FILE = "training.json"
_LONGEST = "longest_question"


def write_record(folder: str | Path, longest_question: int) -> None:
    """Record the number of tokens in the longest training question."""
    write_whole(Path(folder) / FILE, strict_json({_LONGEST: longest_question}) + "\n")


def trained_length(folder: str | Path) -> int | None:
    """Number of tokens in the longest training question of a folder's reasoner; None if unknown."""
    file = Path(folder) / FILE
    return int(read_json(file, "train the reasoner anew")[_LONGEST]) if file.is_file() else None
