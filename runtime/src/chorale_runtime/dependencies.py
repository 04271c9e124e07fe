"""What every part that stands on an outside server says when that server does not answer."""

RETRY_AFTER_SECONDS = 2.0  # long enough for a restart to begin, short enough not to be felt


class DependencyUnavailable(Exception):
    """Something the service stands on cannot be reached now; the same call may work soon."""

    def __init__(
        self, dependency: str, detail: str, retry_after_seconds: float = RETRY_AFTER_SECONDS
    ) -> None:
        super().__init__(dependency, detail, retry_after_seconds)
        self.dependency = dependency
        # Not public: what a driver says of hosts and ports is for the log, not for callers.
        self._detail = detail
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"The {self.dependency} cannot be reached now; nothing was changed."

    @property
    def detail(self) -> str:
        """What the driver said, for the log."""
        return self._detail


class StorageFull(Exception):
    """A server the service stands on has no room left; nothing was stored."""

    def __init__(self, dependency: str, retry_after_seconds: float = 60.0) -> None:
        super().__init__(dependency, retry_after_seconds)
        self.dependency = dependency
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return (
            f"No disk space is left for the {self.dependency}; nothing was stored. "
            "Delete what is not needed, or add disk."
        )
