"""Long work: what `ExportAudio` starts, and any replica may run."""

from collections.abc import Awaitable, Callable

from chorale.ingest.v1 import reading_pb2
from chorale_runtime.operations import Job, Work

from chorale_ingest import messages
from chorale_ingest.sounds import digest_in
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.downloads import Downloads

EXPORT_QUEUE = "ingest.export"
EXPORT_METHOD = "chorale.ingest.v1.IngestService/ExportAudio"

ExportJob = Job[reading_pb2.ExportAudioRequest]


def export_work(catalogue: Catalogue, downloads: Downloads) -> Work:
    """The work behind `ExportAudio`."""
    return Work(
        EXPORT_METHOD,
        reading_pb2.ExportAudioRequest,
        reading_pb2.ExportAudioResponse,
        run=_export(catalogue, downloads),
        queue=EXPORT_QUEUE,
    )


def _export(
    catalogue: Catalogue, downloads: Downloads
) -> Callable[[ExportJob], Awaitable[reading_pb2.ExportAudioResponse]]:
    async def run(job: ExportJob) -> reading_pb2.ExportAudioResponse:
        request = job.request
        await job.progress("encoding", 0.0)
        entry = await catalogue.find(job.owner, digest_in(request.audio))
        name = messages.form_name(request.encoding)
        made = await downloads.export(entry, name, request.sample_rate_hz)
        return reading_pb2.ExportAudioResponse(
            url=made.url, size_bytes=made.size_bytes, sha256=made.sha256
        )

    return run
