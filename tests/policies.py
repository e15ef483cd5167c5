"""A language model and adapters for it, small, untrained, but sharp enough that greedy text has no ties."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from reverse_codi.recipe.lora import LINEAR_LAYERS
from tests.tiny import make_sharp_reasoner

HIDDEN = 128  # 4 heads of 32


def save_base(folder: Path) -> Path:
    """A reasoner's folder: the language model with its projection and tokenizer beside it."""
    reasoner = make_sharp_reasoner(hidden=HIDDEN, layers=2)
    reasoner.save_pretrained(folder)
    return folder


def load_base(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model


def save_adapter(
    base: Path, folder: Path, seed: int, rank: int = 8, targets: Sequence[str] = LINEAR_LAYERS
) -> PeftModel:
    """A LoRA that changes the text, saved; returns the model it was saved from."""
    torch.manual_seed(seed)
    model = get_peft_model(
        load_base(base),
        LoraConfig(r=rank, lora_alpha=16, target_modules=list(targets), task_type="CAUSAL_LM"),
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(str(folder))
    return model.eval()


def make_prompts(lengths: list[int], seed: int = 0) -> list[Tensor]:
    """Prompt embeddings, each [T, HIDDEN], about as large as the model's own."""
    noise = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(length, HIDDEN, generator=noise) for length in lengths]


@torch.no_grad()
def logprobs_of(
    model: PreTrainedModel | PeftModel, prompt: Tensor, ids: list[int], temperature: float = 1.0
) -> Tensor:
    """[T] log-probabilities of tokens after a prompt, by one plain forward pass."""
    embeds = torch.cat([prompt, model.get_input_embeddings()(torch.tensor(ids))])[None]
    logits = model(inputs_embeds=embeds).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]


@torch.no_grad()
def greedy(model: PreTrainedModel | PeftModel, prompt: Tensor, n: int) -> list[int]:
    """`n` greedy tokens after a prompt, each from a forward pass over everything: no cache, no padding."""
    ids: list[int] = []
    for _ in range(n):
        tail = model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long))
        ids.append(int(model(inputs_embeds=torch.cat([prompt, tail])[None]).logits[0, -1].argmax()))
    return ids
