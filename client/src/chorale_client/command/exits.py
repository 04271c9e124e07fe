"""What the command's exit status says. The README's table is read from here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Exit:
    """One exit status and what brings it about."""

    status: int
    errors: tuple[str, ...]  # classes of chorale_client.errors, by name: they load lazily
    meaning: str


EXITS = (
    Exit(0, (), "done"),
    Exit(1, ("ServerError",), "something failed in a way nobody foresaw, or a doctor's check did"),
    Exit(2, ("RequestError",), "wrong usage, or a request that breaks a rule of the contract"),
    Exit(3, ("NotFoundError",), "no such audio or operation, or it is not yours"),
    Exit(4, ("AuthError",), "no credentials, wrong ones, or the call is not allowed"),
    Exit(5, ("QuotaError",), "a limit is reached: wait, or ask for less"),
    Exit(6, ("UnavailableError",), "the mesh cannot be found or cannot answer now"),
    Exit(7, ("PreconditionError",), "something has to be done first; the message names it"),
    Exit(8, ("DeadlineError",), "the time allowed was not enough"),
    Exit(9, ("ConflictError",), "it is there already, or somebody else was faster"),
    Exit(10, ("DataLossError",), "bytes were damaged"),
    Exit(11, ("CancelledError",), "it was cancelled at the other end"),
    Exit(12, ("NotServedError",), "the mesh that answers does not serve this call"),
    Exit(130, (), "interrupted with Ctrl-C"),
)


def status_of(error: BaseException) -> int:
    """The exit status for an error: that of its class, or of the nearest one it derives from."""
    by_name = {name: exit_.status for exit_ in EXITS for name in exit_.errors}
    for kind in type(error).__mro__:
        if kind.__name__ in by_name:
            return by_name[kind.__name__]
    return 1


def epilog() -> str:
    """The table for `--help`. \\b keeps click from wrapping it."""
    rows = "\n".join(f"  {exit_.status:>3}  {exit_.meaning}" for exit_ in EXITS)
    return f"\b\nExit status:\n{rows}"
