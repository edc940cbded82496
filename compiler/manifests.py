"""Files by which firmware's build systems take a compiled model: `python3 -m compiler.manifests DIR [--url URL]`.

DIR is what the compiler wrote. Beside its makefile there is then a Zephyr module, an ESP-IDF component, a PlatformIO
and an Arduino library and a CMSIS-Pack description. All of them link libNAME.a, which NAME.mk builds with the build
system's compiler: what the bits rest on, such as -ffp-contract=off, is said there alone. URL is where the result is
published, which Arduino's index and CMSIS-Pack's ask for; without it the places are empty.
"""

from __future__ import annotations

import argparse
import html
import json
import re
from pathlib import Path
from typing import Any

from . import VERSION
from .emit import TEMPLATES, fill, rename
from .errors import CompileError
from .isa import BARE_TARGETS, isas_of


def manifests(report: dict[str, Any], url: str = "") -> dict[str, str]:
    """The files, by their path in the folder; `report` is NAME.json."""
    name, model = report["name"], report["model"]
    parts = ("state_bytes", "mel_state_bytes", "scratch_bytes")
    values = {
        "NAME": name.upper(),
        "version": VERSION,
        "description": f"A streaming vocoder, {model['n_mels']} mels to {model['sample_rate']} Hz, in "
        f"{report['precision']}",
        "ram": str(sum(report[part] for part in parts)),
        "flags": next((flags for target, flags in BARE_TARGETS.items() if report["targets"] == _names(target)), ""),
        "sha256": report["checkpoint_sha256"],
        "url": url,
        "url_in_xml": html.escape(url),
        "generator": "vocosc",
    }
    folder = TEMPLATES / "firmware"
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found[rename(str(path.relative_to(folder)), name)] = fill(path, name, values)
    return found


def _names(target: str) -> list[str]:
    return [isa.name for isa in isas_of(target)]


def write(folder: Path, url: str = "") -> list[str]:
    """Writes them; returns their names. Raises CompileError where there is no compiled model."""
    reports = [path for path in sorted(folder.glob("*.json")) if path.with_suffix(".mk").is_file()]
    if len(reports) != 1:
        raise CompileError(f"{folder}: no compiled model here: no NAME.json beside NAME.mk; run the compiler first")
    files = manifests(json.loads(reports[0].read_text()), url)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return sorted(files)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="compiler.manifests", description="Write what firmware's build systems read.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="what the compiler wrote")
    parser.add_argument("--url", default="", help="where the result is published")
    arguments = parser.parse_args()
    try:
        if arguments.url and not re.fullmatch(r"https?://[!-~]+", arguments.url):
            raise CompileError(f"--url {arguments.url}: not an address that begins with https://")
        print("\n".join(write(arguments.folder, arguments.url)))
    except CompileError as error:
        raise SystemExit(f"vocosc: error: {error}") from error


if __name__ == "__main__":
    main()
