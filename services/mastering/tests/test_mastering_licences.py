"""What the service is made of may be linked into it."""

import re
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest
from chorale.ingest.v1 import audio_pb2
from chorale.mastering.v1 import master_pb2, outputs_pb2, settings_pb2, stages_pb2
from operation_calls import finished

LOCK = Path(__file__).parents[1] / "requirements.lock"
_GPL = re.compile(r"(?<!L)(?<!Lesser )\bA?GPL|(?<!Lesser )General Public License")
_FFMPEG = re.compile(r"lib(x26\d|av(codec|device|filter|format|util)|sw(resample|scale)|postproc)")


def test_no_package_of_the_service_is_gpl() -> None:
    """By what each locked package says of itself; LGPL may be linked."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text("utf-8"), flags=re.MULTILINE)
    assert len(names) > 20
    said = {name: licences(name) for name in names}
    assert [name for name, text in said.items() if _GPL.search(text)] == []
    # PyAV's wheel calls itself BSD and carries x264 and x265.
    assert {"matchering", "pedalboard", "av"}.isdisjoint(names)


@pytest.mark.asyncio(loop_scope="session")
async def test_no_gpl_library_is_mapped(
    channel: Any, mastering: Any, noise: audio_pb2.Audio, process_id: int
) -> None:
    """Not in the service, and not in its workers, once every kind of file and check was made."""
    kinds = outputs_pb2.MasterEncoding.keys()[1:]
    codecs = [stages_pb2.CodecCheck(codec=codec) for codec in stages_pb2.Codec.keys()[1:]]
    first = settings_pb2.MasteringSettings(codecs=codecs)
    for number in range(0, len(kinds), 5):
        request = master_pb2.MasterRequest(
            audio=noise.name,
            request_id=str(uuid.uuid4()),
            outputs=[
                outputs_pb2.MasterOutput(label=kind.lower(), encoding=kind, overrides=first)
                for kind in kinds[number : number + 5]
            ],
        )
        first = settings_pb2.MasteringSettings()
        answer = await finished(
            channel, await mastering.Master(request), master_pb2.MasterResponse()
        )
        assert len(answer.masters) == len(request.outputs)
    me = psutil.Process(process_id)
    files = [mapped(process) for process in (me, *me.children(recursive=True))]
    assert len(files) > 1
    assert any("libsndfile" in name for names in files for name in names)
    assert [name for names in files for name in names if _FFMPEG.search(name)] == []


def mapped(process: psutil.Process) -> set[str]:
    """The files that a process has in its memory."""
    return {row.path for row in process.memory_maps()}


def licences(name: str) -> str:
    """The licence by its expression, its classifiers and its first line, whichever there are."""
    told = metadata.metadata(name).json
    classifiers = [text for text in told.get("classifier", []) if text.startswith("License")]
    words = [str(told.get("license_expression", "")), str(told.get("license", "")).split("\n")[0]]
    return "; ".join([*classifiers, *words])
