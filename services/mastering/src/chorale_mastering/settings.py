"""Every limit, default and unit of this service."""

from dataclasses import dataclass

from chorale_runtime.settings import ServerSettings, setting


@dataclass(frozen=True)
class Settings(ServerSettings):
    """The rows of mastering."""

    ingest_address: str = setting("127.0.0.1:7401", help="Where ingest is served.")
    processes: int = setting(
        0,
        help="Processes that measure and master. 0: as many as there are CPUs.",
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
    measure_timeout_seconds: float = setting(
        600.0,
        help="The longest that measuring may take.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    master_timeout_seconds: float = setting(
        3600.0,
        help="The longest that mastering may take.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    scratch_directory: str = setting(
        "", help="Where sound lies between two passes. Empty: the system's temporary directory."
    )
    presets_per_owner_max: int = setting(
        1000,
        help="Presets that one owner may keep.",
        unit="presets",
        minimum=0,
        maximum=1_000_000,
    )
    answer_keep_seconds: float = setting(
        604_800.0,
        help="How long an answer is kept, so that asking again costs nothing.",
        unit="seconds",
        minimum=0,
        maximum=31_536_000,
    )
    live_meters_max: int = setting(
        64,
        help="Live meters that may run at once in this process.",
        unit="streams",
        minimum=1,
        maximum=10_000,
    )
    live_masters_max: int = setting(
        16,
        help="Live masters that may run at once in this process.",
        unit="streams",
        minimum=1,
        maximum=10_000,
    )
    live_seconds_max: int = setting(
        86_400,
        help="The longest sound one live meter or live master takes.",
        unit="seconds",
        minimum=1,
        maximum=604_800,
    )
