"""One GRPO step: ours with Ray, against TRL alone and a plain loop, on the same thoughts and rewards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

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


@contextmanager
def step(at: Setting, work: Path) -> Iterator[Row]:
    """A step of `make demo`'s size: 256 thoughts, 8 texts each; of 135m 8 thoughts, whose texts never end."""
    recipe = step_recipe(at)
    thoughts = thoughts_of(at)
    with ExitStack() as stack:
        ours, phases = our_step(at, recipe, thoughts, work, stack)
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
        print("phases of our steps, s:", {name: round(value, 2) for name, value in phases.take().items()})


def step_recipe(at: Setting) -> Recipe:
    """The demo's GRPO, without evaluation and checkpoints."""
    sizes = {
        "1m": {},
        "135m": {"thoughts_per_step": 8, "max_new_tokens": 24},
        "1b": {"thoughts_per_step": 64},
    }
    size = {"steps": STEPS, "eval_every": STEPS, "save_every": STEPS, **sizes[at.size]}
    if at.device == "cpu":
        return Recipe.load("demo", grpo=size)
    rollout = at.rollout().model_dump()
    return Recipe.load(
        "demo",
        grpo=size,
        rollout=rollout,
        reward={"actors": 1, "gpus_per_actor": GPU_SHARE},
        reasoner={"device": "cuda"},
    )


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
    policy = policy_of(at, thoughts, stack)
    pool = stack.enter_context(RolloutPool(at.base, recipe.rollout))
    rewards = RewardPool(recipe.reward, str(at.base), at.adapter)
    stack.callback(rewards.close)
    canary = Canary.of(policy, thoughts, recipe.grpo, recipe.rollout.engine)
    sync = PolicySync(policy, pool, work / "policies", canary)
    rollouts = Rollouts(thoughts, sync, rewards, recipe.grpo, lambda *_: None)
    lengths = [len(claims) for claims in thoughts.claims]
    trainer = build_trainer(policy, rollouts, lengths, recipe, work / "ours", [], [])
    return stack.enter_context(Stepper(trainer)), rollouts.phases
