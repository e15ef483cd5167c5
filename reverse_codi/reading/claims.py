"""Which claims a thought encodes, found by probes and stored with the verbalizer.

A site encodes a claim if probes read every slot of it there: operands, operation and result. Where no claim
is read whole, a result may still be: such a thought is translated as that ("= 17"). Where claims are read
whole, results of others are left out: the model hands them on from thought to thought.

A site may encode several steps at once (superposition), and which ones can depend on the length of the
problem. It may encode none, and then its true translation is "(no step)". How well probes read an encoded
step varies between models (.98 to .33 on three models of one kind), and this varies more than the gap between
an encoded step and one that is only handed on. So if the task makes minimal pairs, swaps decide whether the
model uses a thought at all, and probes decide only which steps it encodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from reverse_codi.reading.probes import ReadOut, above_guessing, part_labels, read_out
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.tasks.claims import PartialClaim, claims_of, result_of
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

    A partial claim is a claim of its own: "= 17" is not "12 + 5 = 17".

    Two texts have the same content exactly if this value is equal and not None. The tokenizer decides how
    "(no step)" is spaced and capitalised.

    >>> claimed("12 + 5=17 ."), claimed("( no step )"), claimed("28 no)))"), claimed("")
    (('12 + 5 = 17',), (), None, None)
    >>> claimed("12 + 5 = 17. = 34."), claimed("so = 17"), claimed("12 + 5 = 17 = 34")
    (('12 + 5 = 17', '= 34'), None, ('12 + 5 = 17',))
    """
    claims = tuple(claims_of(text))
    return claims or (() if re.sub(r"[\s().]", "", text).lower() == "nostep" else None)


@dataclass(frozen=True)
class EncodedSteps:
    """Which steps each site encodes.

    Attributes:
        accuracy: (site, number of steps) -> for each step, how well the slot of its claim that is read worst
            can be read: 0 is no better than a guess, 1 is always right.
        threshold: accuracy from which a step counts as encoded if no swaps were made.
        moved: (site, number of steps) -> share of answers that change when the thought is swapped between
            minimal pairs, if the task makes them.
        parts: (site, number of steps) -> for each step, the same of each of its slots, the result last.
    """

    accuracy: Mapping[tuple[Site, int], Sequence[float]]
    threshold: float
    moved: Mapping[tuple[Site, int], float] = field(default_factory=dict)
    parts: Mapping[tuple[Site, int], Sequence[Sequence[float]]] = field(default_factory=dict)

    def steps(self, site: Site, n_steps: int) -> list[int]:
        """Indices of the steps that `site` encodes whole in problems of `n_steps` steps.

        The site `answer` encodes all steps by definition: its text is the whole chain.
        """
        if site == ANSWER:
            return list(range(n_steps))
        return self._read(site, n_steps, self.accuracy.get((site, n_steps), ()))

    def results(self, site: Site, n_steps: int) -> list[int]:
        """Indices of the steps of which `site` encodes the result alone: none where it encodes any whole."""
        if self.steps(site, n_steps):
            return []
        return self._read(site, n_steps, [slots[-1] for slots in self.parts.get((site, n_steps), ())])

    def _read(self, site: Site, n_steps: int, scores: Sequence[float]) -> list[int]:
        """Indices of the scores that are high enough."""
        floor, moved = self.threshold, self.moved.get((site, n_steps))
        if moved is not None:
            if moved < ACTIVE_SHARE:
                return []
            floor = max(min(LEAST, self.threshold), BESIDE * max(scores, default=0.0))
        return [step for step, score in enumerate(scores) if score >= floor]

    def holds(self, site: Site, n_steps: int) -> bool:
        """Whether `site` encodes anything of problems of `n_steps` steps."""
        return bool(self.steps(site, n_steps) or self.results(site, n_steps))

    def claims(self, site: Site, claims: Sequence[str]) -> list[str]:
        """What one thought encodes of its problem's claims: some whole, or the results of some."""
        whole = [claims[step] for step in self.steps(site, len(claims))]
        return whole or [
            PartialClaim(result_of(claims[step])).claim for step in self.results(site, len(claims))
        ]

    def text(self, site: Site, claims: Sequence[str]) -> str:
        """The gold text of one thought."""
        return claims_text(self.claims(site, claims))

    def to_json(self) -> str:
        """As JSON: {"threshold": .., "accuracy": {"h1/3": [..]}, "moved": {"h1/3": ..}, "parts": {..}}."""
        table = {f"{site}/{n}": [round(a, 4) for a in row] for (site, n), row in self.accuracy.items()}
        moved = {f"{site}/{n}": round(share, 4) for (site, n), share in self.moved.items()}
        stored = {"threshold": self.threshold, "accuracy": table, "moved": moved}
        stored["parts"] = {
            f"{site}/{n}": [[round(a, 4) for a in slots] for slots in row]
            for (site, n), row in self.parts.items()
        }
        return strict_json(stored, indent=1)

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
        parts = {_key(name): row for name, row in stored.get("parts", {}).items()}
        return EncodedSteps(accuracy, stored["threshold"], moved, parts)


def _key(name: str) -> tuple[Site, int]:
    site, _, n_steps = name.partition("/")
    return Site.parse(site), int(n_steps)


# A length's score is shrunk towards that of all lengths as if it had so many traces more.
SHRUNK_BY = 20
# A step that fewer traces have is not probed.
LEAST_TRACES = 20


def find_encoded_steps(
    vectors: Mapping[Site, Tensor],
    claims: Sequence[Sequence[str]],
    threshold: float = 0.6,
    moved: Mapping[tuple[Site, int], float] | None = None,
) -> EncodedSteps:
    """Probe every site for every slot of every step, and score the probes for each problem length.

    One probe serves all lengths: a thought encodes a step in the same way however many steps follow, and
    probes need many traces.

    Args:
        vectors: site -> [N, d] of training traces.
        claims: N lists of claims.
        threshold: see `EncodedSteps`.
        moved: see `EncodedSteps`.
    """
    lengths = sorted({len(c) for c in claims} - {0})
    parts: dict[tuple[Site, int], list[list[float]]] = {(site, n): [] for site in vectors for n in lengths}
    for step in range(max(lengths, default=0)):
        rows = [i for i, c in enumerate(claims) if len(c) > step]
        if len(rows) < LEAST_TRACES:  # nothing to fit a probe on
            for (_, n), found in parts.items():
                found += [[0.0]] * (n > step)
            continue
        columns = part_labels(claims[i][step] for i in rows)  # a column of labels for each slot
        of_length = {n: {j for j, i in enumerate(rows) if len(claims[i]) == n} for n in lengths if n > step}
        for site, all_vectors in vectors.items():
            read = read_out(all_vectors[rows], columns)
            pairs = zip(read, columns, strict=True)
            of_slots = [_scores(slot, labels, of_length) for slot, labels in pairs]
            for n in of_length:
                parts[site, n].append([scores[n] for scores in of_slots])
    accuracy = {key: [min(slots) for slots in row] for key, row in parts.items()}
    return EncodedSteps(accuracy, threshold, moved or {}, parts)


def _scores(
    read: ReadOut, labels: Sequence[str], of_length: Mapping[int, Collection[int]]
) -> dict[int, float]:
    """How well a slot is read in the traces of each length, of which there may be few."""
    rows = read.rows.tolist()
    of_all = above_guessing(read.right, [labels[row] for row in rows])
    found = {}
    for n, here in of_length.items():
        own = [place for place, row in enumerate(rows) if row in here]
        of_own = above_guessing(read.right[own], [labels[rows[place]] for place in own]) if own else 0.0
        found[n] = (len(own) * of_own + SHRUNK_BY * of_all) / (len(own) + SHRUNK_BY)
    return found
