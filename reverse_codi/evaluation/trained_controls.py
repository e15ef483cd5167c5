"""Trained controls, which a verbalizer must beat if its texts come from RL and from the thought.

Each is trained into a folder like a verbalizer's (PEFT adapter and `verbalizer.json`). A folder that is
finished is used again; the evaluation's own folder records what all of them were made from.

Shapes: N thoughts, S slots, T tokens, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from peft import LoraConfig

from reverse_codi.evaluation.eval_set import EvalContext
from reverse_codi.evaluation.suite.predictions import Method
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.verbalizer import VerbalizerSection, WarmStartSection
from reverse_codi.verbalize.config import FILE, VerbalizerConfig
from reverse_codi.verbalize.greedy import greedy_engine, greedy_texts
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts
from reverse_codi.verbalize.translator import Translator
from reverse_codi.verbalize.warm_start import SftJob, SftPairs, examples, fine_tune, fit

CONTROL = WarmStartSection(steps=600)
"""Default of a control's training; long enough for a LoRA on a model of 1M parameters."""
MORE_SFT_RATE = 3e-4


def warmed(
    context: EvalContext,
    like: Path,
    out: Path,
    targets: Callable[[Thoughts], Sequence[str]],
    section: WarmStartSection = CONTROL,
) -> Method:
    """A verbalizer after a short warm start on given texts, and no RL.

    Args:
        context: frozen model and training traces.
        like: folder of the evaluated verbalizer, whose LoRA shape and prompt are taken.
        out: folder of the control.
        targets: a text for each training thought it is given.
        section: hyperparameters; `kind` is not looked at.
    """

    def train() -> Policy:
        policy = new_like(context.reasoner, like, section.seed)
        thoughts = _taught(context, section)
        teach(policy, thoughts, targets(thoughts), section, out)
        return policy

    trained_into(out, context.reasoner, train)
    return greedy_method(context.reasoner, out)


def more_sft(
    context: EvalContext,
    warm: Path,
    targets: Sequence[str],
    texts: int,
    out: Path,
    batch_size: int = CONTROL.batch_size,
    seed: int = 0,
) -> Method:
    """The evaluated verbalizer's warm start, taught further on as many texts as RL sampled.

    The learning rate falls from 3e-4 to 0, as RL's does: a constant 1e-3 undoes in 100 steps what the warm
    start learned (retrieval .97 to .54 on the embedded model).

    Args:
        context: frozen model and training traces.
        warm: folder of the warm start.
        targets: N texts, one for each of `subject.thoughts(subject.train)`, in order. Label-free ones where
            the verbalizer saw no label.
        texts: RL's budget; steps = texts // batch_size.
        out: folder of the control.
        batch_size: thoughts a step.
        seed: of the data order.

    Raises:
        ValueError: not one target a thought, or a budget below one batch.
    """
    steps = texts // batch_size
    if steps == 0:
        raise ValueError(f"{texts} texts do not fill one batch of {batch_size}; lower batch_size")
    section = WarmStartSection(steps=steps, batch_size=batch_size, learning_rate=MORE_SFT_RATE, seed=seed)

    def train() -> Policy:
        thoughts = context.thoughts(context.train)
        if len(targets) != len(thoughts):
            raise ValueError(
                f"{len(targets)} target texts for {len(thoughts)} training thoughts; give one each"
            )
        policy = Policy.load(warm, context.reasoner, trainable=True)
        teach(policy, thoughts, targets, section, out, SftJob(schedule="linear"))
        return policy

    trained_into(out, context.reasoner, train)
    return greedy_method(context.reasoner, out)


def question_only(context: EvalContext, like: Path, out: Path, section: WarmStartSection = CONTROL) -> Method:
    """A verbalizer that sees the question and which thought is asked for, never the thought.

    Its prompt is the question, the thought's number and a full stop. The configuration beside its adapter
    only names the reasoner that it belongs to; the slot of its template is not used.

    Args:
        context: frozen model and training traces.
        like: folder of the evaluated verbalizer, whose LoRA shape is taken.
        out: folder of the control.
        section: hyperparameters; `kind` is not looked at.

    Raises:
        ValueError: the tokenizer does not know a thought's number.
    """
    reasoner = context.reasoner
    for site in context.sites:
        require_known(reasoner, _mark(site))

    def train() -> Policy:
        policy = new_like(reasoner, like, section.seed)
        thoughts = _taught(context, section)
        prompts = (reasoner.ids(_question_prompt(thoughts, row)) for row in range(len(thoughts)))
        dataset = examples(prompts, thoughts.gold, policy.tokenizer)
        fit(policy, dataset, section, out)
        return policy

    trained_into(out, reasoner, train)
    engine = greedy_engine(reasoner, out)

    def write(thoughts: Thoughts) -> list[str]:
        prompts = [reasoner.embed(_question_prompt(thoughts, row)) for row in range(len(thoughts))]
        return greedy_texts(engine.generate, reasoner.tokenizer, prompts)

    return write


def _taught(context: EvalContext, section: WarmStartSection) -> Thoughts:
    """The training thoughts of the problems that have labels; `section.problems` counts these."""
    thoughts = context.thoughts(context.train)
    most = section.problems or len(context.train)
    return thoughts.take([row for row, problem in enumerate(thoughts.problems) if problem < most])


def _question_prompt(thoughts: Thoughts, row: int) -> str:
    return f"{thoughts.questions[row]} {_mark(thoughts.sites[row])}"


def _mark(site: Site) -> str:
    """Which thought: "1 ." for the first."""
    return f"{site.index + 1} ."


# ---- what trained controls and the oracle share


def require_known(reasoner: CodiReasoner, text: str) -> None:
    """Refuse a prompt with a word that the tokenizer does not know.

    Raises:
        ValueError: names the word.
    """
    unknown = reasoner.tokenizer.unk_token_id
    [offsets] = reasoner.offsets([text])
    for token, (start, end) in zip(reasoner.ids(text), offsets, strict=True):
        if token == unknown:
            raise ValueError(
                f"the reasoner's tokenizer does not know {text[start:end]!r}, a word of the prompt {text!r}; "
                "this control needs a vocabulary that has it"
            )


def new_like(reasoner: CodiReasoner, like: Path, seed: int) -> Policy:
    """An untrained verbalizer with the LoRA shape and the configuration of the one in folder `like`."""
    verbalizer_config = VerbalizerConfig.load(like, reasoner.content_hash, reasoner.tokenizer_hash)
    lora = LoraConfig.from_pretrained(str(like))
    modules = lora.target_modules
    if not isinstance(modules, (set, list)):
        raise ValueError(f"{like} targets the layers {modules!r}; a control needs a list of their names")
    shape = VerbalizerSection(rank=lora.r, alpha=lora.lora_alpha, target_modules=sorted(modules))
    return Policy.new(reasoner, shape, verbalizer_config, seed)


def trained_into(out: Path, reasoner: CodiReasoner, train: Callable[[], Policy]) -> None:
    """Train and save a policy, unless `out` holds a finished one of this reasoner.

    The configuration is written last, so a folder that has one is complete.
    """
    if (out / FILE).is_file():
        VerbalizerConfig.load(out, reasoner.content_hash, reasoner.tokenizer_hash)
    else:
        train().save(out)


def teach(
    policy: Policy,
    thoughts: Thoughts,
    texts: Sequence[str],
    section: WarmStartSection,
    out: Path,
    job: SftJob | None = None,
) -> None:
    """Fine-tune a policy on N thoughts with N texts."""
    pairs = SftPairs(policy.verbalizer_config.inject(thoughts.slots), texts)
    fine_tune(policy, pairs, section, out, job or SftJob())


def greedy_method(reasoner: CodiReasoner, folder: Path) -> Method:
    """The verbalizer in a folder, decoded greedily."""
    return Translator(reasoner, folder).write
