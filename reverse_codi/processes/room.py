"""Whether a cluster has room for actors, said at once: Ray itself waits silently for what never comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reverse_codi.errors import RecipeError

CPU, GPU = "CPU", "GPU"
# Ray counts in 1/10,000 of a CPU or GPU.
UNIT = 1e-4


@dataclass(frozen=True)
class Ask:
    """What the actors of one kind ask Ray for.

    Attributes:
        kind: what messages call them.
        n: how many.
        cpus: CPUs of each.
        gpus: GPUs of each.
        keys: of the recipe, those for the number, the CPUs and the GPUs; "" where there is none.
    """

    kind: str
    n: int
    cpus: float
    gpus: float
    keys: tuple[str, str, str] = ("", "", "")

    def each(self, what: str) -> float:
        """CPUs or GPUs of each."""
        return self.cpus if what == CPU else self.gpus

    def key(self, what: str) -> str:
        """The key for CPUs or GPUs."""
        return self.keys[1] if what == CPU else self.keys[2]


@dataclass(frozen=True)
class Node:
    """What one machine of a cluster has, whether it is free or not."""

    cpus: float
    gpus: float

    def has(self, what: str) -> float:
        """CPUs or GPUs."""
        return self.cpus if what == CPU else self.gpus


def ray_nodes() -> list[Node]:
    """The machines of the cluster that this process has joined."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(resources.get(CPU, 0.0), resources.get(GPU, 0.0)) for resources in alive]


def check_room(asks: Sequence[Ask], nodes: Sequence[Node]) -> None:
    """Refuse actors that a cluster cannot hold, even if nothing else ran on it.

    Args:
        asks: all actors of a run, or those of one kind.
        nodes: the machines.

    Raises:
        RecipeError: says what is asked, what there is, and which key to lower, and how far.
    """
    for what in (CPU, GPU):
        total, there = sum(ask.n * ask.each(what) for ask in asks), sum(node.has(what) for node in nodes)
        largest = max((node.has(what) for node in nodes), default=0.0)
        if total > there + UNIT:
            raise RecipeError(
                f"the run's actors ask for {total:g} {what} ({shares(asks, what)}), Ray offers {there:g}: "
                f"{_advice(asks, what, there)}, or join a larger cluster (RAY_ADDRESS)"
            )
        for ask in asks:
            if ask.n and ask.each(what) > largest + UNIT:
                fix = f"lower {ask.key(what)}" if ask.key(what) else "lower that"
                raise RecipeError(
                    f"one {ask.kind} actor asks for {ask.each(what):g} {what}, and no machine of the cluster "
                    f"has more than {largest:g}: {fix}"
                )


def shares(asks: Sequence[Ask], what: str) -> str:
    """Who asks for what: `rollout 2 x 1, reward 1 x 0.5`."""
    return ", ".join(f"{ask.kind} {ask.n} x {ask.each(what):g}" for ask in asks if ask.n * ask.each(what))


def _advice(asks: Sequence[Ask], what: str, there: float) -> str:
    """The change of one key that is enough, of those who ask for most first; else all keys that count."""
    total = sum(ask.n * ask.each(what) for ask in asks)
    asking = sorted((ask for ask in asks if ask.n * ask.each(what)), key=lambda a: -a.n * a.each(what))
    for ask in asking:
        left = there - (total - ask.n * ask.each(what))
        number, share = ask.keys[0], ask.key(what)
        if ask.n > 1 and number and (fit := int((left + UNIT) / ask.each(what))) >= 1:
            return f"lower {number} to {fit}"
        if share and left / ask.n > UNIT:
            return f"lower {share} to {_down(left / ask.n)}"
    keys = [key for ask in asking for key in (ask.keys[0] if ask.n > 1 else "", ask.key(what)) if key]
    return f"lower {', '.join(keys)}" if there else f"set {', '.join(a.key(what) for a in asking)} to 0"


def _down(value: float) -> str:
    """A share cut off after two digits, never rounded up; small ones after four."""
    digits = 100 if value >= 0.01 else 10_000
    return f"{int(value * digits + 1e-6) / digits:g}"
