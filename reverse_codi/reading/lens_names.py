"""Which tokens of a logit lens name a number.

A lens sees one token, and a number may have several: "1600" is "160" and "0" to Llama 3, which groups digits
by three, and "1,600" is "1", "," and "600" to most tokenizers. Of such a number the lens can show the first
token alone. That token says how the number begins: "160" is what 160, 1600 and 160,000 have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.tasks.numbers import whole_number


class LensNames:
    """The tokens that name a result: the result itself, or the first of its tokens if it has several.

    Args:
        reasoner: whose tokenizer decides.
    """

    def __init__(self, reasoner: CodiReasoner) -> None:
        self._reasoner = reasoner
        self._known: dict[str, frozenset[str]] = {}

    def leading(self, result: str) -> frozenset[str]:
        """First tokens of a result's spellings that have several tokens: "16" of 1600.

        Spellings are those of claims, without separators; at the start of a text and after a space they may
        have other tokens. A negative number begins with its sign, a decimal with its whole part.
        """
        return self._first_tokens([result])

    def leading_grouped(self, result: str) -> frozenset[str]:
        """The same, also for the spelling with separators: "1" of 1,600."""
        return self._first_tokens([result, f"{int(result):,}"] if result.isdecimal() else [result])

    def hit(self, tokens: Sequence[str], result: str, k: int) -> bool:
        """Whether one of the first `k` lens tokens names a canonical result, number or class.

        A result of several tokens is named by the first of them.
        """
        leading = self.leading(result)
        return any(named_by(token, result) or token.strip() in leading for token in tokens[:k])

    def _first_tokens(self, spellings: Iterable[str]) -> frozenset[str]:
        placed = (f"{space}{spelling}" for spelling in spellings for space in ("", " "))
        return frozenset(first for spelling in placed for first in self._first(spelling))

    def _first(self, spelling: str) -> frozenset[str]:
        if spelling not in self._known:
            self._known[spelling] = frozenset(filter(None, [self._first_of(spelling)]))
        return self._known[spelling]

    def _first_of(self, spelling: str) -> str | None:
        ids = self._reasoner.ids(spelling)
        if self._reasoner.tokenizer.unk_token_id in ids:
            return None
        # Some tokenizers put the space before a number into a token of its own.
        pieces = [piece for token in ids if (piece := self._reasoner.decode([token]).strip())]
        return pieces[0] if len(pieces) > 1 and spelling.strip().startswith(pieces[0]) else None


def named_by(token: str, result: str) -> bool:
    """Whether a token by itself is a canonical result; "<|reserved_17|>" is not 17.

    >>> named_by(" 17", "17"), named_by("160", "1600"), named_by("<|reserved_17|>", "17")
    (True, False, False)
    """
    return result in (token.strip(), whole_number(token))
