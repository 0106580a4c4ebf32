"""Bodies into one compressed value and back: what a row of the archive holds. Pure.

A value is one byte, the number of the dictionary, and a zstd frame around MessagePack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import zstandard

from db.archive import Packed
from tasks.archive_dictionary import DICTIONARIES
from tasks.batch import Body
from worker.errors import AttributionError

#: Level 1 is the fastest and, for bodies so alike, the smallest: docs/adr/0019-archive.md has the figures.
LEVEL: Final = 1
#: Most bytes that are unpacked: PostgreSQL holds no larger value, and a frame that claims more is no frame of ours.
MOST_BYTES: Final = 1 << 30

_NEWEST: Final = max(DICTIONARIES)
_dictionaries: Final = {
    number: zstandard.ZstdCompressionDict(samples, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    for number, samples in DICTIONARIES.items()
}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Body]).decode


class ArchiveUnreadable(AttributionError):
    """An archived batch cannot be read."""


def pack(bodies: Sequence[Body]) -> Packed:
    """Compress the bodies of a batch, at least one, for `db.archive.keep`. Any thread may call it.

    zstd releases Python's lock while it works, so a thread that packs does not keep another from recording.
    """
    # A compressor of its own for each call: they may not be shared between threads, and cost a few microseconds.
    compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=_dictionaries[_NEWEST], write_checksum=True)
    instants = [body.received_at for body in bodies]
    return Packed(
        first_received_at=min(instants),
        last_received_at=max(instants),
        bodies=len(bodies),
        raw_bytes=sum(len(body.body) for body in bodies),
        content=bytes([_NEWEST]) + compressor.compress(_encode(bodies)),
    )


def unpack(content: bytes, *, max_bytes: int = MOST_BYTES) -> list[Body]:
    """Return the bodies that were packed, in their order.

    Raises:
        ArchiveUnreadable: these bytes are damaged, come from a later release, or would become more than ``max_bytes``.
    """
    dictionary = _dictionaries.get(content[0]) if content else None
    if dictionary is None:
        raise ArchiveUnreadable("It was packed by a later release, or is damaged.")
    frame = content[1:]
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= max_bytes:
            raise ArchiveUnreadable(f"It is damaged, or would become more than {max_bytes} bytes.")
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
        return _decode(decompressor.decompress(frame, max_output_size=size, allow_extra_data=False))
    except (zstandard.ZstdError, msgspec.MsgspecError):
        raise ArchiveUnreadable("It is damaged.") from None
