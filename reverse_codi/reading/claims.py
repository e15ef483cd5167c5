"""Which claims a thought encodes, found by probes and stored with the verbalizer.

A site encodes a claim if probes read every slot of it there: operands, operation and result. Where no claim
is read whole, a result may still be: such a thought is translated as that ("= 17"). Where claims are read
whole, results of others are left out: the model hands them on from thought to thought. Where probes read
results of more steps than they read whole, texts decide (`reading.contents`).

A site may encode several steps at once (superposition), and which ones can depend on the length of the
problem. It may encode none, and then its true translation is "(no step)". How well probes read an encoded
step varies between models (.98 to .33 on three models of one kind), and this varies more than the gap between
an encoded step and one that is only handed on. So if the task makes minimal pairs, swaps decide whether the
model uses a thought at all, and probes decide only which steps it encodes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from reverse_codi.errors import blamed_on
from reverse_codi.reading.probes import ReadOut, above_guessing, part_labels, read_out
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.storage.files import DamagedError, strict_json
from reverse_codi.storage.json_files import parsed
from reverse_codi.storage.manifest import check_files
from reverse_codi.storage.text_files import read_text
from reverse_codi.tasks.claims import PartialClaim, claims_of, result_of
from reverse_codi.utils.console import progress

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


@lru_cache(maxsize=1 << 16)  # a verbalizer says the same of many thoughts
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


def stated(text: str) -> object:
    """What makes two texts the same: their claims, or their words where no claim can be read."""
    claims = claimed(text)
    return text.strip() if claims is None else claims


@dataclass(frozen=True)
class Content:
    """What the thoughts of a site hold of their problems' steps.

    Attributes:
        steps: indices of the steps, in order.
        whole: whether their claims are held whole, or their results alone.
    """

    steps: tuple[int, ...] = ()
    whole: bool = True

    def claims(self, claims: Sequence[str]) -> list[str]:
        """The claims that one thought holds of its problem's; steps that the problem lacks are left out."""
        there = [claims[step] for step in self.steps if step < len(claims)]
        return there if self.whole else [PartialClaim(result_of(claim)).claim for claim in there]

    def text(self, claims: Sequence[str]) -> str:
        """The gold text of one thought; "(no step)" where it holds nothing."""
        return claims_text(self.claims(claims))

    def __str__(self) -> str:
        """In tables: "step 1 and step 2", "result 2", "nothing"."""
        kind = "step" if self.whole else "result"
        return " and ".join(f"{kind} {step + 1}" for step in self.steps) or "nothing"


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
        chosen: (site, number of steps) -> what texts have shown to be held there, where probes left it open
            (`reading.contents`).
    """

    accuracy: Mapping[tuple[Site, int], Sequence[float]]
    threshold: float
    moved: Mapping[tuple[Site, int], float] = field(default_factory=dict)
    parts: Mapping[tuple[Site, int], Sequence[Sequence[float]]] = field(default_factory=dict)
    chosen: Mapping[tuple[Site, int], Content] = field(default_factory=dict)

    def content(self, site: Site, n_steps: int) -> Content:
        """What `site` encodes of problems of `n_steps` steps: some steps whole, or the results of some.

        The site `answer` encodes all steps by definition: its text is the whole chain.
        """
        if site == ANSWER:
            return Content(tuple(range(n_steps)))
        key = site, n_steps
        if key in self.chosen:
            return self.chosen[key]
        if whole := self._read(key, self.accuracy.get(key, ())):
            return Content(whole)
        results = self._read(key, [slots[-1] for slots in self.parts.get(key, ())])
        return Content(results, whole=not results)

    def steps(self, site: Site, n_steps: int) -> list[int]:
        """Indices of the steps that `site` encodes whole in problems of `n_steps` steps."""
        content = self.content(site, n_steps)
        return list(content.steps) if content.whole else []

    def results(self, site: Site, n_steps: int) -> list[int]:
        """Indices of the steps of which `site` encodes the result alone: none where it encodes any whole."""
        content = self.content(site, n_steps)
        return [] if content.whole else list(content.steps)

    def _read(self, key: tuple[Site, int], scores: Sequence[float]) -> tuple[int, ...]:
        """Indices of the scores that are high enough."""
        floor, moved = self.threshold, self.moved.get(key)
        if moved is not None:
            if moved < ACTIVE_SHARE:
                return ()
            floor = max(min(LEAST, self.threshold), BESIDE * max(scores, default=0.0))
        return tuple(step for step, score in enumerate(scores) if score >= floor)

    def holds(self, site: Site, n_steps: int) -> bool:
        """Whether `site` encodes anything of problems of `n_steps` steps."""
        return bool(self.content(site, n_steps).steps)

    def claims(self, site: Site, claims: Sequence[str]) -> list[str]:
        """What one thought encodes of its problem's claims: some whole, or the results of some."""
        return self.content(site, len(claims)).claims(claims)

    def text(self, site: Site, claims: Sequence[str]) -> str:
        """The gold text of one thought."""
        return claims_text(self.claims(site, claims))

    def to_json(self) -> str:
        """As JSON: {"threshold": .., "accuracy": {"h1/3": [..]}, "moved": {..}, "parts": {..}, ..}."""
        table = {f"{site}/{n}": [round(a, 4) for a in row] for (site, n), row in self.accuracy.items()}
        moved = {f"{site}/{n}": round(share, 4) for (site, n), share in self.moved.items()}
        stored = {"threshold": self.threshold, "accuracy": table, "moved": moved}
        stored["parts"] = {
            f"{site}/{n}": [[round(a, 4) for a in slots] for slots in row]
            for (site, n), row in self.parts.items()
        }
        stored["chosen"] = {f"{site}/{n}": asdict(content) for (site, n), content in self.chosen.items()}
        return strict_json(stored, indent=1)

    @staticmethod
    def load(folder: str | Path) -> EncodedSteps:
        """Read `encoded_steps.json` of a verbalizer's or a run's folder.

        Raises:
            FileNotFoundError: there is none; the message names the fix.
            DamagedError: it is cut, or not what was written.
        """
        file, former = Path(folder) / ENCODED_FILE, Path(folder) / "held_steps.json"
        if not file.is_file():
            fix = f"rename {former}, its name before" if former.is_file() else "train the verbalizer first"
            raise FileNotFoundError(f"{file} is missing; {fix}")
        fix = "restore it from a copy, or move its folder away to make it anew"
        check_files(folder, (ENCODED_FILE,), fix)
        with blamed_on(file, DamagedError, fix, what="is cut or damaged"):
            return EncodedSteps.from_json(read_text(file))

    @staticmethod
    def from_json(text: str) -> EncodedSteps:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        stored = _Stored.model_validate(parsed(text))
        accuracy = {_key(name): row for name, row in stored.accuracy.items()}
        moved = {_key(name): share for name, share in stored.moved.items()}
        parts = {_key(name): row for name, row in stored.parts.items()}
        chosen = {_key(name): content for name, content in stored.chosen.items()}
        return EncodedSteps(accuracy, stored.threshold, moved, parts, chosen)


class _Stored(BaseModel):
    """The content of the file, by its own names."""

    model_config = ConfigDict(allow_inf_nan=False)

    threshold: float
    accuracy: dict[str, list[float]]
    moved: dict[str, float] = {}
    parts: dict[str, list[list[float]]] = {}
    chosen: dict[str, Content] = {}


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
    n_steps = max(lengths, default=0)
    with progress("probes", n_steps * len(vectors)) as advance:
        for step in range(n_steps):
            rows = [i for i, c in enumerate(claims) if len(c) > step]
            if len(rows) < LEAST_TRACES:  # nothing to fit a probe on
                for (_, n), found in parts.items():
                    found += [[0.0]] * (n > step)
                advance(len(vectors))
                continue
            columns = part_labels(claims[i][step] for i in rows)  # a column of labels for each slot
            of_length = {
                n: {j for j, i in enumerate(rows) if len(claims[i]) == n} for n in lengths if n > step
            }
            for site, all_vectors in vectors.items():
                read = read_out(all_vectors[rows], columns)
                pairs = zip(read, columns, strict=True)
                of_slots = [_scores(slot, labels, of_length) for slot, labels in pairs]
                for n in of_length:
                    parts[site, n].append([scores[n] for scores in of_slots])
                advance(1)
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
