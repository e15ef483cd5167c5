from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Point, Prefix, ReadSpec
from reverse_codi.recipe.reward import Over, RewardItem, RewardSection
from reverse_codi.rewards import scoring
from reverse_codi.rewards.batch import RewardBatch, RewardError
from reverse_codi.rewards.candidates import Candidates, balanced
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.pool import RewardPool, ScoringError
from reverse_codi.rewards.registry import find_functions
from reverse_codi.rewards.scoring import LocalScorer, PartialScores, Scores, merged
from reward.contrastive import near_misses
from tests.fakes import WatchedReasoner
from tests.tiny import make_problems, make_tiny_metric

pytestmark = pytest.mark.long

# `marked` gives each row a value of its own, so that a row out of order shows. `scripted` does, where
# its share holds VICTIM, what the next line of a file says.
CUSTOM = """
import os
import sys
import time
from pathlib import Path

import custom_helper
import torch

from reverse_codi.utils.config import Section
from reverse_codi import reward


class Script(Section):
    file: str


@reward(worst=-9.0)
def marked(batch):
    batch.log("threads", torch.get_num_threads())
    return [custom_helper.length(t) + v.item() for t, v in zip(batch.texts, batch.targets[:, 0])]


@reward(worst=-9.0)
def scripted(batch, config: Script):
    if "20 / 4 = 5" in batch.texts:
        path = Path(config.file)
        order, _, rest = path.read_text().partition("\\n")
        path.write_text(rest)
        if order == "die":
            os._exit(1)
        if order == "sleep":
            time.sleep(60)
        if order == "exit":
            sys.exit(3)
    return [float("nan") if "7" in t.split() else 0.0 for t in batch.texts]
"""

HELPER = """
def length(text):
    return len(text)
"""

TEXTS = [
    "12 + 5 = 17 .", "8 - 3 = 5", "", "9 * 2 = 18 .", "12 + 5 = 17 .", " 8 - 3 = 5 ", "20 / 4 = 5", "   ",
    "6 + 6 = 12", "9 * 2 = 18 .", "3 + 4 = 9", "12 + 5 = 17 .",
]  # fmt: skip
FAILED = {2, 7, 10}  # empty, blank, truncated
SITES = [Site("h", 1 + i % 2) for i in range(len(TEXTS))]


@pytest.fixture(scope="module")
def rows(tiny_reasoner: CodiReasoner) -> Candidates:
    problems = make_problems(len(TEXTS), seed=5)
    chains = tiny_reasoner.think([p.question for p in problems])
    targets = torch.stack([chains.at(site)[i] for i, site in enumerate(SITES)])
    others = [[j for j in range(len(TEXTS)) if j != i][:4] for i in range(len(TEXTS))]
    return Candidates(
        texts=list(TEXTS),
        token_ids=[tiny_reasoner.ids(text) for text in TEXTS],
        questions=[p.question for p in problems],
        sites=SITES,
        targets=targets,
        distractors=torch.stack([chains.at(site)[others[i]] for i, site in enumerate(SITES)]),
        finished=[i != 10 for i in range(len(TEXTS))],
    )


def shouted(completions: list[str], **kwargs: object) -> list[float]:
    return [float(len(mark(text))) for text in completions]


def mark(text: str) -> str:
    return f"{text}!"


def section(*items: RewardItem) -> RewardSection:
    return RewardSection(functions=list(items), actors=2, cpus_per_actor=0.5, timeout_s=120)


def assert_alike(one: Scores, other: Scores) -> None:
    assert one.raw.keys() == other.raw.keys()
    pairs = [(one.raw[name], other.raw[name]) for name in one.raw]
    for left, right in [*pairs, (one.total, other.total), (one.match, other.match)]:
        for a, b in zip(left, right, strict=True):
            assert a == pytest.approx(b, abs=1e-4) if a is not None else b is None


# ---- in this process


def test_local_scores_hold_the_weighted_sum_and_worst(tiny_metric: ThoughtMetric, rows: Candidates) -> None:
    items = [
        RewardItem(name="hidden_match", weight=2.0),
        RewardItem(name="brevity", weight=0.5, options={"budget": 5, "span": 10}),
    ]
    scores = LocalScorer.from_section(section(*items), tiny_metric).score(rows)
    match, brevity = scores.raw["hidden_match"], scores.raw["brevity"]
    assert all((match[i], brevity[i], scores.match[i]) == (-2.0, -1.0, None) for i in FAILED)
    predicted = tiny_metric.predict(TEXTS, SITES)
    expected = tiny_metric.match(rows.targets, predicted, SITES).tolist()
    for i in set(range(len(TEXTS))) - FAILED:
        assert scores.match[i] == pytest.approx(expected[i], abs=1e-4)
        assert match[i] == pytest.approx(max(-2.0, expected[i]), abs=1e-4)
        assert scores.total[i] == pytest.approx(2.0 * match[i] + 0.5 * brevity[i], abs=1e-6)
    assert scores.total[2] == -4.5
    assert scores.read_s > 0 and scores.reward_s > 0


def counted(metric: ThoughtMetric, reasoner: CodiReasoner) -> tuple[ThoughtMetric, WatchedReasoner]:
    counting = WatchedReasoner(reasoner)
    return ThoughtMetric(Reader(counting, metric.reader.spec), metric.maps), counting


def test_each_text_is_read_once_by_all_functions_together(
    tiny_reasoner: CodiReasoner,
    tiny_metric: ThoughtMetric,
    rows: Candidates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metric, counting = counted(tiny_metric, tiny_reasoner)
    items = [RewardItem(name="contrastive", options={"near_misses": 2}), RewardItem(name="hidden_match")]
    scorer = LocalScorer.from_section(section(*items), metric)
    scores = scorer.score(rows)
    wanted = {text.strip() for i, text in enumerate(TEXTS) if i not in FAILED}
    wanted |= {miss for text in wanted for miss in near_misses(text, 2)}
    assert sorted(counting.texts) == sorted(wanted)
    assert scores.n_read == len(wanted)
    assert {"reward/contrastive/thought_top1", "reward/contrastive/text_top1"} <= set(scores.scalars)
    again = scorer.score(rows)  # what a former step has read is not read again, and says the same
    assert (len(counting.texts), again.n_read) == (len(wanted), 0)
    assert_alike(scores, again)
    monkeypatch.setattr(scoring, "KEPT_BYTES", 0)  # nothing is kept from step to step
    anew = scorer.score(rows)
    assert (len(counting.texts), anew.n_read) == (2 * len(wanted), len(wanted))
    assert_alike(scores, anew)


def test_a_text_is_read_once_a_question_where_questions_count(
    tiny_reasoner: CodiReasoner, rows: Candidates
) -> None:
    spec = ReadSpec(prefix=Prefix.QUESTION)
    metric, counting = counted(make_tiny_metric(tiny_reasoner, spec), tiny_reasoner)
    scorer = LocalScorer.from_section(section(RewardItem(name="hidden_match")), metric)
    pairs = {(TEXTS[i].strip(), rows.questions[i]) for i in range(len(TEXTS)) if i not in FAILED}
    assert scorer.score(rows).n_read == len(pairs) == len(counting.texts)


def test_a_reward_gets_the_layers_that_it_asks_for_from_the_one_reading(
    tiny_reasoner: CodiReasoner, rows: Candidates
) -> None:
    spec = ReadSpec(point=Point.LAST, layers="final")
    metric, counting = counted(make_tiny_metric(tiny_reasoner, spec), tiny_reasoner)
    shown: list[RewardBatch] = []

    def asking(batch: RewardBatch) -> list[float]:
        shown.append(batch)
        return [0.0] * len(batch)

    LocalScorer(metric, [RewardSpec("asking", asking, -1.0, layers="0")], [1.0]).score(rows)
    [batch] = shown
    assert {layer: states.shape for layer, states in batch.layers.items()} == {
        layer: (len(batch), 1, tiny_reasoner.width) for layer in (0, 2)
    }
    assert torch.equal(batch.layers[2][:, 0], batch.states)
    embedded = Reader(tiny_reasoner, ReadSpec(point=Point.LAST, layers="0")).features(batch.texts)
    torch.testing.assert_close(batch.layers[0].flatten(1), embedded)
    assert len(counting.texts) == len({text.strip() for text in batch.texts})


def test_layers_that_the_model_lacks_are_refused(tiny_metric: ThoughtMetric, rows: Candidates) -> None:
    far = RewardSpec("far", lambda batch: [0.0] * len(batch), -1.0, layers="9")
    with pytest.raises(UserError, match="layers '9': this model has 0 to 2"):
        LocalScorer(tiny_metric, [far], [1.0]).score(rows)


def test_a_logged_nan_is_named(tiny_metric: ThoughtMetric, rows: Candidates) -> None:
    def logs(batch: RewardBatch) -> list[float]:
        batch.log("share", float("nan"))
        return [0.0] * len(batch)

    with pytest.raises(RewardError, match=r"'logs': raised ValueError.*batch\.log\('share', nan\)"):
        LocalScorer(tiny_metric, [RewardSpec("logs", logs, -1.0)], [1.0]).score(rows)


def test_all_rows_failed(tiny_metric: ThoughtMetric, rows: Candidates) -> None:
    scorer = LocalScorer.from_section(section(RewardItem(name="contrastive")), tiny_metric)
    scores = scorer.score(rows.take([2, 7, 10]))
    assert (scores.total, scores.match, scores.n_read) == ([-1.0] * 3, [None] * 3, 0)


def test_balanced_keeps_equal_texts_together_and_evens_lengths(rows: Candidates) -> None:
    shares = balanced(rows, 3, ReadSpec())
    assert sorted(row for share in shares for row in share) == list(range(len(TEXTS)))
    texts = [{TEXTS[row].strip() for row in share} for share in shares]
    assert sum(map(len, texts)) == len(set().union(*texts))
    loads = [sum(map(len, share)) for share in texts]
    assert max(loads) - min(loads) <= max(map(len, TEXTS))
    # "12 + 5 = 17" and "12 + 5 = 18" read the same before their results
    cut = rows.take([0, 1])
    cut = Candidates(**{**vars(cut), "texts": ["12 + 5 = 17", "12 + 5 = 18"]})
    assert balanced(cut, 2, ReadSpec(point=Point.BEFORE_RESULT)) == [[0, 1]]
    assert balanced(cut, 2, ReadSpec()) == [[0], [1]]


def test_merged_weighs_scalars_by_rows() -> None:
    one = PartialScores(
        raw={"a": [1.0]}, match=[None], scalars={"x": 1.0}, read_s=0.5, reward_s=0.1, n_read=1
    )
    two = PartialScores(
        raw={"a": [2.0, None, 3.0]},
        match=[0.2, 0.3, 0.4],
        scalars={"x": 2.0, "y": 5.0},
        read_s=0.2,
        reward_s=0.3,
        n_read=4,
    )
    both = merged([[2], [3, 0, 1]], [one, two])
    assert both.raw == {"a": [None, 3.0, 1.0, 2.0]}
    assert both.match == [0.3, 0.4, None, 0.2]
    assert both.scalars == {"x": 1.75, "y": 5.0}
    assert (both.read_s, both.reward_s, both.n_read) == (0.5, 0.3, 5)


def test_wrong_name_fails_before_any_actor_starts() -> None:
    with pytest.raises(RecipeError, match="did you mean 'brevity'"):
        RewardPool(section(RewardItem(name="brevitty")), "nowhere", "nowhere")


# ---- on Ray actors: one pool for all tests, as every start of an actor costs seconds


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rewards")
    (folder / "custom.py").write_text(CUSTOM)
    (folder / "custom_helper.py").write_text(HELPER)
    return folder / "script"


@pytest.fixture(scope="module")
def given(script: Path) -> RewardSection:
    return section(
        RewardItem(name="./custom.py:marked"),
        RewardItem(name="./custom.py:scripted", options={"file": str(script)}, timeout_s=4),
        RewardItem(name="hidden_match", weight=0.5, normalize=Over.STEP),
    )


@pytest.fixture(scope="module")
def shared(
    ray_session: None, tiny_folders: tuple[Path, Path], given: RewardSection, script: Path
) -> Iterator[RewardPool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reverse_codi.rewards.pool.TASK_RETRIES", 1)
        with pytest.MonkeyPatch.context() as folder:
            folder.chdir(script.parent)  # the actors run where Ray was started
            pool = RewardPool(given, *map(str, tiny_folders))
        yield pool
        pool.close()


@pytest.fixture
def pool(shared: RewardPool, script: Path) -> RewardPool:
    script.write_text("")
    return shared


def test_pool_agrees_with_local_and_reads_each_text_once(
    pool: RewardPool,
    given: RewardSection,
    script: Path,
    tiny_folders: tuple[Path, Path],
    tiny_reasoner: CodiReasoner,
    rows: Candidates,
) -> None:
    scores = pool.score(rows)
    metric = ThoughtMetric.load(tiny_folders[1], tiny_reasoner)
    local = LocalScorer.from_section(given, metric, str(script.parent))
    assert_alike(scores, local.score(rows))
    for i, text in enumerate(TEXTS):
        expected = -9.0 if i in FAILED else len(text) + rows.targets[i, 0].item()
        assert scores.raw["marked"][i] == pytest.approx(expected, abs=1e-6)
    assert scores.n_read == len({text.strip() for i, text in enumerate(TEXTS) if i not in FAILED})
    assert scores.scalars["reward/marked/threads"] == 1.0
    assert "correlation/marked/hidden_match" in scores.scalars


def test_functions_of_this_file_are_scored_by_actors(
    ray_session: None, tiny_folders: tuple[Path, Path], rows: Candidates, caplog: pytest.LogCaptureFixture
) -> None:
    """Actors cannot import this module; one function is ours and one is TRL's, neither declares a worst."""

    def lengths(batch: RewardBatch) -> list[float]:
        return [float(len(text)) for text in batch.texts]

    asked = section(RewardItem(name=lengths), RewardItem(name=shouted, weight=0.5))
    pool = RewardPool(asked, *map(str, tiny_folders))
    try:
        scores = pool.score(rows)
    finally:
        pool.close()
    wanted = [float(len(text)) for text in TEXTS]
    least = min(value for row, value in enumerate(wanted) if row not in FAILED)
    wanted = [least if row in FAILED else value for row, value in enumerate(wanted)]
    assert scores.raw == {"lengths": wanted, "shouted": [value + 1 for value in wanted]}
    assert scores.total == [value + 0.5 * (value + 1) for value in wanted]
    assert caplog.text.count("declares no worst value") == 2


def test_nan_is_raised_with_name_row_and_text(pool: RewardPool, rows: Candidates) -> None:
    texts = [*TEXTS[:8], "7 + 6 = 13", *TEXTS[9:]]
    message = r"'scripted': returned nan.*row 8, text '7 \+ 6 = 13'"
    with pytest.raises(RewardError, match=message) as caught:
        pool.score(Candidates(**{**vars(rows), "texts": texts}))
    assert caught.value.row == 8


def test_a_reward_that_hangs_ends_the_step_with_its_name_and_the_next_step_works(
    pool: RewardPool, script: Path, rows: Candidates
) -> None:
    script.write_text("sleep\n")
    with pytest.raises(RewardError, match=r"'scripted': not done after 4 s on \d texts.*first text: '"):
        pool.score(rows)
    assert pool.score(rows).raw["scripted"][0] == 0.0


def test_a_reward_that_ends_the_process_ends_the_step_with_its_line_and_no_actor(
    pool: RewardPool, script: Path, rows: Candidates
) -> None:
    script.write_text("exit\n")
    with pytest.raises(
        RewardError, match=r"'scripted': raised SystemExit at \S+custom\.py:\d+ on \d texts: 3;"
    ):
        pool.score(rows)
    assert pool.score(rows).raw["scripted"][0] == 0.0


def test_a_file_is_found_in_the_working_directory_that_a_job_ships(ray_session: None, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "shipped.py").write_text(CUSTOM)
    (job / "custom_helper.py").write_text(HELPER)
    asked = section(RewardItem(name="./shipped.py:marked"))
    found = ray.remote(lambda: [function.name for function in find_functions(asked, "/not/here")])
    archive = shutil.make_archive(str(job), "zip", tmp_path, "job")
    shipped = found.options(num_cpus=0.1, runtime_env={"working_dir": f"file://{archive}"})
    assert ray.get(shipped.remote(), timeout=60) == ["marked"]


def test_an_actor_that_dies_comes_back_and_its_share_is_scored_again(
    pool: RewardPool, script: Path, rows: Candidates
) -> None:
    script.write_text("die\n")
    assert pool.score(rows).raw["scripted"][0] == 0.0
    assert script.read_text() == ""


def test_an_actor_that_keeps_dying_is_an_error(pool: RewardPool, script: Path, rows: Candidates) -> None:
    script.write_text("die\n" * 4)
    with pytest.raises(ScoringError, match=r"reward actor \d died, in 1 retries too"):
        pool.score(rows)
    assert script.read_text() == "die\n" * 2


def test_an_actor_that_cannot_start_says_why(ray_session: None, tiny_folders: tuple[Path, Path]) -> None:
    given = RewardSection(cpus_per_actor=0.5)
    with pytest.raises(ScoringError, match=r"maps\.safetensors is missing"):
        RewardPool(given, str(tiny_folders[0]), "nowhere")


def test_timeout_names_actor_reward_and_seconds_and_the_next_step_works(
    pool: RewardPool, script: Path, rows: Candidates
) -> None:
    pool.score(rows)  # whatever died before is back
    usual = pool.section
    pool.section = usual.model_copy(update={"timeout_s": 2.0})
    script.write_text("sleep\n")
    started = time.monotonic()
    message = r"not done after 2 s: reward actor \d \(running reward 'scripted'\)"
    with pytest.raises(ScoringError, match=message):
        pool.score(rows)
    assert time.monotonic() - started < 10
    pool.section = usual
    assert pool.score(rows).raw["scripted"][0] == 0.0


def test_an_actor_that_is_stopped_is_replaced_and_its_share_scored_again(
    pool: RewardPool, rows: Candidates
) -> None:
    wanted = pool.score(rows)
    usual, before = pool.section, pool.restarts
    pid = ray.get(pool.actors[1].__ray_call__.remote(lambda actor: os.getpid()))
    os.kill(pid, signal.SIGSTOP)
    pool.section = usual.model_copy(update={"timeout_s": 3.0})
    found = pool.score(rows)
    pool.section = usual
    assert_alike(found, wanted)
    assert pool.restarts == before + 1
