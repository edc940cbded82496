"""How to add things, as CONTRIBUTING.md says, followed: in a copy of the tree, by the edits below and no others."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.make_checkpoint import write_checkpoint
from tests.objects import ROOT, TINY, Vocoder, run_ok, some_mel

EXTENSIONS = ROOT / "tests" / "extensions"
ISA_ROW = """FMA128 = Isa(
    name="fma128",
    number=99,
    text="SSE with FMA",
    lanes=4,
    tiles=tuple(Tile(rows, (4,)) for rows in range(1, 4)),
    block_panels=2,
    stack_bytes=(4096, 4096, 4096),
    flags=("-msse4.1", "-mfma"),
    cpu=("fma",),
)
ISAS = (FMA128, """
RELU = "static inline void epilogue_relu(float *y, vec sum) { vec_store(y, vec_max(sum, vec_set(0.0f))); }\n"

# Files that are added, and edits of those that are there: (text, its replacement)
FORMAT = {
    "compiler/formats/bf16.py": EXTENSIONS / "bf16.py",
    "templates/network/vocosc_format_bf16.h": EXTENSIONS / "vocosc_format_bf16.h",
    "compiler/formats/__init__.py": [
        ("import f16,", "import bf16, f16,"),
        ("(f32.FORMAT,", "(bf16.FORMAT, f32.FORMAT,"),
    ],
}
INSTRUCTION_SET = {
    "templates/network/vocosc_vector_fma128.h": EXTENSIONS / "vocosc_vector_fma128.h",
    "compiler/isa.py": [
        ("ISAS = (", ISA_ROW),
        ('"x86-64": (PORTABLE, SSE2, AVX2, AVX512, AMX)', '"x86-64": (PORTABLE, FMA128)'),
    ],
}
OPERATION = {  # an epilogue: ReLU in GELU's place
    "compiler/forward.py": [
        ('case "gelu":', 'case "relu":\n                return np.maximum(sums, 0)\n            case "gelu":')
    ],
    "compiler/golden.py": [
        ('case "gelu":', 'case "relu":\n                return np.maximum(sums, 0)\n            case "gelu":')
    ],
    "templates/network/vocosc_epilogues.h": [
        ("static inline void epilogue_add", RELU + "static inline void epilogue_add")
    ],
    "compiler/network.py": [('epilogue="gelu"', 'epilogue="relu"')],
}


def extended(tmp_path: Path, changes: Mapping[str, Path | list[tuple[str, str]]]) -> Path:
    """A copy of the tree with the changes."""
    for folder in ("compiler", "templates", "runtime"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file, change in changes.items():
        if isinstance(change, Path):
            shutil.copy(change, tmp_path / file)
            continue
        text = (tmp_path / file).read_text()
        for old, new in change:
            assert text.count(old) == 1, f"{file}: {old}"
            text = text.replace(old, new)
        (tmp_path / file).write_text(text)
    return tmp_path


def compile_there(tree: Path, *options: str) -> Vocoder:
    write_checkpoint(tree / "tiny.ckpt", {**TINY, "dim": 20})
    command = [sys.executable, "-m", "compiler", "tiny.ckpt", "-o", "out", "--name", "tiny", *options]
    run_ok(command, cwd=tree, env={**os.environ, "CFLAGS": "-O0"})  # the same bits, built sooner
    return Vocoder(tree / "out", "tiny")


def decode_on_all(vocoder: Vocoder) -> bytes:
    """The audio, which every target gives; the self-test says that the compiler's interpreter gives it, too."""
    mel = some_mel(17, int(TINY["n_mels"]))
    audio = {target: vocoder.decode(mel, 5, target).tobytes() for target in vocoder.targets}
    assert all(vocoder.selftest(target) == 0 for target in audio)
    assert len(set(audio.values())) == 1
    return audio.popitem()[1]


@pytest.mark.parametrize(
    ("changes", "most_files", "options"),
    [(FORMAT, 3, ["--precision", "bf16"]), (INSTRUCTION_SET, 3, []), (OPERATION, 4, [])],
    ids=["format", "instruction set", "operation"],
)
def test_how_to_add(
    tmp_path: Path, changes: Mapping[str, Path | list[tuple[str, str]]], most_files: int, options: list[str]
) -> None:
    assert len(changes) <= most_files
    vocoder = compile_there(extended(tmp_path, changes), *options)
    assert decode_on_all(vocoder)
    if "compiler/isa.py" in changes:
        assert vocoder.report["targets"] == ["portable", "fma128"]
        header = (vocoder.directory / "tiny.h").read_text()
        assert "TINY_FMA128 = 99" in header
