"""H.264 NAL units: parsing and joining packets, and the decoder configuration (parameter sets).

See ITU-T H.264, sections 7.3 and 7.4, and ISO/IEC 14496-15 for ``avcC``. Two forms exist: length-prefixed units (MP4,
Matroska), and units after start codes ("Annex B": transport streams, raw files, encoders).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

SLICE, IDR_SLICE, SEI, SPS, PPS = 1, 5, 6, 7, 8
START_CODE = b"\x00\x00\x00\x01"

_START = re.compile(b"\x00\x00\x01")
_LENGTH_BYTES = 4


class UnitError(ValueError):
    """Bytes that are not valid H.264."""


def in_avcc_form(config: bytes) -> bool:
    """Whether units are prefixed by 4-byte lengths, by the decoder configuration ("extradata").

    Raises:
        UnitError: The configuration has neither form, or its lengths have another size.
    """
    if config[:1] == b"\x01" and len(config) > 6:
        if (config[4] & 3) + 1 != _LENGTH_BYTES:
            raise UnitError("lengths of units are not of four bytes")
        return True
    if config[:3] == b"\x00\x00\x01" or config[:4] == START_CODE:
        return False
    raise UnitError("no H.264 configuration")


def units(data: bytes, *, avcc: bool) -> Iterator[bytes]:
    """Split a packet into its units, without lengths or start codes.

    Raises:
        UnitError: A length exceeds the packet.
    """
    if not avcc:
        starts = [(match.start(), match.end()) for match in _START.finditer(data)]
        ends = [start for start, _ in starts[1:]] + [len(data)]
        for (_, begin), end in zip(starts, ends, strict=True):
            if unit := data[begin:end].rstrip(b"\x00"):
                yield unit
        return
    at = 0
    while at < len(data):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data) or at == begin:
            raise UnitError("a unit is cut short")
        yield data[begin:at]


def joined(parts: Iterable[bytes], *, avcc: bool) -> bytes:
    """Join units into one packet."""
    return b"".join((len(unit).to_bytes(_LENGTH_BYTES, "big") if avcc else START_CODE) + unit for unit in parts)


def kind(unit: bytes) -> int:
    """Type of a unit, such as `IDR_SLICE`."""
    return unit[0] & 0x1F


def is_referred_to(data: bytes, *, avcc: bool) -> bool:
    """Whether a packet is a reference frame (nal_ref_idc is not 0).

    Raises:
        UnitError: The packet has no frame.
    """
    for unit in units(data, avcc=avcc):
        if SLICE <= kind(unit) <= IDR_SLICE:
            return bool(unit[0] & 0x60)
    raise UnitError("a packet without a frame")


def numbered(parts: Iterable[bytes]) -> dict[tuple[int, int], bytes]:
    """Parameter sets among units, by their type and id."""
    sets = (unit for unit in parts if kind(unit) in (SPS, PPS))
    return {(kind(unit), _exp_golomb(unit[4:] if kind(unit) == SPS else unit[1:])): unit for unit in sets}


def config_units(config: bytes) -> list[bytes]:
    """Parameter sets in a decoder configuration of either form.

    Raises:
        UnitError: It is truncated.
    """
    if not in_avcc_form(config):
        return list(units(config, avcc=False))
    sequences, pictures, _ = _avcc_parts(config)
    return sequences + pictures


def with_parameters(config: bytes, added: list[bytes]) -> bytes:
    """Add parameter sets to a decoder configuration.

    Args:
        config: The configuration, of either form.
        added: Units; those that are not parameter sets are ignored.

    Raises:
        UnitError: The configuration cannot be read, or has too many parameter sets.
    """
    if not in_avcc_form(config):
        return config + joined((unit for unit in added if kind(unit) in (SPS, PPS)), avcc=False)
    sequences, pictures, rest = _avcc_parts(config)
    sequences = sequences + [unit for unit in added if kind(unit) == SPS]
    pictures = pictures + [unit for unit in added if kind(unit) == PPS]
    if len(sequences) > 31 or len(pictures) > 255:
        raise UnitError("too many parameter sets")
    level = max([config[3], *(unit[3] for unit in sequences)])
    head = config[:3] + bytes([level]) + config[4:5] + bytes([0xE0 | len(sequences)])
    return head + _listed(sequences) + bytes([len(pictures)]) + _listed(pictures) + rest


def _avcc_parts(config: bytes) -> tuple[list[bytes], list[bytes], bytes]:
    sequences, at = _read_list(config, 6, config[5] & 0x1F)
    if at >= len(config):
        raise UnitError("the H.264 configuration is cut short")
    pictures, at = _read_list(config, at + 1, config[at])
    return sequences, pictures, config[at:]


def _read_list(config: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    found = []
    for _ in range(count):
        end = at + 2 + int.from_bytes(config[at : at + 2], "big")
        if end > len(config) or end < at + 6:
            raise UnitError("the H.264 configuration is cut short")
        found.append(config[at + 2 : end])
        at = end
    return found, at


def _listed(parts: list[bytes]) -> bytes:
    return b"".join(len(unit).to_bytes(2, "big") + unit for unit in parts)


def _exp_golomb(data: bytes) -> int:
    """Exp-Golomb number at the start of some bytes; the ids of parameter sets are below 256."""
    bits = int.from_bytes(data[:4].ljust(4, b"\x00"), "big")
    zeros = 32 - bits.bit_length()
    if zeros > 8:
        raise UnitError("no number of a parameter set")
    return (bits >> (31 - 2 * zeros)) - 1
