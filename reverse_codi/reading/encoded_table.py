"""What probes found at each site, in lines for a user."""

from __future__ import annotations

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.sites import Site

# A step whose result is read worse than that at a site is not worth a word.
LEAST_SHOWN = 0.1


class NothingEncodedError(UserError):
    """No site encodes a step or a result, so there is nothing to translate."""


def encoded_lines(encoded: EncodedSteps) -> list[str]:
    """One line a site: what it encodes, and how well each step's parts are read where that is best.

    A part's score is 0 for no better than a guess and 1 for always right.
    """
    lines = []
    for site in sorted({site for site, _ in encoded.parts}):
        lengths = sorted(n for other, n in encoded.parts if other == site)
        lines.append(f"{site}: {_said(encoded, site, lengths)}; {_best(encoded, site, lengths)}")
    return lines


def check_encoded(encoded: EncodedSteps) -> None:
    """Refuse, before any map is fitted, a reasoner of whose thoughts nothing can be read.

    Raises:
        NothingEncodedError: says what was found at each site, and how to go on.
    """
    if any(encoded.holds(site, n) for site, n in encoded.accuracy):
        return
    found = "\n".join(f"  {line}" for line in encoded_lines(encoded)) or "  no trace has a step"
    raise NothingEncodedError(
        "no thought encodes a step or a result, so there is nothing to translate. What probes read:\n"
        f"{found}\n"
        f"Where scores are just below reading.encoded_threshold = {encoded.threshold:g}, lower it or raise "
        "trace.n. Where all are near 0, either thoughts do not hold the steps that probes look for (try "
        "reading.fit_on: gold, or lens), or the reasoner is not loaded as it was trained: "
        "reverse-codi check-reasoner says whether it answers, and what swaps of its thoughts change"
    )


def _said(encoded: EncodedSteps, site: Site, lengths: list[int]) -> str:
    """The steps that are said whole, and the results that are said alone, in problems of any length."""
    whole = sorted({step + 1 for n in lengths for step in encoded.steps(site, n)})
    alone = sorted({step + 1 for n in lengths for step in encoded.results(site, n)})
    said = [
        f"{kind} {', '.join(map(str, steps))}"
        for kind, steps in (("step", whole), ("result", alone))
        if steps
    ]
    return " and ".join(said) or "nothing"


def _best(encoded: EncodedSteps, site: Site, lengths: list[int]) -> str:
    """For each step the scores of its parts, of the length where its result is read best."""
    rows = [encoded.parts[site, n] for n in lengths]
    shown = []
    for step in range(max(map(len, rows), default=0)):
        slots = max((row[step] for row in rows if len(row) > step), key=lambda slots: slots[-1])
        if slots[-1] >= LEAST_SHOWN:
            shown.append(f"step {step + 1} worst part {min(slots):.2f} result {slots[-1]:.2f}")
    return ", ".join(shown) or f"no result is read above {LEAST_SHOWN:g}"
