"""Where a Chroma server is, and which of its collections is meant. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_COLLECTION = "abstracts"

_PORTS = {"http": 8000, "https": 443}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Address:
    """A collection on a server."""

    scheme: str
    host: str
    port: int
    collection: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``http://host:port[/collection]``.

        Raises:
            ValueError: Says what is wrong with it.
        """
        parts = urlsplit(text.strip())
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f'"{text}" is not http://HOST:PORT[/COLLECTION]')
        if parts.username is not None or parts.password is not None:
            raise ValueError("a token does not belong in the address; set ASSISTANT_STORE_TOKEN")
        collection = parts.path.strip("/") or DEFAULT_COLLECTION
        if not _NAME.fullmatch(collection) or parts.query or parts.fragment:
            raise ValueError(
                f'"{collection}" is no name for a collection: up to 100 of A-Z a-z 0-9 . _ -, '
                "a letter or digit at both ends"
            )
        # Read even if it is not used: a port that is no number is refused here.
        port = parts.port or _PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname, port, collection)

    @property
    def url(self) -> str:
        """The server, without the collection."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def folder_name(self) -> str:
        """A name for a folder, of no other address."""
        readable = re.sub(r"[^A-Za-z0-9]+", "-", f"{self.host}-{self.port}-{self.collection}")
        return f"{readable[:60]}-{hashlib.sha256(str(self).encode()).hexdigest()[:10]}"

    def __str__(self) -> str:
        """Return what ``parse`` reads."""
        return f"{self.url}/{self.collection}"
