"""What bytes look like, by their first few hundred: for messages to people, never for decoding."""

HEAD_BYTES = 512

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"%PDF", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!", "application/vnd.rar"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"MZ", "application/x-dosexec"),
    (0, b"MThd", "audio/midi"),
    (0, b"#EXTM3U", "application/vnd.apple.mpegurl"),
    (0, b"ffconcat", "text/x-ffconcat"),
    (0, b"RIFF", "audio/wav"),
    (0, b"RF64", "audio/wav"),
    (0, b"riff\x2e\x91\xcf\x11", "audio/x-w64"),
    (0, b"FORM", "audio/aiff"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"caff", "audio/x-caf"),
    (0, b".snd", "audio/basic"),
    (0, b"wvpk", "audio/x-wavpack"),
    (0, b"DSD ", "audio/x-dsf"),
    (0, b"APETAGEX", "application/x-apetag"),
    (0, b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "audio/x-ms-wma"),
    (0, b"ID3", "audio/mpeg"),
    (4, b"ftyp", "audio/mp4"),
    (4, b"moov", "audio/mp4"),
)

_TEXT: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<?xml", "text/xml"),
    (b"<svg", "image/svg+xml"),
    (b"{", "application/json"),
    (b"[", "application/json"),
)

TYPES_BY_CONTAINER = {
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "asf": "audio/x-ms-wma",
    "au": "audio/basic",
    "caf": "audio/x-caf",
    "flac": "audio/flac",
    "matroska,webm": "video/x-matroska",
    "mov,mp4,m4a,3gp,3g2,mj2": "audio/mp4",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "pcm": "audio/wav",
    "w64": "audio/x-w64",
    "wav": "audio/wav",
}


def media_type(head: bytes) -> str:
    """Say what a file looks like from its head, as a media type."""
    if not head:
        return "nothing"
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if head[0] == 0xFF and len(head) > 1 and head[1] & 0xE0 == 0xE0:
        return "audio/mpeg"
    text = head.lstrip().lower()
    for start, kind in _TEXT:
        if text.startswith(start):
            return kind
    return "text/plain" if _is_text(head) else "application/octet-stream"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # the head may end within a character
            return False
        text = head[: error.start].decode()
    return bool(text) and all(
        character.isprintable() or character in "\t\r\n" for character in text
    )


def content_type(container: str) -> str:
    """The media type under which the original bytes are sent out."""
    return TYPES_BY_CONTAINER.get(container, "application/octet-stream")
