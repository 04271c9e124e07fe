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
    train_minutes_max: int = setting(
        1440,
        help="The longest that training one model may take; requests may ask for less.",
        unit="minutes",
        minimum=1,
        maximum=100_000,
    )
    train_lap_seconds: float = setting(
        10.0,
        help="How long a process trains before it lets others in, and how often the curve grows.",
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    train_checkpoint_seconds_max: float = setting(
        300.0,
        help="The longest between two stored checkpoints; requests may ask for less, in minutes.",
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    train_codec_filters: int = setting(
        8,
        help="Filters of codecs trained here. EnCodec's own 32 take an accelerator.",
        minimum=2,
        maximum=64,
    )
    train_codec_entries: int = setting(
        1024,
        help="Entries of each codebook of codecs trained here: a power of two.",
        minimum=16,
        maximum=1024,
    )
    scratch_directory: str = setting(
        "", help="Where files lie until they are stored. Empty: the system's temporary directory."
    )
