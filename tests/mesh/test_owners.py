"""A mesh with identities: owners see only their own, and bad credentials have names."""

import io
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import jwt
import numpy as np
import pytest
import soundfile
from chorale.ingest.v1 import upload_pb2
from chorale.mastering.v1 import loudness_pb2
from chorale_client import AuthError, Chorale, NotFoundError, QuotaError
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from running_mesh import RunningMesh, start, stop

HOUR_SECONDS = 3600.0


class Issuer:
    """Signs tokens with a key that the mesh trusts."""

    def __init__(self, keys_file: Path) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()
        public = self._key.public_key()
        keys_file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def token(
        self,
        principal: str,
        tier: str = "studio",
        lifetime_seconds: float = HOUR_SECONDS,
        **more: bool,
    ) -> str:
        """A token for one principal."""
        claims = {"sub": principal, "tier": tier, "exp": time.time() + lifetime_seconds, **more}
        return jwt.encode(claims, self._key, algorithm="EdDSA")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningMesh, Issuer]]:
    """A mesh that asks everybody who they are."""
    folder = tmp_path_factory.mktemp("guarded")
    issuer = Issuer(folder / "keys.pem")
    mesh = start(
        folder / "state",
        *("--only", "ingest,mastering", "--set", "mastering.processes=1"),
        *("--set", f"jwt_keys_file={folder / 'keys.pem'}"),
        *("--set", f"service_token={issuer.token('mesh', service=True)}"),
    )
    yield mesh, issuer
    stop(mesh)


def _as(guarded: tuple[RunningMesh, Issuer], principal: str, tier: str = "studio") -> Chorale:
    mesh, issuer = guarded
    return Chorale(home=mesh.state, token=issuer.token(principal, tier), allow_cleartext=True)


def _song(seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 0.1, 2 * 44100)
    file = io.BytesIO()
    soundfile.write(file, noise, 44100, format="WAV")
    return file.getvalue()


def test_what_is_not_yours_does_not_exist(guarded: tuple[RunningMesh, Issuer]) -> None:
    """Reading, listing, deleting and working on another's audio all answer as if it were not."""
    with _as(guarded, "ada") as ada, _as(guarded, "bob") as bob:
        audio = ada.put(_song(1), file_name="ada.wav")
        attempts = (
            lambda: bob.info(audio),
            lambda: list(bob.read_frames(audio)),
            lambda: list(bob.read_bytes(audio)),
            lambda: bob.delete(audio),
        )
        for attempt in attempts:
            with pytest.raises(NotFoundError) as refused:
                attempt()
            assert refused.value.reason == "AUDIO_NOT_FOUND"
        assert list(bob.list()) == []
        assert [one.name for one in ada.list()] == [audio.name]


def test_uploading_what_another_has_tells_nothing(guarded: tuple[RunningMesh, Issuer]) -> None:
    """The same bytes are asked for in full, and become the second caller's own."""
    with _as(guarded, "ada") as ada, _as(guarded, "carol") as carol:
        audio = ada.put(_song(2), file_name="one.wav")
        digest = audio.name.removeprefix("audio/")
        missing = carol.ingest.FindMissing(upload_pb2.FindMissingRequest(sha256=[digest]))
        assert list(missing.sha256) == [digest]
        mine = carol.put(_song(2), file_name="two.wav")
        assert mine.name == audio.name
        assert mine.file_name == "two.wav"
        carol.delete(mine)
        assert ada.info(audio).file_name == "one.wav"


def test_another_s_operation_does_not_exist(guarded: tuple[RunningMesh, Issuer]) -> None:
    """Operations are found and listed by their owner alone; the job acts as its owner."""
    with _as(guarded, "ada") as ada, _as(guarded, "bob") as bob:
        audio = ada.put(_song(3), file_name="ada.wav")
        request = loudness_pb2.MeasureLoudnessRequest(
            audio=audio.name, request_id=str(uuid.uuid4())
        )
        started = ada.start(
            ada.mastering.MeasureLoudness, request, loudness_pb2.MeasureLoudnessResponse
        )
        with pytest.raises(NotFoundError) as refused:
            bob.operations.get(started.name, "mastering")
        assert refused.value.reason == "OPERATION_NOT_FOUND"
        assert started.name not in [one.name for one in bob.operations.list("mastering")]
        assert started.result(timeout_seconds=60).loudness.integrated_lufs < 0


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ("missing", "CREDENTIALS_MISSING"),
        ("expired", "CREDENTIALS_EXPIRED"),
        ("forged", "CREDENTIALS_INVALID"),
    ],
)
def test_bad_credentials_have_names(
    guarded: tuple[RunningMesh, Issuer], tmp_path: Path, flaw: str, reason: str
) -> None:
    """A missing, an expired and a forged token are told apart, and none gets in."""
    mesh, issuer = guarded
    tokens = {
        "missing": "",
        "expired": issuer.token("ada", lifetime_seconds=-HOUR_SECONDS),
        "forged": Issuer(tmp_path / "other.pem").token("ada"),
    }
    with (
        Chorale(home=mesh.state, token=tokens[flaw] or None, allow_cleartext=True) as chorale,
        pytest.raises(AuthError) as refused,
    ):
        chorale.usage()
    assert refused.value.reason == reason


def test_a_tier_bounds_its_requests(guarded: tuple[RunningMesh, Issuer]) -> None:
    """A free caller's eleventh request in an hour is refused, with when to come back."""
    with _as(guarded, f"free-{uuid.uuid4()}", tier="free") as chorale:
        for _ in range(10):
            chorale.usage()
        with pytest.raises(QuotaError) as refused:
            chorale.usage()
    assert refused.value.reason == "RATE_LIMITED"
    assert 0 < (refused.value.retry_after_seconds or 0) <= HOUR_SECONDS
