from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wandb
from rich.console import Console

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.run import LogSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.tasks.base import Split
from reverse_codi.traces.store import TraceStore
from reverse_codi.training import prepare as preparation
from reverse_codi.training.prepare import (
    ENCODED_FILE,
    Prepared,
    needs_self_generated_cot,
    prepare,
    taught_thoughts,
    warm_policy,
    warm_texts,
)
from reverse_codi.utils.stages import StageError
from reverse_codi.verbalize.self_generated_cot import SelfGeneratedCot, candidates
from reverse_codi.verbalize.targets import nearest_texts
from reverse_codi.verbalize.thoughts import thought_sites
from reverse_codi.verbalize.warm_start import SftPairs
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


def test_training_thoughts_are_chosen_by_the_steps_that_the_recipe_allows(prepared: Prepared) -> None:
    train = prepared.thoughts(Split.TRAIN, active_only=True)
    assert {str(site) for site in train.sites} == {"h0"} and set(train.gold) == {"1 + 1 = 2."}
    heldout = prepared.thoughts(Split.HELDOUT, active_only=True)
    assert heldout.gold[0] == f"{prepared.heldout.claims[0][0]}."


def test_gold_texts_are_gold_whatever_the_maps_are_fitted_on(prepared: Prepared) -> None:
    thoughts = prepared.thoughts(Split.TRAIN, active_only=False)
    texts = warm_texts(Recipe(warm_start=WarmStartSection(kind="gold")), prepared, thoughts)
    for text, problem, site in zip(texts, thoughts.problems, thoughts.sites, strict=True):
        claims = prepared.train.claims[problem]
        assert text == prepared.encoded.text(site, claims)


def test_only_the_labelled_problems_are_taught(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[SftPairs] = []
    monkeypatch.setattr(preparation, "warm_start", lambda *arguments: taught.append(arguments[4]))
    for problems in (7, 0):
        section = WarmStartSection(kind="gold", problems=problems)
        recipe = Recipe(warm_start=section, log=LogSection(wandb=False))
        warm_policy(recipe, prepared, tmp_path / str(problems), Console(quiet=True))
    assert [len(pairs.texts) for pairs in taught] == [7 * 3, len(prepared.train) * 3]


@pytest.mark.parametrize(
    ("changed", "message"),
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
    message: str,
) -> None:
    taught: list[SftPairs] = []
    monkeypatch.setattr(preparation, "warm_start", lambda *arguments: taught.append(arguments[4]))

    def warm(values: dict[str, dict[str, Any]]) -> None:
        gold = {"kind": "gold", "problems": 7, **values.get("warm_start", {})}
        recipe = Recipe.model_validate({**values, "warm_start": gold, "log": {"wandb": False}})
        warm_policy(recipe, prepared, tmp_path, Console(quiet=True))

    warm({})
    warm({"warm_start": {"eval_steps": 3}, "grpo": {"steps": 7}})  # neither changes the warm start
    assert len(taught) == 1
    with pytest.raises(StageError, match=message):
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
    warm_policy(recipe, prepared, tmp_path / "run", Console(quiet=True))
    assert wandb.run is None  # RL begins another
    wandb.teardown()
    [file] = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    written = file.read_bytes()
    for part in (b"warm start", b"train/loss", b"train/global_step", b"heldout/claim", b"heldout/match"):
        assert part in written
    assert (tmp_path / "run/warm_curve.csv").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("fit_on", "kind", "needed"),
    [
        ("gold", "gold", False),
        ("written", "gold", True),
        ("gold", "written", True),
        ("gold", "nearest", True),
        ("written", "nearest", True),
    ],
)
def test_the_model_writes_only_where_maps_or_warm_start_are_made_from_what_it_writes(
    fit_on: str, kind: str, needed: bool
) -> None:
    recipe = Recipe.model_validate({"reading": {"fit_on": fit_on}, "warm_start": {"kind": kind}})
    assert needs_self_generated_cot(recipe) == needed


@pytest.mark.parametrize(
    ("fit_on", "kind", "traces"),
    [
        ("gold", "gold", 0),
        ("gold", "written", 30),
        ("written", "gold", 0),
        ("written", "nearest", 0),
        ("written", "written", 4),
    ],
)
def test_preparing_keeps_self_generated_cot_where_they_are_needed_and_fits_maps_on_the_claims_asked_for(
    tiny_folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fit_on: str,
    kind: str,
    traces: int,
) -> None:
    fitted: list[list[list[str]]] = []
    fit = preparation.fit_metric

    def recorded(*arguments: Any) -> ThoughtMetric:
        fitted.append(arguments[4])
        return fit(*arguments)

    def encoded_by_all(
        probed: Any, claims: list[list[str]], threshold: float, *, moved: dict[Any, float]
    ) -> EncodedSteps:
        fitted.append(claims)
        return make_encoded(3)

    monkeypatch.setattr(preparation, "fit_metric", recorded)
    monkeypatch.setattr(preparation, "find_held_steps", encoded_by_all)
    written = [["1 + 1 = 2"]] * 50
    claims = [["1 + 1 = 3"] if row in (2, 5) else claims for row, claims in enumerate(written)]
    monkeypatch.setattr(preparation, "own_steps", lambda *arguments: SelfGeneratedCot(written, claims))
    recipe = Recipe.model_validate(
        {
            "reasoner": {"path": str(tiny_folders[0])},
            "trace": {"out": str(tmp_path / "traces"), "n": 50, "n_heldout": 10},
            "reading": {"fit_on": fit_on, "disagreeing": 3, "traces": traces},
            "warm_start": {"kind": kind},
        }
    )
    prepared = prepare(recipe, tmp_path / "out", Console(quiet=True))
    assert (prepared.own is None) == (not needs_self_generated_cot(recipe))
    probed, read = fitted
    n = traces or 50
    assert probed == prepared.claims[:n]
    if fit_on == "gold":
        assert prepared.claims == prepared.train.claims
        assert read == prepared.claims[:n]
    else:
        assert prepared.claims == claims
        again = 2 * sum(row < n for row in (2, 5))  # disagreeing traces count three times
        assert read == [*claims[:n], *[["1 + 1 = 3"]] * again]
    again = prepare(recipe, tmp_path / "out", Console(quiet=True))
    assert len(fitted) == 2  # not fitted again
    assert (again.own, again.claims, again.encoded) == (prepared.own, prepared.claims, prepared.encoded)
    other = recipe.reading.model_copy(update={"framed": 0.25})
    with pytest.raises(StageError, match=r"reading was made with reading\.framed = 0\.65, now 0\.25; set"):
        prepare(recipe.model_copy(update={"reading": other}), tmp_path / "out", Console(quiet=True))


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
    of_recipe = candidates(parted.reasoner, "unused", recipe.warm_start, parted.own, parted.train)
    nearest = {site: nearest_texts(parted.train, site, of_recipe, parted.metric) for site in parted.sites}
    assert set(nearest[Site("h", 2)]) - {"(no step)"}  # two steps: the third thought holds nothing
    for text, site, row in zip(
        warm_texts(recipe, parted, taught), taught.sites, taught.problems, strict=True
    ):
        assert text == ("(no step)" if site.index == 2 else nearest[site][row])
    parted.own.claims[0] = []  # who said nothing holds nothing
    assert warm_texts(recipe, parted, taught)[:3] == ["(no step)"] * 3
