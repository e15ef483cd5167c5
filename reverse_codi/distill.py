"""`python -m reverse_codi.distill RECIPE`: train a CODI reasoner from a base of written steps.

A run that stopped goes on from its newest checkpoint when the same command is given again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, set_seed

from reverse_codi.config import run_verb
from reverse_codi.reasoners.codi import CodiConfig, CodiReasoner, new_language_model
from reverse_codi.reasoners.distill_data import ProblemRows
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.projection_start import start_projection
from reverse_codi.reasoners.training import train_phase
from reverse_codi.recipe import DistillSection, Recipe, load_recipe
from reverse_codi.tasks.base import Split, Task
from reverse_codi.tasks.words import word_tokenizer

# Problems that the projection's start is fitted on.
PROJECTION_ROWS = 8_000


def new_model(section: DistillSection, task: Task, seed: int) -> tuple[LatentLM, CodiReasoner]:
    """An untrained reasoner: from a base checkpoint if the recipe names one, else from nothing."""
    set_seed(seed)
    if section.base is None:
        if not hasattr(task, "vocabulary"):
            raise ValueError(
                "distill.base is empty and this task has no closed vocabulary; name a base model"
            )
        tokenizer: PreTrainedTokenizerBase = word_tokenizer(task.vocabulary())
        lm = new_language_model(tokenizer, **section.shape)
    else:
        tokenizer = AutoTokenizer.from_pretrained(section.base)
        lm = AutoModelForCausalLM.from_pretrained(section.base)
        lm.resize_token_embeddings(len(tokenizer) + 3)
    # CODI's layout: pad, begin-of-thought and end-of-thought follow the vocabulary.
    config = CodiConfig(
        n_thoughts=section.n_thoughts,
        projection_width=section.projection_width,
        bot_id=len(tokenizer) + 1,
        eot_id=len(tokenizer) + 2,
    )
    model = LatentLM(
        lm,
        projection(lm.config.hidden_size, section.projection_width),
        section.n_thoughts,
        config.bot_id,
        config.eot_id,
    )
    return model, CodiReasoner(model, tokenizer, config)


def distill(recipe: Recipe, console: Console) -> CodiReasoner:
    """Train both phases of `recipe.distill` and save the reasoner in its folder."""
    section = recipe.distill
    out = Path(section.out)
    task = recipe.task.build()
    model, reasoner = new_model(section, task, section.seed)
    problems = task.problems(Split.TRAIN, section.n_problems, section.seed)
    rows = ProblemRows(problems, reasoner.tokenizer, reasoner.config)
    console.print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(rows):,} training problems"
    )
    for name, phase in (("written", section.written), ("latent", section.latent)):
        finished = out / name / "model.safetensors"
        if finished.is_file():
            console.print(f"phase {name}: already done, {finished}")
        else:
            if name == "latent" and section.n_thoughts:
                some = rows.rows[:PROJECTION_ROWS]
                right = start_projection(model, some, reasoner.tokenizer.pad_token_id, section.seed)
                console.print(f"projection started: {right:.3f} of fed vectors nearest to the next token")
            model.train()
            train_phase(
                model,
                reasoner.tokenizer,
                rows,
                phase,
                out / name,
                seed=section.seed,
                save_steps=section.save_steps,
                report_to="wandb" if recipe.log.wandb else "none",
            )
            temporary = finished.with_suffix(".tmp")
            save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, temporary)
            os.replace(temporary, finished)
        model.load_state_dict(load_file(finished))
    model.eval()
    reasoner.save_pretrained(out)
    console.print(f"reasoner saved in {out}; hash {reasoner.content_hash[:12]}")
    return reasoner


def main(arguments: list[str] | None = None) -> None:
    """Parse the recipe and train."""
    recipe = load_recipe(sys.argv[1:] if arguments is None else arguments)
    torch.set_num_threads(recipe.distill.threads or torch.get_num_threads())
    distill(recipe, Console())


if __name__ == "__main__":
    run_verb(main)
