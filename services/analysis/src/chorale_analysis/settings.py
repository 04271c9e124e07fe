"""Every limit, default and unit of this service."""

from dataclasses import dataclass

from chorale_runtime.settings import PREFIX, DeviceSettings, SettingsRefused, setting

LYRICS_PROVIDERS = ("lrclib", "genius")


@dataclass(frozen=True)
class Settings(DeviceSettings):
    """The rows of analysis."""

    ingest_address: str = setting("127.0.0.1:7401", help="Where ingest is served.")
    processes: int = setting(
        0,
        help="Processes that listen. 0: as many as there are CPUs.",
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
    listen_seconds_max: float = setting(
        3600.0,
        help="The longest audio that is listened to.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    work_timeout_seconds: float = setting(
        600.0,
        help="The longest that one analysis may take.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    weights_directory: str = setting(
        "",
        help="Where published weights lie that engines need, by their published file names."
        " Empty: nowhere.",
    )
    answer_keep_seconds: float = setting(
        604_800.0,
        help="How long an answer is kept, so that asking again costs nothing.",
        unit="seconds",
        minimum=0,
        maximum=31_536_000,
    )
    live_processes: int = setting(
        0,
        help="Processes that listen to live streams. 0: as many as there are CPUs.",
        unit="processes",
        minimum=0,
        maximum=256,
    )
    live_streams_max: int = setting(
        64,
        help="Streams that may be listened to at once in this replica.",
        unit="streams",
        minimum=1,
        maximum=10_000,
    )
    live_seconds_max: float = setting(
        14_400.0,
        help="The longest that one live stream may be.",
        unit="seconds",
        minimum=1,
        maximum=604_800,
    )
    lyrics_providers: str = setting(
        "",
        help="Who is asked for lyrics, in this order: `lrclib`, `genius`, comma between."
        " Empty: nobody, unless a caller brings a key.",
    )
    lyrics_timeout_seconds: float = setting(
        8.0,
        help="How long one lyrics provider may take, all its pages together.",
        unit="seconds",
        minimum=0.1,
        maximum=300,
    )
    lrclib_url: str = setting("https://lrclib.net", help="Where LRCLIB is served.")
    genius_key: str = setting("", help="The access token at Genius.", secret=True)
    genius_url: str = setting("https://api.genius.com", help="Where the API of Genius is served.")
    genius_pages_url: str = setting(
        "https://genius.com", help="Where the pages of Genius are served, with the words."
    )

    @property
    def lyrics_order(self) -> tuple[str, ...]:
        """Whom to ask for lyrics, in order."""
        names = (name.strip() for name in self.lyrics_providers.split(","))
        return tuple(dict.fromkeys(name for name in names if name))

    def __post_init__(self) -> None:
        """Raises `SettingsRefused` for a provider that nobody knows: it would never be asked."""
        unknown = [name for name in self.lyrics_order if name not in LYRICS_PROVIDERS]
        if unknown:
            known = ", ".join(LYRICS_PROVIDERS)
            problem = f"{PREFIX}LYRICS_PROVIDERS names {', '.join(unknown)}; there are {known}."
            raise SettingsRefused([problem])
