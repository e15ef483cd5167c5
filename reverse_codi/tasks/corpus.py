"""A finite set of problems, split into train and held-out, and the records that it comes from."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.storage.text_files import read_lines
from reverse_codi.tasks.base import Problem, Split, TaskError, split_by_hash
from reverse_codi.tasks.numbers import spelled
from reverse_codi.utils.shown import brief, cut


class RowError(TaskError):
    """A row cannot be used.

    Args:
        where: "path:line".
        problem: what is wrong, a format string where values are given.
        values: what stands in this row.

    Attributes:
        where: "path:line".
        reason: the problem without the row's values, the same for every row that has it.
    """

    def __init__(self, where: str, problem: str, values: Sequence[object]) -> None:
        message = problem.format(*map(_Shown, values)) if values else problem
        super().__init__(f"{where}: {message}")
        self.where = where
        self.reason = problem.format(*[_AnyValue()] * len(values)) if values else problem


class _Shown:
    """A value as a message has it: no longer than a message may be."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return brief(self.value)

    def __format__(self, form: str) -> str:
        return cut(format(self.value, form))


class _AnyValue:
    def __repr__(self) -> str:
        return "…"

    def __format__(self, form: str) -> str:
        return "…"


@dataclass(frozen=True)
class Row:
    """One record and where it stands, for messages.

    Attributes:
        where: "path:line", 1-based.
        fields: the decoded JSON object.
        unread: why the record could not be decoded; raised when a field is requested.
    """

    where: str
    fields: Mapping[str, object]
    unread: RowError | None = None

    def text(self, key: str) -> str:
        """A field that must be a non-empty string.

        Raises:
            TaskError: it is absent, empty or of another type.
        """
        value = self._read.get(key)
        if not isinstance(value, str) or not value.strip():
            if key in self.fields:
                raise self.error(f"{key!r} is {{!r}}; give it a non-empty string", value)
            raise self.error(f"{key!r} is missing (keys: {{}}); give it a non-empty string", self._keys)
        return value

    def first(self, *keys: str) -> str:
        """The first of several fields that exists; a number as its digits.

        Raises:
            TaskError: none exists, or the value is neither a number nor a non-empty string.
        """
        key = next((key for key in keys if self._read.get(key) is not None), None)
        if key is None:
            wanted = " or ".join(map(repr, keys))
            raise self.error(f"{wanted} is missing (keys: {{}}); give it a value", self._keys)
        value = self.fields[key]
        if isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, float) and not math.isfinite(value):
                raise self.error(f"{key!r} is {{}}; give it a finite number", value)
            return spelled(value)
        return self.text(key)

    def texts(self, key: str) -> list[str]:
        """A field that must be a list of non-empty strings.

        Raises:
            TaskError: it is absent or anything else.
        """
        values = self._read.get(key)
        if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
            raise self.error(f"{key!r} is {{!r}}; give it a list of non-empty strings", values)
        return values

    def error(self, problem: str, *values: object) -> RowError:
        """An error that names this row.

        Args:
            problem: what is wrong, in the same words for every row; with values a format string.
            values: what stands in this row.
        """
        return RowError(self.where, problem, values)

    @property
    def _read(self) -> Mapping[str, object]:
        if self.unread is not None:
            raise self.unread
        return self.fields

    @property
    def _keys(self) -> str:
        return ", ".join(self.fields)


def read_jsonl(path: Path) -> Iterator[Row]:
    """Yield the records of a JSON lines file; empty lines are skipped, others `Row.unread`.

    Raises:
        TextError: a byte is no text; names file and line.
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
        except (ValueError, RecursionError) as error:
            problem = "{}; write one JSON object a line"
            yield Row(where, {}, RowError(where, problem, [error]))
            continue
        if isinstance(fields, dict):
            yield Row(where, fields)
        else:
            problem = "the line holds a {}; write one JSON object a line"
            yield Row(where, {}, RowError(where, problem, [type(fields).__name__]))


def clean_question(text: str) -> str:
    """A question as CODI's evaluation asks it: without outer spaces, and with double spaces made single.

    Published accuracies hold for exactly this text.
    """
    return text.strip().replace("  ", " ")


def question_signature(question: str) -> str:
    """Identity of a question whatever its case and spacing: 16 hexadecimal digits of SHA-256."""
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
        """Keep the source's own split; a problem on both sides is held out."""
        encoded = {problem.signature: problem for problem in heldout}
        kept = {problem.signature: problem for problem in train if problem.signature not in encoded}
        return cls(source, tuple(kept.values()), tuple(encoded.values()))

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
            TaskError: the split has fewer problems.
        """
        problems = list(self.train if split is Split.TRAIN else self.heldout)
        if n > len(problems):
            raise TaskError(
                f"{self.source}: {n} {split} problems asked for; set n to at most {len(problems)}"
            )
        random.Random(f"{seed}/{split}").shuffle(problems)
        return problems[:n]
