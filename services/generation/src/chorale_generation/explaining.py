"""What is known of something that was made, in facts, sentences and advice."""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

_FAR_SEMITONES = 2
_FAR_TEMPO = 0.1


@dataclass(frozen=True)
class Account:
    """The record of an operation: settings in force, what was heard, what came of it."""

    engine: str
    version: str
    settings: Mapping[str, str]
    wanted_bpm: float
    found_bpm: float
    wanted_key: str
    found_key: str
    integrated_lufs: float
    warnings: tuple[str, ...]
    audio: tuple[str, str] = ("", "")
    concessions: tuple[str, ...] = ()
    masks: tuple[float, float] | None = None
    correlations: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Fact:
    """One thing that is known."""

    subject: str
    name: str
    value: str
    text: str


@dataclass(frozen=True)
class Advice:
    """One thing to try."""

    field: str
    value: str
    reason: str


def facts(account: Account, language: str) -> list[Fact]:
    """Everything that is known, what went in first."""
    say = _phrases(language)
    return [*_inputs(account, say), *_settings(account, say), *_results(account, say)]


def advice(account: Account, language: str) -> list[Advice]:
    """What to try next: what is off first, then another share and another choice of bars."""
    say, said = _phrases(language), account.settings
    found = []
    if account.engine != "mosaic":
        return _cascade_advice(account, say)
    tempi = [float(said.get(f"track_{track}.bpm", "0")) for track in (1, 2)]
    lent = int(said.get("result.rhythm_track", "1"))
    own = tempi[lent - 1]
    if own and abs(account.wanted_bpm / own - 1.0) > _FAR_TEMPO:
        found.append(Advice("mosaic.bpm", f"{own:g}", say["try_bpm"]))
    shifts = [abs(int(said.get(f"track_{track}.shift_semitones", "0"))) for track in (1, 2)]
    if max(shifts) > _FAR_SEMITONES:
        moved = said.get(f"track_{1 + shifts.index(max(shifts))}.key", "")
        if moved:
            found.append(Advice("mosaic.key", moved, say["try_key"]))
    influence = float(said.get("mosaic.influence", "0.5"))
    other = influence - 0.25 if influence > 0.5 else influence + 0.25
    found.append(Advice("mosaic.influence", f"{other:g}", say["try_influence"]))
    found.append(Advice("seed", _next(said), say["try_seed"]))
    return found


def _inputs(account: Account, say: Mapping[str, str]) -> Iterator[Fact]:
    said = account.settings
    for track in ("1", "2"):
        seconds = said.get(f"track_{track}.duration_seconds", "")
        if not seconds:
            continue
        name = f"track_{track}"
        text = say["input"].format(track=track, seconds=seconds)
        yield Fact("input", f"{name}.duration", f"{seconds} s", text)
        if f"{name}.bpm" not in said:  # nobody listened to it
            continue
        bpm, key = said[f"{name}.bpm"], said.get(f"{name}.key", "")
        has_beat = float(bpm) > 0.0
        text = say["bpm" if has_beat else "no_bpm"].format(track=track, bpm=bpm)
        yield Fact("heard", f"{name}.bpm", f"{bpm} BPM", text)
        text = say["key" if key else "no_key"].format(track=track, key=key)
        yield Fact("heard", f"{name}.key", key or say["none"], text)
        shift = int(said.get(f"{name}.shift_semitones", "0"))
        if shift:
            text = say["shift"].format(track=track, semitones=f"{shift:+d}")
            yield Fact("setting", f"{name}.shift", f"{shift:+d} semitones", text)


def _settings(account: Account, say: Mapping[str, str]) -> Iterator[Fact]:
    said = account.settings
    text = say["engine"].format(engine=account.engine, version=account.version)
    yield Fact("engine", "engine", f"{account.engine}@{account.version}", text)
    if "mosaic.influence" in said:
        percent = f"{100.0 * float(said['mosaic.influence']):g}"
        text = say["influence"].format(percent=percent, rhythm=said.get("result.rhythm_track", "1"))
        yield Fact("setting", "mosaic.influence", said["mosaic.influence"], text)
    if "cascade.stage_count" in said:
        stages = said["cascade.stage_count"]
        text = say["all_stages" if stages == "all" else "stages"].format(stages=stages)
        yield Fact("setting", "cascade.stage_count", stages, text)
    if "seed" in said:
        yield Fact("setting", "seed", said["seed"], say["seed"].format(seed=said["seed"]))


def _results(account: Account, say: Mapping[str, str]) -> Iterator[Fact]:
    if account.wanted_bpm:
        wanted, found = f"{account.wanted_bpm:.1f}", f"{account.found_bpm:.1f}"
        text = say["result_bpm"].format(wanted=wanted, found=found)
        yield Fact("result", "bpm", f"{found} BPM", text)
    elif account.found_bpm:
        found = f"{account.found_bpm:.1f}"
        yield Fact("result", "bpm", f"{found} BPM", say["heard_bpm"].format(found=found))
    if account.wanted_key:
        found = account.found_key or say["none"]
        text = say["result_key"].format(wanted=account.wanted_key, found=found)
        yield Fact("result", "key", found, text)
    elif account.found_key:
        text = say["heard_key"].format(found=account.found_key)
        yield Fact("result", "key", account.found_key, text)
    if account.integrated_lufs:
        lufs = f"{account.integrated_lufs:.1f}"
        yield Fact("result", "loudness", f"{lufs} LUFS", say["loudness"].format(lufs=lufs))
    yield from _made(account, say)
    for number, warning in enumerate(account.warnings, 1):
        yield Fact("warning", f"warning_{number}", warning, say["warning"].format(text=warning))


def _made(account: Account, say: Mapping[str, str]) -> Iterator[Fact]:
    """What only making it can tell."""
    if any(account.correlations):
        one, other = (f"{each:.2f}" for each in account.correlations)
        text = say["rhythm"].format(one=one, other=other)
        yield Fact("result", "rhythm", f"{one} / {other}", text)
    if account.masks is not None:
        one, other = (f"{100.0 * each:.0f}" for each in account.masks)
        text = say["masks"].format(one=one, other=other)
        yield Fact("result", "masks", f"{one} % / {other} %", text)
    notches = account.settings.get("result.notches_hz", "").replace(" ", ", ")
    if notches:
        yield Fact("result", "notches", f"{notches} Hz", say["notches"].format(hertz=notches))
    for number, text in enumerate(account.concessions, 1):
        said = say["concession"].format(text=text)
        yield Fact("result", f"concession_{number}", text, said)


def _cascade_advice(account: Account, say: Mapping[str, str]) -> list[Advice]:
    """Its seed draws the last bit of each sample alone: another one is no advice."""
    stages = int(account.settings.get("cascade.stage_count", "all").replace("all", "0"))
    one, other = account.audio
    found = [
        Advice("track_1.audio", other, say["try_swap"]),
        Advice("track_2.audio", one, say["try_swap"]),
    ]
    if stages > 1:
        found.append(Advice("cascade.stage_count", str(stages - 1), say["try_stages"]))
    return [*found, Advice("engine", "mosaic", say["try_mosaic"])]


def _next(said: Mapping[str, str]) -> str:
    return str((int(said.get("seed", "0")) + 1) % (1 << 53))


@functools.cache
def _phrases(language: str) -> Mapping[str, str]:
    read = resources.files("chorale_generation").joinpath("phrases.json").read_text("utf-8")
    phrases: Mapping[str, str] = json.loads(read)[language or "en"]
    return phrases
