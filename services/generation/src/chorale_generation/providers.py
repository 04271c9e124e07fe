"""Why somebody else's engine does not answer, as exceptions with fields."""


class ProviderNotConfigured(Exception):
    """The provider has no address or key on this mesh."""

    def __init__(self, provider: str, remedy: str, alternatives: str) -> None:
        super().__init__(provider, remedy, alternatives)
        self.provider, self.remedy, self.alternatives = provider, remedy, alternatives

    def __str__(self) -> str:
        return f"{self.provider} is not configured on this mesh; {self.remedy}."


class ProviderUnavailable(Exception):
    """The provider cannot be reached, or says that it cannot work now."""

    def __init__(
        self, provider: str, state: str, alternatives: str, retry_after_seconds: float = 30.0
    ) -> None:
        super().__init__(provider, state, alternatives, retry_after_seconds)
        self.provider, self.state, self.alternatives = provider, state, alternatives
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.provider} does not work now ({self.state})."


class ProviderRefused(Exception):
    """The provider refused its key or the request, or failed at what it was asked to do."""

    def __init__(self, provider: str, status: str, detail: str) -> None:
        super().__init__(provider, status, detail)
        self.provider, self.status, self.detail = provider, status, detail

    @property
    def is_about_key(self) -> bool:
        """Whether it may be well with another key."""
        return self.status in ("401", "403")

    def __str__(self) -> str:
        return f"{self.provider} answered {self.status}: {self.detail or 'it says no more'}"
