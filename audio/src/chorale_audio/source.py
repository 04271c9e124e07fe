"""Where the PCM of named audio lies, and reading it from any process."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from chorale_runtime import objects_client
from chorale_runtime.objects import REGION, ObjectsUnavailable
from chorale_runtime.settings import ServerSettings
from urllib3.exceptions import HTTPError

from chorale_audio.encoding import Encoding

if TYPE_CHECKING:
    from chorale_audio.pcm import Samples

BLOCK_FRAMES = 1 << 16
_RESUMES = 3  # times one read goes on after the storage dropped it


@dataclass(frozen=True)
class Span:
    """A half-open run of frames. A count of 0 means to the end."""

    start_frame: int = 0
    frame_count: int = 0


@dataclass(frozen=True)
class Store:
    """How to reach the mesh's bucket; what `Objects.open` was given, without its threads."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str
    secure: bool = False

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        """The bucket that a service's settings name."""
        return cls(
            settings.objects_endpoint,
            settings.objects_access_key,
            settings.objects_secret_key,
            settings.objects_bucket,
            settings.objects_secure,
        )


@dataclass(frozen=True)
class Source:
    """A run of frames in object storage: all a process needs to read them, and small to send.

    Work in a process pool takes a source and reads it itself, so that no sound goes through the
    service's event loop.
    """

    audio: str
    key: str
    encoding: Encoding
    sample_rate_hz: int
    channel_count: int
    start_frame: int
    frame_count: int
    store: Store = field(repr=False)

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame."""
        return self.encoding.sample_bytes * self.channel_count

    @property
    def duration_seconds(self) -> float:
        """Length of the run."""
        return self.frame_count / self.sample_rate_hz

    def within(self, start_frame: int, frame_count: int) -> "Source":
        """The same audio, and of this run only so much."""
        return replace(
            self,
            start_frame=self.start_frame + start_frame,
            frame_count=min(frame_count, self.frame_count - start_frame),
        )

    def blocks(self, block_frames: int = BLOCK_FRAMES) -> "Iterator[Samples]":
        """Yields float32 blocks `(frames, channels)`, blocking while the storage answers.

        Every block but the last holds `block_frames`. A connection that breaks is replaced,
        going on at the next frame. For worker processes; on an event loop use `AudioReader`.
        """
        # Not at the top: a service's own process names sources and never reads them.
        from chorale_audio.pcm import decoded

        frame, end, resumes = 0, self.frame_count, 0
        client = objects_client.client(
            self.store.endpoint,
            self.store.access_key,
            self.store.secret_key,
            self.store.secure,
            REGION,
            1,
        )
        try:
            while frame < end:
                try:
                    for data in self._read(client, frame, block_frames):
                        block = decoded(data, self.encoding, self.channel_count)
                        frame += len(block)
                        yield block
                    if frame < end:
                        raise HTTPError(f"the object ended {end - frame} frames early")
                except (HTTPError, OSError) as error:
                    resumes += 1
                    if resumes > _RESUMES:
                        raise ObjectsUnavailable(str(error)) from error
        finally:
            client._http.clear()

    def _read(self, client: Any, frame: int, block_frames: int) -> Iterator[bytes]:
        """Yields the bytes of whole frames from `frame` on, to the end or a broken connection."""
        offset = (self.start_frame + frame) * self.frame_bytes
        length = (self.frame_count - frame) * self.frame_bytes
        try:
            response = client.get_object(self.store.bucket, self.key, offset=offset, length=length)
        except Exception as error:
            objects_client.raise_typed(error, self.key)
        try:
            while data := response.read(block_frames * self.frame_bytes, decode_content=False):
                torn = len(data) % self.frame_bytes
                yield data[: len(data) - torn] if torn else data
                if torn:
                    raise HTTPError("the object ended within a frame")
        finally:
            response.close()
            response.release_conn()
