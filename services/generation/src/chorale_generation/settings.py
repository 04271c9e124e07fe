"""Every limit, default and unit of this service."""

import json
import re
from dataclasses import dataclass

from chorale_runtime.settings import PREFIX, DeviceSettings, SettingsRefused, setting

TRAINER = re.compile(r"[\w.-]+/[\w.-]+:[\w.-]+", re.ASCII)
"""What Replicate can train with, and what it can run: a version of a model."""


@dataclass(frozen=True)
class Settings(DeviceSettings):
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
    device: str = setting(
        "cpu",
        help="Where `encodec-cascade` and training compute.",
        choices=("cpu", "cuda:0"),
    )
    batch_most: int = setting(
        8,
        help="Windows of 16 s that go together on a device. On the CPU each goes alone.",
        unit="windows",
        minimum=1,
        maximum=64,
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
        help="Filters of codecs trained here, even. EnCodec's own 32 take an accelerator.",
        minimum=2,
        maximum=64,
    )
    train_codec_entries: int = setting(
        1024,
        help="Entries of each codebook of codecs trained here: a power of two.",
        minimum=16,
        maximum=1024,
    )
    openai_url: str = setting(
        "",
        help="A server of OpenAI's chat completions, `https://api.openai.com/v1`, which rephrases"
        " explanations that ask for `openai`. Empty: none does.",
    )
    openai_model: str = setting("", help="The language model to ask there.")
    openai_api_key: str = setting("", secret=True, help="The key for it. Empty: none is sent.")
    replicate_api_token: str = setting(
        "",
        secret=True,
        help="The key for Replicate, where `TrainModel` may train. Empty: nothing is sent there.",
    )
    replicate_url: str = setting(
        "https://api.replicate.com", help="Where Replicate is served. The key is sent there."
    )
    replicate_trainer: str = setting(
        "",
        help="What trains there, `owner/name:version`, where a request names no base model."
        " Empty: requests must.",
    )
    replicate_input: str = setting(
        "{}",
        help='Inputs of the trainer beside the data, as a JSON object: `{"drop_vocals": false}`.'
        " Provenance tells them: no secrets.",
    )
    replicate_dataset_input: str = setting(
        "dataset_path", help="Which input of the trainer takes the address of the data."
    )
    replicate_tiers: tuple[str, ...] = setting(
        (), help="Tiers that may train there, for it costs money. Empty: all."
    )
    replicate_hardware: str = setting(
        "gpu-l40s", help="What the private models that are made there for trained versions run on."
    )
    replicate_poll_seconds: float = setting(
        10.0,
        help="How often a training there is looked at, and one that nobody waits for stopped.",
        unit="seconds",
        minimum=0.01,
        maximum=3600,
    )
    replicate_timeout_seconds: float = setting(
        30.0,
        help="How long Replicate may take to answer one call; an upload sixty times as long.",
        unit="seconds",
        minimum=0.1,
        maximum=600,
    )
    replicate_trainings: int = setting(
        4,
        help="Trainings that one replica follows there at once.",
        unit="operations",
        minimum=1,
        maximum=1000,
    )
    scratch_directory: str = setting(
        "", help="Where files lie until they are stored. Empty: the system's temporary directory."
    )

    def __post_init__(self) -> None:
        """Raises `SettingsRefused` for a codec that could be trained and never be loaded."""
        problems = []
        if self.train_codec_filters % 2:
            problems.append(
                f"{PREFIX}TRAIN_CODEC_FILTERS is {self.train_codec_filters}; it must be even."
            )
        if self.train_codec_entries & (self.train_codec_entries - 1):
            problems.append(
                f"{PREFIX}TRAIN_CODEC_ENTRIES is {self.train_codec_entries}; it must be a power of"
                " two."
            )
        if not _is_object(self.replicate_input):
            problems.append(f"{PREFIX}REPLICATE_INPUT must be a JSON object.")
        if self.replicate_trainer and not TRAINER.fullmatch(self.replicate_trainer):
            problems.append(
                f"{PREFIX}REPLICATE_TRAINER is {self.replicate_trainer}; it must be"
                " owner/name:version."
            )
        if problems:
            raise SettingsRefused(problems)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
