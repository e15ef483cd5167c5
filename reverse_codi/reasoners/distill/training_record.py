"""What a reasoner was trained on, beside its weights; no part of its hash."""

from __future__ import annotations

import json
from pathlib import Path

from reverse_codi.utils.files import strict_json, write_whole

FILE = "training.json"
_LONGEST = "longest_question"


def write_record(folder: str | Path, longest_question: int) -> None:
    """Keep how many tokens the longest training question has."""
    write_whole(Path(folder) / FILE, strict_json({_LONGEST: longest_question}) + "\n")


def trained_length(folder: str | Path) -> int | None:
    """Tokens of the longest question that a folder's reasoner was trained on; None if that is not known."""
    file = Path(folder) / FILE
    return int(json.loads(file.read_text())[_LONGEST]) if file.is_file() else None
