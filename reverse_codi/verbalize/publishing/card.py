"""The cards of finished verbalizers, and of models that they were merged into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from reverse_codi.reading.claims import ENCODED_FILE, EncodedSteps
from reverse_codi.reading.encoded_table import encoded_lines
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.card import licence_sentence
from reverse_codi.reasoners.load import ASSETS
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import Recipe, recipe_beside
from reverse_codi.storage.cards import LIBRARY, card, markdown_table
from reverse_codi.utils.config import validated
from reverse_codi.verbalize.publishing import plain
from reverse_codi.verbalize.publishing.adapter_card import TAGS, TEMPLATES
from reverse_codi.verbalize.publishing.figures import figures_table, found_metrics
from reverse_codi.verbalize.publishing.place import Place
from reverse_codi.verbalize.translator import Translator


def verbalizer_card(
    translator: Translator,
    metric: ThoughtMetric,
    place: Place,
    path: str,
    metrics: Path | None = None,
    license: str | None = None,
) -> str:
    """The card of a finished verbalizer.

    Args:
        translator: the verbalizer.
        metric: how its texts are read.
        place: where others find its reasoner.
        path: folder or hub id that it will be loaded from.
        metrics: `metrics.json` of its evaluation; None takes one that lies beside it.
        license: as the hub names it, "apache-2.0".

    Raises:
        MetricsError: the figures are of another verbalizer.
    """
    folder, config = translator.folder, translator.policy.verbalizer_config
    recipe = validated(Recipe, recipe_beside(folder), str(folder))
    metrics = metrics or found_metrics(folder)
    license = _license(place, license)
    encoded = folder / ENCODED_FILE
    tokenizer, width = translator.policy.tokenizer, translator.reasoner.width
    return card(
        TEMPLATES / "verbalizer.md.jinja",
        ModelCardData(
            library_name=LIBRARY,
            tags=[*TAGS, "peft", "lora"],
            license=license,
            base_model=place.hub_id,
            base_model_relation=None if place.hub_id is None else "adapter",
        ),
        name=Path(path).name,
        path=path,
        arithmetic=recipe.task.name == "arithmetic",
        contract=_contract(translator, metric, place, recipe),
        encoded="\n".join(encoded_lines(EncodedSteps.load(folder))) if encoded.is_file() else "",
        figures=None if metrics is None else figures_table(metrics, folder),
        taught=f"the steps of problems of the task `{recipe.task.name}`",
        training=_training(folder, recipe),
        plain_note=plain.NOTE,
        plain=plain.with_adapter(place.base, path, config, tokenizer, width, translator.max_new_tokens),
        licence=licence_sentence(license),
    )


def merged_card(
    translator: Translator, metric: ThoughtMetric, place: Place, path: str, license: str | None = None
) -> str:
    """The card of a verbalizer that was merged into its base; arguments as in `verbalizer_card`."""
    folder, config = translator.folder, translator.policy.verbalizer_config
    recipe = validated(Recipe, recipe_beside(folder), str(folder))
    license = _license(place, license)
    tokenizer, width = translator.policy.tokenizer, translator.reasoner.width
    return card(
        TEMPLATES / "merged.md.jinja",
        ModelCardData(
            library_name="transformers",
            tags=TAGS,
            license=license,
            pipeline_tag="text-generation",
            base_model=place.hub_id,
            base_model_relation=None if place.hub_id is None else "finetune",
        ),
        name=Path(path).name,
        path=path,
        contract=_contract(translator, metric, place, recipe),
        plain_note=plain.NOTE,
        plain=plain.merged(path, config, tokenizer, width, translator.max_new_tokens),
        max_new_tokens=translator.max_new_tokens,
        licence=licence_sentence(license),
    )


def _license(place: Place, given: str | None) -> str | None:
    """The package's own for what it carries itself; nobody can guess another."""
    return given or ("apache-2.0" if place.source.path == EMBEDDED else None)


def _contract(translator: Translator, metric: ThoughtMetric, place: Place, recipe: Recipe) -> str:
    config, spec = translator.policy.verbalizer_config, metric.reader.spec
    norm = config.injection.norm
    slots = "one vector" if config.n_slots == 1 else f"{config.n_slots} vectors"
    named = f"`{place.source.path}`" + (f" at `{place.source.revision}`" if place.source.revision else "")
    facts: dict[str, Any] = {
        "reasoner": f"{named}, content hash `{config.reasoner_hash}`",
        "tokenizer": f"hash `{config.tokenizer_hash}`",
        "thoughts": f"sites {', '.join(map(str, metric.sites))}; width {translator.reasoner.width}",
        "prompt": f"`{config.template}` with {slots}, "
        + ("as they are" if norm is None else f"scaled to length {norm:g}"),
        "longest text": f"{translator.max_new_tokens} tokens",
        "reading": f"prefix {spec.prefix}, point {spec.point}, layers {spec.layers}, map {spec.map}, "
        f"target {spec.target}",
        "task": f"`{recipe.task.name}`",
    }
    return markdown_table(["", ""], [[name, str(fact)] for name, fact in facts.items()])


def _training(folder: Path, recipe: Recipe) -> str:
    if folder == ASSETS / "verbalizer":  # its recipe names the budget of its controls, too
        return "It comes with the package, whose page `docs/embedded.md` says how it was made."
    warm = recipe.warm_start
    lines = [
        f"- traces: {recipe.trace.n:,} questions of the task `{recipe.task.name}`, seed {recipe.trace.seed}",
        f"- probes and maps fitted on: `{recipe.reading.fit_on}`",
        f"- warm start: `{warm.kind}`, {warm.steps:,} steps of {warm.batch_size} thoughts",
        *(f"- {stage.plan}" for stage in recipe.stages),
    ]
    return "\n".join(lines)
