"""`python -m reverse_codi.train RECIPE [--dry-run] [--resume] [--section.key value ...]`.

Traces, probes and maps, the warm start, then GRPO; ends with a verbalizer in `train.out`.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import closing
from pathlib import Path

import ray
import torch
import yaml
from rich.console import Console

from reverse_codi.config import RecipeError, run_verb
from reverse_codi.console import VerbConsole
from reverse_codi.evaluation.translation import Scored, score
from reverse_codi.files import write_whole
from reverse_codi.grpo import build_trainer
from reverse_codi.monitor import BEST, COMPLETIONS, Completions, Monitor, rewind
from reverse_codi.outputs import check_folder
from reverse_codi.policy_sync import PolicySync
from reverse_codi.preparation import (
    HELD_FILE,
    Prepared,
    prepare,
    selection_thoughts,
    warm_policy,
)
from reverse_codi.reading.measure import MAPS_FILE
from reverse_codi.reasoners.load import refuse_recurrent_depth
from reverse_codi.reasoners.training import last_complete_checkpoint
from reverse_codi.recipe import Recipe, load_recipe
from reverse_codi.reward_pool import RewardPool
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.runtime import fleeting, placement, start_ray, start_wandb, with_available_engine
from reverse_codi.tasks.base import Split
from reverse_codi.thought_rollouts import Rollouts, bank_rows
from reverse_codi.verbalizer.policy import Policy

# Texts whose log-probabilities trainer and engines compare after every sync.
CANARY_TEXTS = 8


def train(recipe: Recipe, console: Console, resume: bool = False) -> Path:
    """Run the whole method; returns the folder of the finished verbalizer."""
    out = check_folder(recipe.train.out)
    check_folder(recipe.trace.out)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    prepared = prepare(recipe, out, console)
    policy = warm_policy(recipe, prepared, out, console)
    if recipe.grpo.steps:
        reinforce(recipe, prepared, policy, out, console, resume)
    return finish(out, prepared, out / BEST if recipe.grpo.steps else out / "warm")


def reinforce(
    recipe: Recipe, prepared: Prepared, policy: Policy, out: Path, console: Console, resume: bool
) -> None:
    """GRPO from the warm start; the policy that `grpo.keep` asks for is kept in `out/best`."""
    section = recipe.grpo
    checkpoint = last_complete_checkpoint(out / "grpo", "adapter_model.safetensors")
    if checkpoint and not resume:
        raise RecipeError(
            f"{checkpoint} is of an earlier run; add --resume to go on from it, or set another train.out"
        )
    if resume and not checkpoint:
        console.print(f"nothing to resume: no checkpoint in {out / 'grpo'}; starting anew")
    done = int(checkpoint.rpartition("-")[2]) if checkpoint else 0
    if done >= section.steps:  # transformers would take one more step
        console.print(f"all {section.steps} steps are done: {checkpoint}")
        return
    rewind(out, done)
    thoughts = prepared.thoughts(Split.TRAIN, live_only=True)
    heldout = selection_thoughts(recipe, prepared)
    policy.embedding.set_bank(policy.contract.inject(thoughts.slots.flatten(0, 1)))
    start_ray()
    with (
        RolloutPool(recipe.reasoner.folder, recipe.rollout) as pool,
        closing(RewardPool(recipe.reward, str(recipe.reasoner.folder), prepared.folder)) as rewards,
    ):
        probe = thoughts.take(range(min(CANARY_TEXTS, len(thoughts))))
        sync = PolicySync(
            policy,
            pool,
            out / "policies",
            policy.prompts(bank_rows(probe)),
            [prepared.reasoner.ids(text) for text in probe.gold],
            section.temperature,
            section.canary_tolerance,
        )
        rollouts = Rollouts(policy, thoughts, pool, rewards, sync, section, Completions(out / COMPLETIONS))

        def evaluate(version: int) -> Scored:
            embeds = policy.prompt_embeds(policy.contract.inject(heldout.slots))
            policy.embedding.set_bank(policy.contract.inject(thoughts.slots.flatten(0, 1)))
            eos = prepared.reasoner.tokenizer.eos_token_id
            greedy = Sampling(max_new_tokens=section.max_new_tokens, temperature=0.0, stop_ids=(eos,))
            written = pool.generate(embeds, 1, greedy, version)
            texts = [prepared.reasoner.decode(rollout.token_ids.tolist()) for rollout in written]
            return score(heldout, texts, prepared.measure)

        monitor = Monitor(rollouts, sync, evaluate, section.eval_every, section.keep, out, console)
        report_to = ["wandb"] if recipe.log.wandb else []
        if recipe.log.wandb:
            start_wandb(recipe.log.project)
        trainer = build_trainer(
            policy,
            rollouts,
            [len(claims) for claims in thoughts.claims],
            section,
            recipe.reward,
            out / "grpo",
            [monitor],
            report_to,
        )
        trainer.train(resume_from_checkpoint=checkpoint)


def finish(out: Path, prepared: Prepared, adapter: Path) -> Path:
    """Put adapter, contract, maps and held steps into one folder, `out/verbalizer`."""
    folder, temporary = out / "verbalizer", out / "verbalizer.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(adapter, temporary)
    for name in (MAPS_FILE, HELD_FILE):
        shutil.copy(prepared.folder / name, temporary / name)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder


def main(arguments: list[str] | None = None) -> None:
    """Parse the recipe and train."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    dry_run, resume = "--dry-run" in words, "--resume" in words
    recipe = load_recipe([word for word in words if word not in ("--dry-run", "--resume")])
    refuse_recurrent_depth(recipe.reasoner)
    console = VerbConsole()
    recipe, told = with_available_engine(recipe)
    for line in filter(None, (told, fleeting(recipe.train.out))):
        console.print(f"[yellow]{line}[/yellow]")
    if dry_run:
        console.print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), markup=False)
        console.print(placement(recipe), markup=False)
        return
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    folder = train(recipe, console, resume)
    console.print(f"verbalizer: {folder}")
    ray.shutdown()


if __name__ == "__main__":
    run_verb(main)
