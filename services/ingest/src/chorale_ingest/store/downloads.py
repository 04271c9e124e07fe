"""Audio as a file: the original, or another encoding of what is stored."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from chorale_runtime.objects import Objects

from chorale_ingest import forms, sniffing
from chorale_ingest.forms import Form
from chorale_ingest.sounds import (
    CoverNotFound,
    Entry,
    Sound,
    cover_key,
    original_key,
    pcm_key,
)
from chorale_ingest.store.casting import Caster
from chorale_ingest.store.exporting import Export, Exporter
from chorale_ingest.store.reading import Reader


@dataclass(frozen=True)
class File:
    """A file on its way out."""

    content_type: str
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True)
class Exported:
    """A file that was written, and where anybody can fetch it for a while."""

    url: str
    size_bytes: int
    sha256: str


class Downloads:
    """Gives audio out as files."""

    def __init__(
        self,
        objects: Objects,
        reader: Reader,
        caster: Caster,
        exporter: Exporter,
        lifetime_seconds: int,
    ) -> None:
        self._objects, self._reader = objects, reader
        self._caster, self._exporter = caster, exporter
        self.lifetime_seconds = lifetime_seconds

    def original_key(self, sound: Sound) -> str:
        """Where the bytes are that `ReadBytes` reads: of what the mesh made, its PCM."""
        return original_key(sound.sha256) if sound.has_original else pcm_key(sound.sha256)

    async def file(self, entry: Entry, encoding: str) -> File:
        """An audio as a file; `unspecified` is the original, or as stored if there is none."""
        sound = entry.sound
        if encoding == "unspecified" and sound.has_original:
            content_type = sniffing.content_type(sound.container)
            return File(content_type, self._reader.raw(original_key(sound.sha256), 0, 0))
        form = _form(sound, encoding)
        if not form.codec:
            made = forms.cast(sound, form)
            return File(form.content_type, self._caster.wave(sound, made))
        export = await self._exporter.export(entry, form)
        return File(form.content_type, self._reader.raw(export.key, 0, 0))

    def cover(self, entry: Entry) -> File:
        """The cover that was kept, as it came."""
        if not entry.cover_type:
            raise CoverNotFound(entry.name)
        return File(entry.cover_type, self._reader.raw(cover_key(entry.sound.sha256), 0, 0))

    def sign_cover(self, entry: Entry, lifetime_seconds: int, file_name: str) -> str:
        """A URL of the cover that was kept, saved under a name."""
        if not entry.cover_type:
            raise CoverNotFound(entry.name)
        suffix = "png" if entry.cover_type == "image/png" else "jpg"
        name = file_name or f"{entry.sound.sha256[:12]}.{suffix}"
        return self._objects.sign_get(cover_key(entry.sound.sha256), lifetime_seconds, name)

    async def sign(self, entry: Entry, encoding: str, lifetime_seconds: int, file_name: str) -> str:
        """A URL of a file, which is made first if it is not there, saved under a name."""
        sound = entry.sound
        name = file_name or entry.file_name
        if encoding == "unspecified" and sound.has_original:
            name = name or f"{sound.sha256[:12]}.{sound.container.split(',')[0]}"
            return self._objects.sign_get(original_key(sound.sha256), lifetime_seconds, name)
        form = _form(sound, encoding)
        export = await self._exporter.export(entry, form)
        return self._signed(entry, form, export, lifetime_seconds, file_name)

    async def export(self, entry: Entry, encoding: str, sample_rate_hz: int) -> Exported:
        """Write a file of an encoding at a rate, and sign it for the usual time."""
        form = forms.FORMS[encoding]
        export = await self._exporter.export(entry, form, sample_rate_hz)
        url = self._signed(entry, form, export, self.lifetime_seconds, "")
        return Exported(url, export.size_bytes, export.file_sha256)

    def _signed(
        self, entry: Entry, form: Form, export: Export, lifetime_seconds: int, file_name: str
    ) -> str:
        name = file_name or forms.file_name(entry.file_name or entry.sound.sha256[:12], form.suffix)
        return self._objects.sign_get(export.key, lifetime_seconds, name)


def _form(sound: Sound, encoding: str) -> Form:
    return forms.as_stored(sound) if encoding == "unspecified" else forms.FORMS[encoding]
