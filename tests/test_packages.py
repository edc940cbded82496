"""How other builds take a model: CMake's find_package and vocosc_add_model, pkg-config, make install, libNAME.so."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import builds
from tests.objects import ROOT, TINY, every, run_ok, some_audio, symbols

OPTIONS = ("--chunk", "5", "--target", "portable")
DESK = ROOT / "examples" / "desk" / "main.c"
SOUND = (some_audio(1000) * 32768).astype("<i2").tobytes()

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake here: .ci/setup test")


@pytest.fixture(scope="module")
def folder() -> Path:
    """A model's folder, with libvocos.so; nobody writes there."""
    built = builds.model(builds.checkpoint(TINY), "vocos", *OPTIONS)

    def link(to: Path) -> None:
        shutil.copytree(built, to, dirs_exist_ok=True)
        run_ok(["make", "-s", "-f", "vocos.mk", "libvocos.so"], cwd=to)

    return builds.once(("shared", *OPTIONS), link)


@pytest.fixture(scope="module")
def installed(folder: Path) -> Path:
    """Where it is installed, from sources and all: by way of a DESTDIR, in the prefix /opt/voice of it."""

    def install(to: Path) -> None:
        work = to / "work"
        shutil.copytree(folder, work)
        run_ok(["make", "-s", "-f", "vocos.mk", "install", f"DESTDIR={to}/root", "PREFIX=/opt/voice"], cwd=work)

    return builds.once(("installed", *OPTIONS), install) / "root" / "opt" / "voice"


@pytest.fixture(scope="module")
def spoken(folder: Path) -> bytes:
    """What examples/desk makes of some sound, built by its own line."""
    program = builds.once("desk", lambda to: cc(to / "desk", "-I", folder, folder / "libvocos.a")) / "desk"
    return run(program)


def cc(program: Path, *arguments: object, source: Path = DESK) -> None:
    run_ok(["cc", "-std=c11", source, *arguments, "-o", program])


def run(program: Path, **environment: str) -> bytes:
    done = subprocess.run(
        [program], input=SOUND, capture_output=True, check=True, timeout=60, env={**os.environ, **environment}
    )
    return done.stdout


# ---- libNAME.so ----


def test_the_shared_library_has_the_functions_and_no_more(folder: Path) -> None:
    listing = run_ok(["nm", "-D", "--defined-only", folder / "libvocos.so"]).splitlines()
    names = [line.split()[2] for line in listing if " T " in line]
    inside = symbols(folder / "vocos.o")
    assert sorted(name.partition("@@")[0] for name in names) == sorted([*inside["global"], *inside["tied"]])
    (version,) = {name.partition("@@")[2] for name in names}
    assert version.startswith("vocos_")
    assert {line.split()[2] for line in listing} == {*names, version}


def test_a_library_of_another_build_is_refused(folder: Path, spoken: bytes, tmp_path: Path) -> None:
    """By the loader, before main, if the sizes differ, also where a program looks up the plain names."""
    cc(tmp_path / "desk", "-I", folder, folder / "libvocos.so")
    assert run(tmp_path / "desk", LD_LIBRARY_PATH=str(folder)) == spoken
    cc(tmp_path / "plain", "-I", folder, "-DVOCOS_TIED(function)=", folder / "libvocos.so")
    assert run(tmp_path / "plain", LD_LIBRARY_PATH=str(folder)) == spoken
    options = ("--chunk", "6", "--target", "portable")
    other = shutil.copytree(builds.sources(builds.checkpoint(TINY), "vocos", *options), tmp_path / "other")
    run_ok(["make", "-s", "-j2", "-f", "vocos.mk", "libvocos.so", "EXTRA_CFLAGS=-O0"], cwd=other)
    for name in ("desk", "plain"):
        environment = {"LD_LIBRARY_PATH": str(other)}
        done = subprocess.run([tmp_path / name], input="", capture_output=True, text=True, check=False, env=environment)
        assert done.returncode != 0 and "version `vocos_" in done.stderr, done.stderr


# ---- make install, pkg-config ----


def test_what_is_installed(folder: Path, installed: Path) -> None:
    files = sorted(str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file())
    assert files == [
        "bin/vocos",
        "include/vocos.h",
        "include/vocos.hpp",
        "lib/cmake/vocos/vocosConfig.cmake",
        "lib/cmake/vocos/vocosConfigVersion.cmake",
        "lib/libvocos.a",
        "lib/libvocos.so",
        "lib/pkgconfig/vocos.pc",
        "share/vocos/vocos_team_pthread.c",
        "share/vocos/vocos_team_pthread.h",
    ]
    for name, path in (("vocos.h", "include"), ("libvocos.a", "lib"), ("libvocos.so", "lib")):
        assert (installed / path / name).read_bytes() == (folder / name).read_bytes()
    run_ok([installed / "bin" / "vocos", "info"])


def test_pkg_config(folder: Path, installed: Path, spoken: bytes, tmp_path: Path) -> None:
    """In the compiler's folder, whatever that is called, and installed."""
    if shutil.which("pkg-config") is None:
        pytest.skip("no pkg-config here: .ci/setup test")
    moved = shutil.copytree(folder, tmp_path / "a folder")
    root = installed.parents[1]
    for where, environment in (
        (moved, {"PKG_CONFIG_PATH": str(moved)}),
        (installed, {"PKG_CONFIG_PATH": str(installed / "lib/pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(root)}),
    ):
        # pkg-config quotes what has blanks for a shell to read, so the line is read once more.
        script = f'eval "cc -std=c11 {DESK} -o {tmp_path}/desk $(pkg-config --cflags --libs vocos)"'
        run_ok(["sh", "-c", script], env={**os.environ, **environment})
        assert run(tmp_path / "desk", LD_LIBRARY_PATH=str(installed / "lib")) == spoken, where
    assert (
        run_ok(["pkg-config", "--modversion", "vocos"], env={**os.environ, "PKG_CONFIG_PATH": str(moved)}) == "0.1.0\n"
    )


# ---- CMake ----

PROJECT = f"""
cmake_minimum_required(VERSION 3.18)
project(all C)
find_package(vocos 0.1 REQUIRED)
find_package(vocos REQUIRED) # a second time, as where two parts of a project ask for it
add_executable(static {DESK})
target_link_libraries(static PRIVATE vocos::vocos)
add_executable(shared {DESK})
target_link_libraries(shared PRIVATE vocos::shared)
get_target_property(library vocos::vocos IMPORTED_LOCATION)
add_executable(header {DESK})
target_link_libraries(header PRIVATE vocos::header ${{library}})
add_executable(team team.c)
target_link_libraries(team PRIVATE vocos::vocos vocos::team)
"""

TEAM = """
#include "vocos_team_pthread.h"
int main(void) {
  static vocos_team_pthread team;
  if (vocos_team_pthread_start(&team, 2) != 0) return 1;
  vocos_team_pthread_stop(&team);
  return 0;
}
"""


def cmake(source: Path, build: Path, *options: str) -> None:
    run_ok(["cmake", "-S", source, "-B", build, *options])
    run_ok(["cmake", "--build", build, "-j", "2"])


@needs_cmake
def test_find_package(folder: Path, installed: Path, spoken: bytes, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(PROJECT)
    (tmp_path / "team.c").write_text(TEAM)
    for number, option in enumerate((f"-Dvocos_DIR={folder}", f"-DCMAKE_PREFIX_PATH={installed}")):
        build = tmp_path / f"build{number}"
        cmake(tmp_path, build, option)
        for program in ("static", "shared", "header"):
            assert run(build / program) == spoken, program
        run_ok([build / "team"])


@needs_cmake
def test_what_find_package_refuses(folder: Path, tmp_path: Path) -> None:
    """Another minor version, and a folder that has the sources alone."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("vocosConfig.cmake", "vocosConfigVersion.cmake", "vocos.h"):
        shutil.copy(folder / name, bare)
    for where, version, said in ((folder, "0.2", "0.1.0"), (bare, "", "make -f vocos.mk libvocos.a")):
        project = f"cmake_minimum_required(VERSION 3.18)\nproject(p C)\nfind_package(vocos {version} REQUIRED)\n"
        (tmp_path / "CMakeLists.txt").write_text(project)
        command = ["cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-Dvocos_DIR={where}"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode != 0 and said in done.stderr


@needs_cmake
@pytest.mark.parametrize("generator", every(["Ninja", "Unix Makefiles"], ["Ninja"]))
def test_the_compiler_as_a_step_of_the_build(generator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """examples/cmake: built on two cores, then only when something has changed that the model depends on."""
    if generator == "Ninja" and shutil.which("ninja") is None:
        pytest.skip("no ninja here: .ci/setup test")
    monkeypatch.setenv("CFLAGS", "-O0")  # built in a quarter of the time
    checkpoint = tmp_path / "tiny.ckpt"
    shutil.copy(builds.checkpoint(TINY), checkpoint)
    build, library = tmp_path / "build", tmp_path / "build" / "vocosc" / "vocos" / "libvocos.a"
    options = ["-G", generator, f"-DCHECKPOINT={checkpoint}"]
    cmake(ROOT / "examples" / "cmake", build, *options, "-DMODEL_OPTIONS=--chunk;5;--target;portable")
    direct = builds.model(builds.checkpoint(TINY), "vocos", *OPTIONS, light=True)
    assert library.read_bytes() == (direct / "libvocos.a").read_bytes()
    assert len(run(build / "desk")) > len(SOUND) // 2

    def rebuilt(**options: str) -> bool:
        """Whether a build makes the library anew; CMake may have removed it before, where a command changed."""
        before = library.stat().st_mtime_ns
        run_ok(["cmake", *(f"-D{key}={value}" for key, value in options.items()), build])
        run_ok(["cmake", "--build", build, "-j", "2"])
        return library.stat().st_mtime_ns != before

    assert not rebuilt()
    checkpoint.write_bytes(builds.checkpoint(TINY, 4).read_bytes())
    assert rebuilt()
    assert library.read_bytes() != (direct / "libvocos.a").read_bytes()
    assert rebuilt(MODEL_OPTIONS="--chunk;6;--target;portable")
    assert "#define VOCOS_MAX_FRAMES 6" in library.with_name("vocos.h").read_text()


@needs_cmake
def test_the_compiler_in_a_cross_build(tmp_path: Path) -> None:
    """The project's compiler builds the library; qemu runs the program."""
    for program in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: .ci/setup test")
    toolchain = tmp_path / "toolchain.cmake"
    toolchain.write_text(
        "set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR aarch64)\n"
        "set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)\nset(CMAKE_EXE_LINKER_FLAGS -static)\n"
    )
    options = [f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", f"-DCHECKPOINT={builds.checkpoint(TINY)}"]
    cmake(ROOT / "examples" / "cmake", tmp_path / "build", *options, "-DMODEL_OPTIONS=--chunk;5")
    desk = builds.model(builds.checkpoint(TINY), "vocos", *OPTIONS)
    cc(tmp_path / "desk", "-I", desk, desk / "libvocos.a")
    emulated = ["qemu-aarch64", tmp_path / "build" / "desk"]
    done = subprocess.run(list(map(str, emulated)), input=SOUND, capture_output=True, check=True, timeout=60)
    assert done.stdout == run(tmp_path / "desk")


@needs_cmake
def test_what_the_step_refuses(tmp_path: Path) -> None:
    for line, said in (
        ("vocosc_add_model(vocos none.ckpt)", "there is no"),
        ("vocosc_add_model(my-model tiny.ckpt)", "C identifier"),
        ("vocosc_add_model(vocos tiny.ckpt --chunk 5)", "after OPTIONS"),
    ):
        project = f"cmake_minimum_required(VERSION 3.18)\nproject(p C)\nadd_subdirectory({ROOT} vocosc)\n{line}\n"
        (tmp_path / "CMakeLists.txt").write_text(project)
        command = ["cmake", "-S", tmp_path, "-B", tmp_path / "build"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode != 0 and said in " ".join(done.stderr.split()), done.stderr
