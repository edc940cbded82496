"""The number formats of a product's weights, one module each, and the table that they pack into.

A precision (--precision) is named by the format of most layers; products that need precision take that format's
`precise` one. To add a format: a module here, its name in the list below, and
templates/network/vocosc_format_NAME.h, which says in C what `multiply` says in numpy.
"""

from __future__ import annotations

from ..network import Operation
from . import f16, f32, w4, w8, w8a8, w16
from .format import Format, Table

FORMATS: dict[str, Format] = {
    found.name: found for found in (f32.FORMAT, f16.FORMAT, w16.FORMAT, w8.FORMAT, w8a8.FORMAT, w4.FORMAT)
}

__all__ = ["FORMATS", "Format", "Table", "format_of"]


def format_of(operation: Operation, precision: str) -> Format:
    """The format of a product's weights: its own, or what the precision says."""
    if operation.weights:
        return FORMATS[operation.weights]
    chosen = FORMATS[precision]
    return FORMATS[chosen.precise] if operation.is_precise else chosen
