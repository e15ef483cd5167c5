"""Measure whether translations are true.

Every figure of docs/evaluation.md for the verbalizer and for each control, on fresh held-out problems, as a
table and in DIR/metrics.json. `--baseline NAME` runs one control alone. `--reasoner ID --task NAME` asks
first whether a checkpoint loaded right: its accuracy beside the published one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.errors import RecipeError
from reverse_codi.evaluation.defaults import CONTROLS, CONTROLS_ON_REQUEST, Size, check_controls
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import Recipe
from reverse_codi.utils.arguments import count, positive
from reverse_codi.utils.config import validated

KNOWN = (*CONTROLS, *CONTROLS_ON_REQUEST)


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi evaluate", __doc__, takes_recipe=True)
    add = made.add_argument
    made.add_verbalizer()
    add("--reasoner", metavar="ID", help="check a reasoner alone: its accuracy on --task")
    add("--task", metavar="NAME", default=Recipe().task.name, help="task of --reasoner")
    add("--traces", metavar="STORE", type=Path, help="a trace store with steps, instead of fresh ones")
    add("--seed", type=count, default=0, help="of problems, distractors and edits")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("runs/evaluate"),
        help="folder of traces and metrics.json",
    )
    add("--baseline", action="append", metavar="NAME", help=f"a control, alone: {', '.join(KNOWN)}")
    add("--no-baselines", action="store_true", help="the verbalizer alone")
    add(
        "--no-reconstructor",
        action="store_true",
        help="leave out fve.reconstructor, for which a model is trained first (1,500 steps of 128 texts)",
    )
    add("--problems", type=positive, default=Size().problems, help="fresh held-out problems")
    add("--wrong", type=positive, default=Size().wrong, help="wrong traces wanted")
    add("--pairs", type=positive, default=Size().pairs, help="minimal pairs")
    add("--retrieval", type=positive, metavar="N", help="thoughts retrieval is measured on; all if not given")
    add(
        "--reading",
        metavar="FOLDER",
        help=f"a folder of maps to evaluate with, or {EMBEDDED!r}; for a verbalizer of whole traces",
    )
    add("--lm", metavar="ID", help="a second language model that judges texts: folder, hub id, .gguf")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Evaluate and print."""
    check_controls(options.baseline or ())
    if options.reasoner and options.what is not None:
        raise RecipeError(f"--reasoner and {options.what!r} do not go together; give one of them")
    if not options.reasoner and options.what is None:
        raise RecipeError("nothing to evaluate: give a recipe, a verbalizer, 'embedded', or --reasoner ID")

    import torch

    from reverse_codi.evaluation import accuracy
    from reverse_codi.evaluation.evaluate import CheckRequest, EvaluationRequest, check, find, run
    from reverse_codi.evaluation.report import METRICS_FILE, flat, log_evaluation, tables
    from reverse_codi.reasoners.load import ASSETS
    from reverse_codi.trackers.tracker import check_trackers

    torch.manual_seed(options.seed)
    if options.reasoner:
        request = CheckRequest(
            reasoner=options.reasoner,
            task=options.task,
            problems=options.problems,
            seed=options.seed,
            out=options.out,
            overrides=options.keys,
        )
        shown, figures = check(request)
        out.show(*shown, f"{options.out / accuracy.FILE}")
        return figures
    evaluated = find(options.what, options.keys)
    check_trackers(evaluated.recipe.log)
    if options.reading:
        reading = ASSETS / "verbalizer" if options.reading == EMBEDDED else Path(options.reading)
        evaluated = replace(evaluated, reading=reading)
    asked = {name: getattr(options, name) for name in Size.model_fields}
    found, baselines = run(
        evaluated,
        EvaluationRequest(
            out=options.out,
            size=validated(Size, asked, "command line"),
            seed=options.seed,
            given=options.traces,
            controls=options.baseline or ([] if options.no_baselines else CONTROLS),
            alone=bool(options.baseline),
            reconstruct=not options.no_reconstructor,
            second=options.lm,
        ),
    )
    file = options.out / METRICS_FILE
    out.show(*tables(found, baselines, file), f"{file}")
    log_evaluation(evaluated.recipe, options.out, flat(found, baselines), evaluated.verbalizer.parent)
    return flat(found, baselines)
