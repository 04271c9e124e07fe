"""Every limit, default and unit of this service."""

from dataclasses import dataclass

from chorale_runtime.settings import ServerSettings, setting


@dataclass(frozen=True)
class Settings(ServerSettings):
    """The rows of generation."""

    ingest_address: str = setting("127.0.0.1:7401", help="Where ingest is served.")
    analysis_address: str = setting("127.0.0.1:7402", help="Where analysis is served.")
    mastering_address: str = setting("127.0.0.1:7404", help="Where mastering is served.")
    processes: int = setting(
        0,
        help="Processes that make sound. 0: as many as there are CPUs.",
        unit="processes",
        minimum=0,
        maximum=256,
    )
    queue_limit: int = setting(
        1000,
        help="Operations that may wait before new ones are refused.",
        unit="operations",
        minimum=1,
        maximum=1_000_000,
    )
    generate_timeout_seconds: float = setting(
        3600.0,
        help="The longest that making one track may take.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    import_timeout_seconds: float = setting(
        1800.0,
        help="The longest that taking in one model may take.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    model_upload_bytes_max: int = setting(
        8 << 30,
        help="Bytes of models that one owner may have on their way in.",
        unit="bytes",
        minimum=1,
        maximum=1 << 50,
    )
    scratch_directory: str = setting(
        "", help="Where files lie until they are stored. Empty: the system's temporary directory."
    )
