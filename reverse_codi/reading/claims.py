"""Which claims a thought holds, found by probes and stored with the verbalizer.

A site holds a claim when probes read every part of it there: operands, operation and result. A result alone
is not enough: it is handed on from thought to thought, and to the thoughts after the last step, which hold
nothing else.

A site may hold several steps at once (superposition), and which ones can depend on the length of the
problem; it may hold none, and then its true translation is "(no step)".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from reverse_codi.reading.probes import PARTS, probe_steps
from reverse_codi.sites import ANSWER, Site

NO_STEP = "(no step)"


def claims_text(claims: Iterable[str]) -> str:
    """Claims as one text: "12 + 5 = 17. 17 * 2 = 34."; none of them is "(no step)"."""
    return " ".join(f"{claim}." for claim in claims) or NO_STEP


@dataclass(frozen=True)
class HeldSteps:
    """Which steps each site holds.

    Attributes:
        accuracy: (site, number of steps) -> for each step, held-out probe accuracy of the part of its claim
            that is read worst.
        threshold: accuracy from which a step counts as held.
    """

    accuracy: Mapping[tuple[Site, int], Sequence[float]]
    threshold: float

    def steps(self, site: Site, n_steps: int) -> list[int]:
        """Indices of the steps that `site` holds in problems of `n_steps` steps; the answer holds them all.

        The answer's by definition: its text is the whole chain, CODI's own written reasoning.
        """
        if site == ANSWER:
            return list(range(n_steps))
        known = self.accuracy.get((site, n_steps), ())
        return [step for step, accuracy in enumerate(known) if accuracy >= self.threshold]

    def text(self, site: Site, claims: Sequence[str]) -> str:
        """The gold text of one thought."""
        return claims_text(claims[step] for step in self.steps(site, len(claims)))

    def to_json(self) -> str:
        """As JSON: {"threshold": .., "accuracy": {"h1/3": [..]}}."""
        table = {f"{site}/{n}": [round(a, 4) for a in row] for (site, n), row in self.accuracy.items()}
        return json.dumps({"threshold": self.threshold, "accuracy": table}, indent=1)

    @staticmethod
    def from_json(text: str) -> HeldSteps:
        """Read what `to_json` wrote."""
        stored = json.loads(text)
        accuracy = {}
        for key, row in stored["accuracy"].items():
            site, _, n_steps = key.partition("/")
            accuracy[Site.parse(site), int(n_steps)] = row
        return HeldSteps(accuracy, stored["threshold"])


def find_held_steps(
    vectors: Mapping[Site, Tensor],
    claims: Sequence[Sequence[str]],
    threshold: float = 0.7,
    test_share: float = 0.2,
) -> HeldSteps:
    """Probe every site for every step, apart for each problem length.

    Args:
        vectors: site -> [N, d] of training traces.
        claims: N lists of claims.
        threshold: see `HeldSteps`.
        test_share: last part of the traces, on which the probes are scored.
    """
    accuracy: dict[tuple[Site, int], Sequence[float]] = {}
    for n_steps in sorted({len(c) for c in claims} - {0}):
        rows = [i for i, c in enumerate(claims) if len(c) == n_steps]
        cut = int(len(rows) * (1 - test_share))
        fit, test = rows[:cut], rows[cut:]
        halves = (
            {site: v[fit] for site, v in vectors.items()},
            [claims[i] for i in fit],
            {site: v[test] for site, v in vectors.items()},
            [claims[i] for i in test],
        )
        tables = [probe_steps(*halves, part) for part in PARTS]
        accuracy |= {
            (site, n_steps): [min(parts) for parts in zip(*(table[site] for table in tables), strict=True)]
            for site in vectors
        }
    return HeldSteps(accuracy, threshold)
