"""Whether translations are varied, and how long they are.

Words are separated by whitespace. Shapes: N texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from reverse_codi.utils.bootstrap import Floats


def distinct_n(texts: Sequence[str], n: int) -> Floats:
    """Distinct n-grams and n-grams of each text, [N, 2]; sum / sum is distinct-n (arXiv 1510.03055).

    An n-gram that occurs c times in all texts counts as 1 / c wherever it occurs, so the column's sum is the
    number of distinct n-grams. Distinct-n falls as N grows: compare only equal N.

    >>> distinct_n(["a b", "a c"], 1).tolist()
    [[1.5, 2.0], [1.5, 2.0]]
    """
    rows = [_ngrams(text.split(), n) for text in texts]
    counts = Counter(ngram for row in rows for ngram in row)
    return np.array([[sum(1 / counts[ngram] for ngram in row), len(row)] for row in rows], dtype=np.float64)


def lengths(texts: Sequence[str]) -> Floats:
    """Number of words of each text, [N]."""
    return np.array([len(text.split()) for text in texts], dtype=np.float64)


def top_share(texts: Sequence[str]) -> Floats:
    """1 where a text is the most frequent one of all, else 0, [N]; the mean is its share."""
    (top, _), *_ = Counter(texts).most_common(1)
    return np.array([text == top for text in texts], dtype=np.float64)


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
