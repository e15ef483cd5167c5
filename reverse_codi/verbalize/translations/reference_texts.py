"""What a verbalizer says of other thoughts than those it is asked about, kept beside it.

The others are the references of each site: training thoughts that encode a step. A text that the verbalizer
gives to many of them says little about any (`sharing`). Translating them takes as long as some hundred
questions, so a training run does it once and keeps the texts in the verbalizer's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from pydantic import TypeAdapter

from reverse_codi.errors import blamed_on
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.hashing import weights_hash
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.storage.files import DamagedError, file_sha256, strict_json, write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.manifest import check_files, write_manifest
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS
from reverse_codi.verbalize.translator import Translator

FILE = "reference_texts.json"
PER_SITE = 64
"""References of a site that are translated."""
_TEXTS = TypeAdapter(dict[str, list[str]])


def reference_texts(translator: Translator, metric: ThoughtMetric) -> dict[Site, list[str]]:
    """The text of each site's first references; of all sites in one batch.

    A verbalizer of whole traces has none: its references are states without vectors to translate.
    """
    states = _references(metric)
    if not states:
        return {}
    slots = translator.reasoner.project(torch.cat(list(states.values())))[:, None]  # [sites x R, 1, d]
    texts: Iterator[str] = iter(translator.greedy(slots))
    return {site: [next(texts) for _ in of_site] for site, of_site in states.items()}


def keep_reference_texts(translator: Translator, metric: ThoughtMetric) -> None:
    """Translate the references and keep their texts in the verbalizer's folder."""
    save_reference_texts(reference_texts(translator, metric), translator, metric, translator.folder)


def save_reference_texts(
    texts: Mapping[Site, Sequence[str]], translator: Translator, metric: ThoughtMetric, folder: Path
) -> None:
    """Write the references' texts into a folder of this verbalizer."""
    named = {str(site): list(of_site) for site, of_site in texts.items()}
    kept = {"of": _origin(translator, metric), "texts": named}
    write_whole(folder / FILE, strict_json(kept, indent=1) + "\n")
    write_manifest(folder, (FILE,))


def kept_reference_texts(translator: Translator, metric: ThoughtMetric) -> Mapping[Site, Sequence[str]]:
    """What `keep_reference_texts` wrote; translated now if nothing was kept, or of something else."""
    file = translator.folder / FILE
    if file.is_file():
        fix = "remove it: it is made anew when it is needed"
        check_files(translator.folder, (FILE,), fix)
        kept = read_object(file, fix)
        if kept.get("of") == _origin(translator, metric):
            with blamed_on(file, DamagedError, fix, what="is cut or damaged"):
                texts = _TEXTS.validate_python(kept["texts"])
                return {Site.parse(site): of_site for site, of_site in texts.items()}
    return reference_texts(translator, metric)


def _references(metric: ThoughtMetric) -> dict[Site, torch.Tensor]:
    """Hidden states [R, d] of each site of single thoughts."""
    references = {site: metric.map_of(site).reference[:PER_SITE] for site in metric.sites if site != ANSWER}
    return {site: states for site, states in references.items() if len(states)}


def _origin(translator: Translator, metric: ThoughtMetric) -> dict[str, object]:
    """What the texts depend on: the verbalizer's weights, the references, the longest text."""
    return {
        "verbalizer": file_sha256(translator.folder / POLICY_WEIGHTS),
        "references": weights_hash({str(site): states for site, states in _references(metric).items()}, {}),
        "max_new_tokens": translator.max_new_tokens,
    }
