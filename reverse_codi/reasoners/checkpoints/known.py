"""Facts about public checkpoints that their files do not hold, each with its source.

Recipes, the accuracy check and `docs/reasoners.md` take these facts only from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from reverse_codi.recipe.reasoner import LayoutName

T = TypeVar("T")

# The cache of the hub's client.
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots/[^/]+/?$")


@dataclass(frozen=True)
class Fact(Generic[T]):
    """A value with its source.

    Attributes:
        value: the value.
        source: where its authors state it.
    """

    value: T
    source: str


@dataclass(frozen=True)
class Published:
    """A published accuracy of a checkpoint.

    Attributes:
        accuracy: share of the test set.
        source: where it is published.
        measured: on what, and how; "" if unknown.
    """

    accuracy: float
    source: str
    measured: str = ""

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} ({self.source}{f'; {self.measured}' if self.measured else ''})"


@dataclass(frozen=True)
class Known:
    """Facts that a checkpoint's files do not hold.

    Attributes:
        layout: its layout.
        n_thoughts: K; None for recurrent depth, which has no thoughts.
        lora_alpha: its LoRA's alpha; None without a LoRA.
        published: task name -> accuracy.
    """

    layout: Fact[LayoutName]
    n_thoughts: Fact[int] | None = None
    lora_alpha: Fact[float] | None = None
    published: Mapping[str, Published] = field(default_factory=dict)


_GSM8K = "GSM8K test set, 1,319 problems"
_CODI_PAPER, _SIM_COT_PAPER = "arXiv 2502.21074", "arXiv 2509.20317"


def _codi(root: str, script: str, published: Published | None = None) -> Known:
    """CODI and SIM-CoT on CODI: the evaluation script has 6 latents and a LoRA alpha of 32."""
    return Known(
        layout=Fact(LayoutName.CODI, f"{root}src/model.py: pad, bot and eot behind the base's ids"),
        n_thoughts=Fact(6, f"{root}{script}: --inf_latent_iterations 6"),
        lora_alpha=Fact(32, f"{root}{script}: --lora_alpha 32"),
        published={"gsm8k": published} if published else {},
    )


KNOWN: Mapping[str, Known] = {
    "zen-E/CODI-gpt2": _codi(
        "zhenyi4/codi ",
        "scripts/test_gpt2.sh",
        Published(0.437, _CODI_PAPER, f"{_GSM8K}; batches of 128 with the padding seen"),
    ),
    "zen-E/CODI-llama3.2-1b-Instruct": _codi(
        "zhenyi4/codi ",
        "scripts/test_llama1b.sh",
        Published(0.556, _CODI_PAPER, f"{_GSM8K}; batches of 128 with the padding seen"),
    ),
    "bcywinski/codi_llama1b-answer_only": Known(
        layout=Fact(LayoutName.CODI_TOKENS, "cywinski/codi simple_example.py: <|bocot|> and <|eocot|>"),
        n_thoughts=Fact(6, "cywinski/codi configs/llama1b_gsm8k-aug-nl.yaml: num_latent 6"),
        lora_alpha=Fact(32, "cywinski/codi configs/llama1b_gsm8k-aug-nl.yaml: lora_alpha 32"),
    ),
    "internlm/SIM_COT-GPT2-CODI": _codi(
        "InternLM/SIM-CoT CODI/",
        "scripts/test_gpt2_decoder-copy.sh",
        Published(0.426, _SIM_COT_PAPER, f"{_GSM8K}; batches of 128 with the padding seen"),
    ),
    "internlm/SIM_COT-LLaMA3-CODI-1B": _codi(
        "InternLM/SIM-CoT CODI/",
        "scripts/test_llama1b-copy.sh",
        Published(0.561, _SIM_COT_PAPER, f"{_GSM8K}; batches of 128 with the padding seen"),
    ),
    "internlm/SIM_COT-LLaMA3-CODI-3B": _codi("InternLM/SIM-CoT CODI/", "scripts/test_llama3b-copy.sh"),
    "internlm/SIM_COT-LLaMA3-CODI-8B": _codi("InternLM/SIM-CoT CODI/", "scripts/test_llama8b-copy.sh"),
    # Its evaluation file has resume: 3, which is stage 1 and so 2 latents; the last stage has all ten.
    "internlm/SIM_COT-GPT2-Coconut": Known(
        layout=Fact(LayoutName.COCONUT, "InternLM/SIM-CoT Coconut/run.py: three added tokens"),
        n_thoughts=Fact(
            10, "InternLM/SIM-CoT Coconut/args/gsm_simcot_eval.yaml: c_thought 2, max_latent_stage 5"
        ),
        published={"gsm8k": Published(0.448, _SIM_COT_PAPER, f"{_GSM8K}; one question at a time")},
    ),
    "tomg-group-umd/huginn-0125": Known(
        layout=Fact(LayoutName.HUGINN, "seal-rg/recurrent-pretraining recpre/raven_modeling_minimal.py"),
        published={
            # By the last number of the solution, wherever it stands, the accuracy is .4208.
            "gsm8k": Published(
                0.348, "arXiv 2502.05171", f"{_GSM8K}; 8 shots as a chat, 32 iterations, strict match"
            )
        },
    ),
}


def known(path: str) -> Known | None:
    """The facts of a hub id, or of its folder in the client's cache; None for anything else."""
    cached = _CACHED.search(path)
    return KNOWN.get(f"{cached[1]}/{cached[2]}" if cached else path)


def published(path: str, task: str, n_thoughts: int | None = None) -> Published | None:
    """The accuracy to compare with; None if none is known for this checkpoint, task and K.

    Args:
        path: hub id.
        task: name of the task.
        n_thoughts: number of thoughts in this run; there is a figure only for the checkpoint's own number.
    """
    facts = known(path)
    if facts is None or (facts.n_thoughts and n_thoughts not in (None, facts.n_thoughts.value)):
        return None
    return facts.published.get(task)


def as_markdown() -> str:
    """The table of `docs/reasoners.md`."""
    rows = ["| checkpoint | layout | K | alpha | published accuracy |", "|---|---|---|---|---|"]
    for name, facts in KNOWN.items():
        figures = [
            f"`{task}` {figure.accuracy:.3f}: {figure.measured} ({figure.source})"
            for task, figure in facts.published.items()
        ]
        thoughts, alpha = facts.n_thoughts, facts.lora_alpha
        rows.append(
            f"| `{name}` | `{facts.layout.value}` | {thoughts.value if thoughts else 'none'} | "
            f"{f'{alpha.value:g}' if alpha else 'no LoRA'} | {'; '.join(figures) or 'not known'} |"
        )
    sources = [f"* `{name}`: {_stands(facts)}" for name, facts in KNOWN.items() if facts.n_thoughts]
    return "\n".join([*rows, "", "K and alpha stand in:", "", *sources])


def _stands(facts: Known) -> str:
    """The sources of K and alpha, each file once."""
    files: dict[str, list[str]] = {}
    sources = [facts.n_thoughts.source] if facts.n_thoughts else []
    sources += [facts.lora_alpha.source] if facts.lora_alpha else []
    for source in sources:
        file, _, words = source.partition(": ")
        files.setdefault(file, []).append(words)
    return "; ".join(f"{file}: {', '.join(words)}" for file, words in files.items())
