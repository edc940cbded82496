"""The budget (--budget flash=4M,ram=256K): what the object may take, and whether it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors import CompileError

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
# What counts as what, in bytes of the report. One stream, one analysis stream, one call under way.
_PARTS = {
    "flash": ("flash_bytes",),
    "ram": ("state_bytes", "mel_state_bytes", "scratch_bytes", "stack_bytes"),
    "state": ("state_bytes",),
    "scratch": ("scratch_bytes",),
    "stack": ("stack_bytes",),
}


def parse_budget(text: str) -> dict[str, int]:
    """The limits in bytes. Raises CompileError."""
    budget: dict[str, int] = {}
    for part in text.split(","):
        match = re.fullmatch(r"(\w+)=([0-9]{1,18}(?:\.[0-9]{1,18})?)([KMG]?)", part)
        if match is None or match[1] not in _PARTS:
            raise CompileError(f"--budget {text}: give limits such as flash=4M,ram=256K; there are {', '.join(_PARTS)}")
        if match[1] in budget:
            raise CompileError(f"--budget {text}: has two limits for {match[1]}; give one")
        budget[match[1]] = int(float(match[2]) * _UNITS[match[3]])
    return budget


def check_budget(budget: Mapping[str, int], figures: Mapping[str, Any], *, will_build: bool = False) -> None:
    """Raises CompileError, with the numbers, if the report's figures exceed the budget.

    Before the build flash and stack are not known. Of flash the baked weights count then. Of stack its bound counts, or
    nothing if the build will tell.
    """
    over = []
    for name, limit in budget.items():
        unknown = [key for key in _PARTS[name] if figures[key] is None]
        takes = sum(figures[key] for key in _PARTS[name] if key not in unknown)
        words = "at least " if unknown else ""
        if "flash_bytes" in unknown and figures["baked"]:
            takes += figures["weight_bytes"]
        if "stack_bytes" in unknown and figures["stack_bytes_bound"] is not None and not will_build:
            takes += figures["stack_bytes_bound"]
            words = "at most "
        if takes > limit:
            over.append(f"{name} takes {words}{takes} bytes of {limit}")
    if over:
        raise CompileError(f"--budget: it does not fit: {'; '.join(over)}")
