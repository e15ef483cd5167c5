"""The method, which `reverse-codi train RECIPE` runs.

Traces, probes and maps, the warm start, then GRPO; ends with a verbalizer in `train.out`.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from contextlib import closing
from pathlib import Path

import yaml
from rich.console import Console

from reverse_codi.reading.metric import MAPS_FILE
from reverse_codi.reasoners.load import reasoner_folder
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.pool import RewardPool
from reverse_codi.rewards.scoring import Scores
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.tasks.base import Split
from reverse_codi.training import preflight
from reverse_codi.training.grpo import build_trainer
from reverse_codi.training.learning_signal import LearningSignal, check_fits
from reverse_codi.training.monitor import BEST, COMPLETIONS, METRICS, Completions, JsonLog, Monitor, rewind
from reverse_codi.training.prepare import ENCODED_FILE, Prepared, prepare, selection_thoughts, warm_policy
from reverse_codi.training.resuming import CHECKPOINTS, NEW, RECIPE_FILE, Start, set_broken_aside, start_of
from reverse_codi.training.rollouts import Rollouts, bank_rows
from reverse_codi.training.runtime import gold_steps, start_ray
from reverse_codi.training.sync import PolicySync
from reverse_codi.utils.files import whole_folder, write_whole
from reverse_codi.utils.tracker import start_wandb, tracked
from reverse_codi.utils.trainer_checkpoints import POLICY_WEIGHTS, StopAtNonFinite
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.scores import Scored, score

# Texts whose log-probabilities trainer and engines compare after every sync.
CANARY_TEXTS = 8


def train(recipe: Recipe, console: Console, resume: bool = False) -> Path:
    """Run the whole method; returns the folder of the finished verbalizer.

    All that can be refused before work is refused before anything is written. `recipe.yaml` is the last
    recipe that was not refused: an older one there is replaced when traces, maps and warm start have taken
    the new one.

    Raises:
        UserError: see `preflight.check` and `resuming.start_of`.
    """
    out = Path(recipe.train.out)
    start = check(recipe, out, resume, console, fetch=True)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / RECIPE_FILE).is_file():
        write_recipe(recipe, out)
    console.print(gold_steps(recipe))
    if recipe.log.wandb:
        start_wandb(recipe.log.project, console)
    prepared = prepare(recipe, out, console)
    check_thoughts(recipe, prepared, console)
    policy = warm_policy(recipe, prepared, out, console)
    write_recipe(recipe, out)
    if recipe.grpo.steps:
        reinforce(recipe, prepared, policy, out, console, start)
    return finish(out, prepared, out / BEST if recipe.grpo.steps else out / "warm")


def write_recipe(recipe: Recipe, out: Path) -> None:
    """Note what the run follows."""
    write_whole(out / RECIPE_FILE, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def check(recipe: Recipe, out: Path, resume: bool, console: Console, fetch: bool) -> Start:
    """Refuse what would fail later, say what a resumed run takes over, and return where it starts.

    Args:
        recipe: of the run.
        out: folder of the run.
        resume: go on from a checkpoint.
        console: for the user.
        fetch: bring the reasoner, see `preflight.check`.
    """
    start = start_of(recipe, out, resume)
    for line in preflight.check(recipe, fetch):
        console.print(f"[yellow]{line}[/yellow]")
    preflight.check_actors(recipe)
    if resume and start.checkpoint is None and recipe.grpo.steps:
        console.print(f"nothing to resume: no checkpoint in {out / CHECKPOINTS}; starting anew")
    for key, (old, new) in start.changed.items():
        console.print(f"{key} = {new} from step {start.done + 1} on (it was {old})", markup=False)
    return start


def check_thoughts(recipe: Recipe, prepared: Prepared, console: Console) -> None:
    """Refuse, before the warm start, thoughts of which RL could learn nothing.

    Raises:
        UserError: too few encode a step, or `grpo.max_new_tokens` cuts the texts of all.
    """
    if not recipe.grpo.steps:
        return
    thoughts = prepared.thoughts(Split.TRAIN, active_only=True)
    preflight.check_batch(recipe, len(thoughts))
    tokenizer = prepared.reasoner.tokenizer
    if notice := check_fits(thoughts.gold, tokenizer, recipe.grpo.max_new_tokens):
        console.print(f"[yellow]{notice}[/yellow]")


def reinforce(
    recipe: Recipe, prepared: Prepared, policy: Policy, out: Path, console: Console, start: Start = NEW
) -> None:
    """GRPO from the warm start; the policy that `grpo.keep` asks for is kept in `out/best`.

    Raises:
        UserError: steps that teach nothing, or weights that are not finite.
    """
    section = recipe.grpo
    if start.done >= section.steps:  # transformers would take one more step
        console.print(f"all {section.steps} steps are done: {start.checkpoint}")
        return
    start_ray()
    preflight.check_actors(recipe)  # a cluster says what it offers once it is joined
    thoughts = prepared.thoughts(Split.TRAIN, active_only=True)
    heldout = selection_thoughts(recipe, prepared)
    set_broken_aside(out, console.print)
    if renamed := rewind(out, start.done):
        console.print(renamed, markup=False)
    if start.changed:
        JsonLog(out / METRICS).write({"step": start.done, "changed": dict(start.changed)})
    policy.embedding.set_bank(policy.verbalizer_config.inject(thoughts.slots.flatten(0, 1)))
    with (
        RolloutPool(reasoner_folder(recipe.reasoner), recipe.rollout) as pool,
        closing(RewardPool(recipe.reward, str(reasoner_folder(recipe.reasoner)), prepared.folder)) as rewards,
        tracked(recipe.log, "reinforcement learning", console) as report_to,
    ):
        probe = thoughts.take(range(min(CANARY_TEXTS, len(thoughts))))
        sync = PolicySync(
            policy,
            pool,
            out / "policies",
            policy.prompts(bank_rows(probe)),
            [prepared.reasoner.ids(text)[: section.max_new_tokens] for text in probe.gold],
            section.temperature,
            section.canary_tolerance,
        )
        completions = Completions(out / COMPLETIONS)
        by_column = recipe.reward.aggregation == "normalize_then_sum"
        signal = LearningSignal(section.max_new_tokens, by_column, console.print)

        def on_texts(step: int, rows: Candidates, scores: Scores) -> None:
            completions(step, rows, scores)
            signal(step, rows, scores)

        rollouts = Rollouts(policy, thoughts, pool, rewards, sync, section, on_texts)

        def evaluate(version: int) -> Scored:
            embeds = policy.prompt_embeds(policy.verbalizer_config.inject(heldout.slots))
            policy.embedding.set_bank(policy.verbalizer_config.inject(thoughts.slots.flatten(0, 1)))
            eos = prepared.reasoner.tokenizer.eos_token_id
            greedy = Sampling(max_new_tokens=section.max_new_tokens, temperature=0.0, stop_ids=(eos,))
            written = pool.generate(embeds, 1, greedy, version)
            texts = [prepared.reasoner.decode(rollout.token_ids.tolist()) for rollout in written]
            return score(heldout, texts, prepared.metric)

        monitor = Monitor(rollouts, sync, evaluate, section.eval_every, section.keep, out, console)
        trainer = build_trainer(
            policy,
            rollouts,
            [len(claims) for claims in thoughts.claims],
            section,
            recipe.reward,
            out / CHECKPOINTS,
            [StopAtNonFinite("grpo.learning_rate", out / CHECKPOINTS, POLICY_WEIGHTS), monitor],
            [report_to],
        )
        trainer.train(resume_from_checkpoint=start.checkpoint)


def finish(out: Path, prepared: Prepared, adapter: Path) -> Path:
    """Put adapter, contract, maps and encoded steps into one folder, `out/verbalizer`."""
    folder = out / "verbalizer"
    with whole_folder(folder) as temporary:
        shutil.copytree(adapter, temporary, dirs_exist_ok=True)
        for name in (MAPS_FILE, ENCODED_FILE):
            shutil.copy(prepared.folder / name, temporary / name)
    return folder


if __name__ == "__main__":  # `python -m reverse_codi.train ...` is `reverse-codi train ...`, run by its name
    sys.argv[1:1] = ["train"]
    runpy.run_module("reverse_codi.cli", run_name="__main__")
