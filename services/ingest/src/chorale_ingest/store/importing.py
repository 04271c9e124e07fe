"""Objects that lie in the mesh's own bucket, taken over as if they had been uploaded."""

from chorale_runtime.objects import ObjectNotFound, Objects
from chorale_runtime.refusals import CallForbidden

from chorale_ingest.sounds import Entry
from chorale_ingest.store.receiving import Opening, Receiver
from chorale_ingest.store.uploads import Part, Uploads, part_key
from chorale_ingest.tiers import AudioTooLarge, Tier


class ImportNotFound(Exception):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key
        self.missing = key

    def __str__(self) -> str:
        return f"No object lies under {self.key!r}; put it there, then import it."


class Importer:
    """Takes over what lies under the caller's own prefix."""

    def __init__(self, objects: Objects, uploads: Uploads, receiver: Receiver, prefix: str) -> None:
        self._objects, self._uploads, self._receiver = objects, uploads, receiver
        self._prefix = prefix

    async def take(self, owner: str, tier: Tier, key: str, opening: Opening) -> Entry:
        """Copy the object where nobody can change it, then finish it as an upload."""
        self._allow(owner, key)
        try:
            size_bytes = (await self._objects.stat(key)).size_bytes
        except ObjectNotFound:
            raise ImportNotFound(key) from None
        if size_bytes > tier.upload_bytes:
            raise AudioTooLarge(size_bytes, tier.upload_bytes)
        upload = await self._receiver.open(owner, tier, opening)
        if upload.is_finished:
            return await self._receiver.finish(owner, tier, upload.upload_id)
        upload = await self._uploads.take(owner, upload.upload_id)
        if upload.committed_bytes == 0:
            copied = await self._objects.copy(part_key(upload, 0), key)
            await self._uploads.commit(upload, Part(0, copied.size_bytes, part_key(upload, 0)))
            await self._uploads.sized(upload, copied.size_bytes)
        return await self._receiver.finish(owner, tier, upload.upload_id)

    def _allow(self, owner: str, key: str) -> None:
        """A caller's keys begin with the prefix and its name: `imports/{principal}/...`."""
        own = f"{self._prefix}{owner}/"
        is_plain = "//" not in key and not {".", ".."} & set(key.split("/"))
        if not self._prefix or not owner or not key.startswith(own) or not is_plain:
            raise CallForbidden(
                "/chorale.ingest.v1.IngestService/ImportObject", f"keys that begin with {own}"
            )
