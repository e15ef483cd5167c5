"""A step in micro-batches is the step of the whole batch: the warm start's and distillation's part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import TrainerCallback

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill import mixed_precision
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reinforce import DistilSection
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.training.distil import _fine_tuning
from reverse_codi.verbalize.micro_batches import split
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.warm_start import SftPairs, encode, fit, rows_of
from tests.tiny import make_sharp_reasoner, make_tiny_policy, stir

pytestmark = pytest.mark.long

# Of 2 to 16 tokens, so that parts have other lengths than the batch; 11 rows, so that the last batch of an
# epoch is smaller.
TEXTS = [
    "12 + 5 = 17.",
    "8 - 3 = 5.",
    "(no step)",
    "9 * 2 = 18. 18 / 3 = 6.",
    "12.",
    "5 + 5 = 10. 10 - 3 = 7. 7 * 2 = 14.",
    "3 + 4 = 7.",
    "6.",
    "2 * 2 = 4. 4 + 4 = 8.",
    "(no step)",
    "17 - 9 = 8.",
]


@pytest.fixture(scope="module")
def reasoner() -> CodiReasoner:
    return make_sharp_reasoner()


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the processor has bfloat16, whose rounding would hide a difference."""
    monkeypatch.setattr(mixed_precision, "has_fast_bfloat16", lambda on_cpu: False)


class Log(TrainerCallback):
    """Keeps the gradient of every step and the last log."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.figures: dict[str, float] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trained = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
        self.gradients.append(torch.cat([g.flatten() for g in trained]))

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.figures = self.figures | kwargs["logs"]


def weights(policy: Policy) -> Tensor:
    return torch.cat([w.detach().flatten() for n, w in policy.model.named_parameters() if "lora_" in n])


def taught(reasoner: CodiReasoner, out: Path, **values: Any) -> tuple[Log, Tensor, Policy]:
    """Gradients, change of the weights and policy after a few steps."""
    policy, log = make_tiny_policy(reasoner), Log()
    stir(policy)
    before = weights(policy)
    vectors = torch.randn(len(TEXTS), 1, 32, generator=torch.Generator().manual_seed(0))
    pairs = SftPairs(vectors, TEXTS)
    given = {"steps": 5, "batch_size": 8, "learning_rate": 1e-3, **values}
    section = WarmStartSection.model_validate(given)
    with policy.embedding.bank(vectors.flatten(0, 1)):
        fit(policy, encode(pairs, policy.verbalizer_config, policy.tokenizer), section, out, callbacks=[log])
    return log, weights(policy) - before, policy


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 7])
@pytest.mark.parametrize("word_dropout", [0.0, 0.3])
def test_the_step_is_the_whole_batchs(
    reasoner: CodiReasoner, tmp_path: Path, micro_batch: int, word_dropout: float
) -> None:
    whole, change, _ = taught(reasoner, tmp_path, word_dropout=word_dropout, micro_batch=8)
    parts, its_change, _ = taught(reasoner, tmp_path, word_dropout=word_dropout, micro_batch=micro_batch)
    assert len(whole.gradients) == len(parts.gradients) == 5
    for one, other in zip(whole.gradients, parts.gradients, strict=True):
        assert apart(one, other) < 1e-5
    assert apart(change, its_change) < 1e-5
    assert parts.figures["train_loss"] == pytest.approx(whole.figures["train_loss"], rel=1e-5)


def test_the_log_is_the_whole_batchs(reasoner: CodiReasoner, tmp_path: Path) -> None:
    logs = [taught(reasoner, tmp_path, steps=50, micro_batch=rows)[0].figures for rows in (8, 3)]
    for name in ("loss", "entropy", "mean_token_accuracy", "num_tokens", "grad_norm"):
        assert logs[1][name] == pytest.approx(logs[0][name], rel=1e-4), name


def test_gradient_checkpointing_changes_no_step_and_ends_with_it(
    reasoner: CodiReasoner, tmp_path: Path
) -> None:
    plain, change, _ = taught(reasoner, tmp_path)
    saved, its_change, policy = taught(reasoner, tmp_path, gradient_checkpointing=True, micro_batch=3)
    assert all(apart(a, b) < 1e-5 for a, b in zip(plain.gradients, saved.gradients, strict=True))
    assert apart(change, its_change) < 1e-5
    assert not policy.model.get_base_model().is_gradient_checkpointing
    assert not policy.embedding._forward_hooks


def test_gradient_checkpointing_computes_layers_again(
    reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above would pass with checkpointing off."""
    counts = []
    for on in (False, True):
        passes: list[int] = []
        make = Policy.new

        def new(*args: Any, make: Callable[..., Policy] = make, passes: list[int] = passes) -> Policy:
            policy = make(*args)
            layer = policy.model.get_base_model().model.layers[0].self_attn
            layer.register_forward_hook(lambda *_: passes.append(1))
            return policy

        with monkeypatch.context() as patch:
            patch.setattr(Policy, "new", new)
            taught(reasoner, tmp_path, gradient_checkpointing=on)
        counts.append(len(passes))
    assert counts == [5, 10]


def test_auto_keeps_a_small_models_batch_whole_and_counts_at_most_the_batch(reasoner: CodiReasoner) -> None:
    policy = make_tiny_policy(reasoner)
    pairs = SftPairs(torch.zeros(len(TEXTS), 1, 32), TEXTS)
    dataset = encode(pairs, policy.verbalizer_config, policy.tokenizer)
    assert rows_of(policy, dataset, WarmStartSection(batch_size=256)) == 256
    assert rows_of(policy, dataset, WarmStartSection(batch_size=8, micro_batch=100)) == 8


def test_parts_hold_every_row_once_by_length_and_without_padding_at_their_end() -> None:
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]])
    row = torch.arange(5)
    batch = {"mask": mask, "ids": mask * (10 + row[:, None]), "row": row, "prompt_ids": mask, "n": 7}
    parts = split({**batch, "scalar": torch.tensor(3)}, "mask", rows=2)
    assert [part["row"].tolist() for part in parts] == [[1, 4], [2, 3], [0]]
    assert [part["ids"].tolist() for part in parts] == [
        [[11], [14]],
        [[12, 12, 0], [13, 13, 13]],
        [[10, 10, 10, 10]],
    ]
    assert all(part["prompt_ids"].shape[1] == 4 and part["n"] == 7 for part in parts)
    assert [int(part["scalar"]) for part in parts] == [3, 3, 3]


def test_rows_without_a_token_make_a_part_too() -> None:
    parts = split({"mask": torch.zeros(2, 3, dtype=torch.long)}, "mask", rows=1)
    assert [part["mask"].shape for part in parts] == [(1, 1), (1, 1)]


def test_every_stage_takes_a_number_of_rows_or_auto() -> None:
    for section in (WarmStartSection, DistilSection, GrpoSection):
        assert section(micro_batch=3).micro_batch == 3 and section().micro_batch == "auto"
        with pytest.raises(ValidationError, match="greater than 0"):
            section(micro_batch=0)
        with pytest.raises(ValidationError, match="'auto'"):
            section.model_validate({"micro_batch": "all"})
    taught = _fine_tuning(DistilSection(batch_size=6, micro_batch=3, gradient_checkpointing=True, seed=5))
    assert (taught.batch_size, taught.micro_batch, taught.gradient_checkpointing, taught.seed) == (
        6,
        3,
        True,
        5,
    )
