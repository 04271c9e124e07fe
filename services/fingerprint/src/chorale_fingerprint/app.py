"""Wiring: the only place that constructs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from chorale.fingerprint.v1 import (
    catalogue_pb2,
    fingerprint_service_pb2,
    fingerprint_service_pb2_grpc,
    listening_pb2,
    recordings_pb2,
    similar_pb2,
)
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_audio.reader import AudioReader
from chorale_audio.source import Store as AudioStore
from chorale_runtime.app import App, Service
from chorale_runtime.channels import channel
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Operations, Work
from chorale_runtime.positions import Positions
from chorale_runtime.processes import Processes
from google.protobuf.message import Message

from chorale_fingerprint import engines, servicer, tiers, worker
from chorale_fingerprint.codes import library_version
from chorale_fingerprint.servicer.acoust_id import AcoustId
from chorale_fingerprint.servicer.duplicate_works import DuplicateWorks
from chorale_fingerprint.servicer.duplicates import Duplicates
from chorale_fingerprint.servicer.enrolling import Enroller
from chorale_fingerprint.servicer.hearing import Hearing
from chorale_fingerprint.servicer.monitoring import MonitorWorks
from chorale_fingerprint.servicer.renewing import RenewalWorks
from chorale_fingerprint.servicer.rules import DuplicateRules
from chorale_fingerprint.servicer.searching import Searcher
from chorale_fingerprint.servicer.stream_calls import StreamCalls
from chorale_fingerprint.servicer.works import FingerprintWorks
from chorale_fingerprint.settings import Settings
from chorale_fingerprint.store.patterns import PatternStore
from chorale_fingerprint.store.recording_changes import RecordingChanger
from chorale_fingerprint.store.recordings import Store
from chorale_fingerprint.store.renewal import LayoutRenewal
from chorale_fingerprint.store.similar import SimilarPatterns
from chorale_fingerprint.store.songs import SongsOfRecordings

NAME = "fingerprint"
QUEUE = "fingerprint.cpu"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Opens what fingerprint stands on, and yields the app."""
    migrations = resources.files("chorale_fingerprint") / "migrations"
    sound = AudioStore.of(settings)
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        database = await enter(Database.open(settings.database_url, NAME, migrations))
        objects = await enter(Objects.of(settings))
        processes = await enter(Processes.open(settings.processes, worker.PRELOAD))
        ingest = ingest_service_pb2_grpc.IngestServiceStub(
            await enter(channel(settings.ingest_address, settings))
        )
        reader, store = AudioReader(ingest, objects, sound), Store(database)
        known = engines.engines(library_version())
        parts = _Parts(
            settings,
            Hearing(reader, ingest, known),
            store,
            SongsOfRecordings(database),
            RenewalWorks(LayoutRenewal(database), known),
        )
        works = parts.works()
        operations = await enter(
            Operations.open(
                database,
                works=list(works.values()),
                errors=servicer.ERRORS,
                domain=f"{NAME}.chorale",
                processes=processes,
                queue_limit=settings.queue_limit,
            )
        )
        yield App(
            name=NAME,
            services=[
                Service(
                    fingerprint_service_pb2.DESCRIPTOR.services_by_name["FingerprintService"],
                    servicer.FingerprintServicer(
                        reader,
                        store,
                        known,
                        operations,
                        works,
                        PatternStore(database),
                        SimilarPatterns(database),
                        parts.rules,
                        StreamCalls(store, parts.searcher, known, settings.live_streams_max),
                        parts.songs,
                        AcoustId(
                            settings.acoustid_key,
                            settings.acoustid_url,
                            settings.acoustid_timeout_seconds,
                        ),
                        RecordingChanger(database, store.landmarks),
                        parts.renewals,
                        tiers.parse(_tiers_text(settings)),
                        Positions(database),
                    ),
                    fingerprint_service_pb2_grpc.add_FingerprintServiceServicer_to_server,
                ),
                *operations.services(),
            ],
            errors=servicer.ERRORS,
            probes={"database": database.probe, "objects": objects.probe},
        )


@dataclass(frozen=True)
class _Parts:
    """What the long work of this service stands on."""

    settings: Settings
    hearing: Hearing
    store: Store
    songs: SongsOfRecordings
    renewals: RenewalWorks

    @property
    def searcher(self) -> Searcher:
        """Searches the store."""
        return Searcher(self.store, self.settings.probes_max)

    @property
    def rules(self) -> DuplicateRules:
        """What happens to duplicates."""
        return DuplicateRules.read(
            self.settings.duplicate_policy,
            self.settings.sections_per_song_max,
            self.settings.duplicate_policy_by_tier,
            self.settings.sections_per_song_by_tier,
        )

    def works(self) -> dict[str, Work]:
        """The long work of this service, by RPC."""
        duplicates = Duplicates(self.store, self.songs, self.searcher)
        enroller = Enroller(self.store, self.searcher, self.songs)
        main = FingerprintWorks(
            self.hearing, self.store, self.searcher, enroller, duplicates, self.rules
        )
        monitors = MonitorWorks(self.hearing, self.store, self.searcher)
        copies = DuplicateWorks(self.hearing, self.store, self.songs, duplicates, self.rules)
        made = (
            self._work(
                servicer.ENROLL,
                recordings_pb2.EnrollRequest,
                recordings_pb2.EnrollResponse,
                main.enroll,
            ),
            self._work(
                servicer.IDENTIFY,
                recordings_pb2.IdentifyRequest,
                recordings_pb2.IdentifyResponse,
                main.identify,
            ),
            self._work(
                servicer.COMPUTE_CHROMAPRINT,
                listening_pb2.ComputeChromaprintRequest,
                listening_pb2.ComputeChromaprintResponse,
                main.compute_chromaprint,
            ),
            self._work(
                servicer.MONITOR,
                listening_pb2.MonitorRequest,
                listening_pb2.MonitorResponse,
                monitors.monitor,
            ),
            self._work(
                servicer.CHECK_DUPLICATES,
                catalogue_pb2.CheckDuplicatesRequest,
                catalogue_pb2.CheckDuplicatesResponse,
                copies.check,
            ),
            self._work(
                servicer.REPORT_DUPLICATES,
                catalogue_pb2.ReportDuplicatesRequest,
                catalogue_pb2.ReportDuplicatesResponse,
                copies.report,
            ),
            self._work(
                servicer.REINDEX_PATTERNS,
                similar_pb2.ReindexPatternsRequest,
                similar_pb2.ReindexPatternsResponse,
                self.renewals.reindex,
            ),
        )
        return {work.method: work for work in made}

    def _work(self, method: str, request: type[Message], response: type[Message], run: Any) -> Work:
        return Work(
            method=method,
            request=request,
            response=response,
            run=run,
            queue=QUEUE,
            timeout_seconds=self.settings.timeout_seconds,
        )


def _tiers_text(settings: Settings) -> str:
    if settings.tiers_file:
        return Path(settings.tiers_file).read_text(encoding="utf-8")
    return (resources.files("chorale_fingerprint") / "tiers.json").read_text(encoding="utf-8")
