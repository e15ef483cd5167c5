"""One reading of each text for all rewards of a step.

Shapes: N texts, F features, P points of the ReadSpec, L layers that are read, d width.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from torch import Tensor

from reverse_codi.reading.reader import CachedReader, Reader
from reverse_codi.recipe.reading import Point


class SharedReader(CachedReader):
    """A cached reader that keeps more layers than its ReadSpec names and serves several threads.

    Args:
        reader: its ReadSpec decides what `features` returns.
        layers: further layers to keep, each written as in a ReadSpec.
    """

    def __init__(self, reader: Reader, layers: Iterable[str] = ()) -> None:
        super().__init__(reader)
        self._further = [reader.spec.model_copy(update={"layers": given}) for given in layers]
        self._kept: list[int] = []
        self._own: list[int] = []
        # Two threads that miss the same text would both read it.
        self._lock = threading.Lock()

    def features(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        """See `Reader.features`; only the ReadSpec's layers."""
        read = self._all(texts, questions)
        if self._own == self._kept:
            return read
        return self._apart(read)[:, :, [self._kept.index(layer) for layer in self._own]].flatten(1)

    def layers(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> dict[int, Tensor]:
        """The states [N, P, d] of texts at each layer that is kept (0: embeddings)."""
        read = self._apart(self._all(texts, questions))
        return {layer: read[:, :, place] for place, layer in enumerate(self._kept)}

    def _all(self, texts: Sequence[str], questions: Sequence[str] | None) -> Tensor:
        with self._lock:
            return super().features(texts, questions)

    def _apart(self, read: Tensor) -> Tensor:
        """Reshape states [N, P * L * d] to [N, P, L, d]."""
        points = 4 if self.spec.point is Point.NUMBERS else 1
        return read.view(len(read), points, len(self._kept), -1)

    def _chosen(self, n_layers: int) -> list[int]:
        self._own = self.spec.layer_indices(n_layers)
        further = {layer for spec in self._further for layer in spec.layer_indices(n_layers)}
        self._kept = sorted({*self._own, *further})
        return self._kept
