"""What the design leans on in TRL 1.16's GRPOTrainer, each pinned alone.

A sampler made here stands in for the engines: TRL does not care where completions come from.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from trl import GRPOConfig, GRPOTrainer
from trl.kernels import chunked_logprob
from trl.trainer import utils
from trl.trainer.utils import shuffle_sequence_dict

from reverse_codi.utils.micro_batch import TILE_TOKENS, TILE_WORDS
from reverse_codi.verbalize.embedding import LatentEmbedding
from tests.policies import HIDDEN, load_base, save_base

G = 4  # samples a prompt
N = 6  # thoughts

RolloutFunc = Callable[[list[str], Any], dict[str, list[Any]]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"))


class Sampler:
    """A rollout_func: prompt "3" is the thought in bank row 3. Keeps what it was asked."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.asked: list[list[str]] = []
        self.noise = torch.Generator().manual_seed(0)

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        self.asked.append(prompts)
        completions = torch.randint(4, 30, (len(prompts), 3), generator=self.noise).tolist()
        return {
            "prompt_ids": [[self.n_vocab + int(prompt)] for prompt in prompts],
            "completion_ids": completions,
            "logprobs": [[-50.0] * 3 for _ in prompts],  # absurd, so that using them would show
            "policy_version": [7] * len(prompts),
            "row": [int(prompt) for prompt in prompts],
        }


class Reward:
    """Wants low token ids. Keeps the keyword arguments it was given."""

    __name__ = "reward"

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
        self.seen.append(kwargs)
        return [-float(sum(ids)) for ids in completion_ids]


# The bank of every model made here stays in use until the tests end.
BANKS = ExitStack()


def make_policy(base: Path) -> tuple[PeftModel, LatentEmbedding]:
    torch.manual_seed(0)
    model = get_peft_model(
        load_base(base), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    )
    assert isinstance(model, PeftModel)
    latent = LatentEmbedding.install(model)
    BANKS.enter_context(latent.bank(torch.randn(N, HIDDEN, generator=torch.Generator().manual_seed(1))))
    return model, latent


def make_trainer(
    base: Path,
    out: Path,
    rollout: Callable[..., Any] | None = None,
    rewards: list[Callable[..., Any]] | None = None,
    **settings: Any,
) -> tuple[GRPOTrainer, Sampler, Reward]:
    from transformers import AutoTokenizer

    model, latent = make_policy(base)
    sampler, reward = Sampler(latent.n_vocab), Reward()
    config = {
        "output_dir": str(out),
        "per_device_train_batch_size": 2 * G,
        "num_generations": G,
        "max_completion_length": 3,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "beta": 0.1,
        "gradient_checkpointing": True,
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards or reward,
        args=GRPOConfig(**{**config, **settings}),
        train_dataset=Dataset.from_dict({"prompt": [str(row) for row in range(N)], "site": ["z0"] * N}),
        processing_class=AutoTokenizer.from_pretrained(base),
        rollout_func=rollout or sampler,
    )
    return trainer, sampler, reward


@pytest.fixture(scope="module")
def trained(
    base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GRPOTrainer, Sampler, Reward, Path]:
    """Two steps with checkpointing, a reference pass (beta > 0) and a checkpoint after each."""
    out = tmp_path_factory.mktemp("run")
    trainer, sampler, reward = make_trainer(base, out, save_strategy="steps", save_steps=1)
    trainer.train()
    return trainer, sampler, reward, out


def logged(trainer: GRPOTrainer, key: str) -> list[float]:
    return [entry[key] for entry in trainer.state.log_history if key in entry]


def test_prompts_come_repeated_and_only_the_prompt_column(
    trained: tuple[GRPOTrainer, Sampler, Reward, Path],
) -> None:
    _, sampler, _, _ = trained
    assert len(sampler.asked) == 2
    for prompts in sampler.asked:
        assert len(prompts) == 2 * G
        assert prompts == [prompts[0]] * G + [prompts[G]] * G
        assert set(prompts) <= {str(row) for row in range(N)}


def test_extra_keys_and_columns_reach_rewards_as_lists(
    trained: tuple[GRPOTrainer, Sampler, Reward, Path],
) -> None:
    _, sampler, reward, _ = trained
    for prompts, seen in zip(sampler.asked, reward.seen, strict=True):
        assert seen["policy_version"] == [7] * len(prompts)
        assert seen["row"] == [int(prompt) for prompt in prompts]
        assert seen["site"] == ["z0"] * len(prompts)
        assert seen["prompts"] == prompts
        assert not {"prompt_ids", "logprobs"} & seen.keys()


def test_ids_beyond_the_vocabulary_train(
    trained: tuple[GRPOTrainer, Sampler, Reward, Path], base: Path
) -> None:
    trainer, _, _, _ = trained
    assert all(norm > 0 for norm in logged(trainer, "grad_norm"))
    changed = [
        w for name, w in trainer.model.named_parameters() if "lora_B" in name and bool(w.abs().max() > 0)
    ]
    assert changed
    frozen = load_base(base).get_input_embeddings().weight
    assert torch.equal(trainer.model.get_input_embeddings().weight, frozen)
    assert trainer.model.get_output_embeddings().weight is trainer.model.get_input_embeddings().weight


def test_the_reference_pass_has_the_adapter_off_and_the_vectors_on(
    trained: tuple[GRPOTrainer, Sampler, Reward, Path], base: Path
) -> None:
    trainer, sampler, _, _ = trained
    kl = logged(trainer, "kl")
    assert kl[0] == pytest.approx(0, abs=1e-6) and kl[1] > 1e-6  # LoRA starts at zero, then moves
    plain, latent = load_base(base), trainer.model.get_input_embeddings()
    ids = torch.tensor([[sampler.n_vocab + 2, 5, 9]])
    with torch.no_grad(), trainer.model.disable_adapter():
        shown = trainer.model.eval()(ids).logits
        torch.testing.assert_close(shown, plain(inputs_embeds=latent(ids)).logits)


def test_sampler_logprobs_are_ignored_without_use_vllm(
    trained: tuple[GRPOTrainer, Sampler, Reward, Path],
) -> None:
    """So the importance correction is ours to make. With -50 a token, ratios would be astronomic."""
    trainer, _, _, _ = trained
    keys = {key for entry in trainer.state.log_history for key in entry}
    assert not [key for key in keys if key.startswith("sampling/")]
    assert all(abs(loss) < 10 for loss in logged(trainer, "loss"))


def test_but_the_trainer_keeps_them(base: Path, tmp_path: Path) -> None:
    trainer, _, _ = make_trainer(base, tmp_path)
    rows = [{"prompt": "1", "site": "z0"}] * G + [{"prompt": "2", "site": "z0"}] * G
    batch = trainer._generate_and_score_completions(rows)
    assert torch.equal(batch["sampling_per_token_logps"], torch.full((2 * G, 3), -50.0))
    assert "importance_sampling_ratio" not in batch
    assert (
        batch["prompt_ids"].squeeze(1).tolist()
        == [trainer.model.get_input_embeddings().n_vocab + 1] * G
        + [trainer.model.get_input_embeddings().n_vocab + 2] * G
    )


def test_checkpoints_hold_the_adapter_alone(trained: tuple[GRPOTrainer, Sampler, Reward, Path]) -> None:
    _, _, _, out = trained
    names = load_file(out / "checkpoint-2" / "adapter_model.safetensors").keys()
    assert names and all("lora_" in name for name in names)


def test_resume(trained: tuple[GRPOTrainer, Sampler, Reward, Path], base: Path) -> None:
    before, _, _, out = trained
    trainer, sampler, _ = make_trainer(base, out, max_steps=3)
    trainer.train(resume_from_checkpoint=str(out / "checkpoint-2"))
    assert trainer.state.global_step == 3
    assert len(sampler.asked) == 1  # only the new step samples
    moved = dict(trainer.model.named_parameters())
    assert any(
        not torch.equal(w, moved[name]) for name, w in before.model.named_parameters() if "lora" in name
    )


def test_an_empty_completion_raises_index_error(base: Path, tmp_path: Path) -> None:
    def empty(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        return {
            "prompt_ids": [[1]] * len(prompts),
            "completion_ids": [[]] * len(prompts),
            "logprobs": [[]] * len(prompts),
        }

    trainer, _, _ = make_trainer(base, tmp_path, empty)
    with pytest.raises(IndexError):
        trainer.train()


# Two groups of G; None where a reward does not apply.
ONE: list[float | None] = [0.0, 1.0, 2.0, 3.0, 1.0, 1.0, 1.0, 5.0]
OTHER: list[float | None] = [4.0, 0.0, 0.0, None, 2.0, None, 0.0, 0.0]


def one(**columns: Any) -> list[float | None]:
    return ONE


def other(**columns: Any) -> list[float | None]:
    return OTHER


def z_scores(values: list[float | None]) -> list[float]:
    """TRL's: the sample's spread plus 1e-4; 0 where there is no value."""
    there = [value for value in values if value is not None]
    mean, spread = statistics.mean(there), statistics.stdev(there)
    return [0.0 if value is None else (value - mean) / (spread + 1e-4) for value in values]


def groups(values: list[Any]) -> list[list[Any]]:
    return [values[:G], values[G:]]


@pytest.mark.parametrize("aggregation", ["sum_then_normalize", "normalize_then_sum"])
def test_rewards_are_aggregated_by_the_weights_that_the_trainer_has_at_the_step(
    base: Path, tmp_path: Path, aggregation: str
) -> None:
    trainer, _, _ = make_trainer(
        base,
        tmp_path,
        rewards=[one, other],
        reward_weights=[1.0, 10.0],
        multi_objective_aggregation=aggregation,
    )
    trainer.reward_weights = torch.tensor([1.0, 0.5])  # as a recipe's schedule does at each step
    rows = [{"prompt": "1", "site": "z0"}] * G + [{"prompt": "2", "site": "z0"}] * G
    advantages = trainer._generate_and_score_completions(rows)["advantages"].tolist()
    if aggregation == "sum_then_normalize":
        sums = [(a or 0.0) + 0.5 * (b or 0.0) for a, b in zip(ONE, OTHER, strict=True)]
        expected = [z for group in groups(sums) for z in z_scores(group)]
    else:
        apart = [[z for group in groups(column) for z in z_scores(group)] for column in (ONE, OTHER)]
        expected = z_scores([a + 0.5 * b for a, b in zip(*apart, strict=True)])
    assert advantages == pytest.approx(expected, abs=1e-4)


def test_rewards_are_logged_apart_and_together(base: Path, tmp_path: Path) -> None:
    trainer, _, _ = make_trainer(base, tmp_path, rewards=[one, other], reward_weights=[1.0, 0.5], max_steps=1)
    trainer.train()
    assert logged(trainer, "rewards/one/mean") == [pytest.approx(14 / 8)]
    assert logged(trainer, "rewards/other/mean") == [pytest.approx(6 / 6)]  # None is left out
    assert logged(trainer, "reward") == [pytest.approx((14 + 0.5 * 6) / 8)]


def test_advantages_by_token_are_taken_and_stay_with_their_texts(base: Path, tmp_path: Path) -> None:
    """[B, T] in place of [B], as `ThoughtTrainer` gives them."""
    trainer, _, _ = make_trainer(base, tmp_path, beta=0.0, loss_type="dr_grpo")
    trainer.current_gradient_accumulation_steps = 1  # as within train()
    rows = [{"prompt": prompt, "site": "z0"} for prompt in "1" * G + "2" * G]
    batch = trainer._generate_and_score_completions(rows)
    assert [row["row"] for row in rows] == [1] * G + [2] * G  # the sampler's columns lie in the inputs
    by_token = {**batch, "advantages": batch["advantages"][:, None].expand(-1, 3).clone()}
    losses = [trainer._compute_loss(trainer.model, given) for given in (batch, by_token)]
    assert losses[0].item() == pytest.approx(losses[1].item())
    # A row is constant, so the loss is the same. One token's alone: the gradient is not that of the text.
    by_token["advantages"][:, 1:] = 0
    gradients = []
    for given in (batch, by_token):
        trainer.model.zero_grad()
        trainer._compute_loss(trainer.model, given).backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        )
    assert not torch.allclose(*gradients)
    by_token["advantages"] = batch["completion_ids"].float()
    shuffled = shuffle_sequence_dict(by_token)
    assert torch.equal(shuffled["advantages"], shuffled["completion_ids"].float())


def test_a_batch_serves_as_many_times_as_it_is_iterated(base: Path, tmp_path: Path) -> None:
    trainer, sampler, _ = make_trainer(base, tmp_path, num_iterations=2, max_steps=4)
    trainer.train()
    assert len(sampler.asked) == 2
    assert not set(sampler.asked[0]) & set(sampler.asked[1])


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that an operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


def test_log_probabilities_come_from_tiles_of_logits(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So memory is bounded by a tile, whatever the vocabulary; `utils.micro_batch` counts with its size."""
    assert (chunked_logprob.TOKEN_CHUNK_SIZE, utils._CHUNKED_LOGPROB_CHUNK_SIZE) == (TILE_TOKENS, TILE_WORDS)
    monkeypatch.setattr(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 16)
    model = load_base(base)
    words = model.config.vocab_size
    utils.add_fused_lm_head(model, temperature=0.7)
    ids = torch.randint(0, words, (64, 9), generator=torch.Generator().manual_seed(0))
    labels = ids.masked_fill(torch.arange(9) < 3, -100)  # of a prompt
    backbone = model.base_model(input_ids=ids)  # the layers of so small a model hold more than a tile
    logits = model.get_output_embeddings()(backbone.last_hidden_state[:, :-1])
    expected = (logits / 0.7).log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    monkeypatch.setattr(model.base_model, "forward", lambda **_: backbone)
    with Largest() as largest:
        found = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs
        (gradient,) = torch.autograd.grad(found.sum(), backbone.last_hidden_state, retain_graph=True)
    wanted = expected.masked_fill(labels[:, 1:] < 0, 0)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(wanted.sum(), backbone.last_hidden_state)[0], atol=1e-5, rtol=1e-4
    )
    assert largest.elements == backbone.last_hidden_state.numel() == 64 * 9 * HIDDEN < 64 * 8 * words


def test_the_trainer_takes_the_gradient_of_the_loss_that_compute_loss_returns_once_a_step(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verbalize.micro_batches` takes some of the gradient there, and hands back the rest."""
    trainer, _, _ = make_trainer(base, tmp_path, max_steps=1, learning_rate=0.0, loss_type="dr_grpo")
    counts: list[Any] = []

    def compute_loss(model: Any, inputs: Any, *_: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        counts.append((len(inputs["completion_mask"]), num_items_in_batch))
        weight = next(w for name, w in model.named_parameters() if "lora_B" in name)
        trainer.accelerator.backward(2 * weight.sum())
        return 3 * weight.sum() + 10

    monkeypatch.setattr(trainer, "compute_loss", compute_loss)
    seen: list[torch.Tensor] = []
    step = trainer.create_optimizer().step

    def optimizer_step(*args: Any, **kwargs: Any) -> Any:
        seen.extend(
            w.grad for name, w in trainer.model.named_parameters() if "lora_B" in name and w.grad is not None
        )
        return step(*args, **kwargs)

    monkeypatch.setattr(trainer.optimizer, "step", optimizer_step)
    trainer.args.max_grad_norm = 0.0  # no clipping
    trainer.train()
    assert counts == [(2 * G, None)]  # the whole batch of a step, and TRL's GRPO takes a mean over its rows
    assert torch.equal(seen[0], torch.full_like(seen[0], 5.0))
    assert logged(trainer, "loss") == [10.0]
