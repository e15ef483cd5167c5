"""One GRPO step: ours with Ray, against TRL alone and a plain loop, on the same thoughts and rewards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from bench_baseline import PlainLoop, Work, trl_trainer

from benchmarks.measure import Row, Side
from benchmarks.setting import GPU_SHARE, Setting
from benchmarks.stepper import Stepper
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.pool import RewardPool
from reverse_codi.rewards.scoring import LocalScorer
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.training.grpo import build_trainer
from reverse_codi.training.rollouts import Rollouts
from reverse_codi.training.sync import Canary, PolicySync
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts, thought_sites

STEPS = 1000
"""More than anyone takes; the turns end the trainers."""
IN_TURN = 3
"""Steps of a turn where steps overlap."""


@contextmanager
def step(at: Setting, work: Path) -> Iterator[Row]:
    """A step of `make demo`'s size: 256 thoughts, 8 texts each; of 135m 8 thoughts, whose texts never end."""
    recipe = step_recipe(at)
    thoughts = thoughts_of(at)
    with ExitStack() as stack:
        ours, rollouts = our_step(at, recipe, thoughts, work, stack)
        trl = stack.enter_context(
            Stepper(trl_trainer(work_of(at, recipe, thoughts, stack), work / "trl", STEPS))
        )
        plain = PlainLoop(work_of(at, recipe, thoughts, stack))
        yield Row(
            "step",
            "s",
            [
                Side("ours: Ray actors", ours.step),
                Side("TRL alone", trl.step),
                Side("plain loop", plain.step),
            ],
            {
                "step.vs_trl": ("ours: Ray actors", "TRL alone"),
                "step.vs_plain": ("ours: Ray actors", "plain loop"),
            },
        )
        print(_shown(rollouts.phases.take()))


def _shown(phases: Mapping[str, float], steps: int = 1) -> str:
    """Seconds of the phases that a step waits for, in words."""
    return "phases, s: " + ", ".join(f"{name} {seconds / steps:.2f}" for name, seconds in phases.items())


@contextmanager
def overlap(at: Setting, work: Path) -> Iterator[Row]:
    """Sampling while learning: an actor that samples has one core, the trainer the other.

    A turn takes `IN_TURN` steps, and ends when the batch that is sampled ahead is there: each side samples as
    many batches as it learns from.
    """
    thoughts = thoughts_of(at)
    alone = {"rollout.actors": 1, "reward.actors": 1}
    with ExitStack() as stack:
        after, sampled = our_step(at, step_recipe(at, **alone), thoughts, work / "after", stack)
        recipe = step_recipe(at, **alone, **{"grpo.max_staleness": 1})
        ahead, rollouts = our_step(at, recipe, thoughts, work / "ahead", stack)
        longest = 0.0

        def one_after_the_other() -> float:
            nonlocal longest
            began = time.perf_counter()
            for _ in range(IN_TURN):
                after.step()
            seconds = time.perf_counter() - began
            of_actors = sampled.phases.take()
            print("one after the other,", _shown(of_actors, IN_TURN))
            longest = max(*of_actors.values(), seconds - sum(of_actors.values())) / IN_TURN
            return seconds / IN_TURN

        def sampled_ahead() -> float:
            began = time.perf_counter()
            for _ in range(IN_TURN):
                ahead.step()
            rollouts.settle()
            seconds = time.perf_counter() - began
            print("sampled ahead,", _shown(rollouts.phases.take(), IN_TURN))
            return seconds / IN_TURN

        sides = [
            Side("the next batch sampled ahead", sampled_ahead),
            Side("one after the other", one_after_the_other),
            Side("the longest phase of the latter", lambda: longest),
        ]
        names = [side.name for side in sides]
        ratios = {"step.ahead_vs_after": (names[0], names[1]), "step.vs_longest_phase": (names[2], names[0])}
        yield Row("overlap", "s", sides, ratios)


def step_recipe(at: Setting, **keys: Any) -> Recipe:
    """The demo's GRPO, without evaluation and checkpoints; `keys` lie over it."""
    sizes = {
        "1m": {},
        "135m": {"thoughts_per_step": 8, "max_new_tokens": 24},
        "1b": {"thoughts_per_step": 64},
    }
    steps = {"steps": STEPS, "eval_every": STEPS, "save_every": STEPS, **sizes[at.size]}
    size = {f"grpo.{key}": value for key, value in steps.items()}
    if at.device == "cuda":
        size |= {"rollout": at.rollout().model_dump(), "reasoner.device": "cuda"}
        size |= {"reward.actors": 1, "reward.gpus_per_actor": GPU_SHARE}
    return Recipe.load("demo", **size | keys)


def thoughts_of(at: Setting) -> Thoughts:
    """Every thought of the problems, with its slot."""
    chains = at.reasoner.think([problem.question for problem in at.problems])
    sites = [site for site in thought_sites(at.reasoner.n_thoughts) if site in at.metric.maps]
    pairs = [(row, site) for row in range(len(at.problems)) for site in sites]
    return Thoughts(
        slots=torch.stack([chains.latent_inputs[row, site.index, None] for row, site in pairs]),
        targets=torch.stack([chains.hidden_states[row, site.index] for row, site in pairs]),
        sites=[site for _, site in pairs],
        problems=[row for row, _ in pairs],
        questions=[at.problems[row].question for row, _ in pairs],
        gold=[at.problems[row].claims[0] for row, _ in pairs],
        claims=[list(at.problems[row].claims) for row, _ in pairs],
        answers=[None for _ in pairs],
    )


def policy_of(at: Setting, thoughts: Thoughts, stack: ExitStack) -> Policy:
    """A copy of the policy with the thoughts in its bank."""
    policy = Policy.load(at.adapter, at.reasoner, trainable=True)
    stack.enter_context(policy.embedding.bank(policy.verbalizer_config.inject(thoughts.slots.flatten(0, 1))))
    return policy


def work_of(at: Setting, recipe: Recipe, thoughts: Thoughts, stack: ExitStack) -> Work:
    scorer = LocalScorer.from_section(recipe.reward, at.metric)
    return Work(policy_of(at, thoughts, stack), thoughts, scorer, recipe)


def our_step(
    at: Setting, recipe: Recipe, thoughts: Thoughts, work: Path, stack: ExitStack
) -> tuple[Stepper, Rollouts]:
    """Our trainer between two steps, and its rollouts."""
    policy = policy_of(at, thoughts, stack)
    pool = stack.enter_context(RolloutPool(at.base, recipe.rollout))
    rewards = RewardPool(recipe.reward, str(at.base), at.adapter)
    stack.callback(rewards.close)
    canary = Canary.of(policy, thoughts, recipe.grpo, recipe.rollout.engine)
    sync = PolicySync(policy, pool, work / "policies", canary)
    rollouts = Rollouts(thoughts, sync, rewards, recipe.grpo, lambda *_: None)
    lengths = [len(claims) for claims in thoughts.claims]
    trainer = build_trainer(policy, rollouts, lengths, recipe, work / "ours", [], [])
    return stack.enter_context(Stepper(trainer)), rollouts
