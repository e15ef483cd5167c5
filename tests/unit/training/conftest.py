from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.reading.claims import ENCODED_FILE
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.traces.store import TraceStore
from reverse_codi.training.prepare import Prepared
from reverse_codi.verbalize.thoughts import thought_sites
from tests.tiny import make_encoded


@pytest.fixture
def prepared(
    tiny_reasoner: CodiReasoner, tiny_traces: TraceStore, tiny_metric: ThoughtMetric, tmp_path: Path
) -> Prepared:
    """Traces whose self-generated CoT are not the gold ones."""
    folder = tmp_path / "reading"
    tiny_metric.save(folder)
    (folder / ENCODED_FILE).write_text(make_encoded(3).to_json())
    own = [["1 + 1 = 2"] for _ in tiny_traces.claims]
    sites = thought_sites(3)
    return Prepared(
        tiny_reasoner, tiny_traces, None, own, tiny_traces, sites, make_encoded(3), tiny_metric, folder
    )
