"""Questions that a reasoner cannot take, and parts of a question that it will not understand."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from reverse_codi.errors import UserError
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.training_record import trained_length
from reverse_codi.recipe.traces import OnBad
from reverse_codi.storage.text_files import half_character
from reverse_codi.utils.shown import cut

log = logging.getLogger(__name__)

# Number of faults and notices that are printed; the rest is counted.
SHOWN = 10
# Questions of a long run whose words are looked up: 150,000 take half a minute.
LOOKED_AT = 2_000
# Difference in tokens that a question's parts may have from the whole.
_SLACK = 8
# With its sign, separators, decimals and denominator; "10-3" has no sign.
_NUMBER = re.compile(r"(?:(?<![\w.,])[-−+])?(?:\d+(?:[.,/]\d+)*|(?<!\w)\.\d+)")
# A number of several parts: any `_NUMBER` that is more than digits.
_COMPOUND = re.compile(r"(?<![\w.,])[-−+]\d|\d[.,/]\d|(?<!\w)\.\d")


class QuestionError(UserError):
    """The reasoner cannot take some questions; the message says for each where it stands and why."""


class Asked(Protocol):
    """A question and its place, "" if it has none."""

    @property
    def question(self) -> str: ...  # noqa: D102

    @property
    def where(self) -> str: ...  # noqa: D102


A = TypeVar("A", bound=Asked)


def longest_question(reasoner: CodiReasoner, writes: bool = False) -> int | None:
    """Largest number of tokens of a question, so that thoughts and answer fit into the model's positions.

    Args:
        reasoner: the reasoner.
        writes: its longest solution in CoT mode must fit, too.

    Returns None if the model does not say how many positions it has.
    """
    positions = getattr(reasoner.lm.config, "max_position_embeddings", None)
    if positions is None:
        return None
    config = reasoner.config
    answer = max(config.max_answer_tokens, 1 + len(reasoner.ids(config.cue)))  # eot is one of them
    after = len(config.before_bot) + 1 + reasoner.n_thoughts + answer
    if writes:
        after = max(after, len(config.written_ids) + config.max_written_tokens - 1)
    return int(positions) - after


def faults(reasoner: Reasoner, questions: Sequence[str], writes: bool = False) -> list[str | None]:
    """For each question the reason why the reasoner cannot take it, or None.

    Args:
        reasoner: the reasoner; a limit of length is known only for CODI and Coconut.
        questions: N questions.
        writes: the reasoner solves them in CoT mode, too.
    """
    codi = reasoner if isinstance(reasoner, CodiReasoner) else None
    limit = None if codi is None else longest_question(codi, writes)
    around = 0 if codi is None else len(codi.question_ids("")) + _SLACK

    def fault(question: str) -> str | None:
        if not question.strip():
            return "the question is empty; write one"
        if half := half_character(question):
            return half
        # A character of ASCII is one token at most, and a letter or digit one at least.
        surely_fits = question.isascii() and limit is not None and len(question) + around <= limit
        if codi is None or (surely_fits and any(map(str.isalnum, question))):
            return None
        if not codi.ids(question):
            return f"the tokenizer makes nothing of {cut(question)!r}; write it otherwise"
        tokens = len(codi.question_ids(question))
        if limit is None or tokens <= limit:
            return None
        positions = codi.lm.config.max_position_embeddings
        return (
            f"the question has {tokens} tokens; {limit} fit into the model's {positions} positions beside "
            "thoughts and answer; shorten it"
        )

    return [fault(question) for question in questions]


def admitted(
    asked: Sequence[A],
    found: Sequence[str | None],
    on_bad: OnBad,
    key: str = "trace.on_bad_question",
) -> list[A]:
    """Those of N questions that have no fault, in order; what is skipped is logged.

    Args:
        asked: N questions.
        found: the fault of each, None where there is none.
        on_bad: error refuses all if one has a fault; skip leaves these out, and logs them.
        key: the option that `on_bad` comes from, for the message.

    Raises:
        QuestionError: a question has a fault and `on_bad` is error, or none is left.
    """
    bad = [f"{place(asked[row], row)}: {why}" for row, why in enumerate(found) if why]
    if not bad:
        return list(asked)
    listed = "\n".join(shortened(bad))
    if on_bad == "error":
        raise QuestionError(f"{listed}, or set {key} to skip, to go without")
    if len(bad) == len(asked):
        raise QuestionError(f"{listed}; no question is left")
    log.warning(f"{len(bad):,} of {len(asked):,} questions skipped:\n{listed}")
    return [one for one, why in zip(asked, found, strict=True) if not why]


def askable(reasoner: Reasoner, asked: Sequence[A], on_bad: OnBad, writes: bool = False) -> list[A]:
    """Those of N questions that a reasoner can take, before a long run; see `admitted` and `faults`.

    Logs the skipped questions, and how many questions contain words that the model does not know.
    """
    kept = admitted(asked, faults(reasoner, [one.question for one in asked], writes), on_bad)
    if isinstance(reasoner, CodiReasoner) and (notice := not_understood(reasoner, kept)):
        log.warning(notice)
    return kept


def place(asked: Asked, row: int) -> str:
    """The place of a question: its own, or its number from 1."""
    return asked.where or f"question {row + 1}"


def shortened(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"and {more:,} more"] if more > 0 else [])]


def unknown_numbers(reasoner: CodiReasoner, question: str) -> list[tuple[int, int]]:
    """The places of numbers that the tokenizer does not know, or splits into separate numbers.

    A word-level tokenizer reads 9.5 as it reads "9 . 5": the model sees two numbers and a full stop.
    """
    unknown = reasoner.tokenizer.unk_token_id
    if unknown is None:
        return []
    found = []
    for match in _NUMBER.finditer(question):
        ids = reasoner.ids(match[0])
        apart = re.findall(r"\d+|\D", match[0])
        if unknown in ids or (len(apart) > 1 and ids == reasoner.ids(" ".join(apart))):
            found.append(match.span())
    return found


def unknown_words(reasoner: CodiReasoner, question: str) -> list[str]:
    """Words of a question, other than numbers, that the reasoner's tokenizer does not know."""
    unknown = reasoner.tokenizer.unk_token_id
    if unknown is None:
        return []
    numbers = unknown_numbers(reasoner, question)
    spans: list[tuple[int, int]] = []
    [offsets] = reasoner.offsets([question])
    for token, (start, end) in zip(reasoner.ids(question), offsets, strict=True):
        if token != unknown or any(first < end and start < last for first, last in numbers):
            continue
        if spans and spans[-1][1] == start:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((start, end))
    words = (question[start:end] for start, end in spans)
    return list(dict.fromkeys(word.strip(".,;:!?") or word for word in words))


def notices(reasoner: CodiReasoner, question: str, trained: int | None = None) -> list[str]:
    """Parts of a valid question that the model will not understand.

    Args:
        reasoner: the reasoner.
        question: the question.
        trained: number of tokens in its longest training question, if known.
    """
    found = []
    if words := unknown_words(reasoner, question):
        found.append(f"the model does not know these words: {_listed(words)}")
    if spans := unknown_numbers(reasoner, question):
        numbers = dict.fromkeys(question[start:end] for start, end in spans)
        read = [f"{number} (read as {_as_read(reasoner, number)})" for number in numbers]
        found.append(f"the model does not understand these numbers: {_listed(read)}")
    tokens = len(reasoner.question_ids(question))
    if trained is not None and tokens > trained:
        found.append(f"the question has {tokens} tokens, the longest that the model was trained on {trained}")
    return found


def _listed(words: Sequence[str]) -> str:
    """Words of a question in one line: the first ones, and how many more there are."""
    more = len(words) - SHOWN
    return ", ".join([*map(cut, words[:SHOWN]), *([f"and {more:,} more"] if more > 0 else [])])


def all_notices(reasoner: CodiReasoner, asked: Sequence[Asked], trained: int | None) -> list[str]:
    """The notices of N questions, each with its place: the first ones, and the number of the others."""
    found = [
        f"{place(one, row)}: {notice}"
        for row, one in enumerate(asked)
        for notice in notices(reasoner, one.question, trained)
    ]
    return shortened(found)


def knows(reasoner: CodiReasoner, text: str) -> bool:
    """Whether the tokenizer knows every word of a text."""
    unknown = reasoner.tokenizer.unk_token_id
    return unknown is None or unknown not in reasoner.ids(text)


def understood(reasoner: CodiReasoner, asked: Sequence[A], on_bad: OnBad, key: str) -> list[A]:
    """Those of N questions that a reasoner can take; logs what it will not understand of them.

    Args:
        reasoner: who is asked.
        asked: N questions.
        on_bad: as in `admitted`.
        key: the option that `on_bad` comes from, for the message.

    Raises:
        QuestionError: as `admitted`.
    """
    kept = admitted(asked, faults(reasoner, [one.question for one in asked]), on_bad, key)
    for notice in all_notices(reasoner, kept, trained_length(reasoner.saved_path())):
        log.warning(notice)
    return kept


def _as_read(reasoner: CodiReasoner, number: str) -> str:
    return " ".join(reasoner.tokenizer.convert_ids_to_tokens(reasoner.ids(number)))


def not_understood(reasoner: CodiReasoner, asked: Sequence[Asked]) -> str:
    """How many of the first questions contain words or numbers unknown to the model; "" if none."""
    unknown = reasoner.tokenizer.unk_token_id
    if unknown is None or not asked:
        return ""
    texts = [one.question for one in asked[:LOOKED_AT]]
    encoded: list[list[int]] = reasoner.tokenizer(texts, add_special_tokens=False).input_ids
    rows = [
        row
        for row, (ids, text) in enumerate(zip(encoded, texts, strict=True))
        if unknown in ids or (_COMPOUND.search(text) and unknown_numbers(reasoner, text))
    ]
    if not rows:
        return ""
    first = f"{place(asked[rows[0]], rows[0])}: {'; '.join(notices(reasoner, texts[rows[0]]))}"
    return f"{len(rows):,} of {len(texts):,} questions hold words or numbers unknown to the model ({first})"
