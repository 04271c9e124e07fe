"""What a master cannot be made of, or by."""


class NoFrames(Exception):
    """There is nothing to master."""

    def __str__(self) -> str:
        return "There is no audio of 0 frames; at least one is needed."


class CodecMissing(Exception):
    """Nothing is installed that could encode for a check that was asked for."""

    def __init__(self, codec: str) -> None:
        super().__init__(codec)
        self.missing = codec

    def __str__(self) -> str:
        return (
            f"A check of {self.missing} was asked for, and no encoder of it is installed; the"
            f" service needs `pip install 'chorale-mastering[{self.missing}]'`."
        )


class EncodingUnfit(Exception):
    """A file of the kind asked for cannot hold such sound."""

    def __init__(self, setting: str, value: int, encoding: str) -> None:
        super().__init__(setting, value, encoding)
        self.setting, self.value, self.encoding = setting, value, encoding

    def __str__(self) -> str:
        return f"A file of kind {self.encoding} has no {self.setting} of {self.value}."


class ReferenceUnsuitable(Exception):
    """Nothing can be matched to a reference."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The reference is {self.reason}; matching needs sound above silence."
