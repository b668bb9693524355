"""Fake S3 bucket of any size that supports only listing, page by page."""

from __future__ import annotations

from collections import deque
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.files import LocalServer

OBJECT = (
    "<Contents><Key>films/film{number:07d}.mp4</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    '<ETag>"{number:032x}"</ETag><Size>1000</Size><StorageClass>STANDARD</StorageClass></Contents>'
)
FOLDER = (
    b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>corpus</Name>'
    b"<IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>films/</Prefix></CommonPrefixes></ListBucketResult>"
)
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"


class ListedBucket(LocalServer):
    """Serves S3's ListObjectsV2 of ``s3://corpus/films/``, and of the top level of ``s3://corpus/``.

    Args:
        objects: Number of objects.

    Attributes:
        troubles: Faults of the next requests: ``slow`` is S3's 503, ``drop`` no reply, ``fine`` a normal reply.
        pages: Number of pages served.
    """

    def __init__(self, objects: int) -> None:
        self.objects = objects
        self.troubles: deque[str] = deque()
        self.pages = 0
        super().__init__(self._handler())

    def _page(self, query: dict[str, list[str]]) -> bytes:
        first, size = int(query.get("continuation-token", ["0"])[0]), int(query["max-keys"][0])
        end = min(first + size, self.objects)
        more = end < self.objects
        self.pages += 1
        if "delimiter" in query and "prefix" not in query:
            return FOLDER
        return "".join(
            (
                '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
                f"<Name>corpus</Name><Prefix>films/</Prefix><MaxKeys>{size}</MaxKeys>",
                f"<KeyCount>{end - first}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>",
                f"<NextContinuationToken>{end}</NextContinuationToken>" if more else "",
                *(OBJECT.format(number=number) for number in range(first, end)),
                "</ListBucketResult>",
            )
        ).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                trouble = served.troubles.popleft() if served.troubles else "fine"
                if trouble == "drop":
                    self.close_connection = True
                    return
                body = SLOW_DOWN if trouble == "slow" else served._page(parse_qs(urlsplit(self.path).query))
                self.send_response(503 if trouble == "slow" else 200)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
