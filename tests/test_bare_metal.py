"""examples/bare_metal: images without an operating system, run by qemu-system, give the bits of the desk."""

import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from compiler.build import stack_bytes
from compiler.formats import FORMATS
from tests import builds, make_vocos
from tests.counts import build_counter, check_equal, counted
from tests.objects import PROGRAMS, ROOT, TINY, Vocoder, copy_programs, every, golden, run_ok, some_mel

EXAMPLE = ROOT / "examples" / "bare_metal"


@dataclass(frozen=True)
class Board:
    """What a board's makefile needs here."""

    cross: str
    emulator: str
    target: str
    runs: tuple[str, ...]
    compiler: str = ""  # other than CROSS's gcc


BOARDS = {
    "cortex_m4": Board("arm-none-eabi-", "qemu-system-arm", "armv7e-m", ("dsp",)),
    "cortex_m7": Board("arm-none-eabi-", "qemu-system-arm", "armv7e-m", ("dsp",)),
    "cortex_m55": Board("arm-none-eabi-", "qemu-system-arm", "armv8.1-m", ("mve",)),
    "cortex_a53": Board("aarch64-linux-gnu-", "qemu-system-aarch64", "aarch64", ("portable", "neon")),
    "riscv32": Board("riscv64-unknown-elf-", "qemu-system-riscv32", "riscv", ("riscv",)),
    "riscv64": Board("riscv64-unknown-elf-", "qemu-system-riscv64", "riscv", ("riscv",)),
    "riscv64v": Board("riscv64-unknown-elf-", "qemu-system-riscv64", "riscv-v", ("rvv",), "clang-19"),
}


@pytest.fixture(scope="module")
def utterance() -> Path:
    """The golden mel of `small`, as raw float32."""
    return builds.once("utterance", lambda folder: golden("small", "mel").tofile(folder / "mel.f32")) / "mel.f32"


def sources(target: str, precision: str) -> Path:
    """The directory of the sources of `small`, named vocos."""
    options = ("--chunk", 5, "--target", target, "--precision", precision)
    return builds.sources(builds.checkpoint("small"), "vocos", *options)


@pytest.fixture(scope="module")
def desk_line(utterance: Path) -> Callable[[str], str]:
    """What the desk prints for the portable target, by precision."""

    @cache
    def printed(precision: str) -> str:
        model = sources("portable", precision)
        build = builds.once(("desk", model), lambda out: build_board("desk", model, utterance, out))
        return run_board("desk", model, utterance, build)

    return printed


def build_board(
    board: str, model: Path, utterance: Path, build: Path, *variables: str, example: Path = EXAMPLE
) -> list[object]:
    """Builds the image for a model's sources, into `build`; returns the command that runs it."""
    variables = (f"BOARD={board}", f"MODEL={model}", f"UTTERANCE={utterance}", f"OUT={build}", *variables)
    make = ["env", "CCACHE_DISABLE=1", "make", "-s", "-C", example, *variables]  # which would forget call graphs
    run_ok(make)
    return ["timeout", "120", *make, "run"]


def run_board(board: str, model: Path, utterance: Path, build: Path, example: Path = EXAMPLE) -> str:
    """What the image prints for a model's sources; `build` then holds it."""
    return run_ok(build_board(board, model, utterance, build, example=example))


def need(board: Board) -> None:
    for program in (board.compiler or f"{board.cross}gcc", f"{board.cross}objcopy", board.emulator):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: .ci/setup test")


def test_the_desk_prints_the_crc_of_the_golden_audio(small: Vocoder, desk_line: Callable[[str], str]) -> None:
    stream = small.stream()
    audio = small.continue_decode(stream, golden("small", "mel")).tobytes() + small.flush(stream).tobytes()
    assert desk_line("f32") == f"portable: {len(audio) // 4} samples, crc32 {zlib.crc32(audio):08x}\n"


SHORT = ["cortex_m4 f16", "cortex_m7 w8", "cortex_m55 w8", "riscv32 f32", "riscv32 w4", "riscv64 w8"]
LONG = [f"{name} {precision}" for name in BOARDS for precision in FORMATS]


@pytest.mark.parametrize("case", every(LONG, SHORT))
def test_a_board_gives_the_bits_of_the_desk(
    desk_line: Callable[[str], str], utterance: Path, tmp_path: Path, case: str
) -> None:
    name, precision = case.split()
    board = BOARDS[name]
    need(board)
    model = sources(board.target, precision)
    flags = [] if board.compiler else ["EXTRA_CFLAGS=-fcallgraph-info=su"]
    printed = run_ok(build_board(name, model, utterance, tmp_path, *flags))
    assert printed == "".join(desk_line(precision).replace("portable", target) for target in board.runs)
    # Nothing of libgcc above all, as double arithmetic would on a Cortex-M7; and nothing is writable.
    built = tmp_path / "model" / "vocos.o"
    undefined = re.findall(r"^ +U (\S+)$", run_ok([f"{board.cross}nm", built]), re.MULTILINE)
    assert set(undefined) <= {"memcpy", "memset", "memmove"}
    sizes = re.findall(r"^\.(?:data|bss)\S* +(\d+)", run_ok([f"{board.cross}size", "-A", built]), re.MULTILINE)
    assert (sizes or board.compiler) and not any(map(int, sizes))  # LLVM's linker leaves empty ones out
    bound = json.loads((model / "vocos.json").read_text())["stack_bytes_bound"]
    assert not flags or 0 < stack_bytes(tmp_path / "model", "vocos") <= bound


def test_halves_are_widened_by_an_instruction_where_there_is_one(
    desk_line: Callable[[str], str], utterance: Path, tmp_path: Path
) -> None:
    """RISC-V's Zfh: the same bits."""
    need(BOARDS["riscv64"])
    variables = (
        "TARGET_CFLAGS=-march=rv64gc_zfhmin -mabi=lp64d -mcmodel=medany -fno-pic $(FREESTANDING)",
        "EMULATOR=qemu-system-riscv64 -M virt -cpu rv64,Zfh=true -bios none $(SEMIHOSTING) -kernel",
    )
    command = build_board("riscv64", sources("riscv", "f16"), utterance, tmp_path, *variables)
    listing = run_ok(["riscv64-unknown-elf-objdump", "-d", tmp_path / "model" / "vocos.o"])
    assert listing.count("fcvt.s.h") > 100
    assert run_ok(command) == desk_line("f16").replace("portable", "riscv")


@pytest.mark.parametrize("precision", every(list(FORMATS), ["w8"]))
def test_registers_of_any_length_give_the_same_bits(
    desk_line: Callable[[str], str], utterance: Path, tmp_path: Path, precision: str
) -> None:
    """RISC-V's V: one image, on cores whose vectors have so many bits."""
    need(BOARDS["riscv64v"])
    command = build_board("riscv64v", sources("riscv-v", precision), utterance, tmp_path)
    for length in every([128, 256, 512], [128, 256]):
        assert run_ok([*command, f"VLEN={length}"]) == desk_line(precision).replace("portable", "rvv")


@pytest.mark.parametrize(
    "case", every([f"{name} {kind}" for name in BOARDS for kind in ("f32", "w8")], ["cortex_m55 w8"])
)
def test_a_board_gives_the_bits_of_the_desk_for_a_model_that_looks_ahead(tmp_path: Path, case: str) -> None:
    name, precision = case.split()
    board = BOARDS[name]
    need(board)
    folder = make_vocos.write_folder(tmp_path / "ahead", make_vocos.TINY)
    some_mel(60, make_vocos.TINY["n_mels"]).tofile(tmp_path / "mel.f32")
    lines = []
    for on, target in (("desk", "portable"), (name, board.target)):
        model = builds.sources(folder, "vocos", "--chunk", 3, "--target", target, "--precision", precision)
        lines.append(run_board(on, model, tmp_path / "mel.f32", tmp_path / on))
    assert lines[1] == "".join(lines[0].replace("portable", target) for target in board.runs)


@pytest.mark.parametrize("case", ["cortex_m4 f32", "cortex_m55 w8", "cortex_a53 f16", "riscv64 w8"])
def test_the_count_of_instructions_does_not_depend_on_the_input(tmp_path: Path, case: str) -> None:
    """As in test_proofs.py, of code that other compilers made for other CPUs."""
    name, precision = case.split()
    board = BOARDS[name]
    need(board)
    options = ("--chunk", "1,3", "--target", board.target, "--precision", precision)
    model = builds.sources(builds.checkpoint(TINY), "vocos", *options)
    program = copy_programs(tmp_path / "program", "vocos") / "test_time.c"
    no_utterance = tmp_path / "empty"
    no_utterance.touch()
    flags = (f"PROGRAM={program}", f"EMULATOR_FLAGS=-plugin {build_counter(tmp_path)}")
    check_equal(counted(build_board(name, model, no_utterance, tmp_path / "out", *flags)), board.runs)


def test_an_image_that_faults_says_so(utterance: Path, tmp_path: Path) -> None:
    need(BOARDS["cortex_m7"])
    example = tmp_path / "bare_metal"
    shutil.copytree(EXAMPLE, example)
    main = example / "main.c"
    main.write_text(main.read_text().replace("crc = 0;", "crc = *(volatile uint32_t *)0xfffffff0;"))
    with pytest.raises(AssertionError, match=r"(?s)exit code 2.*\nfault\n.*Error 2"):
        run_board("cortex_m7", sources("portable", "f32"), utterance, tmp_path / "out", example)


def test_without_an_fpu_neither_libm_nor_doubles_are_needed(tmp_path: Path) -> None:
    """A Cortex-M3: floats are the compiler's own routines, fused multiply-adds and roots integers."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc here")
    options = ("--chunk", 2, "--target", "portable", "--precision", "w8")
    model = builds.sources(builds.checkpoint({**TINY, "dim": 19}), "tiny", *options)
    flags = "-std=c11 -O2 -Wall -Wextra -Wconversion -Werror -ffreestanding -ffp-contract=off -fno-math-errno"
    machine = "-fno-trapping-math -mthumb -mcpu=cortex-m3"
    folders = [f"-I{folder}" for folder in (model, model / "network", EXAMPLE)]
    built = tmp_path / "network.o"
    source = model / "network" / "tiny_network_portable.c"
    run_ok(["arm-none-eabi-gcc", *flags.split(), *machine.split(), *folders, "-c", "-o", built, source])
    needed = set(run_ok(["arm-none-eabi-nm", "--undefined-only", "--format=just-symbols", built]).split())
    others = {name for name in needed if not name.startswith(("tiny_", "__aeabi_f", "__aeabi_i2f", "__aeabi_ui2f"))}
    assert others <= {"memcpy", "memset", "memmove"}


def test_newlib_serves_as_well(desk_line: Callable[[str], str], utterance: Path, tmp_path: Path) -> None:
    """Its string.h when the model is built, its memcpy in the image."""
    need(BOARDS["cortex_m7"])
    if not run_ok(["arm-none-eabi-gcc", "-print-file-name=libc.a"]).startswith("/"):
        pytest.skip("no newlib here: .ci/setup test")
    printed = run_ok(build_board("cortex_m7", sources("armv7e-m", "w8"), utterance, tmp_path, "LIBC=newlib"))
    assert printed == desk_line("w8").replace("portable", "dsp")
    symbols = run_ok(["arm-none-eabi-nm", tmp_path / "image.elf"])
    assert " memcpy" in symbols and "copy_forwards" not in symbols


def test_audio_out_by_dma_is_never_late_at_a_stated_clock(small: Vocoder, utterance: Path, tmp_path: Path) -> None:
    """At 250 million instructions a second; at 8 million it is, so that the count can tell."""
    need(BOARDS["cortex_m7"])
    flags = ("PROGRAM=audio_out.c", "FLAGS=-DCHUNK=5")
    model = sources("armv7e-m", "f32")
    mel = golden("small", "mel")
    mel = mel[: len(mel) // 5 * 5]
    audio = small.continue_decode(small.stream(), mel)
    pcm = np.clip(np.rint(audio * np.float32(32768)), -32768, 32767).astype(np.int16)
    for shift, is_late in ((2, False), (7, True)):
        counted_time = f"EMULATOR_FLAGS=-icount shift={shift}"
        printed = run_ok(build_board("cortex_m7", model, utterance, tmp_path, *flags, counted_time))
        assert printed.startswith(f"{len(pcm)} samples, crc32 {zlib.crc32(pcm.tobytes()):08x}, halves played ")
        assert printed.endswith(", late 0\n") != is_late


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        ("../freertos/main.c ../freertos/stand_in/kernel.c", "-I ../freertos/stand_in"),
        (
            "../zephyr/main.c ../zephyr/stand_in/kernel.c ../freertos/stand_in/kernel.c",
            "-I ../zephyr/stand_in -I ../freertos/stand_in",
        ),
    ],
    ids=["freertos", "zephyr"],
)
def test_tasks_and_queues_give_the_same_bits(
    desk_line: Callable[[str], str], utterance: Path, tmp_path: Path, program: str, flags: str
) -> None:
    """Over stand-ins for FreeRTOS and Zephyr, three tasks with stacks of their own; all memory is static."""
    need(BOARDS["cortex_m7"])
    variables = (f"PROGRAM={program}", f"FLAGS={flags}")
    printed = run_ok(build_board("cortex_m7", sources("armv7e-m", "w8"), utterance, tmp_path, *variables))
    assert printed == desk_line("w8").removeprefix("portable: ")


def test_weights_in_flash_are_checked_once(tmp_path: Path) -> None:
    """At an address of their own, as the linker script says; where there are others, they are refused."""
    need(BOARDS["cortex_m7"])
    options = ("--chunk", 1, "--target", "armv7e-m", "--precision", "w8", "--weights", "blob")
    model = builds.sources(builds.checkpoint(TINY), "vocos", *options)
    (tmp_path / "none.f32").touch()
    for file, printed in ((model / "vocos_weights.bin", "ok, self-test passed\n"), (model / "vocos.h", "bad weights")):
        loader = f"EMULATOR_FLAGS=-device loader,file={file},addr=0x60000000,force-raw=on"
        flags = ("PROGRAM=weights_in_flash.c", f"FLAGS=-I {PROGRAMS}", loader)
        command = build_board("cortex_m7", model, tmp_path / "none.f32", tmp_path / "out", *flags)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.stdout.startswith(printed), done.stderr


def test_the_makefile_needs_neither_flags_nor_a_c_library(tmp_path: Path) -> None:
    """The default goal for a microcontroller is the library; its functions are its own."""
    need(BOARDS["cortex_m4"])
    options = ("--chunk", 1, "--target", "armv7e-m", "--precision", "w8", "--no-libc")
    model = tmp_path / "model"
    shutil.copytree(builds.sources(builds.checkpoint(TINY), "vocos", *options), model)
    run_ok(["make", "-s", "-C", model, "-f", "vocos.mk"])
    assert (model / "libvocos.a").exists() and not (model / "vocos").exists()
    assert not re.findall(r"^ +U (\S+)$", run_ok(["arm-none-eabi-nm", model / "vocos.o"]), re.MULTILINE)
