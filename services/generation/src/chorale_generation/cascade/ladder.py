"""What gives, step by step, where memory does not suffice."""

from dataclasses import dataclass, replace

CPU = "cpu"
WINDOW_SECONDS = 16.0
_SHORTEST_SECONDS = 2.0
_REFUSED = ("can't allocate memory", "could not create a primitive", "std::bad_alloc")


@dataclass(frozen=True)
class Rung:
    """How work is tried: so many windows at once, how long, how precise, and where."""

    width: int = 1
    window_seconds: float = WINDOW_SECONDS
    is_half: bool = False
    device: str = CPU

    @property
    def below(self) -> "Rung | None":
        """What takes less: fewer windows, shorter ones, half precision, and last the CPU."""
        if self.width > 1:
            return replace(self, width=self.width // 2)
        if self.window_seconds > _SHORTEST_SECONDS:
            return replace(self, window_seconds=self.window_seconds / 2.0)
        if not self.is_half:
            return replace(self, is_half=True)
        return Rung() if self.device != CPU else None

    def step_to(self, below: "Rung") -> str:
        """What gave on the way to the next, as the answer says it."""
        if below.device != self.device:
            return f"{self.device} -> {below.device}"
        if below.width != self.width:
            return f"batch {self.width} -> {below.width}"
        if below.is_half != self.is_half:
            return "single -> half precision"
        return f"window {self.window_seconds:g} s -> {below.window_seconds:g} s"


def descended(rung: Rung, longest_seconds: float) -> tuple[Rung | None, list[str]]:
    """The next rung that asks for less, and what gave on the way; None where there is none.

    Windows are no longer than the sound: halving those that are gives nothing yet.
    """
    steps: list[str] = []
    while (below := rung.below) is not None:
        steps.append(rung.step_to(below))
        is_longer = longest_seconds <= below.window_seconds < rung.window_seconds
        rung = below
        if not is_longer:
            return rung, steps
    return None, steps


def is_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice.

    Torch has an exception for accelerators alone; on the CPU it is known by the words of its
    allocator, and of oneDNN, which says no more when its scratch memory is refused.
    """
    import torch  # the service, which knows rungs, starts without it

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(words in text for words in _REFUSED)
