"""The build in hostile hands: two builds never mix, whatever fails or ends it; nothing from outside has a say."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler import output
from tests import builds
from tests.objects import (
    ALL,
    ROOT,
    TIE,
    TINY,
    compile_model,
    compile_sources,
    contents,
    every,
    one_line,
    run_compiler,
    run_ok,
    symbols,
)

LIGHT = ("--target", "portable")


@pytest.fixture
def checkpoint() -> Path:
    return builds.checkpoint(TINY)


def model(*options: object) -> Path:
    return builds.model(builds.checkpoint(TINY), "tiny", *LIGHT, *options)


def copied(directory: Path, to: Path) -> Path:
    shutil.copytree(directory, to, symlinks=True)
    return to


# ---- the set of files ----


def test_the_list_of_files_is_complete(checkpoint: Path) -> None:
    directory = model("--chunk", "9")
    listed = dict(line.split("  ")[::-1] for line in (directory / "tiny.sha256").read_text().splitlines())
    found = {name: hashlib.sha256(data).hexdigest() for name, data in contents(directory).items()}
    del found["tiny.sha256"]
    assert listed == found


def test_sources_alone_leave_no_library_of_another_build(checkpoint: Path, tmp_path: Path) -> None:
    """Not even what the user's own make built from the older ones."""
    out = copied(model("--chunk", "9"), tmp_path / "out")
    for path in ("network/tiny.o", "network/all.o", "tool/tiny_tool_main.o", "tiny_team_pthread.o"):
        (out / path).write_bytes(b"stale")
    (out / "notes.txt").write_text("mine")
    compile_sources(checkpoint, out, "tiny", *LIGHT, "--chunk", "3")
    fresh = compile_sources(checkpoint, tmp_path / "fresh", "tiny", *LIGHT, "--chunk", "3")
    assert contents(out) == {**contents(fresh), "notes.txt": b"mine"}
    assert not list(tmp_path.rglob(".*"))


def test_files_that_only_the_older_build_has_are_gone(checkpoint: Path, tmp_path: Path) -> None:
    out = copied(model("--chunk", "9", "--weights", "blob"), tmp_path / "out")
    assert (out / "tiny_weights.bin").exists()
    compile_sources(checkpoint, out, "tiny", *LIGHT)
    assert contents(out) == contents(compile_sources(checkpoint, tmp_path / "fresh", "tiny", *LIGHT))


def test_two_models_in_one_folder_leave_each_other_alone(checkpoint: Path, tmp_path: Path) -> None:
    out = compile_sources(checkpoint, tmp_path / "out", "one", *LIGHT)
    first = contents(out)
    compile_sources(checkpoint, out, "two", *LIGHT)
    compile_sources(checkpoint, out, "two", *LIGHT, "--chunk", "1")
    assert {name: data for name, data in contents(out).items() if name in first} == first


@pytest.mark.parametrize("failing", every(list(range(0, 70, 3)), list(range(0, 70, 9))))
def test_a_replacement_that_fails_midway_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The move that fails is the disk's, or the power's: then the next compilation puts things right."""
    old = {f"{folder}a_{i}.c": f"old {i}" for folder in ("", "network/") for i in range(10)}
    new = {f"{folder}a_{i}.c": f"new {i}" for folder in ("", "network/", "more/") for i in range(5, 15)}

    def write(files: dict[str, str]) -> None:
        with output.replacing(tmp_path / "out", "a") as work:
            for name, text in files.items():
                (work / name).parent.mkdir(exist_ok=True)
                (work / name).write_text(text)

    def texts() -> dict[str, str]:
        found = contents(tmp_path / "out")
        return {name: data.decode() for name, data in found.items() if name != "a.sha256"}

    write(old)
    move, count = output._move, 0

    def fail(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == failing + 1:
            raise OSError(28, "No space left on device", str(target))
        move(source, target)

    monkeypatch.setattr(output, "_move", fail)
    moves = 21 + 31
    if failing < moves:
        with pytest.raises(OSError, match="No space"):
            write(new)
        assert texts() == old
    monkeypatch.undo()
    assert not list(tmp_path.rglob(".*"))

    process = os.fork()
    if process == 0:  # the power goes at the same place
        count = 0

        def stop(source: Path, target: Path) -> None:
            nonlocal count
            count += 1
            if count == failing + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            move(source, target)

        monkeypatch.setattr(output, "_move", stop)
        write(new)
        os._exit(0)
    os.waitpid(process, 0)
    with pytest.raises(ZeroDivisionError), output.replacing(tmp_path / "out", "a"):
        assert texts() in (old, new), "the next compilation finds one of the two"
        raise ZeroDivisionError
    assert texts() == (old if failing < moves else new)
    write(new)
    assert texts() == new
    assert not list(tmp_path.rglob(".*"))


def test_two_compilations_do_not_write_at_once(tmp_path: Path) -> None:
    with output.replacing(tmp_path / "out", "a") as work:
        (work / "a.h").write_text("first")
        with pytest.raises(Exception, match="another compilation"), output.replacing(tmp_path / "out", "a"):
            pass
    assert (tmp_path / "out" / "a.h").read_text() == "first"


def test_the_output_is_a_link(checkpoint: Path, tmp_path: Path) -> None:
    """To a folder, to nothing yet, to another file system; it stays a link."""
    elsewhere = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    target = elsewhere / f"vocosc-test-{os.getpid()}"
    link = tmp_path / "out"
    link.symlink_to(target)
    try:
        for chunk in ("1", "2"):
            compile_sources(checkpoint, link, "tiny", *LIGHT, "--chunk", chunk)
        assert link.is_symlink()
        expected = contents(compile_sources(checkpoint, tmp_path / "fresh", "tiny", *LIGHT, "--chunk", "2"))
        assert contents(target) == expected
        assert not list(target.rglob(".*"))
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_the_output_is_a_mount_point(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = 'mount -t tmpfs none "$1" && shift && "$@" && touch out/../done'
    command = [sys.executable, "-m", "compiler", checkpoint, "-o", out, "--name", "tiny", *LIGHT, "--sources-only"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    unshare = ["unshare", "-rm", "sh", "-c", script, "sh", out]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no namespaces of one's own here")
    run_ok([*unshare, *command], cwd=tmp_path, env=environment)
    assert (tmp_path / "done").exists()


def test_private_files_stay_private(checkpoint: Path, tmp_path: Path) -> None:
    out = compile_sources(checkpoint, tmp_path / "out", "tiny", *LIGHT)
    (out / "tiny.h").chmod(0o600)
    compile_sources(checkpoint, out, "tiny", *LIGHT, "--chunk", "2")
    assert (out / "tiny.h").stat().st_mode & 0o777 == 0o600
    assert (out / "tiny.mk").stat().st_mode & 0o777 == 0o644


# ---- header and library ----


@pytest.mark.parametrize("compiler", [["cc", "-std=c11"], ["g++", "-std=c++11", "-x", "c++"]], ids=["c", "c++"])
@pytest.mark.parametrize("kind", [(), ("--weights", "blob")], ids=["baked", "blob"])
def test_another_builds_header_does_not_link(tmp_path: Path, compiler: list[str], kind: tuple[str, ...]) -> None:
    one, other = model("--chunk", "9", *kind), model("--chunk", "3", *kind)
    init = "tiny_init_weights(&s, TINY_BEST, 0, 0)" if kind else "tiny_init(&s)"
    program = tmp_path / "main.c"
    program.write_text(
        '#include "tiny.h"\nstatic tiny_stream s;\nstatic tiny_scratch w;\nstatic float a[TINY_HOP], m[TINY_MELS];\n'
        f"int main(void) {{ return {init} == 0 ? tiny_decode(&s, &w, m, 1, a) != TINY_HOP : 0; }}\n"
    )
    flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]

    def link(header: Path, library: Path) -> subprocess.CompletedProcess[str]:
        inputs = [str(program), "-x", "none", str(library / "libtiny.a")]
        command = [*compiler, *flags, f"-I{header}", "-o", str(tmp_path / "main"), *inputs]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert link(one, one).returncode == 0
    run_ok([tmp_path / "main"])
    mixed = link(other, one)
    assert mixed.returncode != 0
    assert f"tiny_decode{TIE}" in mixed.stderr and f"tiny_init{'_weights' if kind else ''}{TIE}" in mixed.stderr
    assert link(other, other).returncode == 0


def test_every_function_of_a_struct_is_tied_and_has_its_plain_name_too() -> None:
    directory = model("--chunk", "9")
    found = symbols(directory / "tiny.o")
    tied = {name.partition(TIE)[0] for name in found["tied"]}
    header = run_ok(["cc", "-E", "-P", directory / "tiny.h"])
    takes = {match[1] for match in re.finditer(r"\bint (tiny_\w+)\(([^;]*?)\)[^;]*;", header) if "*" in match[2]}
    assert tied == takes - {"tiny_init_weights"} and tied <= set(found["global"])
    (build,) = {name.partition(TIE)[2] for name in found["tied"]}
    assert f"{TIE}{build}" in header


# ---- names ----


@pytest.mark.parametrize("name", ["clean", "decoder", "gpu", "unix", "linux", "string", "all", "sem", "_x", "int"])
def test_names_that_cannot_be_are_refused_in_one_line(checkpoint: Path, tmp_path: Path, name: str) -> None:
    one_line(run_compiler(checkpoint, "-o", tmp_path / "out", "--name", name), f"--name {name}:")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["make", "code", "VPATH"])
def test_names_that_look_odd_build(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CFLAGS", "-O0")  # built in a quarter of the time
    out = compile_model(checkpoint, tmp_path / "out", name, *LIGHT, "--chunk", "1")
    run_ok([out / name, "selftest"])
    assert {f"{name}.o", f"lib{name}.a", f"{name}.h"} <= set(contents(out))


# ---- what comes from outside ----


@pytest.mark.parametrize(
    "variables",
    [
        {"CFLAGS": "-O1 -ffp-contract=fast -ffast-math -flto -D_FORTIFY_SOURCE=2 -fstack-protector-all -Wundef"},
        {"MAKEFLAGS": "n"},
        {"MAKEFLAGS": " -- CFLAGS=-Ofast\\ -mfma", "MAKEFILES": "/dev/null/none.mk"},
        pytest.param({"CC": "clang"}, marks=pytest.mark.skipif(not ALL, reason="of make test-all")),
        {"EXTRA_CFLAGS": "-Ofast", "OWN_CFLAGS": "-Ofast", "TARGET_CFLAGS": "-mno-such-thing", "CPATH": "/nowhere"},
    ],
    ids=["CFLAGS", "dry-run", "MAKEFLAGS", "clang", "others"],
)
def test_variables_from_outside_do_not_change_the_bits(
    checkpoint: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    if shutil.which(variables.get("CC", "cc")) is None:
        pytest.skip(f"no {variables['CC']} here")
    options = ("--chunk", "2", *every((), () if "CFLAGS" in variables else LIGHT))
    environment = {**os.environ, **variables}
    done = run_compiler(checkpoint, "-o", tmp_path / "out", "--name", "tiny", *options, env=environment)
    assert done.returncode == 0, done.stderr
    run_ok([tmp_path / "out" / "tiny", "selftest"])
    assert set(symbols(tmp_path / "out" / "tiny.o")["undefined"]) <= {"memcpy", "memset", "memmove"}
    if not {"CFLAGS", "CC"} & set(variables):
        expected = builds.model(checkpoint, "tiny", *options)
        assert (tmp_path / "out" / "tiny.o").read_bytes() == (expected / "tiny.o").read_bytes()


def test_the_makefile_keeps_its_mandatory_flags(tmp_path: Path) -> None:
    """And takes others, from the environment as from its command line."""
    out = copied(model("--chunk", "9"), tmp_path / "out")
    for where in ([], ["CFLAGS=-Ofast -g", "MANDATORY_CFLAGS=", "DEFAULT_CFLAGS="]):
        environment = {**os.environ, "CFLAGS": "-g -ffp-contract=fast"}
        printed = run_ok(["make", "-n", "-B", "-f", "tiny.mk", "libtiny.a", *where], cwd=out, env=environment)
        lines = [line for line in printed.splitlines() if " -c " in line and line.endswith(".c")]
        assert lines
        for line in lines:
            assert " -g " in line
            assert line.rindex("-ffp-contract=off") > max(line.find("contract=fast"), line.find("-Ofast"))


def test_a_failing_selftest_is_an_error_and_nothing_is_written(checkpoint: Path, tmp_path: Path) -> None:
    """A C compiler that miscompiles: it takes one constant for another."""
    broken = tmp_path / "cc"
    cc = shutil.which("cc")
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *network_portable.c) sed -i s/p-10f/p-3f/ network/tiny_vector_math.h ;; esac\n'
        f'exec {cc} "$@"\n'
    )
    broken.chmod(0o755)
    environment = {**os.environ, "CC": str(broken)}
    command = ("-o", tmp_path / "out", "--name", "tiny", *LIGHT, "--chunk", "2")
    one_line(run_compiler(checkpoint, *command, env=environment), "self-test", "not written")
    assert list(tmp_path.iterdir()) == [broken]


def test_a_c_compiler_that_makes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    tool = tmp_path / "make"
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    one_line(run_compiler(checkpoint, "-o", tmp_path / "out", "--name", "tiny", env=environment), "made no such file")
    assert list(tmp_path.iterdir()) == [tool]


# ---- signals ----


# As in a terminal, also where the tests run behind `&`, for which a shell ignores some signals.
USUALLY = ("env", "--default-signal=HUP,INT,QUIT,TERM")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_nothing(checkpoint: Path, tmp_path: Path, number: signal.Signals) -> None:
    """In the middle of the build: no folder, no file, no compiler that goes on; the parent sees the signal."""
    stamp = tmp_path / "running"
    slow = tmp_path / "cc"
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *-dumpmachine*|*--version*) exec cc "$@" ;; esac\necho $$ >> {stamp}\nsleep 60\n'
    )
    slow.chmod(0o755)
    out = tmp_path / "deep" / "out"
    compiler = [sys.executable, "-m", "compiler", str(checkpoint), "-o", str(out), "--name", "tiny", *LIGHT]
    command = [*USUALLY, "sh", "-c", 'ulimit -c 0; exec "$@"', "sh", *compiler]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "CC": str(slow)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(stamp.exists)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -number
    assert errors.count("\n") == 1 and number.name in errors, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cc", "running"]
    for pid in stamp.read_text().split():
        wait_for(Gone(pid))


INTERRUPTED = """
import atexit, os, runpy, signal, sys
how, when, sys.argv[1:] = *sys.argv[1:], ["--help"]
def interrupt(event, words):
    if event == "import" and words[0] == when:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)
if when == "the end":
    atexit.register(interrupt, "import", [when])
if how == "module":
    runpy.run_module("compiler", run_name="__main__", alter_sys=True)
else:
    package, _, function = how.replace("vocosc", "compiler").partition(":")
    sys.exit(getattr(__import__(package, fromlist=[function]), function)())
"""


@pytest.mark.parametrize("when", every(["argparse", "numpy", "compiler.wheel", "the end"], ["argparse", "the end"]))
@pytest.mark.parametrize("how", ["module", "console command"])
def test_an_interrupt_before_and_after_the_work_shows_no_traceback(how: str, when: str) -> None:
    """While the packages are read, and while Python ends; the parent sees the signal."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entry = how if how == "module" else project["scripts"]["vocosc"]
    command = [*USUALLY, sys.executable, "-c", INTERRUPTED, entry, when]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert ("usage" in done.stdout) == (when == "the end")


@dataclass
class Gone:
    """Whether a process is."""

    pid: str

    def __call__(self) -> bool:
        return not Path(f"/proc/{self.pid}").exists()


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


# ---- the repository's makefile ----


@pytest.mark.parametrize("variable", every(["CKPT", "NAME", "CHUNK", "OUT"], ["CKPT", "OUT"]))
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_what_is_given_to_make_is_text(tmp_path: Path, variable: str, by: str) -> None:
    stamp = tmp_path / "ran"
    texts = ("$(shell touch {0})", "`touch {0}`", "$(touch {0})", "'; touch {0}; '", "$$(touch {0})", "\n\ttouch {0}")
    given = {"CKPT": "none.ckpt", "OUT": str(tmp_path / "out"), variable: "".join(texts).format(stamp)}
    command = ["make", "-s", "-C", str(ROOT), "-o", "setup-build", "object"]
    command += [f"{name}={value}" for name, value in given.items()] if by == "argument" else []
    environment = {**os.environ, **(given if by == "environment" else {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not stamp.exists()
