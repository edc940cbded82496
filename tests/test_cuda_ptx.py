"""The CUDA kernels as NVRTC compiles them: their PTX runs on the shim, with the sources' bits; mistakes in it show."""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.nvrtc import OVERLAPPING, Nvrtc
from tests import builds
from tests.gpu import SHAPES, Buffer, Gpu
from tests.objects import ALL, Vocoder, config, every, golden, some_mel
from tests.ptx import PTX_SITES, Site, Translator, UnknownPtxError
from tests.reference import snr_db

CHUNKS = (3, 10)  # calls of up to two passes
FRAMES = 14
# The chain in three orders of threads; the single kernel, of so many blocks, in three more, and whether its memory is
# weakly ordered.
WAYS = {"chain": [(0, 0, False), (0, 1, False), (0, 2, False)], "single": [(1, 0, True), (7, 1, False), (5, 2, True)]}


@pytest.fixture(scope="module", autouse=True)
def nvrtc() -> None:
    try:
        Nvrtc()
    except CompileError as reason:
        pytest.skip(str(reason))


def calls(gpu: Gpu, way: tuple[int, int, bool], architecture: int) -> bytes:
    """Audio, tail and state of calls of one to three streams, two of them in one tile, of one and two passes.

    Where kernels overlap, the scratch memory is out of order until a kernel has waited for the one before.
    """
    gpu.blocks, gpu.order, gpu.is_weak = way
    gpu.overlaps = architecture >= OVERLAPPING
    mels = [some_mel(FRAMES, gpu.mels, seed) for seed in range(3)]
    gpu.reset()
    if gpu.device.tuning.data:
        gpu.scratch.bytes[:] = 0  # as init leaves it: each block counts its calls
    audio = gpu.decode_chunk([mel[:10] for mel in mels], [2, 0, 3])
    audio += gpu.decode_chunk([mel[10:] for mel in mels[1:]], [0, 3])
    audio += gpu.decode_chunk([mels[0][10:11]], [2])
    if not gpu.blocks:
        audio += gpu.flush([0])
    return b"".join(part.tobytes() for part in audio) + gpu.state.bytes.tobytes()


def tiled(sizes: Any, precision: str, **options: Any) -> Gpu:
    """For calls of so many streams that a thread block takes two in turn."""
    gpu = Gpu(builds.checkpoint(sizes), "model", CHUNKS, precision=precision, batch=9, slots=4, **options)
    assert gpu.device.tile_jobs == 2
    return gpu


CASES = every(
    [(shape, *options) for options in (("f16", 80), ("f32", 90), ("f16", 100)) for shape in (*SHAPES, "odd")],
    [("no_multiples", "f16", 100)],
)


@pytest.mark.parametrize(("shape", "precision", "architecture"), CASES)
def test_the_compilers_output_has_the_bits_of_the_sources(shape: str, precision: str, architecture: int) -> None:
    sizes = SHAPES[shape] if shape in SHAPES else config(shape)
    source, ptx = tiled(sizes, precision), tiled(sizes, precision, ptx=architecture)
    for way in (*WAYS["chain"], *WAYS["single"]):
        assert calls(ptx, way, architecture) == calls(source, way, 80), way


@pytest.mark.skipif(not ALL, reason="takes 7 s: make test-all")
def test_tuning_changes_no_bits() -> None:
    sizes, way = SHAPES["no_multiples"], WAYS["chain"][0]
    plain = tiled(sizes, "f16")
    data = tiled(sizes, "f16", tuning="early,data,processors=5", ptx=90)
    for one in (way, *every(WAYS["single"], WAYS["single"][2:])):
        assert calls(data, one, 90) == calls(plain, one, 90), one


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_halves_change_the_audio_but_a_little() -> None:
    """Where `hidden` is kept in halves, PTX and sources agree as well; the audio is over 65 dB from that of floats."""
    sizes, way = SHAPES["no_multiples"], WAYS["chain"][0]
    plain = tiled(sizes, "f16")
    source, ptx = (tiled(sizes, "f16", tuning="half", ptx=ptx) for ptx in (0, 80))
    mel = some_mel(FRAMES, plain.mels)
    assert 65.0 < snr_db(plain.decode(mel).astype(np.float64), source.decode(mel)) < 100.0
    for one in (way, *WAYS["single"][:2]):
        assert calls(ptx, one, 80) == calls(source, one, 80), one


KINDS = every([(shape, precision) for shape in SHAPES for precision in ("f16", "w8")], [("tiny", "w8")])


@pytest.mark.skipif(not ALL, reason="of make test-all")
@pytest.mark.parametrize(("shape", "precision"), KINDS)
def test_tensor_cores_agree(shape: str, precision: str) -> None:
    """The same bits however it is cut, and from the PTX.

    By halves over 110 dB from the chain, as sums are cut off; by int8 as near to the CPU, whose weights are rounded so.
    """
    options: Any = {"precision": precision, "batch": 3, "slots": 4, "tuning": "tensor"}
    checkpoint = builds.checkpoint(SHAPES[shape])
    source, ptx = (Gpu(checkpoint, "model", (3, 10), ptx=ptx, **options) for ptx in (0, 80))
    mel = some_mel(13, source.mels)
    expected = source.decode(mel)
    for gpu in (source, ptx):
        gpu.launches = gpu.device.library_steps
    audio = source.decode(mel, 10)
    if precision == "w8":
        flags = ("--chunk", "10", "--precision", "w8", "--target", "portable")
        cpu = Vocoder(builds.library(checkpoint, "model", *flags), "model").decode(mel)
        assert snr_db(cpu.astype(np.float64), audio) > 85.0
        assert snr_db(cpu.astype(np.float64), expected) < 60.0
    else:
        assert snr_db(expected.astype(np.float64), audio) > 110.0
    assert ptx.decode(mel, [4, 9]).tobytes() == audio.tobytes()
    ptx.order = 2
    ptx.reset()
    together = ptx.decode_chunk([some_mel(9, ptx.mels, 5), mel[:9], some_mel(9, ptx.mels, 6)], [3, 0, 1])
    assert together[1].tobytes() == audio[: 9 * ptx.hop].tobytes()


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_a_published_chunk(full_checkpoint: Any) -> None:
    mel = golden("full", "mel")[:7]
    source = Gpu(full_checkpoint, "full", (5,), precision="f16")
    ptx = Gpu(full_checkpoint, "full", (5,), precision="f16", ptx=90)
    expected = source.decode(mel).tobytes()
    assert ptx.decode(mel).tobytes() == expected
    ptx.blocks, ptx.order = ptx.device.single.grid[0], 2
    assert ptx.decode(mel).tobytes() == expected


# ---- mutants ----

# What is redundant, in the order of the text. The first kernel that could wait never overlaps the one before it. In
# the single kernel the barrier before the last step's wait is one too many where the wait itself ends with one.
# Nor does it matter to the result that a barrier makes the weights' loads the first ones.
# And the call's first job is 0 here, as is the word behind that; with a count that is too high words are copied that
# nobody reads; and two kernels load an address once more, to see only that it is not null.
REDUNDANT = [
    *[("embed", "index")] * 2,
    *[("start", "wait"), ("block0_expand", "barrier"), ("block0_expand", "index"), ("block0_contract", "barrier")],
    *[("head", "barrier"), ("head", "index")],
    ("chunk", "barrier"),
]


@pytest.fixture(scope="module")
def mutable() -> Iterator[Gpu]:
    gpu = tiled(SHAPES["tiny"], "f16", ptx=90)
    yield gpu
    gpu.mutate(0)


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_what_the_data_hand_over_cannot_be_left_out() -> None:
    """The single kernel by data, without flags: its barriers, and where its data go and come from.

    In this shape what neighbouring steps have in shared memory overlaps, so that the barriers between them matter.
    """
    gpu = tiled(config("odd"), "f16", tuning="data,processors=2", ptx=80)
    expected = {way: calls(gpu, way, 80) for way in WAYS["single"]}
    single = [(n, site) for n, site in enumerate(gpu.sites, 1) if site.kernel == "model_chunk"]
    relaxed = [one for one in single if "relaxed" in one[1].text]
    barriers = [one for one in single if one[1].kind == "barrier"]
    assert len(relaxed) > 8 and not {"release", "acquire"} & {site.kind for _, site in single}
    survivors = []
    for number, site in [*relaxed, *barriers]:
        gpu.mutate(number)
        if not is_caught(gpu, site, expected, 80):
            survivors.append(site.kind)
    gpu.mutate(0)
    assert not survivors


def resident_calls(gpu: Gpu, order: int) -> bytes:
    """Audio and state of the resident kernel, with two streams in turns; it is ended and started again."""
    gpu.is_resident, gpu.is_weak, gpu.order, gpu.blocks = True, True, order, gpu.device.resident.grid[0]
    mel, audio = some_mel(5, gpu.mels), []
    gpu.reset()
    for frame, slot in ((0, 1), (0, 0), (2, 1)):
        audio += gpu.decode_chunk([mel[frame : frame + 2]], [slot])
    gpu.stop()
    audio += gpu.decode_chunk([mel[4:]], [1])
    gpu.stop()
    return b"".join(part.tobytes() for part in audio) + gpu.state.bytes.tobytes()


@pytest.mark.parametrize(
    "tuning", every(["resident,processors=2", "data,resident,processors=2"], ["resident,processors=2"])
)
def test_what_the_resident_kernel_and_the_host_tell_each_other_cannot_be_left_out(tuning: str) -> None:
    """The doorbell, the answer, their fences, and what orders the blocks' work for one call and for the next.

    The barriers of the steps are those of the single kernel.
    """
    checkpoint = builds.checkpoint({**SHAPES["tiny"], "num_layers": 1})
    gpu = Gpu(checkpoint, "model", (2,), precision="f16", slots=2, tuning=tuning, ptx=90)
    plain = Gpu(checkpoint, "model", (2,), precision="f16", slots=2)
    expected = [resident_calls(gpu, order) for order in (0, 1, 2)]
    assert len(set(expected)) == 1 and expected[0].startswith(plain.decode(some_mel(5, gpu.mels)[:2]).tobytes())
    sites = [(n, site) for n, site in enumerate(gpu.sites, 1) if site.kernel == "model_resident"]
    host = [one for one in sites if ".sys" in one[1].text]
    assert [site.text.split()[0] for _, site in host if site.kind != "index"] == [
        "st.release.sys.global.u32",
        "fence.acq_rel.sys",
    ]
    ordering = [one for one in sites if one[1].kind in ("acquire", "release") and one not in host]
    behind = [one for one in sites if one[1].kind == "barrier" and one[0] > host[0][0]]
    survivors = []
    for number, site in every([*host, *ordering, *behind], [*host, *behind]):
        gpu.mutate(number)
        if not any(is_wrong(gpu, order, expected[0]) for order in (0, 1, 2)):
            survivors.append((site.kind, site.text.split()[0]))
    gpu.mutate(0)
    # The first look of two, the second of which is a loop's. By data the last block has a fence behind its look at all
    # flags, too, but reads nothing that others wrote before the fence of the doorbell.
    by_data = [("acquire", "fence.acq_rel.gpu")] if "data" in tuning else []
    assert survivors == [("index", "ld.relaxed.sys.global.u32"), *by_data]


def is_wrong(gpu: Gpu, order: int, expected: bytes) -> bool:
    """Whether the shim says so, or other bits come out."""
    try:
        return resident_calls(gpu, order) != expected
    except AssertionError:
        return True


def is_caught(gpu: Gpu, site: Site, expected: dict[Any, bytes], architecture: int = 90) -> bool:
    """Whether the shim says so, or other bits come out, of some way of running."""
    for way in WAYS["single" if site.kernel.endswith("_chunk") else "chain"]:
        try:
            if calls(gpu, way, architecture) != expected[way]:
                return True
        except AssertionError:
            return True
    return False


def test_mistakes_in_the_code_are_caught(mutable: Gpu) -> None:
    """Barriers, waits and flags that are left out, shuffles with oneself, addresses that are four bytes off."""
    expected = {way: calls(mutable, way, 90) for ways in WAYS.values() for way in ways}
    reached = (ctypes.c_ubyte * PTX_SITES).in_dll(mutable.library, "shim_reached")
    numbered = [(n, site) for n, site in enumerate(mutable.sites, 1) if reached[n]]
    others = [one for one in numbered if one[1].kind in ("index", "shuffle")]
    flags = [one for one in numbered if one[1].kind in ("wait", "acquire", "release")]
    barriers = [one for one in numbered if one not in (*flags, *others)]
    tried = every(numbered, [*flags, *barriers[::4], *others[:: len(others) // 20]])
    assert len(tried) > 40
    survivors = []
    for number, site in sorted(tried):
        mutable.mutate(number)
        if not is_caught(mutable, site, expected):
            survivors.append((site.kernel.removeprefix("model_"), site.kind))
    assert survivors == every(REDUNDANT, [one for one in survivors if one in REDUNDANT])


# ---- the translator ----


@pytest.mark.parametrize(
    "instruction",
    ["sin.approx.f32 %f1, %f2;", "bar.sync 1;", "ld.volatile.global.f32 %f1, [%rd1];", "add.rz.f32 %f1, %f1, %f2;"],
)
def test_what_is_not_known_is_an_error(instruction: str) -> None:
    text = f".visible .entry some()\n{{\n.reg .f32 %f<3>;\n.reg .b64 %rd<2>;\n{instruction}\nret;\n}}\n"
    with pytest.raises(UnknownPtxError, match="some: "):
        Translator(text)


def test_an_address_outside_of_the_buffers_is_an_error(mutable: Gpu) -> None:
    mutable.mutate(0)
    mutable.blocks, mutable.overlaps = 0, False
    parameter = mutable.call([(Buffer(4000), Buffer(4000), 0)], 1)
    mutable.allow([])
    with pytest.raises(AssertionError, match=r"model_embed: .*global memory\[\d+\]: out of bounds"):
        mutable.launch(mutable.device.launches[0], parameter)
