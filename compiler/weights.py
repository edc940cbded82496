"""Writes the weights file, NAME_weights.bin: a header of 64 bytes, then the tables, little-endian, each from a
multiple of 64 bytes on.

The object has it baked in, or (--weights blob) is handed its address at init and refuses one that is not meant for it:
the header names the architecture, by a hash of all that the code was compiled for, and holds a checksum.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from .arithmetic import PANEL
from .errors import CompileError
from .formats import Table
from .pack import input_limits
from .plan import Plan

MAGIC = b"VOCOSCWT"
VERSION = 1
BYTE_ORDER_MARK = 0x01020304
_SIZES = (
    *("sample_rate", "n_fft", "hop_length", "n_mels", "dim", "hidden", "kernel_size", "num_layers", "f_min", "f_max"),
)
_HEADER = struct.Struct("<8sIIII")  # magic, version, byte order, bytes of the file, CRC-32 of all that follows


@dataclass(frozen=True)
class Weights:
    """The weights file and what its header says."""

    file: bytes
    crc32: int
    architecture: bytes
    golden_hash: int  # what the self-test expects of these weights; 0 if there is none


def build_weights(plan: Plan, tables: Sequence[Table], golden_hash: int) -> Weights:
    """The file that holds the tables."""
    hashes = _architecture(plan, tables)
    little = (table.data.astype(table.data.dtype.newbyteorder("<")).tobytes() for table in tables)
    lines = (data + bytes(-len(data) % 64) for data in little)
    rest = hashes + struct.pack("<Q", golden_hash) + b"".join(lines)
    size = _HEADER.size + len(rest)
    if size >= 2**32:
        raise CompileError(f"the weights take {size} bytes; a weights file has less than 4 GiB")
    crc32 = zlib.crc32(rest)
    return Weights(_HEADER.pack(MAGIC, VERSION, BYTE_ORDER_MARK, size, crc32) + rest, crc32, hashes, golden_hash)


def _architecture(plan: Plan, tables: Sequence[Table]) -> bytes:
    """SHA-256 of all that the weights must have in common with the code, whatever their values are."""
    config = plan.config
    facts = {
        "config": {name: getattr(config, name) for name in _SIZES},
        "precision": plan.precision,
        "panel": PANEL,
        "limits": input_limits(plan.network, tables),  # of integers: the code relies on them, so that no sum overflows
        "tables": [(table.name, table.c_type, table.layout, table.data.size) for table in tables],
    }
    if plan.counts_frames:
        facts["right"] = [operation.right for operation in plan.network.operations]
        facts["padding"] = config.padding
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()


def crc32_tables() -> list[int]:
    """The CRC-32 (IEEE 802.3, reflected polynomial 0xedb88320) of each byte, and of each with 1 to 3 zeros behind it.

    With those a word is looked up at once, byte by byte (M. Kounavis and F. Berry, "A systematic approach to building
    high performance software-based CRC generators", 2005).
    """
    first = list(range(256))
    for _ in range(8):
        first = [value >> 1 ^ (0xEDB88320 if value & 1 else 0) for value in first]
    tables = [first]
    for _ in range(3):
        tables.append([value >> 8 ^ first[value & 255] for value in tables[-1]])
    return [value for table in tables for value in table]
