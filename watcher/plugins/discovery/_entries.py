"""What one sitemap names: pages, or other sitemaps; read from bytes as they come, within bounds.

The sender is not trusted: no entity may be declared, nothing is loaded, what is decompressed is bounded.
"""

from __future__ import annotations

import zlib
from xml.parsers import expat

BYTES_MOST = 50 * 1024 * 1024  # uncompressed, as sitemaps.org has it
PIECE_BYTES = 1024 * 1024
DEPTH_MOST = 32
URL_MOST = 2048  # characters: sitemaps.org wants fewer
GZIP = b"\x1f\x8b"
ROOTS = {"urlset": "url", "sitemapindex": "sitemap"}  # root → what holds a <loc>


class Entries:
    """Feed it with a sitemap, then close it; `locations` has what it names, `is_index` tells of which kind."""

    def __init__(self) -> None:
        self.locations: list[str] = []
        self.is_index = False
        self._path: list[str] = []
        self._namespace = ""
        self._text: list[str] = []
        self._length = 0
        self._bytes = 0
        self._gzip: zlib._Decompress | None = None
        self._begun = False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.EntityDeclHandler = _refuse_entity
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, data: bytes) -> None:
        """Take the next bytes, compressed by gzip or not.

        Raises:
            ValueError: in words why they cannot be used.
        """
        if not self._begun and data:
            self._begun = True
            if data.startswith(GZIP):
                self._gzip = zlib.decompressobj(wbits=31)
        try:
            while data:
                piece, data = self._unpacked(data)
                self._parse(piece)
        except zlib.error as error:
            raise ValueError(f"is not gzip as it begins: {error}") from error

    def _unpacked(self, data: bytes) -> tuple[bytes, bytes]:
        """Give a piece of the document, and what is left for the next."""
        if self._gzip is None:
            return data, b""
        if self._gzip.eof:  # zeros may fill up the file, or another member follow (RFC 1952, 2.2)
            data = data.lstrip(b"\0")
            if not data:
                return b"", b""
            self._gzip = zlib.decompressobj(wbits=31)
        piece = self._gzip.decompress(data, PIECE_BYTES)
        return piece, self._gzip.unconsumed_tail or self._gzip.unused_data

    def close(self) -> None:
        """Hear that this was all.

        Raises:
            ValueError: it was not.
        """
        self._parse(self._gzip.flush() if self._gzip else b"", last=True)

    def _parse(self, piece: bytes, last: bool = False) -> None:
        self._bytes += len(piece)
        if self._bytes > BYTES_MOST:
            raise ValueError(f"is larger than {BYTES_MOST // 1024**2} MiB")
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            raise ValueError(f"is no XML, or not there to its end: {error}") from error

    def _start(self, name: str, _: object) -> None:
        namespace, _, local = name.rpartition(" ")
        if not self._path:
            if local not in ROOTS:
                raise ValueError(f"is no sitemap: it begins with <{local[:50]}>, not with <urlset> or <sitemapindex>")
            self.is_index, self._namespace = local == "sitemapindex", namespace
        if len(self._path) >= DEPTH_MOST:
            raise ValueError(f"has elements within one another {DEPTH_MOST} deep")
        self._path.append(local if namespace == self._namespace else "")
        self._text.clear()
        self._length = 0

    def _end(self, _: str) -> None:
        root = self._path[0]
        if self._path == [root, ROOTS[root], "loc"] and 0 < self._length <= URL_MOST:
            self.locations.append("".join(self._text).strip())
        self._path.pop()

    def _characters(self, text: str) -> None:
        if len(self._path) == 3 and self._path[2] == "loc":
            self._length += len(text)
            if self._length <= URL_MOST:
                self._text.append(text)


def _refuse_entity(*_: object) -> None:
    raise ValueError("declares an XML entity, which no sitemap needs; it is refused")
