"""Triton: the model repository, its backend, and the frames that bring a lost stream back, bit for bit.

What takes a tritonserver runs with `make test-fleet`, which brings one; the rest runs always.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests import builds
from tests.objects import ALL, ROOT, TINY, Vocoder, every, run_compiler, run_ok, some_mel
from tests.test_compile import one_line
from tests.test_families import CASES, vocoder_of

TEMPLATE = ROOT / "templates" / "triton" / "vocosc_tritonbackend.h"


# ---- what brings a lost stream back ----


@pytest.mark.parametrize("name", ["small", "odd", *every(list(CASES), ["vocos_same", "budget"])])
def test_the_last_frames_make_the_stream(name: str, request: pytest.FixtureRequest) -> None:
    """A new stream that was fed receptive_field_frames - 1, or more, is the old one: the same state, the same audio."""
    vocoder: Vocoder = vocoder_of(name) if name in CASES else request.getfixturevalue(name)
    needed = vocoder.report["receptive_field_frames"] - 1
    mel = some_mel(2 * needed + 41, vocoder.mels)
    for seen in (needed, needed + 1, needed + 40):
        old, new, least = vocoder.stream(), vocoder.stream(), vocoder.stream()
        vocoder.continue_decode(old, mel[:seen])
        vocoder.continue_decode(new, mel[seen - needed : seen])
        vocoder.continue_decode(least, mel[seen - needed + 1 : seen])
        assert new.tobytes() == old.tobytes()
        assert least.tobytes() != old.tobytes(), "one frame fewer would do"
        rest = mel[seen:]
        assert vocoder.continue_decode(new, rest, 3).tobytes() == vocoder.continue_decode(old, rest).tobytes()
        assert vocoder.flush(new).tobytes() == vocoder.flush(old).tobytes()


def test_the_published_model_needs_58_frames() -> None:
    """54 that convolutions look back, and the 4 whose windows add to a sample, its own included."""
    report = json.loads(run_compiler(builds.checkpoint("full"), "--report", "--json").stdout)
    assert report["receptive_field_frames"] == 58


# ---- the repository ----


@pytest.fixture(scope="module")
def folder() -> Path:
    """An output folder, and a repository of the same model in `models`."""

    def build(out: Path) -> None:
        options = (
            "--target",
            "portable",
            "--chunk",
            "3",
            "--streams",
            "4",
            "-o",
            out / "out",
            "--triton",
            out / "models",
        )
        done = run_compiler(builds.checkpoint(TINY), "--name", "tiny", *options)
        assert done.returncode == 0, done.stderr
        assert f"written to {out / 'out'} and {out / 'models' / 'tiny'}\n" in done.stdout

    return builds.once("triton repository", build)


def test_the_repository_is_what_the_server_looks_for(folder: Path) -> None:
    model = folder / "models" / "tiny"
    files = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert files == {"config.pbtxt", "1/libtriton_vocosc_tiny.so", "tiny.json", "tiny.sha256"}
    run_ok(["sha256sum", "--check", "--quiet", "tiny.sha256"], cwd=model)
    config, report = (model / "config.pbtxt").read_text(), json.loads((model / "tiny.json").read_text())
    assert report == json.loads((folder / "out" / "tiny.json").read_text())
    parameters = dict(re.findall(r'key: "(\w+)" value \{ string_value: "(\w+)" \}', config))
    assert int(parameters["replay_frames"]) == report["receptive_field_frames"]
    assert int(parameters["hop"]) == report["model"]["hop_length"]
    assert parameters["checkpoint_sha256"] == report["checkpoint_sha256"]
    for line in ('name: "tiny"', 'backend: "vocosc_tiny"', "max_batch_size: 4", "dims: [ -1, 5 ]", "KIND_CPU"):
        assert line in config, line
    assert "@" not in config + (folder / "out" / "triton" / "tiny_triton.cpp").read_text()


def test_the_backend_needs_nothing_but_the_server(folder: Path) -> None:
    """And the C library: no C++ library. All that it takes of the server is declared, and nothing else is."""
    library = folder / "models" / "tiny" / "1" / "libtriton_vocosc_tiny.so"
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", run_ok(["readelf", "-dW", library])))
    assert needed <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    declared = set(re.findall(r"\b(TRITON(?:SERVER|BACKEND)_\w+)\(", TEMPLATE.read_text()))
    listing = [line.split() for line in run_ok(["nm", "-D", library]).splitlines()]
    own = {words[-1] for words in listing if words[-2] == "T"}
    taken = {words[-1] for words in listing if words[-2] == "U" and words[-1].startswith("TRITON")}
    assert own == {name for name in declared if f"VOCOSC_EXPORTED TRITONSERVER_Error *{name}(" in TEMPLATE.read_text()}
    assert taken == declared - own
    assert not [words for words in listing if words[-2] not in ("T", "U", "w")]


@pytest.mark.skipif(not ALL, reason="another compilation: make test-all")
def test_only_the_repository_is_written_without_an_output_folder(folder: Path, tmp_path: Path) -> None:
    options = ("--target", "portable", "--chunk", "3", "--streams", "4", "--triton", tmp_path / "models")
    done = run_compiler(builds.checkpoint(TINY), "--name", "tiny", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"written to {tmp_path / 'models' / 'tiny'}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
    for path in ("config.pbtxt", "1/libtriton_vocosc_tiny.so", "tiny.json"):
        assert (tmp_path / "models/tiny" / path).read_bytes() == (folder / "models/tiny" / path).read_bytes(), path


def test_what_does_not_go_with_a_repository(tmp_path: Path) -> None:
    path, models = builds.checkpoint(TINY), ("--triton", tmp_path / "models")
    for options in (
        ("--sources-only", "-o", tmp_path / "out"),
        ("--report",),
        ("--target", "armv7e-m", "-o", tmp_path / "out"),
        ("--weights", "blob"),
        ("--link", "libs"),
        ("-o", tmp_path / "models" / "vocos"),
    ):
        one_line(run_compiler(path, *models, *options), "--triton")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tiny", "budget"])
@pytest.mark.parametrize("compiler", every(["g++", "clang++"], ["clang++"]))
def test_the_backend_compiles_without_a_warning(name: str, compiler: str, folder: Path, tmp_path: Path) -> None:
    """For models that look ahead, too, whose functions differ."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here: .ci/setup test")
    model, sources = name, folder / "out"
    if name in CASES:
        model, sources = vocoder_of(name).name, vocoder_of(name).directory
    for path in (folder / "out" / "triton").glob("tiny_*"):
        text = path.read_text().replace("tiny", model).replace("TINY", model.upper())
        (tmp_path / path.name.replace("tiny", model)).write_text(text)
    flags = [
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Wshadow",
        "-Werror",
        "-fsyntax-only",
        "-iquote",
        sources,
    ]
    run_ok([compiler, *flags, "-I", sources, tmp_path / f"{model}_triton.cpp"])
