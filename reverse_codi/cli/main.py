"""The command `reverse-codi`: finds the verb and hands it the rest of the line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial

from reverse_codi.utils.config import run_verb
from reverse_codi.utils.environment import settle

VERBS = {
    "train": "reverse_codi.train",
    "verbalize": "reverse_codi.cli.verbalize",
    "evaluate": "reverse_codi.evaluation.evaluate",
    "trace": "reverse_codi.cli.trace",
    "distill": "reverse_codi.reasoners.distill.run",
    "pipeline": "reverse_codi.cli.pipeline",
    "rewards": "reverse_codi.cli.rewards",
    "checkpoint": "reverse_codi.cli.checkpoint",
    "check-reasoner": "reverse_codi.evaluation.check_reasoner",
    "trajectories": "reverse_codi.cli.trajectories",
    "listings": "reverse_codi.cli.listings",
    "ablate": "reverse_codi.cli.ablate",
    "reading-study": "reverse_codi.cli.reading_study",
    "ceilings": "reverse_codi.evaluation.ceilings",
    "paired": "reverse_codi.evaluation.paired",
    "samples": "reverse_codi.evaluation.samples",
    "soft-text": "reverse_codi.evaluation.soft_text",
    "bench-rewards": "reverse_codi.cli.bench_rewards",
    "demo": "reverse_codi.cli.demo",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb."""
    settle()
    words = list(sys.argv[1:] if arguments is None else arguments)
    module = importlib.import_module(VERBS[words[0]])
    run_verb(partial(module.main, words[1:]))


if __name__ == "__main__":
    main()
