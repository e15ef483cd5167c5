"""GSM8K: grade-school word problems whose solutions carry calculator annotations.

Cobbe et al. 2021, arXiv 2110.14168. An answer is lines of English with `<<48/2=24>>` in them and a
last line `#### 72`.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.tasks.base import Problem, Split, Step, TaskError, canonical_number, stated_answer
from reverse_codi.tasks.corpus import Corpus, Row, question_signature
from reverse_codi.tasks.equations import ANNOTATION, parse_equations

_RESULT_MARK = "####"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?<!\.jsonl)")


def gsm8k_problem(row: Row) -> Problem:
    """Turn a {question, answer} record into a problem; lines without annotations are no steps.

    Raises:
        TaskError: a field or the `####` result is missing, or an annotation is no equation.
    """
    question, solution = row.text("question"), row.text("answer")
    body, mark, stated = solution.rpartition(_RESULT_MARK)
    answer = canonical_number(stated)
    if not mark or answer is None:
        raise row.error(f"the answer ends in {solution[-30:]!r}; its last line must be '#### ' and a number")
    steps: list[Step] = []
    for line in body.splitlines():
        english = ANNOTATION.sub("", line).strip()
        for annotation in ANNOTATION.findall(line):
            equations = parse_equations(f"<<{annotation}>>")
            if not equations:
                raise row.error(f"the annotation <<{annotation}>> is no equation; write it like <<48/2=24>>")
            steps += [Step(english, equation.claim, equation.result) for equation in equations]
    return Problem(question, answer, tuple(steps), question_signature(question))


@dataclass(frozen=True, kw_only=True)
class GSM8K:
    """GSM8K from the hub or from files.

    Attributes:
        source: hub id, or path of a JSON lines file or of a folder of them (see `Corpus.load`).
        config: configuration of the hub data set.
        heldout_percent: share held out where the source has no test split of its own.
    """

    source: str = "openai/gsm8k"
    config: str = "main"
    heldout_percent: int = 10

    @functools.cached_property
    def corpus(self) -> Corpus:
        """Every problem, read once."""
        if Path(self.source).exists() or not _HUB_ID.fullmatch(self.source):
            return Corpus.load(self.source, gsm8k_problem, self.heldout_percent)
        return self._from_hub()

    def _from_hub(self) -> Corpus:
        from datasets import load_dataset  # takes seconds, and local files need none of it

        try:
            splits = load_dataset(self.source, self.config)
        except (OSError, ValueError) as error:
            raise TaskError(
                f"gsm8k: {self.source!r} is no local path, and the hub gave: {error}; "
                "set task.options.source to a JSON lines file"
            ) from error
        train, test = (
            [
                gsm8k_problem(Row(f"{self.source} {name}:{i}", fields))
                for i, fields in enumerate(splits[name], start=1)
            ]
            for name in ("train", "test")
        )
        return Corpus.of_splits(self.source, train, test)

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Return `n` problems of one split (the `Task` protocol); see `Corpus.draw`."""
        return self.corpus.draw(split, n, seed)

    def extract_answer(self, text: str) -> str | None:
        """Return the number after "The answer is:", else after `####`."""
        answer = stated_answer(text)
        _, mark, result = text.rpartition(_RESULT_MARK)
        return canonical_number(result) if answer is None and mark else answer
