"""Checkpoints in every public layout, with random weights and reduced width, made in the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

from reverse_codi.reasoners.checkpoints.accounting import skeleton
from reverse_codi.reasoners.latent_lm import projection
from reverse_codi.recipe.reasoner import Source
from tests.tiny import make_tiny_reasoner

TEXTS = [
    "Ann has 12 apples and buys 5 more .",
    "The answer is: 17",
    "### 17",
    "Bob gives 3 to each of 4 friends .",
]
QUESTIONS = ["Ann has 12 apples and buys 5 more. How many?", "Bob gives 3 each to 4.", "How many {x} is 2?"]
TARGETS = (
    "c_attn",
    "c_proj",
    "c_fc",
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)
K = 3
RANK, ALPHA = 4, 1.0  # a quarter, as 32 / 128


@dataclass(frozen=True)
class Case:
    """A checkpoint on disk.

    Attributes:
        name: of the layout.
        source: what a recipe would say.
        tensors: as stored, in float32.
        prefix: of the language model's keys.
        config: of the language model.
    """

    name: str
    source: Source
    tensors: dict[str, Tensor]
    prefix: str
    config: PretrainedConfig

    @property
    def file(self) -> Path:
        """The weight file."""
        path = Path(self.source.path)
        names = (
            "model.safetensors",
            "pytorch_model.bin",
            "checkpoint_28",
            "model-00001-of-00001.safetensors",
        )
        return next(path / name for name in names if (path / name).is_file())


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2's: a blank belongs to the number after it."""
    return _bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), "<|endoftext|>", None)


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE as Llama 3's: a blank before digits is a token, texts begin with one of their own."""
    words = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s"), "isolated")
    split = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return _bpe(split, "<|eot_id|>", "<|begin_of_text|>")


def _bpe(split: pre_tokenizers.PreTokenizer, eos: str, bos: str | None) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = split, decoders.ByteLevel()
    specials = [token for token in (eos, bos) if token]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    if bos:
        pair = (bos, backend.token_to_id(bos))
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[pair])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, bos_token=bos)


def gpt2(vocab: int) -> GPT2Config:
    """A narrow GPT-2."""
    return GPT2Config(
        vocab_size=vocab, n_embd=16, n_layer=2, n_head=2, n_positions=96, bos_token_id=0, eos_token_id=0
    )


def llama(vocab: int) -> LlamaConfig:
    """A narrow Llama 3: grouped queries, tied embeddings."""
    return LlamaConfig(
        vocab_size=vocab,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        tie_word_embeddings=True,
    )


def plain_tensors(config: PretrainedConfig, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a language model with `rows` token ids, without the tied head."""
    config.vocab_size = rows
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in skeleton(config).state_dict().items():
        if name != "lm_head.weight":
            value = 0.3 * torch.randn(tensor.shape, generator=generator)
            tensors[name] = value + ("norm" in name or ".ln_" in name) * (tensor.dim() == 1) * 1.0
    return tensors


def with_lora(config: PretrainedConfig, plain: dict[str, Tensor], rank: int = RANK) -> dict[str, Tensor]:
    """The same in PEFT's names, with a LoRA on every linear layer."""
    model, out = skeleton(config), {}
    for name, tensor in plain.items():
        module, _, kind = name.rpartition(".")
        if module.rpartition(".")[2] not in TARGETS:
            out[name] = tensor
            continue
        out[f"{module}.base_layer.{kind}"] = tensor
        if kind == "weight":
            turned = isinstance(model.get_submodule(module), Conv1D)
            n_out, n_in = tensor.shape[::-1] if turned else tensor.shape
            out[f"{module}.lora_A.default.weight"] = _like(tensor, rank, n_in)
            out[f"{module}.lora_B.default.weight"] = _like(tensor, n_out, rank)
    return out


def _like(tensor: Tensor, *shape: int) -> Tensor:
    """Numbers fixed by the shape, on the tensor's device."""
    if tensor.is_meta:
        return torch.empty(shape, device="meta")
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def codi_tensors(config: PretrainedConfig, rows: int, hidden: int = 12) -> dict[str, Tensor]:
    """A CODI checkpoint: PEFT's names under CODI's, and the projection."""
    peft = with_lora(config, plain_tensors(config, rows))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        prj = projection(config.hidden_size, hidden).state_dict()
    prefixed = {f"codi.base_model.model.{name}": tensor for name, tensor in peft.items()}
    return prefixed | {f"prj.{name}": tensor for name, tensor in prj.items()}


def described(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A base model's folder without weights."""
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _source(folder: Path, base: Path | None = None, **said: object) -> Source:
    return Source(
        path=str(folder),
        base=None if base is None else str(base),
        n_thoughts=K,
        lora_alpha=ALPHA,
        converted=str(folder.parent / "converted"),
        **said,
    )


def make_own(root: Path) -> Case:
    """The format of reasoners that are trained here."""
    reasoner = make_tiny_reasoner(n_thoughts=K, hidden=16)
    reasoner.save_pretrained(root / "own")
    tensors = {name: tensor for name, tensor in reasoner.lm.state_dict().items() if name != "lm_head.weight"}
    tensors |= {f"prj.{name}": tensor for name, tensor in reasoner.model.prj.state_dict().items()}
    return Case("own", Source(path=str(root / "own")), tensors, "", reasoner.lm.config)


def make_codi_gpt2(root: Path) -> Case:
    """zen-E/CODI-gpt2: one pickle of tensors, the tied head beside them; everything else from the base."""
    tokenizer = gpt2_tokenizer()
    config = gpt2(len(tokenizer))
    base = described(root / "gpt2-base", config, tokenizer)
    tensors = codi_tensors(config, len(tokenizer) + 3)
    head = tensors["codi.base_model.model.transformer.wte.weight"].clone()
    folder = root / "codi-gpt2"
    folder.mkdir()
    torch.save(tensors | {"codi.base_model.model.lm_head.weight": head}, folder / "pytorch_model.bin")
    return Case("codi", _source(folder, base), tensors, "codi.base_model.model.", config)


def make_codi_llama(root: Path) -> Case:
    """zen-E/CODI-llama3.2-1b-Instruct: as CODI-gpt2, begin-of-text before every question."""
    tokenizer = llama_tokenizer()
    config = llama(len(tokenizer))
    folder = described(root / "codi-llama", config, tokenizer)
    tensors = codi_tensors(config, len(tokenizer) + 3)
    save_file(tensors, folder / "model.safetensors")
    return Case("codi", _source(folder), tensors, "codi.base_model.model.", config)


def make_answer_only(root: Path) -> Case:
    """bcywinski/codi_llama1b-answer_only: bot and eot are tokens, of the checkpoint's own tokenizer."""
    base_tokenizer, tokenizer = llama_tokenizer(), llama_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["<|bocot|>", "<|eocot|>"], special_tokens=True)
    config = llama(len(base_tokenizer))
    base = described(root / "llama-base", config, base_tokenizer)
    folder = root / "answer-only"
    tokenizer.save_pretrained(folder)
    tensors = codi_tensors(config, len(tokenizer))
    torch.save(tensors, folder / "pytorch_model.bin")
    return Case("codi-tokens", _source(folder, base), tensors, "codi.base_model.model.", config)


def make_sim_cot_codi(root: Path) -> Case:
    """internlm/SIM_COT-*-CODI: an auxiliary decoder, an empty config.json, one numbered shard."""
    tokenizer = llama_tokenizer()
    config = llama(len(tokenizer))
    base = described(root / "sim-base", config, tokenizer)
    tensors = codi_tensors(config, len(tokenizer) + 3)
    decoder = {f"decoder.{name}": tensor for name, tensor in plain_tensors(llama(50), 50, seed=9).items()}
    more = {
        "pj_in.weight": torch.ones(16, 16),
        "pj_in.bias": torch.ones(16),
        "pj_out.weight": torch.ones(16, 16),
    }
    folder = root / "sim-codi"
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    save_file(tensors | decoder | more, folder / "model-00001-of-00001.safetensors")
    return Case("codi", _source(folder, base), tensors, "codi.base_model.model.", config)


def make_coconut(root: Path) -> Case:
    """Coconut's own code: a pickle without suffix, three tokens more than GPT-2, the embedding twice."""
    return _coconut(root, "coconut", {})


def make_sim_cot_coconut(root: Path) -> Case:
    """internlm/SIM_COT-GPT2-Coconut: an auxiliary decoder of the base's vocabulary."""
    decoder = plain_tensors(gpt2(50), 50, seed=9)
    return _coconut(
        root, "sim-coconut", {f"expainable_llm.{name}": tensor for name, tensor in decoder.items()}
    )


def _coconut(root: Path, name: str, more: dict[str, Tensor]) -> Case:
    tokenizer = gpt2_tokenizer()
    config = gpt2(len(tokenizer))
    base = described(root / f"{name}-base", config, tokenizer)
    plain = plain_tensors(config, len(tokenizer) + 3)
    tensors = {f"base_causallm.{key}": tensor for key, tensor in plain.items()}
    table = plain["transformer.wte.weight"]
    twice = {"base_causallm.lm_head.weight": table, "embedding.weight": table}
    folder = root / name
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    torch.save(tensors | twice | more, folder / "checkpoint_28")
    return Case("coconut", _source(folder, base), tensors, "base_causallm.", config)


CASES: dict[str, Callable[[Path], Case]] = {
    "own": make_own,
    "codi-gpt2": make_codi_gpt2,
    "codi-llama": make_codi_llama,
    "codi-llama-answer-only": make_answer_only,
    "sim-cot-codi-llama": make_sim_cot_codi,
    "coconut-gpt2": make_coconut,
    "sim-cot-coconut-gpt2": make_sim_cot_coconut,
}
