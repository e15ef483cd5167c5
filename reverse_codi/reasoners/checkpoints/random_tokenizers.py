"""Tokenizers of the kind and size of public base models, made from texts at hand.

A vocabulary cannot be made without its authors' texts, but its size, its ids for control tokens and its
splitting rule can, and these decide memory, lengths and how a number is cut. What the texts do not fill is
filled with words of Greek letters, each one token, so that a text of random ids is as long in tokens as it
was sampled.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from reverse_codi.storage.files import strict_json, write_whole

BLANK = "Ġ"
"""How byte-level BPE spells a blank."""
GPT2_WORDS = 50_256
"""Tokens of GPT-2 before `<|endoftext|>`, its last: 256 bytes and 50,000 merges."""
LLAMA_WORDS, LLAMA_CONTROL = 128_000, 256
"""Tokens of Llama 3 that texts are made of, and the control tokens behind them."""
# Llama 3's rule: up to three digits belong together, and a blank before them is a token of its own.
LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Control tokens of Llama 3.2 that have a name, by their place behind the words; the others are reserved.
LLAMA_NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}
# What is learnt from texts; beyond it there are no pairs worth a token in a few thousand problems.
LEARNT = 12_000
_GREEK = [chr(code) for code in range(0x3B1, 0x3CA)]


@dataclass
class Words:
    """The vocabulary and merges of a byte-level BPE while they grow.

    Attributes:
        vocabulary: token -> id.
        merges: pairs of tokens, those that are joined first before others.
    """

    vocabulary: dict[str, int]
    merges: list[tuple[str, str]]
    _known: set[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._known = set(self.merges)

    @classmethod
    def learnt(cls, texts: Iterable[str], split: pre_tokenizers.PreTokenizer, size: int) -> Words:
        """Learn at most `size` tokens from texts, bytes included."""
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = split
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        backend.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        )
        model = json.loads(backend.to_str())["model"]
        return cls(model["vocab"], [(left, right) for left, right in model["merges"]])

    def join(self, left: str, right: str) -> None:
        """Make one token of two, if they are not joined yet."""
        self.vocabulary.setdefault(left + right, len(self.vocabulary))
        if (left, right) not in self._known:
            self._known.add((left, right))
            self.merges.append((left, right))

    def fill(self, size: int) -> None:
        """Grow to exactly `size` tokens, by words that no English text holds."""
        for left, right in _words():
            if len(self.vocabulary) >= size:
                break
            self.join(left, right)
        if len(self.vocabulary) != size:
            raise ValueError(f"{len(self.vocabulary)} tokens instead of {size}")

    def backend(self, split: pre_tokenizers.PreTokenizer) -> Tokenizer:
        """The tokenizer."""
        made = Tokenizer(models.BPE(self.vocabulary, self.merges))
        made.pre_tokenizer, made.decoder = split, decoders.ByteLevel()
        return made


def _words() -> Iterator[tuple[str, str]]:
    """Pairs that make Greek letters of bytes, and words of up to four letters after a blank.

    In English texts no other pair competes for these letters, so every word becomes its one token again.
    """
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    letters = [spelled(letter)[0][0] for letter in _GREEK]  # two bytes each
    yield from ((letter[0], letter[1]) for letter in letters)
    heads = [BLANK]
    for _ in range(4):
        yield from itertools.product(heads, letters)
        heads = [head + letter for head, letter in itertools.product(heads, letters)]


def gpt2_tokenizer(folder: Path, texts: Iterable[str]) -> None:
    """Write the tokenizer files of openai-community/gpt2: 50,257 tokens; a blank is part of the next word."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = Words.learnt(texts, split, LEARNT)
    words.fill(GPT2_WORDS)
    backend = words.backend(split)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    _add(backend, ["<|endoftext|>"])
    _write(folder, backend, {"model_max_length": 1024})
    write_whole(folder / "vocab.json", strict_json(backend.get_vocab()))
    merges = "\n".join(" ".join(pair) for pair in words.merges)
    write_whole(folder / "merges.txt", f"#version: 0.2\n{merges}\n")


def llama_tokenizer(folder: Path, texts: Iterable[str], more: Sequence[str] = ()) -> None:
    """Write the tokenizer files of Llama-3.2-1B-Instruct: 128,256 tokens, numbers of up to three digits.

    Args:
        folder: where to.
        texts: to learn from.
        more: control tokens behind the base's, which a checkpoint brings.
    """
    parts = [
        pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    split = pre_tokenizers.Sequence(parts)
    words = Words.learnt(texts, split, LEARNT)
    digits = "0123456789"
    for length in (1, 2):  # every number below 1,000 is a token
        for head in itertools.product(digits, repeat=length):
            for digit in digits:
                words.join("".join(head), digit)
    words.fill(LLAMA_WORDS)
    backend = words.backend(split)
    numbers = itertools.count()
    control = [
        LLAMA_NAMED.get(place) or f"<|reserved_special_token_{next(numbers)}|>"
        for place in range(LLAMA_CONTROL)
    ]
    _add(backend, [*control, *more])
    bos, eos, pad = LLAMA_NAMED[0], LLAMA_NAMED[9], LLAMA_NAMED[4]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
    )
    named = {"bos_token": bos, "eos_token": eos, "pad_token": pad}
    sizes = {"model_max_length": 131_072, "tokenizer_class": "PreTrainedTokenizerFast"}
    _write(folder, backend, {**named, **sizes})


def _add(backend: Tokenizer, control: Sequence[str]) -> None:
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])


def _write(folder: Path, backend: Tokenizer, config: dict[str, object]) -> None:
    write_whole(folder / "tokenizer.json", backend.to_str())
    write_whole(folder / "tokenizer_config.json", strict_json(config, indent=2) + "\n")
