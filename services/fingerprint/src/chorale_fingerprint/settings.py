"""Every limit, default and unit of this service."""

from dataclasses import dataclass

from chorale_runtime.settings import ServerSettings, setting


@dataclass(frozen=True)
class Settings(ServerSettings):
    """The rows of fingerprint."""

    ingest_address: str = setting("127.0.0.1:7401", help="Where ingest is served.")
    processes: int = setting(
        1,
        help="Processes that write and compare codes; one does about ten songs a second.",
        unit="processes",
        minimum=1,
        maximum=256,
    )
    queue_limit: int = setting(
        1000,
        help="Operations that may wait before new ones are refused.",
        unit="operations",
        minimum=1,
        maximum=1_000_000,
    )
    timeout_seconds: float = setting(
        600.0,
        help="The longest that one enrolment or identification may take.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    probes_max: int = setting(
        600,
        help="Codes of one query that are looked up in the index, spread over its length.",
        unit="codes",
        minimum=32,
        maximum=10_000,
    )
    acoustid_key: str = setting(
        "",
        help="The application's key at AcoustID. Empty: AcoustID is asked only with callers' keys.",
        secret=True,
    )
    acoustid_url: str = setting("https://api.acoustid.org/v2/", help="Where AcoustID is served.")
    acoustid_timeout_seconds: float = setting(
        10.0, help="How long AcoustID may take.", unit="seconds", minimum=0.1, maximum=300
    )
    live_streams_max: int = setting(
        64,
        help="Live streams that one process listens to at once.",
        unit="streams",
        minimum=1,
        maximum=10_000,
    )
    duplicate_policy: str = setting(
        "warn",
        help="What happens to a duplicate when the request does not say.",
        choices=("allow", "warn", "reject"),
    )
    tiers_file: str = setting(
        "",
        help="A JSON file of tiers and what they may do with patterns."
        " Empty: the one that comes along.",
    )
    duplicate_policy_by_tier: str = setting(
        "free=reject",
        help="What happens to duplicates of some tiers, such as `free=reject,studio=allow`."
        " A tier that rejects takes no other wish.",
    )
    sections_per_song_by_tier: str = setting(
        "free=1,starter=1", help="Sections of one song of some tiers, such as `free=1,starter=1`."
    )
    sections_per_song_max: int = setting(
        5,
        help="Sections of one song of which one owner's patterns are taken without a word.",
        unit="sections",
        minimum=1,
        maximum=1000,
    )
