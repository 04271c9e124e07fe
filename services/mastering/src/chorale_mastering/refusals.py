"""What a master cannot be made of, or by."""


class NoFrames(Exception):
    """There is nothing to master."""

    def __str__(self) -> str:
        return "There is no audio of 0 frames; at least one is needed."


class CodecMissing(Exception):
    """This build has no encoder for a codec that was asked for."""

    def __init__(self, codec: str) -> None:
        super().__init__(codec)
        self.missing = codec

    def __str__(self) -> str:
        return f"There is no {self.missing} encoder in this build; a master needs it for its check."
