"""Bytes in, named audio out: the service that opens uploaders' files and owns the catalogue."""
