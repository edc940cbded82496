"""The edges of the command, the host tool and the header: permissions, links, full disks, odd names, odd digits."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import builds, make_vocos, vocoders
from tests.bombs import defused
from tests.objects import ROOT, TINY, one_line, run_compiler, run_ok, some_mel
from tests.wav import chunk, make_samples, wav_bytes, wav_file


@pytest.fixture
def tool() -> Path:
    return vocoders.directory("small") / "small"


@pytest.fixture
def checkpoint() -> Path:
    return builds.checkpoint(TINY)


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


# ---- the host tool's output ----


def test_an_output_keeps_its_permissions(tool: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", some_mel(3, 80))
    out = tmp_path / "out.npy"
    for mode in (0o600, 0o640, 0o644):
        out.write_bytes(b"older")
        out.chmod(mode)
        run_ok([tool, "decode", tmp_path / "mel.npy", out])
        assert out.stat().st_mode & 0o777 == mode
        assert np.load(out).size == 960


def test_a_link_to_nothing_is_not_replaced(tool: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", some_mel(3, 80))
    link = tmp_path / "out.npy"
    link.symlink_to(tmp_path / "nowhere.npy")
    done = run(tool, "decode", tmp_path / "mel.npy", link)
    assert done.returncode == 1 and "link" in done.stderr and done.stderr.count("\n") == 1
    assert link.is_symlink() and sorted(path.name for path in tmp_path.iterdir()) == ["mel.npy", "out.npy"]


def test_a_help_that_cannot_be_written_is_a_failure(tool: Path) -> None:
    compiler = [ROOT / ".venv/bin/python", "-m", "compiler"]
    with Path("/dev/full").open("w") as full:
        for command in ([tool, "--help"], [tool, "decode", "--help"], [*compiler, "--help"]):
            done = run(*command, stdout=full, cwd=ROOT)
            assert done.returncode == 1, command
            assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr, done.stderr


def test_the_whole_identifier_of_an_extensible_wav_is_checked(tool: Path, tmp_path: Path) -> None:
    samples = make_samples(700)
    plain = wav_bytes(samples)
    known = bytes.fromhex("0100000000001000800000aa00389b71")

    def write(identifier: bytes) -> Path:
        path = tmp_path / "in.wav"
        head = plain[20:36]  # of the format chunk: kind, channels, rates, bits
        body = b"\xfe\xff" + head[2:] + b"\x16\x00\x10\x00\x04\x00\x00\x00" + identifier
        path.write_bytes(wav_file(chunk(b"fmt ", body), chunk(b"data", samples.tobytes())))
        return path

    run_ok([tool, "mel", write(known), tmp_path / "out.npy"])
    for byte in range(16):
        changed = bytearray(known)
        changed[byte] ^= 1
        done = run(tool, "mel", write(bytes(changed)), tmp_path / "no.npy")
        assert done.returncode == 1 and "expected 16-bit PCM" in done.stderr, byte
    short = run(tool, "mel", write(known[:6]), tmp_path / "no.npy")
    assert short.returncode == 1


def test_messages_show_no_control_characters(tool: Path, checkpoint: Path, tmp_path: Path) -> None:
    name = "a\nb\x1b[31m\t.npy"
    done = run(tool, "decode", tmp_path / name, tmp_path / "out.npy")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "a\\x0ab\\x1b[31m\\x09.npy" in done.stderr
    one_line(run_compiler(tmp_path / name, "-o", tmp_path / "out"), "a\\nb\\x1b[31m\\t.npy")
    one_line(run_compiler(checkpoint, "-o", tmp_path / "out", "--name", "a\nb"), "--name a\\nb")
    out = tmp_path / "new\nline"
    done = run_compiler(checkpoint, "-o", out, "--target", "portable", "--sources-only")
    assert done.returncode == 0 and done.stdout.endswith("new\\nline\n")
    undecodable = os.fsdecode(b"\xff\xfe.ckpt")
    one_line(run_compiler(tmp_path / undecodable, "-o", tmp_path / "out", cwd=ROOT), "\\udcff")


# ---- the command ----


def test_a_full_disk_and_a_closed_pipe_are_named(checkpoint: Path) -> None:
    command = f"{ROOT}/.venv/bin/python -m compiler {checkpoint} --report"
    full = run("sh", "-c", f"{command} >/dev/full", cwd=ROOT)
    assert full.returncode == 1 and full.stderr == "vocosc: error: standard output: No space left on device\n"
    # The reader is gone before the writer starts
    closed = run("bash", "-c", f"set -o pipefail; (sleep 0.2; {command}) | true", cwd=ROOT)
    assert closed.returncode == 1
    assert closed.stderr == "vocosc: error: standard output: closed before everything was written\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "-5"], ["--batch", "--target cuda"]),
        (["--batch", "1"], ["--batch", "--target cuda"]),
        (["--gpu", "90"], ["--gpu", "--target cuda"]),
        (["--budget", "flash=4M,flash=5M"], ["--budget", "two limits for flash"]),
        (["--budget", "flash=\u0664M"], ["--budget"]),
        (["--chunk", "\uff15"], ["--chunk"]),
        (["--chunk", "1_0"], ["--chunk 1_0"]),
        (["--chunk", " 5"], ["--chunk"]),
        (["--n-fft", "\u0661\u0662"], ["--n-fft"]),
        (["--f-max", "4_000"], ["--f-max"]),
        (["--name=--"], ["--name"]),
        (["--target", "cuda", "--gpu", "\u0669\u0660"], ["--gpu"]),
    ],
    ids=lambda value: ascii(" ".join(value)) if isinstance(value, list) else None,
)
def test_odd_options(checkpoint: Path, tmp_path: Path, options: list[str], words: list[str]) -> None:
    one_line(run_compiler(checkpoint, "-o", tmp_path / "out", "--sources-only", *options), *words)
    assert not list(tmp_path.iterdir())


# ---- the header and the object ----


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_the_header_is_cpp_98(tmp_path: Path, compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    directory = builds.sources(builds.checkpoint(TINY), "tiny", "--target", "portable", "--check")
    program = tmp_path / "main.cpp"
    program.write_text('#include "tiny.h"\nint main() { return TINY_OK; }\n')
    flags = ["-std=c++98", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{directory}"]
    run_ok([compiler, *flags, "-c", "-o", tmp_path / "main.o", program])


@pytest.mark.parametrize("weights", ["incbin", "c", "blob"])
def test_the_object_marks_its_branches(weights: str) -> None:
    """Else a linker drops that protection (CET) for the whole program."""
    if os.uname().machine != "x86_64":
        pytest.skip("CET is x86's")
    options = ("--target", "x86-64", "--chunk", "1", "--weights", weights, "--no-libc")
    directory = builds.library(builds.checkpoint(TINY), "tiny", *options)
    notes = run_ok(["readelf", "-n", directory / "tiny.o"])
    assert re.search(r"x86 feature: IBT, SHSTK", notes), notes
    code = run_ok(["objdump", "-d", "--no-show-raw-insn", directory / "tiny.o"])
    functions = re.findall(r"<(tiny_\w+)>:\n\s*[0-9a-f]+:\s+(\w+)", code)
    assert len(functions) > 15 and {first for _, first in functions} == {"endbr64"}


# ---- files that claim too much ----


def test_log_mels_that_claim_too_much_are_refused_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    """Before anything of that size is allocated."""

    def npy(header: str, body: bytes = b"") -> bytes:
        text = header.encode().ljust(118) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body

    np.savez(tmp_path / "zip.npz", a=np.zeros((3, 5), np.float32))
    files = {
        "huge": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (900000000000, 5), }"),
        "cut off": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }", bytes(59)),
        "not a literal": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1e400, 5), }"),
        "digits": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 40 + ", 5), }"),
        "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (3, 5), }", bytes(120)),
        "a long header": b"\x93NUMPY\x02\x00" + (1 << 30).to_bytes(4, "little") + b"(" * 100_000,
        "a zip": (tmp_path / "zip.npz").read_bytes(),
        "empty": b"",
    }
    (tmp_path / "zip.npz").unlink()
    paths = [tmp_path / f"{name}.npy" for name in files]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    for path, line in zip(paths, defused(*paths), strict=True):
        assert line.startswith(f"--calibrate {path}: "), line
    command = [checkpoint, "-o", tmp_path / "out", "--precision", "w8", "--calibrate", paths[-2]]
    one_line(run_compiler(*command), "--calibrate", "a zip.npy")
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_report_of_more_scratch_than_there_can_be(tmp_path: Path) -> None:
    """From a file of 3 MB: rows of 2^17 samples, 4096 of them. Fewer frames fit."""
    sizes = {**make_vocos.TINY, "n_fft": 1 << 17, "hop_length": 1 << 15, "sample_rate": 48000, "num_layers": 1}
    model = make_vocos.write_folder(tmp_path / "model", sizes)
    one_line(run_compiler(model, "--report", "--chunk", 4096), "--chunk 4096", "GB of scratch", "fewer frames")
