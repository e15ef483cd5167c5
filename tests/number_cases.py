"""Numbers as public models and their data write them: one table, and two kinds of tokenizers to split them.

GPT-2 splits a number where its merges end (" 1600" is one token, "1600" two), Llama 3 every three digits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from reverse_codi.reasoners.codi import CodiReasoner
from tests.tiny import make_tiny_reasoner

END = "<|endoftext|>"
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class NumberCase:
    """One text with one claim.

    Attributes:
        kind: what is special about its numbers.
        text: as a text states it.
        claim: the claim in canonical form.
        numbers: the text's numbers as it writes them, a minus sign included, currency and percent not.
    """

    kind: str
    text: str
    claim: str
    numbers: tuple[str, ...]

    @property
    def result(self) -> str:
        """The claim's result."""
        return self.claim.rpartition("= ")[2]


CASES = [
    NumberCase("whole", "12 + 5 = 17.", "12 + 5 = 17", ("12", "5", "17")),
    NumberCase("no spaces", "12+5=17", "12 + 5 = 17", ("12", "5", "17")),
    NumberCase("operator at its operand", "12 -5 = 7.", "12 - 5 = 7", ("12", "5", "7")),
    NumberCase("thousands", "800 * 2 = 1600.", "800 * 2 = 1600", ("800", "2", "1600")),
    NumberCase("separators", "800 * 2 = 1,600.", "800 * 2 = 1600", ("800", "2", "1,600")),
    NumberCase(
        "millions",
        "$1,250,000 + $350,000 = $1,600,000.",
        "1250000 + 350000 = 1600000",
        ("1,250,000", "350,000", "1,600,000"),
    ),
    NumberCase(
        "round",
        "90000 + 8000 + 36000 = 134000.",
        "90000 + 8000 + 36000 = 134000",
        ("90000", "8000", "36000", "134000"),
    ),
    NumberCase("decimal", "17.5 + 10.5 = 28.0.", "17.5 + 10.5 = 28", ("17.5", "10.5", "28.0")),
    NumberCase("decimal result", "35 * 0.5 = 17.5.", "35 * 0.5 = 17.5", ("35", "0.5", "17.5")),
    NumberCase("cents", "$17.50 + $0.25 = $17.75.", "17.5 + 0.25 = 17.75", ("17.50", "0.25", "17.75")),
    NumberCase("no leading zero", "15 / 25 = .6.", "15 / 25 = 0.6", ("15", "25", ".6")),
    NumberCase("rounded", "10 / 3 = 3.33.", "10 / 3 = 3.33", ("10", "3", "3.33")),
    NumberCase(
        "separators and cents", "1,200.50 * 2 = 2,401.", "1200.5 * 2 = 2401", ("1,200.50", "2", "2,401")
    ),
    NumberCase("percentage", "3 / 5 * 100 = 60%.", "3 / 5 * 100 = 60", ("3", "5", "100", "60")),
    NumberCase("share", "200 * .60 = 120.", "200 * 0.6 = 120", ("200", ".60", "120")),
    NumberCase("negative", "5 - 8 = -3.", "5 - 8 = -3", ("5", "8", "-3")),
    NumberCase("negative first", "-17 + 43 = 26.", "-17 + 43 = 26", ("-17", "43", "26")),
    NumberCase("minus sign", "5 − 8 = −3.", "5 - 8 = -3", ("5", "8", "−3")),
    NumberCase("negative money", "$5 - $8 = -$3.", "5 - 8 = -3", ("5", "8", "-$3")),
    NumberCase("negative decimal", "2.5 - 4 = -1.5.", "2.5 - 4 = -1.5", ("2.5", "4", "-1.5")),
    NumberCase("units", "12 + 5 = 17 kg of apples.", "12 + 5 = 17", ("12", "5", "17")),
    NumberCase("ordinal", "On the 5th day 12 + 5 = 17.", "12 + 5 = 17", ("12", "5", "17")),
    NumberCase("result alone", "= 1,600.", "= 1600", ("1,600",)),
    NumberCase("negative result alone", "= -3.", "= -3", ("-3",)),
]

# GSM8K's annotations of numbers that were not computed.
BARE = {"<<9=9>>": "= 9", "<<+11=11>>": "= 11", "<<-47=-47>>": "= -47", "<<4.5=4.50>>": "= 4.5"}


def _corpus() -> list[str]:
    """Sums with each number below 100 twice and more, and few long numbers."""
    sums = [f"{a} + {b} = {a + b}." for a in range(60) for b in (1, 7, 13, 25)]
    threes = [f"={n} {n}" for n in range(100, 1000) for _ in range(2)] + [" 1600"] * 100
    return [*sums, *sums, *threes, "Ann has 800 pens and buys apples on the 5th day, 40% of them."] * 2


def _byte_level(split: pre_tokenizers.PreTokenizer) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=3_600, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, padding_side="left"
    )


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with GPT-2's splitting rule: a number takes the space before it."""
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))


def llama3_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with Llama 3's splitting rule: at most three digits a token, no space before them."""
    split = pre_tokenizers.Split(Regex(_LLAMA_3), "isolated")
    rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return _byte_level(pre_tokenizers.Sequence([split, rest]))


TOKENIZERS: Mapping[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": gpt2_tokenizer,
    "llama3": llama3_tokenizer,
}


@functools.cache
def make_reasoner(kind: str) -> CodiReasoner:
    """An untrained reasoner with one of the tokenizers."""
    return make_tiny_reasoner(tokenizer=TOKENIZERS[kind]())
