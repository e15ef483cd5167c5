"""Which claims a thought encodes, found by probes and stored with the verbalizer.

A site encodes a claim if probes read every slot of it there: operands, operation and result. A result alone
is not enough: the model hands it on from thought to thought, also to the thoughts after the last step, which
hold nothing else.

A site may encode several steps at once (superposition), and which ones can depend on the length of the
problem. It may encode none, and then its true translation is "(no step)". How well probes read an encoded
step varies between models (.98 to .33 on three models of one kind), and this varies more than the gap between
an encoded step and one that is only handed on. So if the task makes minimal pairs, swaps decide whether the
model uses a thought at all, and probes decide only which steps it encodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from reverse_codi.reading.probes import Probe, part_labels
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.tasks.claims import claims_of
from reverse_codi.utils.files import strict_json

ENCODED_FILE = "encoded_steps.json"
NO_STEP = "(no step)"
# Share of answers that a swap must change for a thought to be causally active.
ACTIVE_SHARE = 0.1
# Probe accuracy from which a causally active thought encodes a step, and the share of the best step's
# accuracy that other steps there must reach.
LEAST, BESIDE = 0.3, 0.5


def claims_text(claims: Iterable[str]) -> str:
    """Claims as one text: "12 + 5 = 17. 17 * 2 = 34."; no claims give "(no step)"."""
    return " ".join(f"{claim}." for claim in claims) or NO_STEP


def claimed(text: str) -> tuple[str, ...] | None:
    """The claims of a text, in order: () for "(no step)", None for a text with neither.

    Two texts have the same content exactly if this value is equal and not None. The tokenizer decides how
    "(no step)" is spaced and capitalised.

    >>> claimed("12 + 5=17 ."), claimed("( no step )"), claimed("28 no)))"), claimed("")
    (('12 + 5 = 17',), (), None, None)
    """
    claims = tuple(claims_of(text))
    return claims or (() if re.sub(r"[\s().]", "", text).lower() == "nostep" else None)


@dataclass(frozen=True)
class EncodedSteps:
    """Which steps each site encodes.

    Attributes:
        accuracy: (site, number of steps) -> for each step, held-out probe accuracy of the slot of its claim
            that is read worst.
        threshold: accuracy from which a step counts as encoded if no swaps were made.
        moved: (site, number of steps) -> share of answers that change when the thought is swapped between
            minimal pairs, if the task makes them.
    """

    accuracy: Mapping[tuple[Site, int], Sequence[float]]
    threshold: float
    moved: Mapping[tuple[Site, int], float] = field(default_factory=dict)

    def steps(self, site: Site, n_steps: int) -> list[int]:
        """Indices of the steps that `site` encodes in problems of `n_steps` steps.

        The site `answer` encodes all steps by definition: its text is the whole chain.
        """
        if site == ANSWER:
            return list(range(n_steps))
        known = self.accuracy.get((site, n_steps), ())
        floor, moved = self.threshold, self.moved.get((site, n_steps))
        if moved is not None:
            if moved < ACTIVE_SHARE:
                return []
            floor = max(min(LEAST, self.threshold), BESIDE * max(known, default=0.0))
        return [step for step, accuracy in enumerate(known) if accuracy >= floor]

    def text(self, site: Site, claims: Sequence[str]) -> str:
        """The gold text of one thought."""
        return claims_text(claims[step] for step in self.steps(site, len(claims)))

    def to_json(self) -> str:
        """As JSON: {"threshold": .., "accuracy": {"h1/3": [..]}, "moved": {"h1/3": ..}}."""
        table = {f"{site}/{n}": [round(a, 4) for a in row] for (site, n), row in self.accuracy.items()}
        moved = {f"{site}/{n}": round(share, 4) for (site, n), share in self.moved.items()}
        return strict_json({"threshold": self.threshold, "accuracy": table, "moved": moved}, indent=1)

    @staticmethod
    def load(folder: str | Path) -> EncodedSteps:
        """Read `encoded_steps.json` of a verbalizer's or a run's folder.

        Raises:
            FileNotFoundError: there is none; the message names the fix.
        """
        file, former = Path(folder) / ENCODED_FILE, Path(folder) / "held_steps.json"
        if not file.is_file():
            fix = f"rename {former}, its name before" if former.is_file() else "train the verbalizer first"
            raise FileNotFoundError(f"{file} is missing; {fix}")
        return EncodedSteps.from_json(file.read_text())

    @staticmethod
    def from_json(text: str) -> EncodedSteps:
        """Read what `to_json` wrote."""
        stored = json.loads(text)
        accuracy = {_key(name): row for name, row in stored["accuracy"].items()}
        moved = {_key(name): share for name, share in stored.get("moved", {}).items()}
        return EncodedSteps(accuracy, stored["threshold"], moved)


def _key(name: str) -> tuple[Site, int]:
    site, _, n_steps = name.partition("/")
    return Site.parse(site), int(n_steps)


def find_encoded_steps(
    vectors: Mapping[Site, Tensor],
    claims: Sequence[Sequence[str]],
    threshold: float = 0.6,
    test_share: float = 0.2,
    moved: Mapping[tuple[Site, int], float] | None = None,
) -> EncodedSteps:
    """Probe every site for every slot of every step, and score the probes for each problem length.

    One probe serves all lengths: a thought encodes a step in the same way however many steps follow, and
        probes need many traces.

    Args:
        vectors: site -> [N, d] of training traces.
        claims: N lists of claims.
        threshold: see `EncodedSteps`.
        test_share: share of the traces, at the end, on which the probes are scored.
        moved: see `EncodedSteps`.
    """
    lengths = sorted({len(c) for c in claims} - {0})
    accuracy: dict[tuple[Site, int], list[float]] = {(site, n): [] for site in vectors for n in lengths}
    for step in range(max(lengths, default=0)):
        rows = [i for i, c in enumerate(claims) if len(c) > step]
        cut = int(len(rows) * (1 - test_share))
        if not cut:  # one trace alone has so long a chain: nothing to fit a probe on
            for site, n in accuracy:
                accuracy[site, n] += [0.0] * (n > step)
            continue
        columns = part_labels(claims[i][step] for i in rows)  # a column of labels for each slot
        of_length = {n: [j for j in range(cut, len(rows)) if len(claims[rows[j]]) == n] for n in lengths}
        for site, all_vectors in vectors.items():
            x = all_vectors[rows]
            probes = [Probe.fit(x[:cut], labels[:cut]) for labels in columns]
            for n, test in of_length.items():
                if n > step:
                    pairs = zip(probes, columns, strict=True)
                    parts = (probe.accuracy(x[test], [labels[j] for j in test]) for probe, labels in pairs)
                    accuracy[site, n].append(min(parts) if test else 0.0)
    return EncodedSteps(accuracy, threshold, moved or {})
