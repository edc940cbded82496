"""--target cuda: NVRTC compiles every kernel for every architecture, the object holds it all, mistakes get one line."""

import itertools
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.cuda import LANES, WARP_INPUTS, Shards, pack_product, plan_device
from compiler.cuda_steps import fuse, loops
from compiler.emit import KERNELS
from compiler.errors import CompileError
from compiler.network import Network, Operation
from compiler.nvrtc import ARCHITECTURES, Image, Nvrtc, candidates, compile_images, driver_for, images_bytes
from compiler.plan import plan
from tests import builds
from tests.gpu import SHAPES, kernel_sources
from tests.objects import (
    ALL,
    ROOT,
    TINY,
    compile_model,
    config,
    every,
    folded,
    linear,
    run_compiler,
    run_ok,
    source,
    sources,
    symbols,
)
from tests.sass import LOCAL, disassemble, disassembler, registers, wide_loads_before_any_use

SHARED_BYTES = 48 * 1024  # what a thread block has on every GPU


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    try:
        return Nvrtc()
    except CompileError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def tiny_checkpoint() -> Path:
    return builds.checkpoint(TINY)


@pytest.fixture
def tiny_cuda(nvrtc: Nvrtc, tiny_checkpoint: Path) -> Path:
    """The directory of an object for sm_80 and sm_90, in halves, for two streams."""
    options = ("--target", "cuda", "--gpu", "90,80", "--batch", "2", "--precision", "f16", "--chunk", "3")
    return builds.model(tiny_checkpoint, "tiny", *options, light=True)


# ---- NVRTC ----


def check_images(images: tuple[Image, ...], architectures: tuple[int, ...], steps: set[str]) -> None:
    assert [(image.architecture, image.is_ptx) for image in images] == [
        *((architecture, False) for architecture in architectures),
        *((architecture, True) for architecture in (80, 90) if architecture in architectures),
    ]
    for image in images[: len(architectures)]:
        assert image.code.startswith(b"\x7fELF")
        assert {kernel.name for kernel in image.kernels} == steps, image.text
        for kernel in image.kernels:
            assert kernel.spilled == 0, f"{image.text}: {kernel.name} spills {kernel.spilled} bytes"
            assert kernel.stack_bytes == 0, f"{image.text}: {kernel.name} keeps {kernel.stack_bytes} bytes on a stack"
            assert kernel.shared_bytes <= SHARED_BYTES, f"{image.text}: {kernel.name}"
    for image in images[len(architectures) :]:
        assert image.code.endswith(b"\0")
        assert f".target sm_{image.architecture}".encode() in image.code


# The published widths in two layers: all layers have the same code.
DEMO = ROOT / "examples" / "model" / "demo.ckpt"
MODELS = {"published": {**config("full"), "num_layers": 2}, "odd": config("odd"), "wide": SHAPES["wide"]}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("published", {"chunks": (1, 5), "precision": "f16", "tuning": "resident"}),
        ("odd", {"chunks": (3, 16), "precision": "w8", "batch": 3}),
        *every(
            [
                ("published", {"chunks": (16,), "precision": "f32", "batch": 1024}),
                ("published", {"chunks": (1, 5), "precision": "f16", "tuning": "data,resident"}),
                ("wide", {"chunks": (8,)}),
                ("odd", {"chunks": (7,), "batch": 2, "link": "libs"}),
            ],
            [],
        ),
    ],
)
def test_every_kernel_compiles_without_spilling(nvrtc: Nvrtc, model: str, options: dict[str, Any]) -> None:
    _, device, files = kernel_sources(builds.checkpoint(MODELS[model]), "model", **options)
    # From sm_90 on kernels overlap; else the architectures differ by the assembler's registers alone.
    architectures = every(ARCHITECTURES, (90,))
    images = compile_images(f"model_{KERNELS}", files, architectures)
    kernels = {f"model_{step.step}" for steps in device.ways.values() for step in steps if step.block}
    check_images(images, architectures, kernels)


# Of multiprocessors as many as chips of these architectures have, or might have.
CHIPS = [(8, 87), (20, 80), (40, 75), (46, 86), (58, 89), (60, 89), (76, 89), (80, 86), (84, 86), (108, 80), (114, 90)]
CHIPS += [(128, 89), (132, 90), (144, 90), (148, 100), (170, 120)]


@pytest.mark.parametrize(("processors", "architecture"), every(CHIPS, [(58, 89)]))
def test_no_kernel_spills_however_many_multiprocessors_it_is_cut_for(
    nvrtc: Nvrtc, processors: int, architecture: int
) -> None:
    if architecture not in nvrtc.architectures:
        pytest.skip(f"NVRTC {nvrtc.version} does not know sm_{architecture}")
    published = builds.checkpoint(MODELS["published"])
    compiled = set()
    cases: list[tuple[Path, str, tuple[int, ...], str]] = every(
        [
            *itertools.product((published,), ("f16", "f32"), ((1, 5), (16,)), ("", "data", "early,half")),
            *itertools.product((DEMO,), ("f16", "f32"), ((1, 5),), ("", "data")),
        ],
        [(published, "f16", (1, 5), "")],
    )
    for checkpoint, precision, chunks, way in cases:
        _, device, files = kernel_sources(
            checkpoint, "model", chunks, precision, tuning=f"{way},processors={processors}"
        )
        source = hash(tuple(files.values()))
        if source in compiled:
            continue
        compiled.add(source)
        assert device.single.grid[0] <= processors + 1 or processors < 46, "a turn, and a block that keeps the mels"
        for kernel in nvrtc.compile(f"model_{KERNELS}", files, architecture).kernels:
            assert (kernel.spilled, kernel.stack_bytes) == (0, 0), (kernel.name, precision, chunks, way)


def test_the_assemblers_code_loads_the_weights_first(nvrtc: Nvrtc, tmp_path: Path) -> None:
    """Before a kernel waits for anything: a load's result, or the kernel before. And no register is in memory."""
    if disassembler() is None:
        pytest.skip("no nvdisasm here")
    checkpoint, architectures = builds.checkpoint(MODELS["published"]), every((80, 90, 100), (90,))
    for precision, tuning, loads in every(
        [("f16", "", 1), ("f32", "", 2), ("f16", "early,half", 1), ("w8", "processors=58", 1)], [("f16", "early", 1)]
    ):
        _, device, files = kernel_sources(checkpoint, "model", (1, 5), precision, tuning=tuning)
        for architecture in architectures:
            image = nvrtc.compile(f"model_{KERNELS}", files, architecture)
            code = disassemble(image.code, tmp_path)
            assert registers(image.code, tmp_path) == {kernel.name: kernel.registers for kernel in image.kernels}
            assert set(code) == {kernel.name for kernel in image.kernels}
            for name, instructions in code.items():
                assert not any(one.operation.startswith(LOCAL) for one in instructions), name
            for step in (step for step in device.steps if step.kernel in ("expand", "contract", "head")):
                # Each weight of a lane once; what comes before the barrier is under way before what comes after it.
                expected = device.products[step.kernel].columns * loads
                found = wide_loads_before_any_use(code[f"model_{step.name}"], "BAR")
                assert found == (expected, 0), (step.name, architecture, tuning)
                waits = any(one.operation.startswith("ACQBULK") for one in code[f"model_{step.name}"])
                assert waits == (architecture >= 90)


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_only_products_for_many_rows_take_tensor_cores(nvrtc: Nvrtc, tmp_path: Path) -> None:
    if disassembler() is None:
        pytest.skip("no nvdisasm here")
    checkpoint = builds.checkpoint(TINY)
    cases = [("f16", architecture) for architecture in (80, 90, 100)] + [
        ("w8", architecture) for architecture in (80, 90, 100)
    ]
    for precision, architecture in every(cases, [("w8", 90)]):
        _, device, files = kernel_sources(checkpoint, "tiny", (3,), precision, 8, tuning="tensor")
        code = disassemble(nvrtc.compile(f"tiny_{KERNELS}", files, architecture).code, tmp_path)
        by_halves, by_int8 = (
            {name for name, found in code.items() if any(one.operation.startswith(operation) for one in found)}
            for operation in ("HMMA", "IMMA")
        )
        products = [step for step in device.library_steps if step.step.startswith("product")]
        assert by_int8 == {f"tiny_{step.step}" for step in products if step.limit}
        assert by_halves == {f"tiny_{step.step}" for step in products if not step.limit}
        assert len(by_halves | by_int8) == 4 and bool(by_int8) == (precision == "w8")
        assert not any(one.operation.startswith(LOCAL) for instructions in code.values() for one in instructions)


def test_kernels_that_overlap_wait(nvrtc: Nvrtc, tiny_checkpoint: Path) -> None:
    """From sm_90 on each waits once, before it lets the next one start; before that, the instructions do not exist."""
    _, device, files = kernel_sources(tiny_checkpoint, "tiny", (3,))
    new = nvrtc.compile(f"tiny_{KERNELS}", files, 90, is_ptx=True).code.decode()
    old = nvrtc.compile(f"tiny_{KERNELS}", files, 89, is_ptx=True).code.decode()
    assert "griddepcontrol" not in old
    bodies = {body.split("(")[0]: body for body in new.split(".visible .entry ")[1:]}
    for launch in device.launches:
        found = re.findall(r"griddepcontrol\.(\w+)", bodies[f"tiny_{launch.step}"])
        expected = ["launch_dependents"] if launch.step == "embed" else ["wait", "launch_dependents"]
        assert found == expected, launch.step
    _, device, files = kernel_sources(tiny_checkpoint, "tiny", (3,), tuning="early")
    early = nvrtc.compile(f"tiny_{KERNELS}", files, 90, is_ptx=True).code.decode()
    assert early.count("griddepcontrol") == new.count("griddepcontrol")
    orders = re.findall(r"griddepcontrol\.launch_dependents[^.]*?griddepcontrol\.wait", re.sub(r"//.*", "", early))
    assert len(orders) == len(device.launches) - 1


def test_the_single_kernel_hands_over_in_order(nvrtc: Nvrtc, tiny_checkpoint: Path) -> None:
    """By releases and fences at the scope of the GPU, one behind the looks; no load takes memory for constant."""
    _, device, files = kernel_sources(tiny_checkpoint, "tiny", (3,))
    text = nvrtc.compile(f"tiny_{KERNELS}", files, 80, is_ptx=True).code.decode()
    (body,) = (body for body in text.split(".visible .entry ") if body.startswith(f"tiny_{device.single.step}("))
    assert re.findall(r"st\.release\S*", body) == ["st.release.gpu.u32"] * 5  # embed, start, two of a layer, head
    assert re.findall(r"fence\S*", body) == ["fence.acq_rel.gpu;"] * 5 and "acquire" not in body.replace("acq_rel", "")
    assert set(re.findall(r"ld\.relaxed\S*", body)) == {"ld.relaxed.gpu.global.u32"}
    assert "ld.global.nc" not in body and "ld.const" not in body
    assert f".maxntid {device.single.block}, 1, 1" in body or f".maxntid {device.single.block}" in body


def test_an_error_in_a_kernel_is_one_line(nvrtc: Nvrtc) -> None:
    with pytest.raises(CompileError, match=r"NVRTC .*, sm_90: .*nonsense.*error") as caught:
        nvrtc.compile("nonsense.cu", {"nonsense.cu": "int f() { return nothing; }"}, 90)
    assert "\n" not in str(caught.value)


def test_the_library_is_looked_for_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolkit = tmp_path / "toolkit" / "lib64"
    toolkit.mkdir(parents=True)
    for name in ("libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so.13.0.88", "libnvrtc-builtins.so.13.0"):
        (toolkit / name).touch()
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "toolkit"))
    found = candidates()
    assert [path for path in found if path.parent == toolkit] == [
        toolkit / "libnvrtc.so.12",
        toolkit / "libnvrtc.so.13",
    ]
    loaders = [Path("libnvrtc.so.12"), Path("libnvrtc.so.13"), Path("libnvrtc.so")]
    assert [path for path in found if path.parent == Path()] == loaders and found[-1] == loaders[-1]
    assert found.index(loaders[0]) < found.index(toolkit / "libnvrtc.so.13"), "CUDA 12's before the rest"


def test_every_image_says_which_driver_it_needs() -> None:
    """Machine code: what the toolkit's major version asks for, or the first that knew the chip. PTX: the toolkit's."""
    found = {(toolkit, chip): driver_for(toolkit, chip, False) for toolkit in (12090, 13000) for chip in (90, 100)}
    assert found == {(12090, 90): 12000, (12090, 100): 12080, (13000, 90): 13000, (13000, 100): 13000}
    assert driver_for(12090, 80, True) == 12090
    assert Image(80, True, b"", least_driver=12090).driver_text == "CUDA 12.9 (release 575)"
    assert Image(80, True, b"", least_driver=13020).driver_text == "CUDA 13.2"


# ---- the object ----


def test_the_object_needs_the_driver_only_at_run_time(tiny_cuda: Path) -> None:
    needed = {"memcpy", "memset", "memmove", "dlopen", "dlsym"}
    assert set(symbols(tiny_cuda / "tiny.o")["undefined"]) <= needed
    listing = run_ok(["readelf", "-S", "-W", tiny_cuda / "tiny.o"])
    for section, size, flags in re.findall(r"\] (\S+)\s+PROGBITS\s+\w+ \w+ (\w+) \w+ +(\w*)", listing):
        assert int(size, 16) == 0 or "W" not in flags, f"{section} is writable"


def test_the_object_holds_images_and_weights(tiny_cuda: Path, tmp_path: Path) -> None:
    for section, file in (("images", "tiny_cuda_images.bin"), ("weights", "tiny_cuda_weights.bin")):
        dump = tmp_path / section
        name = f".rodata.tiny.cuda_{section}"
        run_ok(["objcopy", f"--dump-section={name}={dump}", tiny_cuda / "tiny.o", tmp_path / "ignored.o"])
        assert dump.read_bytes() == source(tiny_cuda, file).read_bytes()
    report = json.loads((tiny_cuda / "tiny.json").read_text())["cuda"]
    assert [(image["architecture"], image["kind"]) for image in report["images"]] == [
        *((80, "cubin"), (90, "cubin"), (80, "ptx"), (90, "ptx"))
    ]
    assert report["weights"] == "halves" and report["batch"] == 2
    needed = [image["least_driver"] for image in report["images"]]
    version = Nvrtc().version.split(".")
    major, toolkit = 1000 * int(version[0]), 1000 * int(version[0]) + 10 * int(version[1])
    assert needed == [major, major, toolkit, toolkit]
    header = (tiny_cuda / "tiny_cuda.h").read_text()
    assert f"#define TINY_CUDA_LEAST_DRIVER {major}\n" in header
    assert header.count(": CUDA 1") == len(report["images"])
    assert report["images"][0]["spilled_bytes"] == 0 and report["images"][0]["most_registers"] > 0
    tables = source(tiny_cuda, "tiny_cuda_tables.c").read_text()
    images = source(tiny_cuda, "tiny_cuda_images.bin").read_bytes()
    places = re.findall(r"\{(\d+), ([01]), \d+, (\d+), (\d+)\}, +/\* (cubin|PTX)", tables)
    assert len(places) == 4
    for _, is_ptx, offset, size, _ in places:
        code = images[int(offset) :][: int(size)]
        assert int(offset) % 64 == 0
        assert (
            code.endswith(b"\0") and b".visible .entry tiny_embed(" in code if is_ptx == "1" else code[:4] == b"\x7fELF"
        )


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_the_same_bytes_every_time(tiny_cuda: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--target", "cuda", "--gpu", "80,90", "--batch", "2", "--precision", "f16", "--chunk", "3")
    again = compile_model(tiny_checkpoint, tmp_path / "again", "tiny", *options, "--sources-only")
    files = sources(again, "*cuda*")
    assert len(files) > 8
    for path in files:
        assert path.read_bytes() == (tiny_cuda / path.relative_to(again)).read_bytes(), path.name


def test_no_placeholder_is_left(tiny_cuda: Path) -> None:
    for path in sources(tiny_cuda, "tiny_cuda*"):
        if path.suffix != ".bin":
            text = path.read_text().split("\n", 2)[2]
            for left in ("vocosc", "VOCOSC", "${", "//%", "<%"):
                assert left not in text, f"{path.name} holds {left}"


# ---- mistakes ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gpu", "hopper"], ["--gpu hopper"]),
        (["--gpu", "9.0"], ["--gpu 9.0"]),
        (["--gpu", "80,"], ["--gpu 80,"]),
        (["--gpu", "52"], ["--gpu 52", "compiles for"]),
        (["--batch", "0"], ["--batch 0", "16384"]),
        (["--batch", "16385"], ["--batch 16385", "16384"]),
        (["--batch", "x"], ["--batch", "x"]),
        (["--gpu-tune", "fast"], ["--gpu-tune fast", "early, half, data, tensor, resident and processors=N"]),
        (["--gpu-tune", "processors=0"], ["--gpu-tune processors=0"]),
        (["--gpu-tune", "half", "--link", "libs"], ["--gpu-tune half", "--link libs"]),
        (["--gpu-tune", "half,data"], ["--gpu-tune half,data"]),
        (["--gpu-tune", "data", "--batch", "64"], ["--gpu-tune data", "128 frames"]),
        (["--gpu-tune", "tensor"], ["--gpu-tune tensor", "f32"]),
        (["--gpu-tune", "resident", "--batch", "2"], ["--gpu-tune resident", "--batch 1"]),
        (["--link", "libs", "--precision", "f16"], ["--link libs", "f16"]),
        (["--weights", "c"], ["--weights"]),
    ],
    ids=" ".join,
)
def test_bad_options(nvrtc: Nvrtc, tiny_checkpoint: Path, tmp_path: Path, options: list[str], words: list[str]) -> None:
    done = run_compiler(tiny_checkpoint, "-o", tmp_path / "out", "--target", "cuda", *options)
    assert done.returncode in (1, 2)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("usage:", " "))]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]
    assert not list(tmp_path.iterdir())


def test_without_nvrtc_one_line_and_the_cpu_goes_on(tiny_checkpoint: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "NVRTC_LIBRARY": str(tmp_path / "nowhere.so")}
    done = run_compiler(tiny_checkpoint, "-o", tmp_path / "gpu", "--target", "cuda", env=environment)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "CUDA Toolkit" in done.stderr and "pip install nvidia-cuda-nvrtc" in done.stderr
    assert not (tmp_path / "gpu").exists()
    done = run_compiler(tiny_checkpoint, "-o", tmp_path / "cpu", "--sources-only", env=environment)
    assert done.returncode == 0, done.stderr


def test_what_shared_memory_does_not_hold_is_not_made_resident(full_checkpoint: Path) -> None:
    _, device, _ = kernel_sources(full_checkpoint, "full", (5,), "f16", tuning="resident")
    assert device.resident.shared_bytes <= 227 * 1024 and device.resident.grid[0] <= 132
    with pytest.raises(CompileError, match=r"resident: a thread block needs 423 KB of shared memory .*; it has 227"):
        kernel_sources(full_checkpoint, "full", (5,), "f32", tuning="resident")


def test_layers_too_wide_for_a_thread_block() -> None:
    wide = builds.checkpoint({**TINY, "dim": 9000, "mlp_ratio": 0.01})
    with pytest.raises(CompileError, match="--target cuda: block0_expand, 9000 x 92, is too large"):
        kernel_sources(wide, "wide", (3,))


def test_a_transform_too_long_for_a_thread_block(tiny_checkpoint: Path) -> None:
    network = folded(tiny_checkpoint)
    layout = plan(replace(network, config=replace(network.config, n_fft=16384)), (3,))
    with pytest.raises(CompileError, match="--target cuda: n_fft 16384 is too long"):
        plan_device(layout, 1)


# ---- the schedule ----


def two_layers() -> Network:
    return folded(builds.checkpoint({**TINY, "num_layers": 2}))


def test_steps_fuse_the_schedule() -> None:
    """Every operation once, in order; layers are a loop of the single kernel."""
    network = two_layers()
    steps = fuse(network)
    assert [operation for step in steps for operation in step.operations] == list(network.operations)
    blocks = ["block0_expand", "block0_contract", "block1_expand", "block1_contract"]
    assert [step.name for step in steps] == ["embed", "start", *blocks, "head", "synthesis"]
    runs = [([step.name for step in run], period) for run, period in loops(steps)]
    assert runs == [(["embed"], 1), (["start"], 1), (blocks, 2), (["head"], 1), (["synthesis"], 1)]


UNFIT: dict[str, tuple[Callable[[Operation], list[Operation]], str]] = {
    "no up projection": (
        lambda op: [] if op.kernel == "expand" else [op],
        "block0_contract: no kernel does this linear",
    ),
    "two norms": (lambda op: [op, op] if op.name == "block1_norm" else [op], "block1_norm: no kernel"),
    "an epilogue": (lambda op: [replace(op, epilogue="gelu") if op.kind == "conv" else op], "embed: no kernel"),
    "a buffer": (lambda op: [replace(op, x="mel") if op.name == "final_norm" else op], "final_norm: no kernel"),
    "an end": (lambda op: [] if op.kind == "overlap_add" else [op], "inverse_rfft: no kernel"),
    "no layers": (lambda op: [op] if "block" not in op.name or op.name == "block0_conv" else [], "contract, expand"),
}


@pytest.mark.parametrize("change", UNFIT)
def test_a_schedule_that_no_kernels_run_is_refused(change: str) -> None:
    function, words = UNFIT[change]
    network = two_layers()
    operations = tuple(new for operation in network.operations for new in function(operation))
    with pytest.raises(CompileError, match=f"^--target cuda: .*{words}"):
        fuse(replace(network, operations=operations))


def test_layers_of_two_shapes_are_refused() -> None:
    def narrow(operation: Operation) -> Operation:
        if operation.name == "block1_expand":
            tensors = {"weight": operation.weight[:, :4], "bias": operation.bias[:4]}
            return replace(operation, name="block1_up", outputs=4, tensors=tensors)
        if operation.name == "block1_contract":
            tensors = {"weight": operation.weight[:4], "bias": operation.bias}
            return replace(operation, name="block1_down", inputs=4, tensors=tensors)
        return operation

    network = two_layers()
    layout = plan(replace(network, operations=tuple(map(narrow, network.operations))), (3,))
    with pytest.raises(CompileError, match="--target cuda: block1_up: differs in shape"):
        plan_device(layout, 1)


# ---- packing ----


@pytest.mark.parametrize("is_half", [True, False])
def test_a_lane_finds_its_weights(is_half: bool) -> None:
    """Read as the kernel reads: 4 inputs in each half of the 256, for one output of one shard."""
    inputs, outputs = 300, 23
    cut = Shards(inputs, outputs, columns=3, groups=2, splits=2, shards=4)
    rng = np.random.default_rng(0)
    weight = rng.integers(-8, 9, (inputs, outputs)).astype(np.float32)
    product = linear(weight, np.arange(outputs, dtype=np.float32))
    header, packed = pack_product(cut, product, is_half)
    values = packed.view(np.float16).astype(np.float32) if is_half else packed
    assert values.shape == (4, 2, 2, 3, WARP_INPUTS)
    for shard, group, split, column, lane in [(0, 0, 0, 0, 0), (1, 1, 0, 2, 31), (3, 0, 1, 1, 5), (2, 1, 1, 0, 10)]:
        output = (shard * 2 + group) * 3 + column
        row = values[shard, group, split, column]
        eight = row[8 * lane :][:8] if is_half else np.concatenate([row[4 * lane :][:4], row[4 * (LANES + lane) :][:4]])
        first = 256 * split + 4 * lane
        expected = [
            weight[k, output] if k < inputs else 0 for k in (*range(first, first + 4), *range(first + 128, first + 132))
        ]
        assert np.array_equal(eight * header[1, output], expected)
        assert header[0, output] * header[1, output] == output
    assert not header[:, outputs:].any(), "outputs that no layer has"


def test_the_plan_covers_every_output(full_checkpoint: Path) -> None:
    _, device, _ = kernel_sources(full_checkpoint, "full", (1, 5), "f16")
    for name, outputs in (("embed", 512), ("expand", 1536), ("contract", 512)):
        assert device.products[name].padded >= outputs
    assert device.products["head"].padded >= 2 * 513
    assert device.weight_bytes == len(device.weights)
    ends = [table.offset + len(table.data) for table in device.tables]
    assert all(table.offset >= end for table, end in zip(device.tables[1:], ends, strict=False)), "tables overlap"
    assert len(images_bytes([Image(80, False, b"1234567"), Image(80, True, b"x" * 65)])) == 64 + 128
