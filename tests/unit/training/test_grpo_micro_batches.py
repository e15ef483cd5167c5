"""A step in micro-batches is the step of the whole batch: GRPO's part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOTrainer

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training import distinct_texts
from reverse_codi.training.distinct_texts import DistinctTexts
from reverse_codi.training.grpo import ThoughtTrainer, build_trainer, rows_of
from reverse_codi.training.importance import ImportanceCorrection
from reverse_codi.verbalize.micro_batches import end_checkpointing
from reverse_codi.verbalize.policy import Policy
from tests.tiny import make_sharp_reasoner, make_tiny_policy, stir

pytestmark = pytest.mark.long

G, THOUGHTS, LONGEST = 4, 3, 9  # so 12 texts a step


@pytest.fixture(scope="module")
def reasoner() -> CodiReasoner:
    return make_sharp_reasoner()


class Texts:
    """Stands for the actors: texts of 1 to 9 tokens, some of which begin alike, drawn by the step."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.asked: list[tuple[int, list[str]]] = []

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        step = trainer.state.global_step
        self.asked.append((step, prompts))
        noise = torch.Generator().manual_seed(step)
        lengths = torch.randint(1, LONGEST + 1, (len(prompts),), generator=noise).tolist()
        ids = [torch.randint(4, 7, (n,), generator=noise).tolist() for n in lengths]
        totals = torch.randn(len(prompts), generator=noise).tolist()
        return {
            "prompt_ids": [[self.n_vocab + int(prompt)] for prompt in prompts],
            "completion_ids": ids,
            "logprobs": [(-3 + torch.randn(n, generator=noise)).tolist() for n in lengths],
            "reward_brevity": totals,
            "total": totals,
        }


class Gradients(TrainerCallback):
    """Keeps the gradient of every step."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trained = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
        self.kept.append(torch.cat([g.flatten() for g in trained]))


def weights(policy: Policy) -> Tensor:
    named = policy.model.named_parameters()
    return torch.cat([w.detach().flatten() for n, w in named if "lora_" in n and ".ref." not in n])


class Run:
    """A few steps, and what they did."""

    def __init__(self, reasoner: CodiReasoner, out: Path, checkpoint: str | None = None, **section: Any):
        self.policy = make_tiny_policy(reasoner)
        stir(self.policy)
        before = weights(self.policy)
        self.texts = Texts(self.policy.verbalizer_config.n_vocab)
        given = {
            "thoughts_per_step": THOUGHTS,
            "samples": G,
            "steps": 4,
            "max_new_tokens": LONGEST,
            "warmup_steps": 0,
            "beta": 0.1,
            "learning_rate": 1e-3,
            "save_every": 2,
        }
        recipe = Recipe(
            grpo=GrpoSection.model_validate({**given, **section}),
            reward=RewardSection.model_validate({"functions": ["brevity"]}),
        )
        gradients = Gradients()
        self.trainer: ThoughtTrainer = build_trainer(
            self.policy, self.texts, [1] * 24, recipe, out, [gradients], []
        )
        with self.policy.embedding.bank(torch.randn(24, 32, generator=torch.Generator().manual_seed(1))):
            self.trainer.train(resume_from_checkpoint=checkpoint)
        self.gradients = gradients.kept
        self.change = weights(self.policy) - before

    def logged(self, key: str) -> list[float]:
        return [line[key] for line in self.trainer.state.log_history if key in line]


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())


def check_alike(whole: Run, parts: Run) -> None:
    assert parts.texts.asked == whole.texts.asked
    assert len(parts.gradients) == len(whole.gradients)
    for one, other in zip(whole.gradients, parts.gradients, strict=True):
        assert apart(one, other) < 1e-5
    assert apart(whole.change, parts.change) < 1e-5


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"beta": 0.0, "scale_rewards": "none"},
        {"advantage": "prefix", "scale_rewards": "batch"},
        {"advantage": "branch"},
        {"iterations": 2},
        {"steps_per_generation": 4, "advantage": "prefix"},
        {"iterations": 2, "steps_per_generation": 2, "scale_rewards": "batch"},
    ],
    ids=str,
)
def test_the_step_is_the_whole_batchs(
    reasoner: CodiReasoner, tmp_path: Path, section: dict[str, Any]
) -> None:
    whole = Run(reasoner, tmp_path / "whole", micro_batch=12, **section)
    parts = Run(reasoner, tmp_path / "parts", micro_batch=5, **section)
    assert parts.trainer.micro_batch == 4  # three parts, of equal size
    check_alike(whole, parts)


@pytest.mark.parametrize("section", [{}, {"iterations": 2}, {"steps_per_generation": 4}], ids=str)
def test_a_resumed_run_goes_on_as_the_whole_batch_does(
    reasoner: CodiReasoner, tmp_path: Path, section: dict[str, Any]
) -> None:
    Run(reasoner, tmp_path, steps=4, micro_batch=12, **section)
    checkpoint = str(tmp_path / "checkpoint-4")
    whole = Run(reasoner, tmp_path / "whole", checkpoint, steps=8, micro_batch=12, **section)
    parts = Run(reasoner, tmp_path / "parts", checkpoint, steps=8, micro_batch=1, **section)
    assert len(parts.gradients) == 4
    check_alike(whole, parts)


def test_the_log_is_the_whole_batchs(reasoner: CodiReasoner, tmp_path: Path) -> None:
    # A high rate and two iterations, so that ratios are clipped.
    settings = {"iterations": 2, "learning_rate": 3e-2, "clip": 0.01}
    whole, parts = (Run(reasoner, tmp_path / str(n), micro_batch=n, **settings) for n in (12, 4))
    assert max(whole.logged("clip_ratio/low_min") + whole.logged("clip_ratio/high_max")) > 0
    for name in (
        "loss",
        "kl",
        "entropy",
        "reward",
        "grad_norm",
        "clip_ratio/region_mean",
        "clip_ratio/low_min",
        "clip_ratio/high_max",
        "sampling/importance_sampling_ratio/mean",
        "sampling/sampling_logp_difference/max",
    ):
        assert parts.logged(name) == pytest.approx(whole.logged(name), rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("rows", [12, 5])
def test_ratios_of_the_pass_that_learns_are_those_of_trls_own_pass(
    reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    settings = {"micro_batch": rows, "importance_clip": 1.0}  # some ratios lie above
    ours = Run(reasoner, tmp_path / "ours", **settings)

    def with_its_pass(trainer: Any, inputs: Any) -> Any:
        trainer.use_vllm = True
        return GRPOTrainer._generate_and_score_completions(trainer, inputs)

    monkeypatch.setattr(ImportanceCorrection, "_generate_and_score_completions", with_its_pass)
    trls = Run(reasoner, tmp_path / "trls", **settings)
    check_alike(trls, ours)
    ratios = [f"sampling/importance_sampling_ratio/{of}" for of in ("min", "mean", "max")]
    apart = [f"sampling/sampling_logp_difference/{of}" for of in ("mean", "max")]
    for name in ["loss", *ratios, *apart]:
        assert ours.logged(name) == pytest.approx(trls.logged(name), rel=1e-4, abs=1e-6), name
        assert len(ours.logged(name)) == 4
    assert max(ours.logged("sampling/importance_sampling_ratio/max")) == 1.0


def test_a_text_that_is_sampled_again_is_computed_once_and_learnt_from_as_often(
    reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's own passes over all rows, with the padding of the longest, give the same steps and figures."""
    rows: list[int] = []
    draw = Texts.__call__

    def repeated(texts: Texts, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        drawn = draw(texts, prompts, trainer)
        # The first two texts of a thought are one, and so are the last two.
        for group in range(0, len(prompts), G):
            for place in (group, group + 2):
                drawn["completion_ids"][place + 1] = drawn["completion_ids"][place]
                drawn["logprobs"][place + 1] = drawn["logprobs"][place]
        return drawn

    monkeypatch.setattr(Texts, "__call__", repeated)
    monkeypatch.setattr(distinct_texts, "PASS_TOKENS", 40)  # so that a step has passes of several lengths
    count = GRPOTrainer._get_per_token_logps_and_entropies

    def counted(trainer: Any, model: Any, input_ids: Tensor, *args: Any, **options: Any) -> Any:
        rows.append(len(input_ids))
        return count(trainer, model, input_ids, *args, **options)

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", counted)
    ours = Run(reasoner, tmp_path / "ours")
    assert max(rows) <= 4  # of 10 tokens each
    assert sum(rows) <= 4 * 2 * (THOUGHTS * G // 2)  # 4 steps, each with the reference's passes
    monkeypatch.setattr(DistinctTexts, "_get_per_token_logps_and_entropies", counted)
    trls = Run(reasoner, tmp_path / "trls")
    check_alike(trls, ours)
    for name in ("loss", "kl", "entropy", "sampling/importance_sampling_ratio/mean"):
        assert ours.logged(name) == pytest.approx(trls.logged(name), rel=1e-4, abs=1e-6), name


def test_gradient_checkpointing_changes_no_step(reasoner: CodiReasoner, tmp_path: Path) -> None:
    plain = Run(reasoner, tmp_path / "plain")
    saved = Run(reasoner, tmp_path / "saved", gradient_checkpointing=True, micro_batch=4)
    check_alike(plain, saved)
    assert saved.policy.model.get_base_model().is_gradient_checkpointing
    end_checkpointing(saved.policy.model)
    assert not saved.policy.model.get_base_model().is_gradient_checkpointing
    assert not saved.policy.embedding._forward_hooks


def test_no_pass_takes_more_rows_than_a_part(
    reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the reference neither, which take no gradient."""
    seen: list[tuple[int, bool]] = []
    make = Policy.prompts

    def prompts(policy: Policy, rows: list[list[int]]) -> list[list[int]]:
        policy.embedding.register_forward_hook(
            lambda module, given, out: seen.append((len(given[0]), torch.is_grad_enabled()))
        )
        return make(policy, rows)

    monkeypatch.setattr(Policy, "prompts", prompts)  # called once, when the trainer is built
    Run(reasoner, tmp_path, steps=1, micro_batch=5)
    assert [rows for rows, learns in seen if learns] == [4] * 3
    assert sum(rows for rows, learns in seen if not learns) == 12  # the reference
    assert max(rows for rows, _ in seen) == 4


def test_auto_keeps_a_small_models_batch_whole(reasoner: CodiReasoner) -> None:
    policy = make_tiny_policy(reasoner)
    assert rows_of(policy, GrpoSection(thoughts_per_step=256, samples=8)) == 2048
