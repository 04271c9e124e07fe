"""Why work cannot be done, as exceptions with fields."""


class TrackTooShort(Exception):
    """A track holds less than one window of this work."""

    def __init__(self, audio: str, frame_count: int, minimum_frame_count: int) -> None:
        super().__init__(audio, frame_count, minimum_frame_count)
        self.audio = audio
        self.frame_count, self.minimum_frame_count = frame_count, minimum_frame_count

    def __str__(self) -> str:
        return (
            f"{self.frame_count} frames of {self.audio} were named;"
            f" at least {self.minimum_frame_count} are needed."
        )


class TrackSilent(Exception):
    """Nothing in a track rises above the gate."""

    def __init__(self, audio: str, peak_dbfs: str) -> None:
        super().__init__(audio, peak_dbfs)
        self.audio, self.peak_dbfs = audio, peak_dbfs

    def __str__(self) -> str:
        return f"{self.audio} is silent: its greatest sample is {self.peak_dbfs} dBFS."


class SettingUnsupported(Exception):
    """The engine does not know a setting, or a value of it."""

    def __init__(self, setting: str, value: str, known: str) -> None:
        super().__init__(setting, value, known)
        self.setting, self.value, self.known = setting, value, known

    def __str__(self) -> str:
        return f"{self.setting} cannot be {self.value}; {self.known} can."


class OperationUnfit(Exception):
    """The operation was started by another RPC, or did not succeed."""

    def __init__(self, operation: str, method: str, needed: str) -> None:
        super().__init__(operation, method, needed)
        self.operation, self.method, self.needed = operation, method, needed

    def __str__(self) -> str:
        return f"{self.operation} was started by {self.method}; needed is {self.needed}."


class OperationNotDone(Exception):
    """The operation has not ended."""

    def __init__(self, operation: str, stage: str) -> None:
        super().__init__(operation, stage)
        self.operation, self.stage = operation, stage

    def __str__(self) -> str:
        return f"{self.operation} has not ended; it is at {self.stage or 'its beginning'}."


class StreamOutOfOrder(Exception):
    """A message of a stream comes in the wrong order."""

    def __init__(self, needed: str) -> None:
        super().__init__(needed)
        self.needed = needed

    def __str__(self) -> str:
        return f"The stream needs {self.needed}."


class WeightsMissing(Exception):
    """The engine has no weights here."""

    def __init__(self, engine: str, model: str, remedy: str, provider: str = "") -> None:
        super().__init__(engine, model, remedy, provider)
        self.engine, self.model, self.remedy = engine, model, remedy
        self._provider = provider

    def __str__(self) -> str:
        where = f"lives at {self._provider}" if self._provider else "is not registered for you"
        return f"The engine {self.engine} needs files of {self.model}, which {where}."


class MemoryExhausted(Exception):
    """The work fits nowhere here, even in the shortest windows."""

    def __init__(self, device: str, window_seconds: float) -> None:
        super().__init__(device, window_seconds)
        self.device, self.tried, self.window_seconds = device, "window", window_seconds

    def __str__(self) -> str:
        return f"{self.device} has no memory for windows of {self.window_seconds:g} s."


class DatasetTooSmall(Exception):
    """Too few files, or too many of them too short."""

    def __init__(self, found: int, needed: int, minimum_seconds: float) -> None:
        super().__init__(found, needed, minimum_seconds)
        self.found, self.needed, self.minimum_seconds = found, needed, minimum_seconds

    def __str__(self) -> str:
        return (
            f"{self.found} files of at least {self.minimum_seconds:g} s were found;"
            f" {self.needed} are needed."
        )


class TierForbids(Exception):
    """The caller's tier does not include what it asks for."""

    def __init__(self, tier: str, feature: str, tiers: str) -> None:
        super().__init__(tier, feature, tiers)
        self.tier, self.feature, self.tiers = tier, feature, tiers

    def __str__(self) -> str:
        return f"The tier {self.tier} does not include {self.feature}; these do: {self.tiers}."
