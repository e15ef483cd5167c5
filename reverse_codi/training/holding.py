"""What one process of a run holds in memory, and all of them together; in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from reverse_codi.processes.memory import GIB, MIB

# What a CUDA context takes of a GPU; not measured here.
CUDA_CONTEXT = 500 * MIB


@dataclass(frozen=True)
class Holding:
    """What one process holds at one time.

    Attributes:
        process: trainer, rollout, reward, or the name of a reward with an actor of its own.
        stage: of the trainer; "" for an actor, which holds the same in all.
        count: how many such processes there are.
        on_gpu: whether all but the libraries lies on a GPU.
        gpus: GPUs of each; for the trainer 1 where it uses one.
        parts: name -> bytes.
        mapped: of the part `weights`, bytes that are pages of a file, which processes on a machine share.
        key: the recipe's key that makes it smaller.
    """

    process: str
    stage: str
    count: int
    on_gpu: bool
    gpus: float
    parts: dict[str, float]
    mapped: float = 0.0
    key: str = ""

    @property
    def name(self) -> str:
        """Of its line."""
        return f"{self.process}: {self.stage}" if self.stage else self.process

    @property
    def host(self) -> float:
        """Bytes of the machine's memory."""
        return self.parts["libraries"] if self.on_gpu else sum(self.parts.values())

    @property
    def gpu(self) -> float:
        """Bytes of a GPU's memory."""
        held = sum(size for name, size in self.parts.items() if name != "libraries")
        return held + CUDA_CONTEXT if self.on_gpu else 0.0


@dataclass(frozen=True)
class Plan:
    """What a run's processes hold.

    Attributes:
        holdings: the trainer's stages, then each kind of actor.
    """

    holdings: list[Holding] = field(default_factory=list)

    @property
    def trainer(self) -> Holding:
        """The stage in which the trainers hold most, by what is scarcer: the GPU where they use one."""
        stages = [holding for holding in self.holdings if holding.process == "trainer"]
        return max(stages, key=lambda holding: (holding.count * holding.gpu, holding.count * holding.host))

    @property
    def beside(self) -> list[Holding]:
        """What is there at one time: the trainers at their highest, and all actors."""
        return [self.trainer, *(holding for holding in self.holdings if holding.process != "trainer")]

    @property
    def host(self) -> float:
        """Bytes of one machine's memory that all take; pages of a file that they share count once."""
        shared = max((holding.mapped for holding in self.beside), default=0.0)
        return sum(h.count * (h.host - h.mapped) for h in self.beside) + shared

    @property
    def peaks(self) -> dict[str, float]:
        """GiB of the machine's memory by the names of `memory.jsonl`."""
        return {holding.name: round(holding.host / GIB, 3) for holding in self.holdings}
