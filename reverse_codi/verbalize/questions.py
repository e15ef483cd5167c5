"""Questions as users hand them in, each with where it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reverse_codi.errors import UserError
from reverse_codi.storage.text_files import STANDARD_INPUT
from reverse_codi.tasks.records import JSON_LIST, read_records
from reverse_codi.tasks.source import READERS
from reverse_codi.traces.files import is_store

_SUFFIX = re.compile(r"\.\w+\Z")


@dataclass(frozen=True)
class Question:
    """A question that a user gave.

    Attributes:
        question: its text.
        where: "file:line", "argument 2", "standard input:3".
    """

    question: str
    where: str


def read_questions(words: Sequence[str]) -> list[Question]:
    """Questions from arguments and files, or from standard input where there are no arguments.

    Args:
        words: each a question, a file (see `read_records`; its records have a `question`), or "-". Trace
            stores are passed over: their vectors are read, not their questions.

    Raises:
        UserError: a file or folder does not hold questions, or is not there; names file and line.
    """
    found = [question for n, word in enumerate(words, start=1) for question in _of_word(word, n)]
    return found if words else list(_of_file(STANDARD_INPUT))


def _of_word(word: str, number: int) -> Iterator[Question]:
    if is_store(word):
        return
    # os.path, for pathlib raises where a question is too long for a file's name.
    if word == STANDARD_INPUT or os.path.exists(word):
        yield from _of_file(word)
    elif word.endswith(tuple(READERS)) or _named_like_a_file(word):
        raise UserError(f"argument {number}: {word} is no file, and a question has more than one word")
    elif word.lstrip().startswith("{") or JSON_LIST.match(word):
        raise UserError(f"argument {number} is JSON; write the question alone, or give JSON in a file")
    else:
        yield Question(word, f"argument {number}")


def _named_like_a_file(word: str) -> bool:
    """Whether it is one word with a slash in it or a suffix at its end."""
    return len(word.split()) == 1 and word == word.strip() and ("/" in word or bool(_SUFFIX.search(word)))


def _of_file(place: str) -> Iterator[Question]:
    if os.path.isdir(place):
        raise UserError(f"{place} is a folder, and no trace store; give a file of questions")
    records = read_records(place)
    if not records.rows and place != STANDARD_INPUT:  # of that, the command says how to ask
        raise UserError(f"{place} holds no question")
    key = "text" if records.plain else "question"
    for row in records.rows:
        text = row.fields.get(key)
        # An empty question is for whoever asks it to refuse or to skip; a record without one is malformed.
        text = text if isinstance(text, str) else row.text(key)
        yield Question(text.strip() if records.plain else text, row.where)
