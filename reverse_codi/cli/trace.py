r"""Collect the traces of a reasoner, or import vectors that were collected elsewhere.

    reverse-codi trace RECIPE [--section.key VALUE ...]
    reverse-codi trace import --hidden-states h.npy --latent-inputs z.npy --rows rows.jsonl \
        --reasoner PATH --out FOLDER      (its options: reverse-codi trace import --help)

A run that stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.processes import stopping
from reverse_codi.recipe.schema import load_recipe

if TYPE_CHECKING:
    from reverse_codi.recipe.schema import Recipe
    from reverse_codi.traces.store import TraceStore

log = logging.getLogger(__name__)


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi trace", __doc__, takes_recipe=True)
    made.add_recipe()
    made.parts = [import_parser()]
    return made


def import_parser() -> Parser:
    """The options of `trace import`."""
    made = Parser("reverse-codi trace import", "Make a trace store from files of vectors.")
    add = made.add_argument
    add("--hidden-states", required=True, type=Path, help="h0..hK, [N, K + 1, d], .npy or .npz")
    add("--latent-inputs", required=True, type=Path, help="z0..z(K-1), [N, K, d], likewise")
    add("--rows", required=True, type=Path, help="JSON lines: question, gold, claims, output, answer")
    whose = made.add_mutually_exclusive_group(required=True)
    whose.add_argument("--reasoner", help="the reasoner they belong to: a folder, a hub id or `embedded`")
    whose.add_argument("--reasoner-hash", help="its content hash, where the reasoner itself is not at hand")
    add("--tokenizer-hash", default="", help="its tokenizer's; unchecked if empty")
    add("--split", default="imported", help="name of the split")
    add("--out", required=True, type=Path, help="folder of the new store")
    return made


def trace(recipe: Recipe, out: Output) -> TraceStore:
    """Collect the traces of `recipe.trace`."""
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.storage.outputs import check_folder
    from reverse_codi.traces.collect import TraceRequest, collect

    section = recipe.trace
    check_folder(section.out, "trace.out")
    # As `train`, which goes on with this store.
    asked = TraceRequest.of_training(recipe, section.split, section.n, section.seed, section.out)
    store = collect(load_reasoner(recipe.reasoner), recipe.task.build(), asked)
    right = sum(map(bool, store.correct))
    out.show(f"{len(store):,} traces in {section.out}; {right / len(store):.1%} of their answers are right")
    return store


@verb(import_parser)
def import_vectors(options: argparse.Namespace, out: Output) -> Any:
    """Make a store from files of vectors."""
    from reverse_codi.reasoners.load import open_reasoner
    from reverse_codi.storage.outputs import check_folder
    from reverse_codi.traces.imports import columns_of_rows, import_arrays, not_projected

    check_folder(options.out, "--out")
    arrays = {"hidden_states": options.hidden_states, "latent_inputs": options.latent_inputs}
    header = {"reasoner_hash": options.reasoner_hash, "tokenizer_hash": options.tokenizer_hash}
    if options.reasoner is not None:
        reasoner = open_reasoner(options.reasoner)
        strange = not_projected(reasoner, arrays)
        if strange:
            log.warning(
                f"{strange:,} latent inputs are not the projection of their hidden states: replaced "
                "thoughts, another numbering (z0 is made of h0), or another reasoner's"
            )
        header = {
            "reasoner": type(reasoner).__name__,
            "reasoner_hash": reasoner.content_hash,
            "tokenizer_hash": reasoner.tokenizer_hash,
        }
    manifest = {**columns_of_rows(options.rows), **header, "split": options.split}
    store = import_arrays(options.out, arrays, manifest)
    out.show(f"{len(store):,} traces in {options.out}")
    return {"folder": str(options.out), "traces": len(store)}


@verb(parser)
def collect(options: argparse.Namespace, out: Output) -> Any:
    """Collect the traces of a recipe."""
    recipe = load_recipe([options.recipe, *options.keys])
    stopping.advise("the same command goes on")

    from reverse_codi.training.outputs import TRACE, kept

    with kept(recipe, TRACE) as recipe:
        store = trace(recipe, out)
    return {"folder": recipe.trace.out, "traces": len(store), "right": sum(map(bool, store.correct))}


def main(arguments: Sequence[str]) -> None:
    """Collect or import."""
    if list(arguments[:1]) == ["import"]:
        import_vectors(arguments[1:])
    else:
        collect(arguments)
