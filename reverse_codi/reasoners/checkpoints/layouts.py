"""The families of public latent reasoners, recognised by their tensors' names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from reverse_codi.reasoners.checkpoints.errors import CheckpointError

SECOND_NAME = "second name of the input embeddings"
# Buffers that older versions of transformers saved with a model; the present one computes them.
_BUFFER = re.compile(r".*(\.attn\.(bias|masked_bias)|rotary_emb\.inv_freq)")


@dataclass(frozen=True)
class Family:
    """Checkpoints with the same naming of keys.

    Attributes:
        name: a name for users.
        model: prefix of the language model's keys; a key with it identifies the family.
        projection: prefix of the projection's keys; None if there is no projection.
        aside: prefix of keys that thinking does not need -> what they are.
    """

    name: str
    model: str
    projection: str | None
    aside: Mapping[str, str]


CODI = Family(
    name="CODI",
    model="codi.base_model.model.",
    projection="prj.",
    aside={
        "decoder.": "auxiliary decoder of SIM-CoT",
        "pj_in.": "auxiliary decoder's input projection of SIM-CoT",
        "pj_out.": "auxiliary decoder's output projection of SIM-CoT",
    },
)
COCONUT = Family(
    name="Coconut",
    model="base_causallm.",
    projection=None,
    aside={
        "expainable_llm.": "auxiliary decoder of SIM-CoT",
        "embedding.": SECOND_NAME,
    },
)
FAMILIES = (CODI, COCONUT)


@dataclass(frozen=True)
class Parts:
    """The tensors of a checkpoint by their purpose.

    Attributes:
        model: tensors of the language model, names without the family's prefix.
        projection: tensors of the projection, names without the prefix.
        aside: tensors that thinking does not need, by kind, under their full names.
        unknown: tensors without a known purpose.
    """

    model: dict[str, Tensor]
    projection: dict[str, Tensor]
    aside: dict[str, dict[str, Tensor]]
    unknown: list[str]


def recognise(keys: Collection[str], source: str) -> Family:
    """The family of a checkpoint.

    Raises:
        CheckpointError: it fits none; the message lists the keys of each family.
    """
    for family in FAMILIES:
        if any(key.startswith(family.model) for key in keys):
            return family
    wanted = "; ".join(f"{family.name}: {family.model}*" for family in FAMILIES)
    shown = ", ".join(sorted(keys)[:3]) or "nothing"
    raise CheckpointError(
        f"{source} is no checkpoint of a latent reasoner that is known here. Looked for keys of "
        f"{wanted}; found {len(keys)} others ({shown}, ...). Own format: reasoner.json beside it"
    )


def split(family: Family, tensors: Mapping[str, Tensor]) -> Parts:
    """Sort tensors by their purpose."""
    parts = Parts({}, {}, {}, [])
    for name, tensor in tensors.items():
        kind = next((kind for prefix, kind in family.aside.items() if name.startswith(prefix)), None)
        if kind is not None:
            parts.aside.setdefault(kind, {})[name] = tensor
        elif name.startswith(family.model):
            inner = name.removeprefix(family.model)
            if _BUFFER.fullmatch(inner):
                parts.aside.setdefault("buffers that transformers computes itself", {})[name] = tensor
            else:
                parts.model[inner] = tensor
        elif family.projection is not None and name.startswith(family.projection):
            parts.projection[name.removeprefix(family.projection)] = tensor
        else:
            parts.unknown.append(name)
    return parts
