"""The checksums that S3 knows, computed piece by piece."""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol

#: Reflected polynomials of CRC-32C (Castagnoli) and CRC-64/NVME.
CRC32C = 0x82F63B78
CRC64NVME = 0x9A6C9329AC4BC9B5
ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


class Checksum(Protocol):
    """Takes bytes, then gives their checksum."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    """A CRC of `width` bytes, by a function that continues from an earlier value."""

    def __init__(self, go_on: Callable[[bytes, int], int], width: int) -> None:
        self._go_on, self._width, self._value = go_on, width, 0

    def update(self, data: bytes, /) -> None:
        self._value = self._go_on(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


def start_checksum(algorithm: str) -> Checksum:
    """A checksum by S3's name for it. Raises KeyError for one that S3 does not have."""
    if algorithm == "SHA256":
        return hashlib.sha256()
    if algorithm == "SHA1":
        return hashlib.sha1(usedforsecurity=False)
    if algorithm == "CRC32":
        return _Crc(zlib.crc32, 4)
    return _Crc(_fast(algorithm) or _slow(algorithm), {"CRC32C": 4, "CRC64NVME": 8}[algorithm])


def checksum_of(algorithm: str, data: bytes) -> str:
    """The checksum of these bytes, in base64 as S3 writes it."""
    checksum = start_checksum(algorithm)
    checksum.update(data)
    return base64.b64encode(checksum.digest()).decode()


def _fast(algorithm: str) -> Callable[[bytes, int], int] | None:
    """AWS's own library, where somebody has installed it."""
    try:
        from awscrt import checksums  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    function: Callable[[bytes, int], int] = getattr(checksums, algorithm.lower())
    return function


def _slow(algorithm: str) -> Callable[[bytes, int], int]:
    """Byte by byte: about 10 MB/s."""
    polynomial, ones = {
        "CRC32C": (CRC32C, 0xFFFFFFFF),
        "CRC64NVME": (CRC64NVME, 0xFFFFFFFFFFFFFFFF),
    }[algorithm]
    table = _table(polynomial)

    def go_on(data: bytes, value: int) -> int:
        value ^= ones
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ ones

    return go_on


@functools.cache
def _table(polynomial: int) -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    return tuple(table)
