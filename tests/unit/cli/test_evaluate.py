from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reverse_codi.cli import evaluate
from reverse_codi.errors import RecipeError
from reverse_codi.evaluation.defaults import CONTROLS
from reverse_codi.evaluation.evaluate import find
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import ENCODED_FILE, EncodedSteps
from reverse_codi.reading.fit import fit_metric
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.reconstructor import Reconstructor, Scale
from reverse_codi.reading.reconstructor_network import ReconstructorSection
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import ASSETS, load_reasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.reading import ReadSpec, Target
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.stages import TAKEN_OVER, StageError, record
from reverse_codi.utils.config import read_yaml
from tests.tiny import make_tiny_policy, make_tiny_traces

TINY = Path(__file__).parents[3] / "recipes/tiny.yaml"


def put_verbalizer(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "verbalizer.json").write_text("{}")
    return folder


def test_a_recipe_means_the_verbalizer_of_its_run(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"train: {{out: {tmp_path / 'run'}}}\ntrace: {{n: 123}}\n")
    put_verbalizer(tmp_path / "run" / "verbalizer")
    found = find(str(recipe), ["--trace.seed", "9"])
    assert found.verbalizer == tmp_path / "run" / "verbalizer"
    assert (found.recipe.trace.n, found.recipe.trace.seed) == (123, 9)


@pytest.mark.parametrize("word", ["run", "run/verbalizer"])
def test_a_folder_means_the_verbalizer_in_it_with_the_recipe_of_its_run(tmp_path: Path, word: str) -> None:
    put_verbalizer(tmp_path / "run" / "verbalizer")
    (tmp_path / "run" / "recipe.yaml").write_text("trace: {n: 77, seed: 3}\n")
    found = find(str(tmp_path / word), ["--trace.seed", "9"])
    assert found.verbalizer == tmp_path / "run" / "verbalizer"
    assert (found.recipe.trace.n, found.recipe.trace.seed) == (77, 9)


def test_a_folder_without_a_recipe_has_the_default_one(tmp_path: Path) -> None:
    folder = put_verbalizer(tmp_path / "copied")
    found = find(str(folder), ["--trace.n", "50"])
    assert found.verbalizer == folder
    assert (found.recipe.trace.n, found.recipe.reasoner.path) == (50, "embedded")


def test_embedded_is_the_one_in_the_package() -> None:
    found = find("embedded", [])
    assert found.verbalizer == ASSETS / "verbalizer"
    assert found.recipe.reasoner.path == "embedded"
    assert find(str(ASSETS / "verbalizer"), []) == found


def test_the_recipe_beside_the_embedded_verbalizer_says_what_the_one_it_was_made_by_says() -> None:
    found, made_by = find("embedded", []).recipe, Recipe.model_validate(read_yaml(TINY))
    budget = {"steps", "thoughts_per_step", "samples", "max_new_tokens"}
    for section, keys in (("trace", {"n"}), ("warm_start", {"word_dropout"}), ("grpo", budget)):
        given = getattr(found, section).model_dump(include=keys)
        assert given == getattr(made_by, section).model_dump(include=keys)
        others = getattr(found, section).model_dump(exclude=keys)
        assert others == getattr(Recipe(), section).model_dump(exclude=keys)
    assert found.asked_hash == made_by.asked_hash == Recipe().asked_hash
    unchanged = set(Recipe.model_fields) - {"trace", "warm_start", "grpo"}
    assert found.model_dump(include=unchanged) == Recipe().model_dump(include=unchanged)


def test_the_recipe_in_a_verbalizers_folder_comes_before_that_of_its_run(tmp_path: Path) -> None:
    folder = put_verbalizer(tmp_path / "run" / "verbalizer")
    (tmp_path / "run" / "recipe.yaml").write_text("trace: {n: 77}\n")
    (folder / "recipe.yaml").write_text("trace: {n: 78}\n")
    assert find(str(folder), []).recipe.trace.n == 78
    assert find(str(tmp_path / "run"), []).recipe.trace.n == 77


def test_a_run_without_a_verbalizer_is_reported_with_the_place_and_the_command(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"train: {{out: {tmp_path / 'run'}}}\n")
    with pytest.raises(RecipeError) as error:
        find(str(recipe), [])
    assert str(tmp_path / "run" / "verbalizer") in str(error.value)
    assert f"reverse-codi train {recipe}" in str(error.value)


@pytest.mark.parametrize("words", [["--trace.n", "50"], ["--task.options={max_value: 30, max_operand: 9}"]])
def test_no_key_of_a_recipe_is_lost_beside_a_reasoner(words: list[str]) -> None:
    options, keys = evaluate.parser().parse_with_keys(["--reasoner", "embedded", *words])
    assert (options.reasoner, options.what, keys) == ("embedded", None, words)
    with pytest.raises(RecipeError, match="--reasoner and 'other' do not go together"):
        evaluate.main(["--reasoner", "embedded", *words, "other"])


def test_an_empty_folder_is_reported_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        find(str(tmp_path), [])
    assert f"no verbalizer in {tmp_path} or {tmp_path / 'verbalizer'}" in str(error.value)


def test_a_misspelt_recipe_or_key_is_reported(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("")
    with pytest.raises(RecipeError, match=r"no recipe at .*mien\.yaml; did you mean .*mine\.yaml"):
        find(str(tmp_path / "mien.yaml"), [])
    with pytest.raises(RecipeError, match=r"unknown key 'trace\.nn'"):
        find("embedded", ["--trace.nn", "4"])


def test_an_unknown_control_is_reported_with_all_that_there_are() -> None:
    with pytest.raises(RecipeError) as error:
        evaluate.main(["embedded", "--baseline", "constant", "--baseline", "logitlens"])
    assert "no control is named 'logitlens'" in str(error.value)
    assert all(name in str(error.value) for name in CONTROLS)


def test_too_few_problems_are_reported_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"command line: problems = 15: .*greater than or equal to 16"):
        evaluate.main(["embedded", "--problems", "15", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_maps_of_whole_traces_cannot_examine_thoughts(
    tmp_path: Path, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path]
) -> None:
    folder = put_verbalizer(tmp_path / "verbalizer")
    map_ = AffineMap.fit(torch.randn(9, tiny_reasoner.width), torch.randn(9, tiny_reasoner.width), 1.0)
    spec = ReadSpec(target=Target.ANSWER)
    ThoughtMetric(Reader(tiny_reasoner, spec), {ANSWER: map_}).save(folder)
    words = [str(folder), "--out", str(tmp_path / "out"), "--reasoner.path", str(tiny_folders[0])]
    with pytest.raises(RecipeError, match="read whole traces; add --reading FOLDER"):
        evaluate.main(words)


@pytest.mark.slow
def test_an_untrained_verbalizer_is_evaluated_and_a_control_is_added_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it on the embedded reasoner: draw, write, score, save, print."""
    folder, out = tmp_path / "verbalizer", tmp_path / "out"
    reasoner = load_reasoner("embedded")
    sites = [Site("h", k) for k in range(4)]
    encoded = EncodedSteps(
        {(s, n): [float(i == s.index) for i in range(n)] for s in sites for n in range(1, 5)}, 0.5
    )
    train = make_tiny_traces(reasoner, tmp_path / "train", 300)
    make_tiny_policy(reasoner).save(folder)
    fit_metric(Reader(reasoner, ReadSpec(ridge=1.0)), sites, encoded, train, train.claims).save(folder)
    (folder / ENCODED_FILE).write_text(encoded.to_json())
    scales = {site: Scale.of(train.vectors(site)) for site in sites}
    Reconstructor.new(reasoner, scales, ReconstructorSection()).save(out / "reconstructor")
    record(out, {TAKEN_OVER: "an untrained reconstructor"})
    words = [str(folder), "--out", str(out), "--problems", "64", "--wrong", "3", "--pairs", "12"]
    words += ["--trace.n", "300", "--log.report_to", "[]"]
    evaluate.main([*words, "--no-baselines"])
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["retrieval.top1_64"]["value"] < 0.5
    assert metrics["operation"]["value"] < 0.98
    assert metrics["causal.kept_all.gold_text"]["value"] > 0.3
    assert metrics["prompt.top1_64"]["n"] == 64
    assert not any(key.startswith("baselines.") for key in metrics)
    assert metrics["fve.reconstructor"]["value"] is not None
    evaluate.main([*words, "--no-baselines", "--no-reconstructor"])
    assert json.loads((out / "metrics.json").read_text()) == metrics  # what this run left out stays
    evaluate.main([*words, "--baseline", "constant"])
    again = json.loads((out / "metrics.json").read_text())
    assert {key: again[key] for key in metrics} == metrics
    assert again["baselines.constant.operands"]["value"] < 0.1
    assert "MISSED" in capsys.readouterr().out
    with pytest.raises(StageError, match=r"out was made with seed = 0, now 1; set another folder"):
        evaluate.main([*words, "--seed", "1", "--no-baselines"])
