"""The report on every tensor of a checkpoint, printed and kept."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Report:
    """What became of a checkpoint's tensors.

    Attributes:
        source: the checkpoint as the recipe names it.
        files: files that were read.
        layout: layout and family.
        config_from: where the configuration came from.
        tokenizer_from: where the tokenizer came from.
        n_tensors: keys in the files.
        merged: modules whose LoRA was merged.
        rank: rank of the LoRA; 0 without one.
        alpha: alpha of the LoRA.
        aside: kind of tensor that thinking does not need -> keys.
        tied: what became of an output embedding that the base ties to its input's; "" if there was none.
        n_base: parameters of the language model without LoRA, tied ones once.
        n_lora: parameters of the LoRA.
        n_projection: parameters of the projection.
        n_aside: parameters set aside.
        prompting: fields of `CodiConfig` that the layout decides.
        wrappers: prefixes removed from the keys.
        padding: number of embedding rows after the last token, which are left out.
        facts: name of a fact that the files do not hold -> its value and source.
    """

    source: str
    files: list[str]
    layout: str
    config_from: str
    tokenizer_from: str
    n_tensors: int
    merged: list[str]
    rank: int
    alpha: float
    aside: dict[str, int]
    tied: str
    n_base: int
    n_lora: int
    n_projection: int
    n_aside: int
    prompting: dict[str, object]
    wrappers: list[str] = field(default_factory=list)
    padding: int = 0
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def n_total(self) -> int:
        """Parameters of the model that its author trained, without what is set aside."""
        return self.n_base + self.n_lora + self.n_projection

    def __str__(self) -> str:
        lora = f"{len(self.merged)} modules, rank {self.rank}, alpha {self.alpha:g}: W + (B @ A) * "
        aside = [f"set aside      {n} tensors: {kind}" for kind, n in self.aside.items()]
        return "\n".join(
            [
                f"checkpoint     {self.source}",
                f"layout         {self.layout}",
                f"files          {', '.join(self.files)}: {self.n_tensors} tensors",
                *([f"prefixes       {', '.join(self.wrappers)} taken off the keys"] if self.wrappers else []),
                f"configuration  {self.config_from}",
                f"tokenizer      {self.tokenizer_from}",
                f"merged LoRA    {lora}{self.alpha / self.rank:g}" if self.merged else "merged LoRA    none",
                *aside,
                *([f"tied           {self.tied}"] if self.tied else []),
                *(
                    [f"padding        {self.padding} rows behind the last token, left out"]
                    if self.padding
                    else []
                ),
                *(f"{name:14} {fact}" for name, fact in self.facts.items()),
                f"parameters     {self.n_total:,} in all: language model {self.n_base:,}, "
                f"LoRA {self.n_lora:,}, projection {self.n_projection:,}",
                f"set aside      {self.n_aside:,} parameters",
                *(f"  {name} = {value!r}" for name, value in self.prompting.items()),
            ]
        )
