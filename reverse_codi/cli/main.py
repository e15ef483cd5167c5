"""The command `reverse-codi`: finds the verb and hands it the rest of the line."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from functools import partial
from types import ModuleType

from reverse_codi import __version__
from reverse_codi.errors import UsageError
from reverse_codi.processes.environment import settle
from reverse_codi.utils.command import run_verb

GROUPS = {
    "Main": {
        "train": "train a verbalizer as a recipe says: traces, metric, warm start, reinforcement",
        "verbalize": "say in words what each thought of a question, a trace store or a file holds",
        "report": "show traces, a run or an ablation table as one page to read in a browser",
        "app": "ask, read the thoughts and change one, on a page of your browser",
        "evaluate": "measure whether translations are true, beside controls",
        "pipeline": "go all the way from a base model to translations",
        "push": "share a verbalizer, a reasoner or a trace store on the hub, with a card",
        "export": "merge a verbalizer into a plain language model, for transformers and vLLM",
        "demo": "train and translate with the embedded model, on a laptop",
        "recipes": "list the recipes that come with the package, or print one",
    },
    "Reasoners": {
        "distill": "train a latent reasoner (CODI or Coconut)",
        "checkpoint": "load a public checkpoint and say what became of every tensor",
        "check-reasoner": "measure a reasoner: accuracy, ablated thoughts, probes",
        "trace": "collect the traces of a reasoner, or import vectors collected elsewhere",
        "trajectories": "follow the states of a recurrent-depth model, token by token",
        "listings": "read CODI's log of decoded latents: what a logit lens names",
    },
    "Rewards": {
        "rewards": "list, show and try reward functions",
        "bench-rewards": "time the scoring of texts",
    },
    "Studies": {
        "ablate": "train and evaluate the rows of an ablation table",
        "curves": "show what a run's texts were worth while it learnt",
        "reading-study": "compare ways of reading a text",
        "planted": "plant thoughts of known content, and see whether they are found",
        "true-size": "run a recipe with random weights of its checkpoint's size",
        "ceilings": "fit probes: how well thoughts can be read at all",
        "samples": "measure what best-of-N gains and costs",
        "soft-text": "find how near any text could come to a thought",
        "paired": "compare two evaluations thought by thought",
    },
}
"""Group -> verb -> what it does, in one line; the verb `soft-text` is the module `cli.soft_text`."""

USAGE = "usage: reverse-codi VERB ...\n       reverse-codi VERB --help | --help | --version"


def overview() -> str:
    """The verbs by group, a line each."""
    groups = [
        "\n".join([f"{group}:", *(f"  {verb:<16}{meaning}" for verb, meaning in verbs.items())])
        for group, verbs in GROUPS.items()
    ]
    return "\n\n".join([USAGE, "Read the thoughts of latent reasoning models: CODI in reverse.", *groups])


def verb_module(verb: str) -> ModuleType:
    """The module of a verb, with its `parser` and `main`.

    Raises:
        UsageError: there is no such verb; the nearest one is proposed.
    """
    verbs = [verb for group in GROUPS.values() for verb in group]
    if verb not in verbs:
        near = difflib.get_close_matches(verb, verbs, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "reverse-codi --help lists them"
        raise UsageError(f"there is no verb {verb!r}; {hint}")
    return importlib.import_module(f"reverse_codi.cli.{verb.replace('-', '_')}")


def run(words: Sequence[str]) -> None:
    """Run one verb, or say what there is.

    Raises:
        UsageError: no verb, or one that does not exist.
    """
    if not words:
        raise UsageError("no verb is given; reverse-codi --help lists them")
    verb, *rest = words
    if verb in ("-h", "--help"):
        print(overview())
    elif verb == "--version":
        print(f"reverse-codi {__version__}")
    else:
        verb_module(verb).main(rest)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: the words after `reverse-codi`; those of this process if None.

    Raises:
        SystemExit: see `run_verb`.
    """
    settle()
    run_verb(partial(run, list(sys.argv[1:] if arguments is None else arguments)))
