from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wandb

from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.run import LogSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.storage.stages import StageError
from reverse_codi.tasks.base import Split
from reverse_codi.training import warm_start as module
from reverse_codi.training.prepare import Prepared
from reverse_codi.training.warm_start import taught_thoughts, warm_start, warm_texts
from reverse_codi.verbalize.self_generated_cot import SelfGeneratedCot, candidates
from reverse_codi.verbalize.targets import nearest_texts
from reverse_codi.verbalize.warm_start import SftPairs
from tests.trackers import wandb_files


def test_gold_texts_are_gold_whatever_the_maps_are_fitted_on(prepared: Prepared) -> None:
    thoughts = prepared.thoughts(Split.TRAIN, active_only=False)
    texts = warm_texts(Recipe(warm_start=WarmStartSection(kind="gold")), prepared, thoughts)
    for text, problem, site in zip(texts, thoughts.problems, thoughts.sites, strict=True):
        claims = prepared.train.claims[problem]
        assert text == prepared.encoded.text(site, claims)


def test_shuffled_claims_say_what_claims_look_like_and_nothing_of_the_thoughts(prepared: Prepared) -> None:
    recipe = Recipe(warm_start=WarmStartSection(kind="shuffled", problems=100))
    thoughts = taught_thoughts(recipe, prepared)
    texts = warm_texts(recipe, prepared, thoughts)
    own = [
        prepared.encoded.text(site, prepared.train.claims[problem])
        for site, problem in zip(thoughts.sites, thoughts.problems, strict=True)
    ]
    assert sorted(texts) == sorted(own) and "(no step)" not in texts
    same = sum(text == mine for text, mine in zip(texts, own, strict=True))
    assert same / len(own) < 0.05
    other = warm_texts(
        Recipe(warm_start=recipe.warm_start.model_copy(update={"seed": 1})), prepared, thoughts
    )
    assert other != texts


def test_only_the_labelled_problems_are_taught(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[SftPairs] = []
    monkeypatch.setattr(module, "fine_tune", lambda policy, pairs, *rest, **how: taught.append(pairs))
    for problems in (7, 0):
        section = WarmStartSection(kind="gold", problems=problems)
        recipe = Recipe(warm_start=section, log=LogSection(report_to=[]))
        warm_start(recipe, prepared, tmp_path / str(problems))
    assert [len(pairs.texts) for pairs in taught] == [7 * 3, len(prepared.train) * 3]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"warm_start": {"steps": 7}}, r"warm_start\.steps = 2000, now 7"),
        ({"verbalizer": {"rank": 4}}, r"verbalizer\.rank = 32, now 4"),
        ({"warm_start": {"word_dropout": 0.5}}, r"warm_start\.word_dropout = 0\.0, now 0\.5"),
    ],
)
def test_a_warm_start_with_other_settings_is_refused(
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, dict[str, Any]],
    told: str,
) -> None:
    taught: list[SftPairs] = []
    monkeypatch.setattr(module, "fine_tune", lambda policy, pairs, *rest, **how: taught.append(pairs))

    def warm(values: dict[str, dict[str, Any]]) -> None:
        gold = {"kind": "gold", "problems": 7, **values.get("warm_start", {})}
        recipe = Recipe.model_validate({**values, "warm_start": gold, "log": {"report_to": []}})
        warm_start(recipe, prepared, tmp_path)

    warm({})
    how = {"eval_steps": 3, "micro_batch": 4, "gradient_checkpointing": True}
    warm({"warm_start": how, "grpo": {"steps": 7}})  # nothing of it changes the warm start
    assert len(taught) == 1
    with pytest.raises(StageError, match=told):
        warm(changed)
    with pytest.raises(StageError, match=r"reading\.maps\.safetensors = "):
        (prepared.folder / "maps.safetensors").write_bytes(b"other maps")
        warm({})
    assert len(taught) == 1


def test_losses_and_curve_of_the_warm_start_reach_wandb_as_a_run_of_their_own(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_PROJECT", "WANDB__SERVICE_WAIT"):  # else what is set would stay
        monkeypatch.setenv(name, {"WANDB_PROJECT": "mine"}.get(name, "300"))
    wandb.teardown()
    steps = WarmStartSection(kind="gold", problems=7, steps=50, batch_size=4, eval_steps=25)
    recipe = Recipe(warm_start=steps, grpo=GrpoSection(eval_thoughts=8, max_new_tokens=4))
    warm_start(recipe, prepared, tmp_path / "run")
    assert wandb.run is None  # RL begins another
    wandb.teardown()
    [run] = wandb_files(tmp_path / "wandb")
    assert (run.job, run.project) == ("warm start", "mine")
    assert [step for step, _ in run.points("train/loss")] == [50]
    curve = (tmp_path / "run/warm_curve.csv").read_text().splitlines()[1:]
    match = [float(line.split(",")[2]) for line in curve]
    assert [step for step, _ in run.points("heldout/match")] == [25, 50]
    assert [value for _, value in run.points("heldout/match")] == pytest.approx(match, abs=1e-4)
    assert all(0 <= value <= 1 for _, value in run.points("heldout/claim"))
    assert run.config["warm_start"]["steps"] == 50 and run.config["trainer"]["max_steps"] == 50
    assert (tmp_path / "run/warm_curve.csv").read_text().count("\n") == 3


NEAREST = WarmStartSection(kind="nearest", samples=0, disagreeing=4)
WRITTEN = NEAREST.model_copy(update={"kind": "written"})


@pytest.fixture
def parted(prepared: Prepared) -> Prepared:
    """Of 200 traces, rows 2 and 5 gave another answer than the model's self-generated CoT."""
    written = [["1 + 1 = 2", "2 * 3 = 6"] for _ in prepared.claims]
    claims = [list(own) for own in written]
    for row in (2, 5):
        claims[row][-1] = "2 * 3 = 7"
    return replace(prepared, own=SelfGeneratedCot(written, claims), claims=claims)


def test_disagreeing_traces_are_taught_again_where_no_labels_are_used(parted: Prepared) -> None:
    taught = taught_thoughts(Recipe(warm_start=NEAREST), parted)
    n_sites = len(parted.sites)
    assert len(taught) == n_sites * (200 + 3 * 2)
    assert [taught.problems.count(row) for row in (1, 2, 5, 199)] == [3, 12, 12, 3]
    assert [(s, p) for s, p in zip(taught.sites, taught.problems, strict=True)][: 3 * 200] == [
        (site, row) for row in range(200) for site in parted.sites
    ]


def test_with_gold_labels_every_trace_is_taught_once(parted: Prepared) -> None:
    section = NEAREST.model_copy(update={"kind": "gold"})
    assert len(taught_thoughts(Recipe(warm_start=section), parted)) == 200 * len(parted.sites)


def test_only_taught_problems_are_taught_again(parted: Prepared) -> None:
    section = NEAREST.model_copy(update={"problems": 4})
    taught = taught_thoughts(Recipe(warm_start=section), parted)
    assert set(taught.problems) == {0, 1, 2, 3}
    assert len(taught) == len(parted.sites) * (4 + 3)


def test_each_taught_thought_has_a_text_of_its_own_trace(parted: Prepared) -> None:
    assert parted.own is not None
    for row in range(4):
        parted.own.written[row] = [f"{row + 2} + 1 = {row + 3}"]
    recipe = Recipe(warm_start=NEAREST.model_copy(update={"problems": 4}))
    taught = taught_thoughts(recipe, parted)
    texts = warm_texts(recipe, parted, taught)
    for text, row in zip(texts, taught.problems, strict=True):
        assert text == "(no step)" or text.startswith(f"{row + 2} + 1 = ")


def test_written_steps_are_taught_with_the_answer_that_the_trace_gave(parted: Prepared) -> None:
    recipe = Recipe(warm_start=WRITTEN.model_copy(update={"problems": 4}))
    taught = taught_thoughts(recipe, parted)
    texts = warm_texts(recipe, parted, taught)
    claims = {
        (row, site.index): text for row, site, text in zip(taught.problems, taught.sites, texts, strict=True)
    }
    assert claims == {
        (row, k): ("1 + 1 = 2.", "2 * 3 = 7." if row == 2 else "2 * 3 = 6.", "(no step)")[k]
        for row in range(4)
        for k in range(3)
    }
    assert [taught.problems.count(row) for row in range(4)] == [3, 3, 12, 3]  # errors are rare, so they recur
    # one text a thought, however often it is taught, and gold claims have no part in it
    assert texts == [claims[row, site.index] for row, site in zip(taught.problems, taught.sites, strict=True)]
    assert not set(texts) & {f"{claim}." for claims in parted.train.claims[:4] for claim in claims}


def test_a_thought_that_holds_no_step_is_taught_none_though_some_claim_reads_nearest(
    parted: Prepared,
) -> None:
    recipe = Recipe(warm_start=NEAREST)
    taught = parted.thoughts(Split.TRAIN, active_only=False)
    assert parted.own is not None
    of_recipe = candidates(parted.reasoner, recipe.warm_start, parted.own, parted.train)
    nearest = {site: nearest_texts(parted.train, site, of_recipe, parted.metric) for site in parted.sites}
    assert set(nearest[Site("h", 2)]) - {"(no step)"}  # two steps: the third thought holds nothing
    for text, site, row in zip(
        warm_texts(recipe, parted, taught), taught.sites, taught.problems, strict=True
    ):
        assert text == ("(no step)" if site.index == 2 else nearest[site][row])
    parted.own.claims[0] = []  # who said nothing holds nothing
    assert warm_texts(recipe, parted, taught)[:3] == ["(no step)"] * 3
