"""The compiler's command: the same bytes every time, readable sources, and one line for every mistake."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import builds
from tests.make_checkpoint import write_checkpoint
from tests.objects import (
    ROOT,
    TINY,
    Vocoder,
    compile_model,
    compile_sources,
    config,
    make_library,
    run_compiler,
    run_ok,
    source,
    sources,
    weights_file,
)


@pytest.fixture
def checkpoint() -> Path:
    return builds.checkpoint(TINY)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path there."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command failed with one line, which says all of `words`, and no traceback."""
    assert done.returncode in (1, 2), f"exit code {done.returncode}\n{done.stderr}"
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("usage:", " "))]
    assert len(lines) == 1, done.stderr
    assert "error:" in lines[0] and "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0], lines[0]


# ---- the same bytes ----


@pytest.mark.parametrize("weights", ["incbin", "c"])
def test_sources_are_a_function_of_checkpoint_and_options(checkpoint: Path, tmp_path: Path, weights: str) -> None:
    """Not of the directory, the hash seed, the clock, the zone, the locale or the name of the checkpoint's file."""
    results = []
    copy = tmp_path / "another name.ckpt"
    shutil.copy(checkpoint, copy)
    for seed, zone, cwd, file in (("0", "UTC", ROOT, checkpoint), ("1", "Asia/Tokyo", tmp_path, copy)):
        output = tmp_path / f"a{seed}" / ("b" * int(seed) * 40 + "out")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
        command = ["--sources-only", "--chunk", "3,1", "--weights", weights, "--name", "tiny"]
        done = run_compiler(file, "-o", output, *command, env=environment, cwd=cwd)
        assert done.returncode == 0, done.stderr
        results.append(contents(output))
    assert list(results[0]) == list(results[1])
    for name in results[0]:
        assert results[0][name] == results[1][name], name
        for host in (str(tmp_path), str(ROOT), checkpoint.name, "another name"):
            assert host.encode() not in results[0][name], f"{name} holds {host}"


def test_the_object_is_a_function_of_its_sources(checkpoint: Path, tmp_path: Path) -> None:
    options = ("--chunk", "3,1", "--target", "portable")
    first = builds.model(checkpoint, "tiny", *options)
    second = compile_model(checkpoint, tmp_path / "a longer way" / "to" / "second", "tiny", *options)
    one, two = contents(first), contents(second)
    assert list(one) == list(two)
    for name in one:
        assert one[name] == two[name], name
    assert {"tiny", "tiny.h", "tiny.o", "libtiny.a", "tiny.json", "tiny.mk"} <= set(one)
    assert [name for name in one if name.endswith((".o", ".su", ".ci"))] == ["tiny.o"], "leftovers of the build"


def test_the_makefile_builds_the_same_object(checkpoint: Path, tmp_path: Path) -> None:
    """A user who has the sources alone gets what the compiler would have built."""
    built = builds.model(checkpoint, "tiny", "--chunk", "3,1", "--target", "portable")
    moved = tmp_path / "moved"
    shutil.copytree(built, moved)
    for path in [moved / "tiny", *moved.glob("*.[oa]")]:
        path.unlink()
    make_library(moved, "tiny")
    assert (moved / "tiny.o").read_bytes() == (built / "tiny.o").read_bytes()


def test_weights_as_c_are_the_same_bytes(odd_checkpoint: Path, tmp_path: Path) -> None:
    files, baked = [], []
    for weights in ("incbin", "c"):
        options = ("--target", "portable", "--weights", weights)
        directory = builds.library(odd_checkpoint, "odd", *options, make=["EXTRA_CFLAGS=-O0"])
        out = tmp_path / "section"
        run_ok(["objcopy", f"--dump-section=.rodata.odd.weights={out}", directory / "odd.o", tmp_path / "ignored.o"])
        baked.append(out.read_bytes())
        files.append(weights_file(directory, "odd"))
    assert files[0] is not None and files[1] is None
    assert baked == 2 * [files[0].read_bytes()]


def test_other_options_give_other_files_but_the_same_weights(checkpoint: Path) -> None:
    one = builds.sources(checkpoint, "tiny", "--chunk", "1")
    two = builds.sources(checkpoint, "tiny", "--chunk", "9")
    assert source(one, "tiny_weights.bin").read_bytes() == source(two, "tiny_weights.bin").read_bytes()
    assert (one / "tiny.h").read_bytes() != (two / "tiny.h").read_bytes()


# ---- what the sources say ----


def test_every_source_has_its_banner(odd: Vocoder, odd_checkpoint: Path) -> None:
    sha256 = run_ok(["sha256sum", odd_checkpoint]).split()[0]
    texts = sources(odd.directory, "*.[chS]") + sources(odd.directory, "*.mk")
    assert len(texts) > 20
    for path in texts:
        head = "\n".join(path.read_text().splitlines()[:6])
        assert f"Checkpoint: sha256 {sha256}" in head, path.name
        assert "--name odd --chunk 3,16 --precision f32" in head, path.name
        assert "Generated by vocosc 0" in head or "Generated by vocosc 1" in head, path.name


def test_every_table_names_its_source_shape_and_layout(odd: Vocoder) -> None:
    weights = source(odd.directory, "odd_model.h").read_text()
    for words in (
        "0.embed.conv.conv, weight norm folded: [panels: 5][bias, inputs: 106][outputs: 16]",
        "0.convnext.2.dwconv.conv.conv, weight norm folded: [bias, taps: 6][80]",
        "0.convnext.1.pwconv1, 0.convnext.1.norm folded: [panels: 12][bias, inputs: 73][outputs: 16]",
        "0.convnext.0.pwconv2, 0.convnext.0.gamma folded: [panels: 5][bias, inputs: 181][outputs: 16]",
        "1.out, 0.final_layer_norm folded, second half: [panels: 8][bias, inputs: 73][outputs: 16]",
    ):
        assert words in weights


def test_no_placeholder_is_left(odd: Vocoder) -> None:
    for path in sources(odd.directory, "*.[chS]") + sources(odd.directory, "*.mk"):
        text = path.read_text().split("\n", 2)[2]  # the banner names the generator
        for left in ("vocosc_", "VOCOSC_", "${", "//%", "<%"):
            assert left not in text, f"{path.name} holds {left}"


def test_the_memory_map_is_printed(checkpoint: Path, tmp_path: Path) -> None:
    done = run_compiler(checkpoint, "-o", tmp_path / "out", "--sources-only")
    assert done.returncode == 0
    for word in ("weights", "state", "scratch", "residual", "spectrum", str(tmp_path / "out")):
        assert word in done.stdout
    assert not done.stderr
    assert (tmp_path / "out" / "vocos.h").exists()


# ---- mistakes ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--chunk", "0"], ["--chunk 0"]),
        (["--chunk", "1,0,5"], ["--chunk 0"]),
        (["--chunk", "1000000000"], ["--chunk 1000000000"]),
        (["--chunk", "99999999999999999999"], ["--chunk"]),
        (["--chunk", "-3"], ["--chunk"]),
        (["--chunk", "abc"], ["--chunk abc"]),
        (["--chunk", ""], ["--chunk"]),
        (["--chunk", "5,"], ["--chunk 5,"]),
        (["--chunk", "1.5"], ["--chunk 1.5"]),
        (["--name", "my-model"], ["--name my-model"]),
        (["--name", "7up"], ["--name 7up"]),
        (["--name", ""], ["--name"]),
        (["--name", "../up"], ["--name ../up"]),
        (["--name", "network"], ["--name network", "taken"]),
        (["--name", "clean"], ["--name clean", "taken"]),
        (["--name", "a" * 65], ["--name"]),
        (["--target", "nonsense"], ["--target", "nonsense", "portable"]),
        (["--precision", "f8"], ["--precision", "f8"]),
        (["--weights", "paper"], ["--weights", "paper"]),
        (["--n-fft", "14"], ["model.ckpt", "n_fft 14"]),
        (["--hop-length", "13"], ["model.ckpt", "hop_length 13"]),
        (["--hop-length", "0"], ["model.ckpt", "hop_length"]),
        (["--hop-length", "x"], ["--hop-length", "x"]),
        (["--sample-rate", "-1"], ["model.ckpt", "sample_rate"]),
        (["--f-max", "5000"], ["model.ckpt", "5000"]),
        (["--f-min", "nan"], ["model.ckpt", "f_min"]),
        (["--colour", "red"], ["--colour"]),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else None,
)
def test_bad_options(checkpoint: Path, tmp_path: Path, options: list[str], words: list[str]) -> None:
    one_line(run_compiler(checkpoint, "-o", tmp_path / "out", "--sources-only", *options), *words)
    assert not list(tmp_path.iterdir()), "something was left behind"


def test_an_n_fft_that_cannot_be_factored(tmp_path: Path) -> None:
    path = tmp_path / "seven.ckpt"
    write_checkpoint(path, {**TINY, "n_fft": 14})
    one_line(run_compiler(path, "-o", tmp_path / "out"), "seven.ckpt", "14", "7")
    assert sorted(tmp_path.iterdir()) == [path]


def test_no_checkpoint_there(tmp_path: Path) -> None:
    one_line(run_compiler(tmp_path / "none.ckpt", "-o", tmp_path / "out"), "none.ckpt")
    one_line(run_compiler(tmp_path, "-o", tmp_path / "out"), str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_leaves_the_older_output_alone(checkpoint: Path, tmp_path: Path) -> None:
    output = compile_sources(checkpoint, tmp_path / "out", "tiny")
    before = contents(output)
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(checkpoint.read_bytes()[:-100])
    one_line(run_compiler(damaged, "-o", output, "--name", "tiny"), "damaged.ckpt")
    assert contents(output) == before
    assert sorted(tmp_path.iterdir()) == [damaged, output]


def test_the_output_is_a_file(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("precious")
    one_line(run_compiler(checkpoint, "-o", output), "out")
    one_line(run_compiler(checkpoint, "-o", output / "below"), "out")
    assert output.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [output]


def test_the_output_cannot_be_written(checkpoint: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    one_line(run_compiler(checkpoint, "-o", locked / "out"), "locked")


def test_the_disk_is_full(checkpoint: Path, tmp_path: Path) -> None:
    """As far as a limit on the size of files can play it: the write of the weights fails."""
    big = tmp_path / "big.ckpt"
    write_checkpoint(big, config("odd"))
    older = compile_sources(checkpoint, tmp_path / "out", "odd")
    before = contents(older)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = run_compiler(big, "-o", older, "--name", "odd", preexec_fn=limit)
    one_line(done, "File too large")
    assert contents(older) == before
    assert sorted(tmp_path.iterdir()) == [big, older]


def test_a_build_that_fails(checkpoint: Path, tmp_path: Path) -> None:
    """No compiler, or one that fails: one line, nothing left."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    environment = {**os.environ, "PATH": str(bin_directory)}
    output = tmp_path / "out"
    one_line(run_compiler(checkpoint, "-o", output, env=environment), "not found", "--sources-only")
    for tool in ("make", "ar", "objcopy", "size", "sh"):
        (bin_directory / tool).symlink_to(shutil.which(tool) or "")
    (bin_directory / "cc").write_text("#!/bin/sh\necho 'cc: error: out of order' >&2\nexit 1\n")
    (bin_directory / "cc").chmod(0o755)
    one_line(run_compiler(checkpoint, "-o", output, env=environment), "out of order")
    assert list(tmp_path.iterdir()) == [bin_directory]


def test_the_stack_is_measured_behind_a_cache_of_objects(checkpoint: Path, tmp_path: Path) -> None:
    """As ccache does unless it is told not to: the object is there, its call graph is not."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    cache = bin_directory / "cc"
    forget = 'for word; do shift; [ $word = -fcallgraph-info=su ] || set -- "$@" $word; done'
    cache.write_text(f'#!/bin/sh\n[ "$CCACHE_DISABLE" ] || {forget}\nexec {shutil.which("gcc")} "$@"\n')
    cache.chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}"}
    environment.pop("CCACHE_DISABLE", None)
    options = ("--name", "tiny", "--target", "portable", "--chunk", "2")
    done = run_compiler(checkpoint, "-o", tmp_path / "out", *options, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "tiny.json").read_text())["stack_bytes"] > 0


def test_an_older_output_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    output = compile_sources(checkpoint, tmp_path / "out", "tiny", "--chunk", "2")
    compile_sources(checkpoint, output, "tiny", "--chunk", "4")
    assert "#define TINY_MAX_FRAMES 4 " in (output / "tiny.h").read_text()
    assert contents(output) == contents(compile_sources(checkpoint, tmp_path / "fresh", "tiny", "--chunk", "4"))


def test_python_needs_nothing_from_the_working_directory(checkpoint: Path, tmp_path: Path) -> None:
    """The templates are found from anywhere."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "compiler", str(checkpoint), "-o", "out", "--sources-only"]
    run_ok(command, cwd=tmp_path, env=environment)
    assert (tmp_path / "out" / "vocos.h").exists()


def test_missing_packages_are_named() -> None:
    """A Python without our packages, as a newcomer's own."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "compiler", "x.ckpt", "-o", "x"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("vocosc: error: Python package ") and "requirements.txt" in done.stderr
    assert done.stderr.count("\n") == 1
