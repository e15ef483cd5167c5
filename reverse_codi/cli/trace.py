r"""Collect traces, or import vectors that were collected elsewhere.

    reverse-codi trace RECIPE [--section.key value ...]
    reverse-codi trace import --hidden-states h.npy --latent-inputs z.npy --rows rows.jsonl \
        --reasoner PATH --out FOLDER

A run that stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from reverse_codi.reasoners.load import load_reasoner, open_reasoner
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.traces.imports import columns_of_rows, import_arrays, not_projected
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.config import run_verb
from reverse_codi.utils.console import VerbConsole
from reverse_codi.utils.log import show_log
from reverse_codi.utils.outputs import check_folder


def trace(recipe: Recipe, console: Console) -> TraceStore:
    """Collect the traces of `recipe.trace`."""
    section = recipe.trace
    check_folder(section.out, "trace.out")
    # As `train`, which goes on with this store.
    asked = TraceRequest.of_training(recipe, section.split, section.n, section.seed, section.out)
    store = collect(load_reasoner(recipe.reasoner), recipe.task.build(), asked)
    right = sum(map(bool, store.correct))
    console.print(
        f"{len(store):,} traces in {section.out}; {right / len(store):.1%} of their answers are right"
    )
    return store


def import_vectors(arguments: list[str], console: Console) -> TraceStore:
    """Make a store from files of vectors."""
    parser = argparse.ArgumentParser(prog="reverse-codi trace import", description="Import vectors.")
    parser.add_argument(
        "--hidden-states", required=True, type=Path, help="h0..hK, [N, K + 1, d], .npy or .npz"
    )
    parser.add_argument("--latent-inputs", required=True, type=Path, help="z0..z(K-1), [N, K, d], likewise")
    parser.add_argument(
        "--rows", required=True, type=Path, help="JSON lines: question, gold, claims, output, answer"
    )
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--reasoner", help="the reasoner they belong to: a folder, a hub id or `embedded`")
    whose.add_argument("--reasoner-hash", help="its content hash, where the reasoner itself is not at hand")
    parser.add_argument("--tokenizer-hash", default="", help="its tokenizer's; unchecked if empty")
    parser.add_argument("--split", default="imported", help="name of the split")
    parser.add_argument("--out", required=True, type=Path, help="folder of the new store")
    options = parser.parse_args(arguments)
    check_folder(options.out, "--out")
    arrays = {"hidden_states": options.hidden_states, "latent_inputs": options.latent_inputs}
    header = {"reasoner_hash": options.reasoner_hash, "tokenizer_hash": options.tokenizer_hash}
    if options.reasoner is not None:
        reasoner = open_reasoner(options.reasoner)
        strange = not_projected(reasoner, arrays)
        if strange:
            console.print(
                f"[yellow]{strange:,} latent inputs are not the projection of their hidden states: replaced "
                "thoughts, another numbering (z0 is made of h0), or another reasoner's[/yellow]"
            )
        header = {
            "reasoner": type(reasoner).__name__,
            "reasoner_hash": reasoner.content_hash,
            "tokenizer_hash": reasoner.tokenizer_hash,
        }
    manifest = {**columns_of_rows(options.rows), **header, "split": options.split}
    store = import_arrays(options.out, arrays, manifest)
    console.print(f"{len(store):,} traces in {options.out}")
    return store


def main(arguments: list[str] | None = None) -> None:
    """Run the verb."""
    words = sys.argv[1:] if arguments is None else arguments
    console = show_log(VerbConsole())
    if words[:1] == ["import"]:
        import_vectors(words[1:], console)
    else:
        trace(load_recipe(words), console)


if __name__ == "__main__":
    run_verb(main)
