from __future__ import annotations

import os
import signal

# Before torch is imported, and for every process that a test starts: the models are so small that a second
# thread costs more than it computes, and on a busy machine many times more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell lets its background jobs ignore Ctrl-C, and so do the commands that these start and tests stop.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Iterator
from pathlib import Path

import pytest

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.log import hide_log
from tests.tiny import make_tiny_metric, make_tiny_policy, make_tiny_reasoner, make_tiny_traces, stir


@pytest.fixture(autouse=True)
def log_as_in_a_library() -> Iterator[None]:
    """No verb that a test ran shows the log of a later one."""
    yield
    hide_log()


@pytest.fixture(scope="session", autouse=True)
def no_file_beside_the_tests_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A file there is read by other tests: a verbalizer takes the recipe of the folder above its own."""
    yield
    base = tmp_path_factory.getbasetemp()
    loose = [path.name for path in base.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert not loose, f"tests wrote {loose} into {base}; a test writes into its own tmp_path"


@pytest.fixture(scope="session")
def tiny_reasoner() -> CodiReasoner:
    return make_tiny_reasoner()


@pytest.fixture(scope="session")
def tiny_metric(tiny_reasoner: CodiReasoner) -> ThoughtMetric:
    return make_tiny_metric(tiny_reasoner)


@pytest.fixture(scope="session")
def tiny_folders(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The tiny reasoner and its maps, saved: (reasoner folder, measure folder)."""
    root = tmp_path_factory.mktemp("tiny")
    tiny_reasoner.save_pretrained(root / "reasoner")
    tiny_metric.save(root / "measure")
    return root / "reasoner", root / "measure"


@pytest.fixture(scope="session")
def tiny_verbalizer(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a verbalizer that has learnt nothing, but is not its base."""
    folder = tmp_path_factory.mktemp("verbalizer")
    policy = make_tiny_policy(tiny_reasoner)
    stir(policy)
    policy.save(folder)
    tiny_metric.save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_traces(tiny_reasoner: CodiReasoner, tmp_path_factory: pytest.TempPathFactory) -> TraceStore:
    """How the tiny reasoner thinks about 200 training problems."""
    return make_tiny_traces(tiny_reasoner, tmp_path_factory.mktemp("traces") / "train", 200)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for the whole session: starting it takes seconds."""
    import ray

    # Else every worker that Ray starts would phone home first.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own spelling; as reverse_codi.training.runtime does: actors must not starve
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=256 * 2**20)
    yield
    ray.shutdown()
