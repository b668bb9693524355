"""S3 file system of s3fs with opaque keys: everything behind the bucket is the key, whatever characters it has.

s3fs reads ``?versionId=`` in a key as a version and strips slashes at its ends, so it would read another object.
"""

from __future__ import annotations

from s3fs import S3FileSystem


class OpaqueS3(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """`S3FileSystem` whose paths are ``bucket/key`` with a literal key."""

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> str | list[str]:
        if isinstance(path, list):
            return [str(cls._strip_protocol(each)) for each in path]
        return str(path).removeprefix("s3://")

    def split_path(self, path: str) -> tuple[str, str, None]:
        """Bucket, key, and no version."""
        bucket, _, key = str(self._strip_protocol(path)).partition("/")
        return bucket, key, None
