"""What `helm test` runs: a click track goes in, 120 beats a minute come out."""

import json
import math
import struct
import subprocess
import sys
import wave

RATE_HZ = 44_100
TEMPO_BPM = 120
SECONDS = 20
TOLERANCE_BPM = 2


def main() -> None:
    """Writes the sound, has it analysed, and fails unless its tempo is found."""
    path = "/tmp/click.wav"  # noqa: S108 - the one folder that can be written
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(struct.pack(f"<{SECONDS * RATE_HZ}h", *_clicks()))
    asked = ["chorale", "analyze", path, "--features", "beats", "--json"]
    answer = subprocess.run(asked, check=False, capture_output=True, text=True)  # noqa: S603
    if answer.returncode:
        sys.exit(f"The mesh did not analyse a click track:\n{answer.stderr or answer.stdout}")
    tempos = [tempo for line in answer.stdout.splitlines() for tempo in _tempos(json.loads(line))]
    print(f"{TEMPO_BPM} BPM went in, {tempos} came out.")  # noqa: T201
    if not any(abs(tempo - TEMPO_BPM) <= TOLERANCE_BPM for tempo in tempos):
        sys.exit(f"A tempo within {TOLERANCE_BPM} of {TEMPO_BPM} BPM was needed.")


def _clicks() -> list[int]:
    """Twenty milliseconds of 1 kHz, dying away, on every beat."""
    period = RATE_HZ * 60 // TEMPO_BPM
    one = [
        round(20_000 * math.exp(-n / 200) * math.sin(2 * math.pi * 1000 * n / RATE_HZ))
        for n in range(RATE_HZ // 50)
    ]
    beat = one + [0] * (period - len(one))
    return (beat * (SECONDS * RATE_HZ // period + 1))[: SECONDS * RATE_HZ]


def _tempos(value: object) -> list[float]:
    """The `bpm` of every answer on `beats`, however deep; the other candidates do not count."""
    if isinstance(value, list):
        return [tempo for each in value for tempo in _tempos(each)]
    if not isinstance(value, dict):
        return []
    inner = [tempo for each in value.values() for tempo in _tempos(each)]
    beats = value.get("beats")
    own = beats.get("bpm") if isinstance(beats, dict) else None
    return [float(own), *inner] if isinstance(own, int | float) else inner


if __name__ == "__main__":
    main()
