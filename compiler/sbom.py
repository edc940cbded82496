"""NAME.sbom.json: a software bill of materials in the form of CycloneDX 1.5. What an object was made of, and by what.

Like all that the compiler writes it has no date and no path of this machine; the versions of the tools are in it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import VERSION
from .build import first_line
from .emit import ROOT, Options

PACKAGES = ("clang-format", "jinja2", "numpy", "safetensors")  # that have a say in what is written
LICENCE = [{"license": {"id": "MIT"}}]
_NAMESPACE = uuid.UUID("a8e4cf0c-3f1f-5c9b-9d42-5a2f5f6d3b10")


def sbom(
    directory: Path, checkpoint_sha256: str, chunks: Sequence[int], options: Options, tools: Mapping[str, Sequence[str]]
) -> str:
    """The bill's text, for the files in `directory`; `tools` are the commands that built them, none if nothing was."""
    name = options.name
    built = [
        {"type": "file", "name": path.name, "hashes": _sha256(path)}
        for path in (directory / f"{name}.o", directory / f"lib{name}.a", directory / name)
        if path.is_file()
    ]
    words = f"--name {name} --chunk {','.join(map(str, chunks))} {options.text}"
    commit = _commit()
    bill: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [
                    {
                        "type": "application",
                        "name": "vocosc",
                        "version": VERSION,
                        "licenses": LICENCE,
                        **({"properties": [{"name": "vocosc:commit", "value": commit}]} if commit else {}),
                    },
                    *({"type": "library", "name": name, "version": found} for name, found in _packages()),
                    *(
                        {"type": "application", "name": tool, "description": first_line([*command, "--version"])}
                        for tool, command in sorted(tools.items())
                    ),
                ]
            },
            "component": {
                "type": "library",
                "bom-ref": name,
                "name": name,
                "description": "a vocoder compiled by vocosc: its own sources under the licence below, and the weights",
                "licenses": LICENCE,
                "properties": [{"name": "vocosc:options", "value": words}],
                "components": built,
            },
        },
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "checkpoint",
                "name": "checkpoint",
                "description": "the trained weights; their licence is their publisher's, unknown to the compiler",
                "hashes": [{"alg": "SHA-256", "content": checkpoint_sha256}],
            }
        ],
        "dependencies": [{"ref": name, "dependsOn": ["checkpoint"]}, {"ref": "checkpoint"}],
    }
    identity = hashlib.sha256(json.dumps(bill, sort_keys=True).encode()).hexdigest()
    serial = {"serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, identity)}"}
    return json.dumps({**dict(list(bill.items())[:2]), **serial, **bill}, indent=2) + "\n"


def _sha256(path: Path) -> list[dict[str, str]]:
    with path.open("rb") as file:
        return [{"alg": "SHA-256", "content": hashlib.file_digest(file, "sha256").hexdigest()}]


def _packages() -> list[tuple[str, str]]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the compiler, with `-dirty` if files differ from it; None where it is not run from a repository."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
