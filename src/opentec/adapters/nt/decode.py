"""Records of a `.evtx` chunk as JSON, by the library `evtx` (the extra `nt`)."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import Final

from opentec.adapters.nt.chunks import CHUNK, CHUNK_HEADER, Chunk, RawRecord, bridged

INSTALL: Final = "pip install 'opentec[nt]'"
Decoder = Callable[[bytes, bytes, Chunk, list[RawRecord]], dict[int, str]]


def is_installed() -> bool:
    """Whether the library is there; it is not imported for that."""
    return importlib.util.find_spec("evtx") is not None


def decode(file_header: bytes, data: bytes, chunk: Chunk, records: list[RawRecord]) -> dict[int, str]:
    """The JSON text of each of `records` by its number; one that the library cannot read is left out.

    The library is given a file of this chunk alone: what was read before is not decoded again, and damage elsewhere
    does not matter.
    """
    from evtx import PyEvtxParser

    one = file_header + bridged(data, records)
    found: dict[int, str] = {}
    whole = {record.number for record in records}
    try:
        rows = iter(PyEvtxParser(io.BytesIO(one), 1).records_json())
    except (RuntimeError, OSError, ValueError):
        return {}
    for _ in range((CHUNK - CHUNK_HEADER) // 4):
        try:
            row = next(rows)
        except StopIteration:
            break
        except (RuntimeError, OSError, ValueError):
            continue
        except BaseException as error:
            # damaged input can trip an assertion inside the library, which arrives as no ordinary exception
            if type(error).__name__ != "PanicException":
                raise
            break
        if row is not None and row["event_record_id"] in whole:
            found[row["event_record_id"]] = row["data"]
    return found
