"""A finite set of problems, split into train and held-out, and the records that it is read from."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.tasks.answers import written_number
from reverse_codi.tasks.base import Problem, Split, TaskError, split_by_hash
from reverse_codi.text_files import read_lines


@dataclass(frozen=True)
class Row:
    """One record and where it stands, for messages.

    Attributes:
        where: "path:line", 1-based.
        fields: the decoded JSON object.
    """

    where: str
    fields: Mapping[str, object]

    def text(self, key: str) -> str:
        """A field that must be a non-empty string.

        Raises:
            TaskError: it is absent, empty or of another type.
        """
        value = self.fields.get(key)
        if not isinstance(value, str) or not value.strip():
            has = f"is {value!r}" if key in self.fields else f"is missing (keys: {', '.join(self.fields)})"
            raise self.error(f"{key!r} {has}; give it a non-empty string")
        return value

    def first(self, *keys: str) -> str:
        """The first of several fields that is there, a number as its digits.

        Raises:
            TaskError: none is there, or it is neither a number nor a non-empty string.
        """
        key = next((key for key in keys if self.fields.get(key) is not None), None)
        if key is None:
            wanted = " or ".join(map(repr, keys))
            raise self.error(f"{wanted} is missing (keys: {', '.join(self.fields)}); give it a value")
        value = self.fields[key]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return written_number(value)
        return self.text(key)

    def texts(self, key: str) -> list[str]:
        """A field that must be a list of non-empty strings.

        Raises:
            TaskError: it is absent or anything else.
        """
        values = self.fields.get(key)
        if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
            raise self.error(f"{key!r} is {values!r}; give it a list of non-empty strings")
        return values

    def error(self, problem: str) -> TaskError:
        """An error that names this row."""
        return TaskError(f"{self.where}: {problem}")


def read_jsonl(path: Path) -> Iterator[Row]:
    """Yield the records of a JSON lines file; empty lines are skipped.

    Raises:
        TextError: a byte is no text.
        TaskError: a line is not a JSON object; names file and line.
    """
    return jsonl_rows(read_lines(path), str(path))


def jsonl_rows(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Row]:
    """Yield the records of numbered lines; see `read_jsonl`."""
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise TaskError(f"{where}: {error}; write one JSON object a line") from None
        if not isinstance(fields, dict):
            kind = type(fields).__name__
            raise TaskError(f"{where}: the line holds a {kind}; write one JSON object a line")
        yield Row(where, fields)


def clean_question(text: str) -> str:
    """A question as CODI's evaluation asks it: outer spaces gone, double ones single.

    Published accuracies hold for exactly this text.
    """
    return text.strip().replace("  ", " ")


def question_signature(question: str) -> str:
    """Identity of a question up to case and spacing: 16 hexadecimal digits of SHA-256."""
    return signature_of(" ".join(question.casefold().split()))


def signature_of(content: str) -> str:
    """16 hexadecimal digits of SHA-256."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Corpus:
    """All problems of a source; no signature occurs twice.

    Attributes:
        source: path or hub id, for messages.
        train: problems to train on, in the source's order.
        heldout: problems to measure on.
    """

    source: str
    train: tuple[Problem, ...]
    heldout: tuple[Problem, ...]

    @classmethod
    def of_splits(cls, source: str, train: Iterable[Problem], heldout: Iterable[Problem]) -> Corpus:
        """Keep the source's own split; what is in both sides is held out."""
        held = {problem.signature: problem for problem in heldout}
        kept = {problem.signature: problem for problem in train if problem.signature not in held}
        return cls(source, tuple(kept.values()), tuple(held.values()))

    @classmethod
    def of_pool(cls, source: str, problems: Iterable[Problem], heldout_percent: int) -> Corpus:
        """Split by the hash of each signature."""
        sides: dict[Split, list[Problem]] = {Split.TRAIN: [], Split.HELDOUT: []}
        for problem in {problem.signature: problem for problem in problems}.values():
            sides[split_by_hash(problem.signature, heldout_percent)].append(problem)
        return cls(source, tuple(sides[Split.TRAIN]), tuple(sides[Split.HELDOUT]))

    def draw(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw `n` different problems; a smaller `n` gives the beginning of the same list.

        Raises:
            TaskError: the split holds fewer.
        """
        problems = list(self.train if split is Split.TRAIN else self.heldout)
        if n > len(problems):
            raise TaskError(
                f"{self.source}: {n} {split} problems asked for; set n to at most {len(problems)}"
            )
        random.Random(f"{seed}/{split}").shuffle(problems)
        return problems[:n]
