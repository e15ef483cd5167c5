"""Small tokenizers of the kinds that public models have, and a reasoner over one of them."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from reverse_codi.reasoners.codi import CodiConfig, CodiReasoner, new_language_model
from reverse_codi.reasoners.latent_lm import LatentLM, projection

END, BEGIN, BOT, LATENT = "<|endoftext|>", "<|begin_of_text|>", "<|bocot|>", "<|start-latent|>"
TEXT = ["Ann has 12 apples. The answer is: 12"]


def byte_level() -> PreTrainedTokenizerFast:
    """As Llama's or GPT-2's: bytes, a begin token put before texts, control tokens marked special and not."""
    backend = _bytes([END, BEGIN])
    backend.post_processor = processors.TemplateProcessing(f"{BEGIN} $A", special_tokens=[(BEGIN, 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, bos_token=BEGIN)
    tokenizer.add_tokens([AddedToken(BOT, special=True)])
    tokenizer.add_tokens([LATENT, "<think>"])  # not marked special, as Coconut's code adds its own
    tokenizer.add_tokens(["apples"])  # an added word that is a word
    return tokenizer


def gpt2() -> PreTrainedTokenizerFast:
    """As GPT-2's: one control token for begin, end and unknown, and a pad that was added."""
    backend = _bytes([END])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, bos_token=END, unk_token=END, pad_token="[PAD]"
    )
    return tokenizer


def smollm2() -> PreTrainedTokenizerFast:
    """As SmolLM2's: digits apart, turns of a chat, <|endoftext|> as unknown, <|im_end|> as end and pad."""
    start, end = "<|im_start|>", "<|im_end|>"
    backend = _bytes([END, start, end])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=end, bos_token=start, unk_token=END, pad_token=end
    )


def llama3() -> PreTrainedTokenizerFast:
    """As Llama 3's: a vocabulary that is looked up first, and holds the names as words."""
    backend = _bytes([BEGIN, END])
    vocabulary = dict(backend.get_vocab(with_added_tokens=False))
    model = models.BPE(vocab=vocabulary, merges=[], ignore_merges=True)
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, bos_token=BEGIN, pad_token=END)


def llama2() -> PreTrainedTokenizerFast:
    """As Llama 2's: pieces with ▁ for a space, bytes for what has none, <s>, </s> and <unk> among them."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"Anhas12p. eu<>/"]
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def byte_level_reasoner(**config: Any) -> CodiReasoner:
    """An untrained reasoner over `byte_level`, with bot and eot that its tokenizer knows."""
    tokenizer = byte_level()
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    lm = new_language_model(
        tokenizer, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    bot, eot = tokenizer.convert_tokens_to_ids([BOT, LATENT])
    model = LatentLM(lm, projection(32, 64), 2, bot, eot)
    return CodiReasoner(model, tokenizer, CodiConfig(2, 64, bot, eot, **config))


def _bytes(special: list[str]) -> Tokenizer:
    """A byte-level BPE trained on one line."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
    )
    backend.train_from_iterator(TEXT, trainer)
    return backend
