"""Text in, text out: a user's or a model's text never contains control tokens.

"<eos>" in a question is five characters, not the end of the text. Control tokens (end of text, padding, begin
of thought, turns of a chat) come from ids, or from a template of a recipe or of this package (`Filled`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from tokenizers import AddedToken, Regex, Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerBase

# Added tokens of this form are control tokens, even where their author did not mark them as special
# (Coconut's <|start-latent|>, <think>). Others, such as GPT-NeoX's runs of blanks, are text.
_CONTROL_FORM = re.compile(r"<[^<>\s]+>")
NO_NAME = "<?>"
"""A token that the tokenizer has no string for, as CODI's own begin- and end-of-thought."""


def keep_plain(tokenizer: PreTrainedTokenizerBase, control_ids: Iterable[int] = ()) -> None:
    """Change `tokenizer`, in place, so that it reads every text as characters.

    Ids of texts without control tokens, the vocabulary and the tokenizer's hash stay as they are.

    Args:
        tokenizer: any.
        control_ids: added tokens that mean something to the model, beside those marked special.
    """
    wanted = set(control_ids)
    for i, token in list(tokenizer.added_tokens_decoder.items()):
        if not token.special and (i in wanted or _CONTROL_FORM.fullmatch(token.content)):
            marked = AddedToken(token.content, special=True, normalized=False)
            tokenizer.add_tokens([marked], special_tokens=True)
    tokenizer.split_special_tokens = True
    backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and (leaking := _still_tokens(tokenizer)):
        _split_first_character(backend, leaking)


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, AddedToken]:
    """Control tokens by their string."""
    return {token.content: token for token in tokenizer.added_tokens_decoder.values() if token.special}


def _still_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Control tokens that the model's plain vocabulary also has, and would find in a text."""
    names = [name for name in _control_tokens(tokenizer) if name != tokenizer.unk_token]
    encoded = tokenizer(names, add_special_tokens=False).input_ids if names else []
    vocabulary = tokenizer.get_vocab()
    ids = [vocabulary[name] for name in names]
    return [name for name, i, found in zip(names, ids, encoded, strict=True) if i in found and len(name) > 1]


def _split_first_character(backend: Tokenizer, names: Sequence[str]) -> None:
    """Part each name after its first character before the vocabulary is looked up."""
    pattern = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in names)
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    before = backend.pre_tokenizer
    backend.pre_tokenizer = split if before is None else pre_tokenizers.Sequence([before, split])


@dataclass(frozen=True)
class Filled:
    """A template whose control tokens are tokens, with values that are read as characters.

    Attributes:
        template: with a marker for each value.
        values: marker -> text, which is read as characters.
    """

    template: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The template with its values filled in."""
        return self._put_in(self.template)

    def ids(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """Token ids, without any that the tokenizer would add; `keep_plain` has changed `tokenizer`."""
        text = str(self)
        if not text:
            return []
        plain: list[int] = tokenizer(text, add_special_tokens=False).input_ids
        meant: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=False).input_ids
        if plain == meant or not self.values:
            return meant
        return self._by_section(tokenizer)

    def _by_section(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """A tokenizer reads what stands between two control tokens by itself; so does this."""
        control = _control_tokens(tokenizer)
        names = "|".join(map(re.escape, sorted(control, key=len, reverse=True)))
        ids: list[int] = []
        strip_next = False
        for part in re.split(f"({names})", self.template):
            if token := control.get(part):
                ids.append(tokenizer.get_vocab()[part])
                strip_next = bool(token.rstrip)
            elif section := self._put_in(part.lstrip() if strip_next else part):
                ids += tokenizer(section, add_special_tokens=False).input_ids
                strip_next = False
        return ids

    def _put_in(self, template: str) -> str:
        if not self.values:
            return template
        parts = re.split("(" + "|".join(map(re.escape, self.values)) + ")", template)
        return "".join(self.values.get(part, part) for part in parts)


def decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of sampled ids up to the end-of-text token, as it is shown, read, scored and stored.

    A control token in the middle appears by its name, so that two different samples do not look equal and
    nothing that was sampled is hidden.
    """
    kept = [int(i) for i in ids]
    if tokenizer.eos_token_id in kept:
        kept = kept[: kept.index(tokenizer.eos_token_id)]
    return _spelled(tokenizer, kept, skip_special_tokens=False)


def decoded_answer(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of a reasoner's own answer without control tokens, as the public models' authors decode it."""
    return _spelled(tokenizer, [int(i) for i in ids if i < len(tokenizer)], skip_special_tokens=True)


def _spelled(tokenizer: PreTrainedTokenizerBase, ids: list[int], skip_special_tokens: bool) -> str:
    size = len(tokenizer)
    runs = groupby(ids, key=lambda i: i < size)
    word_level = writes_spaces_everywhere(tokenizer)
    pieces = [
        str(tokenizer.decode(list(run), skip_special_tokens=skip_special_tokens))
        if known
        else (" " if word_level else "").join(NO_NAME for _ in run)
        for known, run in runs
    ]
    text = (" " if word_level else "").join(pieces)
    # A word-level tokenizer puts a space between any two tokens.
    return re.sub(r"(?<=\() | (?=[.,:;?)])", "", text) if word_level else text


def writes_spaces_everywhere(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer knows whole words and puts a space between any two of them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and backend.decoder is None
