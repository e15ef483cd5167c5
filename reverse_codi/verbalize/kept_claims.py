"""Claims of whole traces in a file beside them, so that what took minutes to find is found once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.storage.files import DamagedError, strict_json, write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.utils.console import progress

# Traces between two writes of the file.
CHUNK = 10_000
CONTENT = "sha256"
"""Key of what the claims must be."""
ANEW = "delete it to write it anew"


def kept_claims(
    file: Path,
    key: str,
    reasoner: CodiReasoner,
    questions: list[str],
    find: Callable[[int, int], list[list[str]]],
) -> list[list[str]]:
    """For each of N traces its claims; what the file has is not found again.

    Args:
        file: beside the traces; written every `CHUNK` traces.
        key: what the claims are called in it.
        reasoner: whose traces they are.
        questions: of the N traces.
        find: the claims of the traces from one row to another.

    Raises:
        UserError: the file is damaged, or of other questions or another reasoner.
    """
    claims = read_claims(file, key, reasoner, questions)
    with progress(f"{key} steps", len(questions), len(claims)) as advance:
        for start in range(len(claims), len(questions), CHUNK):
            end = min(start + CHUNK, len(questions))
            claims += find(start, end)
            kept = {**_origin(reasoner, questions[:end]), CONTENT: _hash(claims), key: claims}
            write_whole(file, strict_json(kept))
            advance(end - start)
    return claims


def read_claims(file: Path, key: str, reasoner: CodiReasoner, questions: list[str]) -> list[list[str]]:
    """What `kept_claims` found for the first of these questions; nothing without a file.

    Raises:
        UserError: as there.
    """
    if not file.is_file():
        return []
    kept = read_object(file, ANEW)
    claims = kept.get(key)
    origin = {name: kept.get(name) for name in _origin(reasoner, [])}
    if not isinstance(claims, list) or None in origin.values():
        raise DamagedError(f"{file} is damaged, or of an earlier version; {ANEW}")
    written = kept.get(CONTENT)  # version 0.1.0 did not write it
    if written is not None and written != _hash(claims):
        raise DamagedError(f"{file} was changed or damaged after it was written; {ANEW}")
    for name, now in _origin(reasoner, questions[: len(claims)]).items():
        if origin[name] != now:
            raise UserError(f"{file} has other {name} ({origin[name]}, now {now}); {ANEW}")
    return claims


def _origin(reasoner: CodiReasoner, questions: list[str]) -> dict[str, str]:
    """Whose claims, and for which questions, as hashes."""
    return {"reasoner": reasoner.content_hash, "questions": _hash(questions)}


def _hash(value: object) -> str:
    return hashlib.sha256(strict_json(value).encode()).hexdigest()
