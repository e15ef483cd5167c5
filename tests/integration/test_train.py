"""The whole of `reverse-codi train` on a tiny reasoner, with real Ray actors."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from reverse_codi.cli.train import main
from reverse_codi.errors import RecipeError, UserError
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.train import train
from reverse_codi.utils.command import run_verb
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.translations.reference_texts import reference_texts
from reverse_codi.verbalize.translator import Translator
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.tiny import make_problems, make_sharp_reasoner

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(600)]

STEPS, THOUGHTS, SAMPLES = 4, 4, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    make_sharp_reasoner(hidden=128).save_pretrained(folder / "reasoner")  # heads of 32, which vLLM can do
    (folder / "recipe.yaml").write_text(
        "log: {report_to: []}\n"
        f"reasoner: {{path: {folder / 'reasoner'}}}\n"
        f"trace: {{out: {folder / 'traces'}, n: 240, n_heldout: 60, shard_rows: 120}}\n"
        "reading: {encoded_threshold: 0.01, fit_on: gold}\n"
        "verbalizer: {rank: 4, alpha: 8}\n"
        "warm_start: {kind: gold, steps: 80, batch_size: 32, eval_steps: 80, learning_rate: 1.0e-2}\n"
        "rollout: {cpus: 0.4, engine: {kind: transformers, max_model_len: 64, kv_cache_mib: 64}}\n"
        "reward: {cpus_per_actor: 0.4, functions: [{name: hidden_match}, {name: brevity, weight: 0.1}]}\n"
        f"grpo: {{steps: {STEPS}, thoughts_per_step: {THOUGHTS}, samples: {SAMPLES}, max_new_tokens: 8, "
        "eval_every: 2, eval_thoughts: 32, save_every: 2, distractors: 3, learning_rate: 1.0e-3}\n"
    )
    return folder


def recipe(root: Path, *options: str, out: str = "out") -> Recipe:
    return load_recipe([str(root / "recipe.yaml"), "--train.out", str(root / out), *options])


@pytest.fixture(scope="module")
def trained(root: Path, ray_session: None) -> Path:
    """The run's folder after STEPS steps."""
    assert train(recipe(root)) == root / "out/verbalizer"
    return root / "out"


def test_every_folder_of_a_run_has_a_card_of_ours(trained: Path) -> None:
    folders = [trained / name for name in ("warm", "best", "grpo", "verbalizer")]
    for folder in [*folders, *(trained / "grpo").glob("checkpoint-*")]:
        card = ModelCard.load(folder / "README.md")
        assert card.data.library_name == "reverse_codi" and "latent-reasoning" in card.data.tags, folder
        assert "Model Card for" not in card.text and "trained using TRL" not in card.text, folder
    assert "## Contract" in ModelCard.load(trained / "verbalizer/README.md").text


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_every_step_is_logged_with_phases_figures_and_importance(trained: Path) -> None:
    steps = [line for line in lines(trained / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    for line in steps:
        assert {
            "seconds/generate", "seconds/read", "seconds/reward", "seconds/train", "rollout/match",
            "rollout/distinct", "rollout/failed", "rollout/policy_version", "rewards/hidden_match/mean",
            "rewards/brevity/mean", "reward", "kl", "sync/canary",
        } <= set(line)  # fmt: skip
        # engine and trainer hold the same weights, so the ratio that corrects for the difference is 1
        assert line["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=0.02)
        assert line["sync/canary"] < 1e-3
        assert math.isfinite(line["loss"])
    assert [line["rollout/policy_version"] for line in steps] == [1.0, 2.0, 3.0, 4.0]
    assert steps[3]["kl"] > 1e-5
    assert steps[0]["kl"] == pytest.approx(0, abs=1e-4)  # to the warm start, where it began
    assert any(line["rollout/failed"] < 1 for line in steps)


def test_the_recipe_lies_with_the_verbalizer(trained: Path) -> None:
    assert (trained / "verbalizer/recipe.yaml").read_text() == (trained / "recipe.yaml").read_text()


def test_what_each_process_took_stands_beside_what_was_planned(trained: Path) -> None:
    found = lines(trained / "memory.jsonl")
    who = [(line["stage"], line["process"]) for line in found]
    stages = ("traces", "reading", "warm start", "grpo")
    actors = ("grpo", "rollout 0"), ("grpo", "reward 0")
    assert who == [*((stage, "trainer") for stage in stages), *actors, ("verbalizer", "trainer")]
    for line in found:
        assert line["peak_gib"] > 0.1
        assert line["planned_gib"] > 0.1
        assert ("seconds" in line) == (line["process"] == "trainer")


def test_heldout_figures_come_before_and_after(trained: Path) -> None:
    encoded = [line for line in lines(trained / "metrics.jsonl") if "heldout/match" in line]
    assert [line["step"] for line in encoded] == [0, 2, 4]
    assert set(encoded[0]) == {
        "step", "heldout/match", "heldout/retrieval", "heldout/result", "heldout/claim", "heldout/operation",
        "heldout/distinct", "heldout/top_share",
    }  # fmt: skip


def test_every_sampled_text_is_saved_with_its_rewards(trained: Path) -> None:
    rows = lines(trained / "completions.jsonl")
    assert len(rows) == STEPS * THOUGHTS * SAMPLES
    assert [row["policy"] for row in rows] == [1] * 16 + [2] * 16 + [3] * 16 + [4] * 16
    for row in rows:
        assert {
            "step",
            "policy",
            "site",
            "question",
            "text",
            "match",
            "total",
            "reward/hidden_match",
            "reward/brevity",
        } == set(row)
    groups = {tuple((r["question"], r["site"]) for r in rows[i : i + SAMPLES]) for i in range(0, 64, SAMPLES)}
    assert all(len(set(group)) == 1 for group in groups)


def test_the_verbalizer_is_whole_and_the_reasoner_as_it_was(trained: Path, root: Path) -> None:
    reasoner = CodiReasoner.from_pretrained(root / "reasoner")
    assert reasoner.content_hash == make_sharp_reasoner(hidden=128).content_hash
    policy = Policy.load(trained / "verbalizer", reasoner)
    assert (
        policy.verbalizer_config.read_spec
        == ThoughtMetric.load(trained / "verbalizer", reasoner).reader.spec.model_dump()
    )
    assert (trained / "verbalizer/encoded_steps.json").is_file()
    kept = json.loads((trained / "verbalizer/reference_texts.json").read_text())["texts"]
    verbalizer = Verbalizer.from_pretrained(trained)
    assert {str(site): of_site for site, of_site in verbalizer.references.items()} == kept
    assert kept == {
        str(site): of_site
        for site, of_site in reference_texts(verbalizer.translator, verbalizer.metric).items()
    }
    assert (trained / "warm_curve.csv").read_text().startswith("step,seconds,match,")


def test_a_second_run_into_the_same_folder_is_refused(trained: Path, root: Path) -> None:
    before = (trained / "recipe.yaml").read_text()
    with pytest.raises(RecipeError, match=r"checkpoint-4 is of an earlier run; add --resume"):
        train(recipe(root, "--grpo.beta", "0.5"))
    assert (trained / "recipe.yaml").read_text() == before


def test_what_a_resumed_run_cannot_change_is_refused_and_recipe_yaml_stays(trained: Path, root: Path) -> None:
    before = (trained / "recipe.yaml").read_text()
    for keys in (["--grpo.samples", "2"], ["--reward.functions", "[{name: brevity}]"], ["--trace.n", "250"]):
        with pytest.raises(RecipeError, match=rf"--resume cannot change .*{keys[0][2:]}[.\w]* was .*, is "):
            train(recipe(root, *keys), resume=True)
    assert (trained / "recipe.yaml").read_text() == before


def test_a_resumed_run_follows_the_rate_the_steps_and_the_savings_that_it_is_given(
    trained: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "reverse_codi")
    out = root / "longer"
    shutil.copytree(trained, out)
    words = ["--grpo.steps", "6", "--grpo.learning_rate", "2e-3", "--grpo.save_every", "1"]
    train(recipe(root, *words, out="longer"), resume=True)
    assert "grpo.learning_rate = 0.002 from step 5 on (it was 0.001)" in caplog.messages
    rates = [line["learning_rate"] for line in lines(out / "metrics.jsonl") if "loss" in line]
    # a warm-up of 5 steps, then a line to 0 at the last: of the old rate to step 4, of the new one from there
    assert rates == pytest.approx([0, 2e-4, 4e-4, 6e-4, 2e-3 * 4 / 5, 2e-3])
    changed = next(line for line in lines(out / "metrics.jsonl") if "changed" in line)
    assert changed == {
        "step": 4,
        "changed": {
            "grpo.steps": [4, 6],
            "grpo.learning_rate": [1e-3, 2e-3],
            "grpo.save_every": [2, 1],
        },
    }
    assert sorted(p.name for p in (out / "grpo").glob("checkpoint-*")) == ["checkpoint-5", "checkpoint-6"]
    assert load_recipe([str(out / "recipe.yaml")]).grpo.learning_rate == 2e-3


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(trained: Path, root: Path) -> None:
    out = root / "resumed"
    shutil.copytree(trained, out)
    shutil.rmtree(out / "grpo/checkpoint-4")  # as if it had been killed while it wrote step 4
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    train(recipe(root, out="resumed"), resume=True)
    steps, before = ([r for r in lines(f / "metrics.jsonl") if "loss" in r] for f in (out, trained))
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    for one, other in zip(steps, before, strict=True):
        for name in ("loss", "kl", "reward", "rollout/policy_version"):
            assert one[name] == pytest.approx(other[name], abs=1e-5), name
    assert [line["step"] for line in lines(out / "metrics.jsonl") if "heldout/match" in line] == [0, 2, 4]
    texts = [[row["text"] for row in lines(folder / "completions.jsonl")] for folder in (out, trained)]
    assert texts[0] == texts[1]
    for adapter in (".", "ref"):
        ended, wanted = (adapter_of(f / "grpo/checkpoint-4" / adapter) for f in (out, trained))
        assert all(torch.allclose(ended[name], value, atol=1e-5) for name, value in wanted.items())
    warm, now = adapter_of(out / "warm"), adapter_of(out / "grpo/checkpoint-4")
    assert any(not torch.equal(now[name], value) for name, value in warm.items())


# The third step's texts are written by policy 3.
FAULTY = """
from reverse_codi import reward


@reward(worst=-1.0)
def mine(batch):
    values = [0.5] * len(batch)
    if batch.policy_version == 3:
        values[-1] = float("nan")
    return values
"""


def test_a_reward_that_fails_ends_the_run_in_one_line_and_repaired_it_goes_on(
    trained: Path, root: Path
) -> None:
    out, file = root / "faulty", root / "mine.py"
    for part in ("warm", "reading"):
        shutil.copytree(trained / part, out / part)
    file.write_text(FAULTY)
    rewards = (
        "[{name: hidden_match}, {name: ./mine.py:mine, schedule: {to: 0.0, steps: 4}, "
        "gate: {by: hidden_match, above: 0.0}}]"
    )
    given = recipe(root, "--reward.functions", rewards, out="faulty")
    with pytest.raises(SystemExit) as ended:
        run_verb(lambda: train(given))
    message = r"error: reward 'mine': returned nan; clip it, or .* \(row \d+, text '.*'\)"
    assert re.fullmatch(message, str(ended.value))
    assert [line["step"] for line in lines(out / "metrics.jsonl") if "loss" in line] == [1, 2]
    file.write_text(FAULTY.replace("nan", "0.25"))
    train(given, resume=True)
    steps = [line for line in lines(out / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert [line["weight/mine"] for line in steps] == [1.0, 0.75, 0.5, 0.25]
    for line in steps:
        assert {"gate/mine", "rewards/mine/mean", "rewards/hidden_match/mean"} <= set(line)
        weighted = line["rewards/hidden_match/mean"] + line["weight/mine"] * line["rewards/mine/mean"]
        assert line["reward"] == pytest.approx(weighted, abs=1e-5)
    assert any("length_correlation/hidden_match" in line for line in steps)
    assert {"reward/mine", "reward/hidden_match", "total"} <= set(lines(out / "completions.jsonl")[0])


def test_a_policy_of_nan_ends_the_run_at_its_step_and_the_last_finite_one_is_gone_on_from(
    trained: Path, root: Path
) -> None:
    out = root / "nan"
    for part in ("warm", "reading"):
        shutil.copytree(trained / part, out / part)
    given = recipe(root, "--grpo.learning_rate", "1e30", "--grpo.save_every", "1", out="nan")
    with pytest.raises(SystemExit) as ended:
        run_verb(lambda: train(given))
    assert re.search(r"after 2 optimizer steps|step 2 left values|gradient of step 3", str(ended.value))
    assert "ower grpo.learning_rate" in str(ended.value)
    assert not (out / "verbalizer").exists()
    for kept in ("grpo/checkpoint-1", "best"):
        assert all(bool(weight.isfinite().all()) for weight in adapter_of(out / kept).values())
    assert not (out / "grpo/checkpoint-2").exists()
    mended = recipe(root, "--grpo.save_every", "1", out="nan")
    train(mended, resume=True)
    steps = [line for line in lines(out / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert all(math.isfinite(line["loss"]) and line["kl"] < 10 for line in steps)
    assert "NaN" not in (out / "metrics.jsonl").read_text()
    assert (out / "verbalizer/verbalizer.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grpo.thoughts_per_step", "700"], r"but there are \d+ training thoughts that encode a step"),
        (["--grpo.max_new_tokens", "2"], "max_new_tokens = 2 cuts every text that the warm start taught"),
    ],
)
def test_a_run_that_can_learn_nothing_is_refused_before_its_warm_start(
    trained: Path, root: Path, words: list[str], message: str
) -> None:
    out = f"nothing{len(words[0])}"
    shutil.copytree(trained / "reading", root / out / "reading")
    (root / out / "recipe.yaml").write_text("of an earlier run")
    with pytest.raises(UserError, match=message):
        train(recipe(root, *words, out=out))
    assert not (root / out / "warm").exists()
    assert (root / out / "recipe.yaml").read_text() == "of an earlier run"


def test_resume_without_a_checkpoint_starts_anew(
    trained: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "reverse_codi")
    fresh = root / "fresh"
    for part in ("warm", "reading"):
        shutil.copytree(trained / part, fresh / part)
    train(recipe(root, "--grpo.steps", "1", out="fresh"), resume=True)
    assert "nothing to resume" in caplog.text
    first, again = (
        next(line for line in lines(folder / "metrics.jsonl") if "loss" in line)
        for folder in (trained, fresh)
    )
    assert again["reward"] == pytest.approx(first["reward"], abs=1e-4)  # the same seed, the same first step


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_samples_from_the_trainers_weights(trained: Path, root: Path) -> None:
    for part in ("warm", "reading"):
        shutil.copytree(trained / part, root / "vllm" / part)
    folder = train(recipe(root, "--rollout.engine.kind", "vllm", "--grpo.steps", "2", out="vllm"))
    steps = [line for line in lines(root / "vllm/metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2]
    for line in steps:
        assert line["sync/canary"] < 1e-3
        assert line["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=0.02)
    assert (folder / "verbalizer.json").is_file()


def test_the_next_batch_is_sampled_while_one_is_learnt_from(trained: Path, root: Path) -> None:
    for part in ("warm", "reading"):
        shutil.copytree(trained / part, root / "ahead" / part)
    keys = ("--grpo.max_staleness", "1", "--grpo.eval_every", "1", "--grpo.warmup_steps", "0")
    train(recipe(root, *keys, out="ahead"))
    steps = [line for line in lines(root / "ahead/metrics.jsonl") if "loss" in line]
    assert [line["rollout/staleness"] for line in steps] == [0, 1, 1, 1]
    assert [line["rollout/policy_version"] for line in steps] == [1, 1, 2, 3]
    # The trainer's weights have moved on since: the importance ratio says by how much.
    apart = [line["sampling/sampling_logp_difference/max"] for line in steps]
    assert apart[0] < 1e-3 < min(apart[1:])
    assert all(line["sync/canary"] < 1e-3 for line in steps)


def test_a_dry_run_prints_recipe_and_placement_and_does_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(root / "recipe.yaml"), "--dry-run", "--train.out", str(root / "never")])
    message = capsys.readouterr().out
    assert "max_new_tokens: 8" in message
    assert "1 rollout actor(s): transformers, 0.4 CPU" in message
    assert not (root / "never").exists()


def test_the_answer_target_trains_on_whole_chains_with_a_slot_a_thought(root: Path) -> None:
    spec = (
        "{target: answer, prefix: question, suffix: 'The answer is:', point: last, layers: final, "
        "map: identity}"
    )
    short = ("--warm_start.steps", "5", "--warm_start.eval_steps", "5", "--grpo.steps", "1")
    folder = train(recipe(root, "--reading.spec", spec, *short, "--grpo.max_new_tokens", "24", out="answer"))
    reasoner = CodiReasoner.from_pretrained(root / "reasoner")
    assert Policy.load(folder, reasoner).verbalizer_config.n_slots == reasoner.n_thoughts
    metric = ThoughtMetric.load(folder, reasoner)
    assert metric.sites == [ANSWER]
    questions = [problem.question for problem in make_problems(3)]
    rows = Verbalizer(Translator(reasoner, folder), metric).translate(questions)
    assert [[row.site for row in of_question] for of_question in rows.traces] == [["answer"]] * 3
    written = lines(root / "answer/completions.jsonl")
    assert {row["site"] for row in written} == {"answer"} and len(written) == THOUGHTS * SAMPLES


def test_a_damaged_newest_checkpoint_is_said_and_the_run_ends_where_it_would_have(
    trained: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = root / "damaged"
    shutil.copytree(trained, out)
    (out / "grpo/checkpoint-4/optimizer.pt").unlink()
    train(recipe(root, out="damaged"), resume=True)
    said = f"{root}/damaged/grpo/checkpoint-4/optimizer.pt is missing; the run goes on from"
    assert any(said in message and "checkpoint-2" in message for message in caplog.messages)
    assert (out / "grpo/damaged-4").is_dir()
    ended, wanted = (adapter_of(folder / "grpo/checkpoint-4") for folder in (out, trained))
    assert all(torch.allclose(ended[name], value, atol=1e-5) for name, value in wanted.items())
    for step in (2, 4):
        (out / f"grpo/checkpoint-{step}/optimizer.pt").unlink()
    with pytest.raises(UserError, match=r"no checkpoint to go on from: .*4/optimizer\.pt is missing"):
        train(recipe(root, out="damaged"), resume=True)
