"""What can be known to fail before any work: one place, which a dry run and a run share.

Every check raises one `UserError` that names the key; none writes or starts anything. `check` and
`check_actors` are those of a training run, other verbs call the ones that concern them. `reasoner_fit` has
those that depend on the reasoner.
"""

from __future__ import annotations

from pathlib import Path

from reverse_codi.errors import RecipeError
from reverse_codi.processes.environment import check_device, check_ray
from reverse_codi.reasoners.load import reasoner_folder
from reverse_codi.recipe.grpo import Advantage, GrpoSection
from reverse_codi.recipe.reading import Prefix, Target
from reverse_codi.recipe.reinforce import DistilSection, SearchSection
from reverse_codi.recipe.reward import Shape
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.registry import find_functions
from reverse_codi.storage.job import is_url
from reverse_codi.storage.outputs import check_folder
from reverse_codi.traces.files import MANIFEST, Manifest, StoreError
from reverse_codi.trackers.tracker import check_trackers
from reverse_codi.training.placement import check_placement
from reverse_codi.training.plan_check import check_plan, planned_run
from reverse_codi.training.reasoner_fit import (
    ReasonerFacts,
    check_dtype,
    check_layers,
    check_lengths,
    check_template_alone,
    prompt_length,
    whole_trace,
)
from reverse_codi.training.runtime import joins_cluster, offered, start_ray
from reverse_codi.training.stage_folders import check_stages


def check(recipe: Recipe, fetch: bool, reuse: bool = True) -> list[str]:
    """Everything about a training run but its actors (`check_actors`).

    Args:
        recipe: of the run.
        fetch: bring a reasoner that is not here in the own format, as the run does; a dry run does not.
        reuse: the run goes on with trace stores and stages (reading, warm start) that are there.

    Returns:
        Lines for the user.

    Raises:
        UserError: the first thing that would fail.
    """
    check_trackers(recipe.log)
    check_folder(recipe.train.out, "train.out")
    check_folder(recipe.trace.out, "trace.out")
    check_folder(recipe.trace.heldout_out, "trace.out-heldout")
    notices = check_training(recipe)
    check_reinforcement(recipe)
    check_rewards(recipe)
    if fetch and ReasonerFacts.of(recipe.reasoner.path) is None:
        check_base(recipe)
    facts = ReasonerFacts.of(reasoner_folder(recipe.reasoner) if fetch else recipe.reasoner.path)
    if facts is None:
        check_template_alone(recipe)
        check_dtype(recipe, recipe.reasoner.dtype)
        notices.append(
            f"{recipe.reasoner.path} is not here in the own format: lengths are checked once it is"
        )
    else:
        check_reasoner(recipe, facts)
    if reuse:
        check_traces(recipe)
        check_stages(recipe)
    return notices


def check_base(recipe: Recipe) -> None:
    """What the base's configuration shows before a public checkpoint is brought here and converted.

    Raises:
        RecipeError: the LoRA targets layers that the model lacks, or the run takes more memory than there is.
    """
    if (planned := planned_run(recipe)) is not None:
        check_plan(planned)


def check_reasoner(recipe: Recipe, facts: ReasonerFacts) -> None:
    """Everything that depends on the reasoner: prompt, lengths, layers, number of thoughts.

    Raises:
        UserError: the first thing that would fail.
    """
    check_lengths(recipe, prompt_length(recipe, facts), facts.positions)
    check_dtype(recipe, facts.dtype)
    check_layers(recipe, facts)
    check_batch(recipe, recipe.trace.n * (1 if whole_trace(recipe) else facts.n_thoughts), "at most ")


# ---- folders


def check_traces(recipe: Recipe) -> None:
    """Refuse trace stores of other settings before anything else is done.

    Raises:
        StoreError: names the folder.
    """
    for folder, rows in (
        (recipe.trace.out, recipe.trace.n),
        (recipe.trace.heldout_out, recipe.trace.n_heldout),
    ):
        if not Path(folder, MANIFEST).is_file():
            continue
        manifest = Manifest.read(Path(folder))
        # A store that went without some questions expects no more than it asked.
        fewer = recipe.trace.on_bad_question == "skip" and manifest.rows_expected < rows
        other_rows = manifest.rows_expected != rows and not fewer
        if manifest.header.recipe_hash != recipe.trace_hash or other_rows:
            raise StoreError(
                f"{folder} holds {manifest.rows_expected} traces of other settings (task, reasoner, trace); "
                f"this recipe wants {rows} of its own: set another trace.out, or delete it"
            )


# ---- what is learnt


def check_training(recipe: Recipe) -> list[str]:
    """Refuse a run that can learn nothing whatever its data, or return a notice.

    Raises:
        RecipeError: all weights of the rewards are 0, or advantages are asked for that the sum of the rewards
            does not give.
    """
    if not recipe.stages and not recipe.warm_start.steps:
        return [
            "there is no warm start and no reinforcement (warm_start.steps, grpo.steps): nothing is trained"
        ]
    items = recipe.reward.functions
    if recipe.stages and all(item.weight == 0 and item.schedule is None for item in items):
        raise RecipeError(
            "every weight in reward.functions is 0, so RL would learn nothing; give one a weight"
        )
    if recipe.reward.aggregation == "normalize_then_sum":
        asked = [recipe.grpo, *recipe.grpo_sections]
        advantages = [("grpo.advantage", section.advantage) for section in asked]
        for key, value in (*advantages, ("reward.shape", recipe.reward.shape)):
            if value not in (Advantage.TEXT, Shape.VALUE):
                raise RecipeError(
                    f"{key} = {value} takes the weighted sum of the rewards, which reward.aggregation = "
                    "normalize_then_sum does not form; set that to sum_then_normalize, and normalize: group "
                    "at each reward"
                )
    return []


def check_batch(recipe: Recipe, thoughts: int, qualifier: str = "") -> None:
    """Refuse fewer training thoughts than one batch of RL: TRL drops a batch that is not full.

    Args:
        recipe: gives the size of a batch.
        thoughts: how many there are.
        qualifier: put before the number in the message.

    Raises:
        RecipeError: no batch would be full.
    """
    for section in recipe.grpo_sections:
        wanted = section.thoughts_per_step * section.steps_per_generation
        if section.steps and thoughts < wanted:
            of = "grpo.thoughts_per_step" + (
                " x steps_per_generation" if section.steps_per_generation > 1 else ""
            )
            raise RecipeError(
                f"{of} = {wanted}, but there are {qualifier}{thoughts} training thoughts that encode a "
                f"step, so no "
                "step would be taken; raise trace.n, or lower it"
            )


def check_reinforcement(recipe: Recipe) -> None:
    """Refuse stages that would have nothing to learn from, or could not compare what they find.

    Raises:
        RecipeError: names the stage.
    """
    searched = False
    for stage in recipe.stages:
        if isinstance(stage.section, SearchSection):
            searched = True
            spec = recipe.reading.spec
            if stage.section.shortlist and spec.prefix is Prefix.QUESTION:
                raise RecipeError(
                    f"stage {stage.name}: search.shortlist = {stage.section.shortlist} compares a text "
                    "with the thoughts of other questions, but reading.spec.prefix: question reads it after "
                    "its own; set search.shortlist: 0"
                )
            if stage.section.source == "lens" and spec.target is Target.ANSWER:
                raise RecipeError(
                    f"stage {stage.name}: search.from: lens writes a text for each thought, but "
                    "reading.spec.target: answer wants one for a whole trace; set search.from: policy"
                )
        if isinstance(stage.section, DistilSection) and not searched:
            raise RecipeError(
                f"stage {stage.name}: nothing was searched before it; put a search before distil"
            )


# ---- actors


def check_rewards(recipe: Recipe) -> None:
    """Find every reward function, and refuse an adapter or device that the engine would not get.

    Raises:
        RecipeError: there is no such function, it cannot be called, the LoRA does not fit the engine, or the
            engine's device is hidden from it.
    """
    find_functions(recipe.reward)
    engine, lora = recipe.rollout.engine, recipe.verbalizer
    if touched := sorted({"embed_tokens", "lm_head"} & set(lora.target_modules)):
        raise RecipeError(f"verbalizer.target_modules names {touched[0]}; engines take linear layers only")
    if recipe.stages and engine.device == "cuda" and not recipe.rollout.gpus:
        raise RecipeError(
            "rollout.engine.device = cuda, but rollout.gpus = 0 hides every GPU from the actors; give each a "
            "share of one, as rollout.gpus: 0.4"
        )
    if not recipe.stages or engine.kind != "vllm" or engine.policy != "lora":
        return
    if lora.rank > engine.max_lora_rank:
        problem = (
            f"verbalizer.rank = {lora.rank} exceeds rollout.engine.max_lora_rank = {engine.max_lora_rank}"
        )
        raise RecipeError(f"{problem}; raise that")
    if missing := sorted(set(lora.target_modules) - set(engine.lora_targets)):
        raise RecipeError(
            f"verbalizer.target_modules names {missing[0]}, which rollout.engine.lora_targets does not; add "
            "it, or set rollout.engine.policy: merged"
        )


def check_actors(recipe: Recipe, join: bool = False) -> None:
    """Refuse a GPU that is not here, and actors that Ray cannot place: they would wait in vain.

    Where Ray does not run yet, this machine's are counted; those of a cluster, once it is joined.

    Args:
        recipe: of the run.
        join: join the cluster of RAY_ADDRESS, if there is one, and so count what it has before any work.

    Raises:
        RecipeError: names what is asked for, what there is and which key to lower.
        MachineError: no cluster answers, Ray cannot start here, or there is no GPU for the trainer.
    """
    check_workers(recipe)
    if recipe.train.workers > 1 or any(stage.kind != "distil" for stage in recipe.stages):
        check_ray()
        if join and joins_cluster():
            start_ray()
        if (there := offered()) is not None:
            check_placement(recipe, there)
    check_device(recipe.reasoner.device, "reasoner.device")


def check_workers(recipe: Recipe) -> None:
    """Refuse batches that several trainers cannot share equally, and trainers without the device they need.

    Raises:
        RecipeError: names the key.
    """
    section = recipe.train
    if section.workers == 1:
        return
    batches = {"warm_start.batch_size": recipe.warm_start.batch_size}
    for stage in recipe.stages:
        if isinstance(stage.section, DistilSection):
            batches[f"{stage.name}: distil.batch_size"] = stage.section.batch_size
        if isinstance(stage.section, GrpoSection):
            batches[f"{stage.name}: grpo.thoughts_per_step"] = stage.section.thoughts_per_step
    for key, size in batches.items():
        if size % section.workers:
            raise RecipeError(
                f"{key} = {size} cannot be shared equally by train.workers = {section.workers}; take a "
                "multiple of it"
            )
    if recipe.reasoner.on_gpu and not recipe.placement.trainer_gpus:
        raise RecipeError(
            f"reasoner.device = {recipe.reasoner.device}, but placement.trainer_gpus = 0 hides every GPU "
            "from the trainers; set it to 1"
        )
    if "trainer" in recipe.placement.colocate:
        raise RecipeError(
            f"placement.colocate names trainer, but Ray Train places train.workers = {section.workers} "
            "trainers by themselves; leave it out"
        )
    if is_url(recipe.train.out):
        raise RecipeError(
            f"train.out = {recipe.train.out} is a URL, and train.workers = {section.workers} trainers hand "
            "on policies in a folder: name one that all of them can read"
        )
