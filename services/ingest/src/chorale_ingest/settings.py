"""Every limit and default of the ingest service."""

from dataclasses import dataclass

from chorale_runtime.settings import ServerSettings, setting


@dataclass(frozen=True)
class Settings(ServerSettings):
    """The rows that ingest has beside every service's."""

    audio_lifetime_seconds: int = setting(
        86_400,
        help="How long audio lives unless it is kept.",
        unit="seconds",
        minimum=1,
        maximum=31_536_000,
    )
    upload_lifetime_seconds: int = setting(
        86_400,
        help="How long an unfinished upload can be resumed.",
        unit="seconds",
        minimum=1,
        maximum=2_592_000,
    )
    tiers_file: str = setting(
        "", help="A JSON file of tiers and their limits. Empty: the one that comes along."
    )
    part_bytes: int = setting(
        8 << 20,
        help="How much of an upload is stored and committed at once.",
        unit="bytes",
        minimum=256 << 10,
        maximum=64 << 20,
    )
    buffer_bytes: int = setting(
        256 << 20,
        help="What all uploads together may hold in memory; many writers store smaller parts.",
        unit="bytes",
        minimum=16 << 20,
        maximum=64 << 30,
    )
    decode_count: int = setting(
        2, help="Files decoded at once.", unit="files", minimum=1, maximum=256
    )
    decode_waiting_max: int = setting(
        1000, help="Files that may wait for a decoder.", unit="files", minimum=0, maximum=100_000
    )
    decode_cpu_seconds: int = setting(
        30,
        help="CPU time a file may cost, beside a fiftieth of the length its tier allows.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    decode_memory_bytes: int = setting(
        512 << 20,
        help="Memory a decoder may use beyond what it starts with.",
        unit="bytes",
        minimum=64 << 20,
        maximum=64 << 30,
    )
    decode_idle_seconds: float = setting(
        60.0,  # CPU time ends what loops; this is for what hangs, on a busy machine too
        help="When a decoder that makes no progress is killed.",
        unit="seconds",
        minimum=0.1,
        maximum=3600,
    )
    sweep_seconds: float = setting(
        300.0,
        help="How often expired audio, dead uploads and left-over objects are removed.",
        unit="seconds",
        minimum=0.05,
        maximum=86_400,
    )
    import_prefix: str = setting(
        "imports/",
        help="Callers may import objects under this prefix and their own name. Empty: none.",
    )
    url_lifetime_seconds: int = setting(
        86_400,
        help="How long signed URLs work unless the call says.",
        unit="seconds",
        minimum=1,
        maximum=604_800,
    )
