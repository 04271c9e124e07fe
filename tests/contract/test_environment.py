"""One environment holds all five services: every package is used, together, in one process."""

import json
import subprocess
import sys

import pytest

# What each use needs, and whose service brings it. A use whose packages are absent (a part of
# the mesh was set up) is skipped by name; one that is present must work.
SCRIPT = r'''
import collections, collections.abc, importlib.metadata, json, sys, types, warnings

warnings.simplefilter("ignore")
import numpy as np

RATE_HZ = 44100
time = np.arange(8 * RATE_HZ) / RATE_HZ
beats = (time % 0.5 < 0.02) * np.exp(-(time % 0.5) * 80)
tone = (0.2 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)
song = (tone + 0.5 * beats * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)


def stub_torchaudio():
    """torchcrepe and encodec import torchaudio, whose wheel asks for CUDA, and need it for
    reading files and for resampling only: both are done elsewhere here."""
    if "torchaudio" not in sys.modules:
        stub = types.ModuleType("torchaudio")
        stub.transforms = types.ModuleType("torchaudio.transforms")
        sys.modules.update({"torchaudio": stub, "torchaudio.transforms": stub.transforms})


def revive_names_for_madmom():
    """madmom 0.16.1 is of 2018: it uses names that Python 3.10 and numpy 1.24 dropped."""
    collections.MutableSequence = collections.abc.MutableSequence
    for name, kind in (("float", float), ("int", int), ("bool", bool), ("object", object)):
        if name not in vars(np):
            setattr(np, name, kind)


def use_grpcio():
    import grpc

    server = grpc.server(__import__("concurrent.futures").futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    grpc.channel_ready_future(grpc.insecure_channel(f"127.0.0.1:{port}")).result(10)
    server.stop(None).wait()


def use_protobuf():
    from google.protobuf import struct_pb2

    message = struct_pb2.Struct()
    message["tempo"] = 120.0
    assert struct_pb2.Struct.FromString(message.SerializeToString())["tempo"] == 120.0


def use_protovalidate():
    import protovalidate
    from google.protobuf import struct_pb2

    protovalidate.validate(struct_pb2.Struct())


def use_psycopg():
    import psycopg

    assert psycopg.conninfo.make_conninfo(host="127.0.0.1") == "host=127.0.0.1"
    assert psycopg.pq.version() > 0  # libpq itself is there


def use_procrastinate():
    import procrastinate
    from procrastinate.testing import InMemoryConnector

    procrastinate.App(connector=InMemoryConnector())


def use_minio():
    import minio

    client = minio.Minio(endpoint="127.0.0.1:1", access_key="a", secret_key="b", secure=False,
                         region="us-east-1")
    assert "X-Amz-Signature" in client.presigned_get_object(bucket_name="songs", object_name="a")


def use_numpy():
    assert abs(np.fft.rfft(tone)).argmax() == 220 * 8


def use_scipy():
    from scipy import signal

    assert len(signal.resample_poly(song[:441], 160, 147)) == 480


def use_numba():
    import numba

    assert numba.njit(lambda x: x.sum())(np.ones(3)) == 3.0


def use_soxr():
    import soxr

    assert len(soxr.resample(song, RATE_HZ, 22050)) == len(song) // 2


def use_soundfile():
    import io, soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, song, RATE_HZ, format="FLAC")
    buffer.seek(0)
    assert soundfile.info(buffer).frames == len(song)


def use_av():
    import av, io

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=RATE_HZ)
        frame = av.AudioFrame.from_ndarray(song[None, :1152], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert buffer.getvalue()


def use_pyacoustid():
    import chromaprint

    printer = chromaprint.Fingerprinter()
    printer.start(RATE_HZ, 1)
    printer.feed((song * 32767).astype("<i2").tobytes())
    assert chromaprint.decode_fingerprint(printer.finish())[0]


def use_torch():
    import torch

    torch.set_num_threads(1)
    assert torch.stft(torch.from_numpy(song), 1024, return_complex=True).shape[0] == 513


def use_librosa():
    import librosa

    chroma = librosa.feature.chroma_stft(y=tone, sr=RATE_HZ, tuning=0.0)
    assert int(chroma.mean(axis=1).argmax()) == 9  # 220 Hz is an A


def use_resampy():
    import resampy

    assert len(resampy.resample(song, RATE_HZ, 22050)) == len(song) // 2


def use_torchcrepe():
    stub_torchaudio()
    import torch, torchcrepe, soxr

    second = torch.from_numpy(soxr.resample(tone[:RATE_HZ], RATE_HZ, 16000))[None]
    pitch = torchcrepe.predict(second, 16000, 160, 80.0, 880.0, "tiny", device="cpu")
    assert abs(float(pitch.median()) - 220.0) < 5.0


def use_encodec():
    stub_torchaudio()
    import encodec, torch

    model = encodec.EncodecModel.encodec_model_24khz(pretrained=False).eval()
    with torch.no_grad():
        assert model.decoder(model.encoder(torch.zeros(1, 1, 24000))).shape[-1] == 24000


def use_madmom():
    revive_names_for_madmom()
    import madmom

    signal = madmom.audio.signal.Signal(song, sample_rate=RATE_HZ, num_channels=1)
    activations = madmom.features.beats.RNNBeatProcessor()(signal)
    found = madmom.features.beats.DBNBeatTrackingProcessor(fps=100)(activations)
    assert abs(np.median(np.diff(found)) - 0.5) < 0.02


def use_onnxruntime():
    import onnxruntime

    assert "CPUExecutionProvider" in onnxruntime.get_available_providers()


wanted = json.loads(sys.argv[1])
for package in wanted:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        print(json.dumps([package, "absent"]), flush=True)
        continue
    try:
        globals()["use_" + package]()
        print(json.dumps([package, version]), flush=True)
    except ImportError as error:
        if package != "pyacoustid":  # the one whose library is a package of the system
            raise
        print(json.dumps([package, f"absent: {error}"]), flush=True)
'''

pytestmark = pytest.mark.xdist_group("environment")  # or every worker would run it anew

# One process uses the first group and then all the rest: what clashes, clashes here.
ALWAYS = ("grpcio", "protobuf", "protovalidate", "psycopg", "procrastinate", "minio")
BY_SERVICE = {
    "numpy": "ingest",
    "scipy": "mastering",
    "numba": "mastering",
    "soxr": "ingest",
    "soundfile": "ingest",
    "av": "ingest",
    "pyacoustid": "fingerprint (and the Debian package libchromaprint1)",
    "torch": "generation",
    "librosa": "analysis",
    "resampy": "analysis",
    "torchcrepe": "analysis",
    "encodec": "generation",
    "madmom": "analysis",
    "onnxruntime": "analysis",
}


@pytest.fixture(scope="module")
def used() -> dict[str, str]:
    """Uses every installed package in one process: package -> version, or why it is absent."""
    names = json.dumps([*ALWAYS, *BY_SERVICE])
    # What librosa compiles at import (half a minute) tools/setup.sh has compiled, so that nothing
    # is written here: where two once wrote that cache at the same time, librosa crashed.
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, names],
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("[")]
    found = {str(package): str(version) for package, version in lines}
    assert ran.returncode == 0, f"After {list(found)} together:\n{ran.stderr[-3000:]}"
    return found


@pytest.mark.parametrize("package", ALWAYS)
def test_what_every_service_needs_works(package: str, used: dict[str, str]) -> None:
    """The packages below all services are installed and do their work beside all the others."""
    assert not used[package].startswith("absent")


@pytest.mark.slow
@pytest.mark.parametrize("package", BY_SERVICE)
def test_what_a_service_needs_works_beside_the_rest(package: str, used: dict[str, str]) -> None:
    """Each package works in one process with all others, or its service is not set up."""
    if used[package].startswith("absent"):
        pytest.skip(
            f"NOT PROVED: {package} is {used[package]}; it comes with {BY_SERVICE[package]}."
        )
    assert used[package]
