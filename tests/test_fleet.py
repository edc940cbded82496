"""Triton: the model repository, its backend, and the frames that bring a lost stream back, bit for bit.

What takes a tritonserver runs with `make test-fleet`, which brings one; the rest runs always.
"""

import asyncio
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.nvrtc import Nvrtc
from tests import builds
from tests.ahead import CASES, vocoder_of
from tests.objects import (
    ALL,
    ROOT,
    TINY,
    Floats,
    Vocoder,
    build_c,
    every,
    lint,
    one_line,
    random_splits,
    run_c,
    run_compiler,
    run_ok,
    some_mel,
)

WANTED = os.environ.get("VOCOSC_TEST_FLEET") == "1"
if WANTED:
    import grpc
    import kubernetes_validate
    from tritonclient.grpc import service_pb2
    from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

    from examples.fleet import servers
    from examples.fleet.client import HEADER, Fleet, FleetError

QUICK = {**os.environ, "CFLAGS": "-O0"}  # the same bits, built sooner
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
        done = run_compiler(builds.checkpoint(TINY), "--name", "tiny", *options, env=QUICK)
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
    """And C's and C++'s libraries, of years ago. All that it takes of the server is declared, and nothing else is."""
    library = folder / "models" / "tiny" / "1" / "libtriton_vocosc_tiny.so"
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", run_ok(["readelf", "-dW", library])))
    assert needed <= {"libstdc++.so.6", "libgcc_s.so.1", "libc.so.6", "libm.so.6"}
    versions = re.findall(r"Name: GLIBC_2\.(\d+)", run_ok(["readelf", "-VW", library]))
    assert max(map(int, versions)) <= 34, "not for the server's own image, of Ubuntu 22.04"
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
    done = run_compiler(builds.checkpoint(TINY), "--name", "tiny", *options, env=QUICK)
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
        ("--target", "wasm"),
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


def stand_in(name: str, directory: Path, library: Path, build: Path, rounds: int, *flags: str) -> None:
    """Clients of tests/c/triton.cpp, which says what they do, with the backend of a model."""
    report = json.loads((directory / f"{name}.json").read_text())
    field = f"-DRECEPTIVE_FIELD={report['receptive_field_frames']}"
    options = [
        "-std=c++17",
        "-O1",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-rdynamic",
        field,
        "-I",
        directory / "triton",
        *flags,
    ]
    program = build_c("triton.cpp", build, directory, name, flags=options, libraries=["-ldl"], compiler=["g++"])
    assert "utterances are whole" in run_c(program, library, 4 * report["receptive_field_frames"], rounds)


def test_sequences_without_a_server(folder: Path, tmp_path: Path) -> None:
    """A stand-in for Triton, on many more sequences than a server could be given in the time."""
    stand_in("tiny", folder / "out", folder / "models/tiny/1/libtriton_vocosc_tiny.so", tmp_path, 4000)


def test_the_backend_is_clean(folder: Path) -> None:
    """To clang-tidy, without its analyzer, and to cppcheck, as `make lint` asks them of C."""
    lint(folder / "out", "triton/tiny_triton.cpp", "c++17")


@pytest.mark.skipif(not ALL, reason="compiles kernels: make test-all")
def test_a_backend_for_gpus_is_built(tmp_path: Path) -> None:
    """It takes the GPU's calls, and opens the driver when it runs; none has run it."""
    try:
        Nvrtc()
    except CompileError as reason:
        pytest.skip(str(reason))
    options = ("--target", "cuda", "--gpu", "90", "--chunk", "3", "--name", "tiny", "-o", tmp_path / "out")
    done = run_compiler(builds.checkpoint(TINY), *options, "--triton", tmp_path / "models", env=QUICK)
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "models" / "tiny" / "config.pbtxt").read_text()
    assert "kind: KIND_GPU" in config and "max_batch_size: 64" in config
    listing = run_ok(["nm", "-C", tmp_path / "models" / "tiny" / "1" / "libtriton_vocosc_tiny.so"])
    for function in ("tiny_cuda_init", "tiny_cuda_decode_host", "tiny_cuda_flush_host", "TRITONBACKEND_Initialize"):
        assert re.search(rf" [Tt] {function}$", listing, re.MULTILINE), function


# ---- servers: make test-fleet ----

fleet = pytest.mark.skipif(not WANTED, reason="takes a tritonserver: make test-fleet")

IDLE = 4.0  # seconds, and streams that may be open, in the tests' servers
MOST = 64


@pytest.fixture(scope="module")
def repository() -> Path:
    """Of a causal model, `tiny`, and of one that looks ahead, `ahead`; with limits that a test can reach."""

    def build(out: Path) -> None:
        for name, checkpoint in (("tiny", builds.checkpoint(TINY)), ("ahead", CASES["budget"].checkpoint)):
            options = ("--target", "portable", "--chunk", "3", "--streams", "8", "--name", name, "-o", out / name)
            done = run_compiler(checkpoint, *options, "--triton", out / "models", env=QUICK)
            assert done.returncode == 0, done.stderr
            config = out / "models" / name / "config.pbtxt"
            text = config.read_text().replace('value { string_value: "1024" }', f'value {{ string_value: "{MOST}" }}')
            config.write_text(re.sub(r"(idle_microseconds:) \d+", rf"\1 {round(IDLE * 1e6)}", text))

    return builds.once("triton repository of two", build)


@pytest.fixture(scope="module")
def alone(repository: Path) -> dict[str, Vocoder]:
    """The objects that the backends were made of."""
    return {name: Vocoder(repository / name, name) for name in ("tiny", "ahead")}


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with servers.running(repository / "models", tmp_path_factory.mktemp("logs")) as (found,):
        yield found


@fleet
@pytest.mark.parametrize("name", ["tiny", "ahead"])
def test_many_more_sequences_without_a_server(name: str, repository: Path, tmp_path: Path) -> None:
    library = repository / "models" / name / "1" / f"libtriton_vocosc_{name}.so"
    stand_in(name, repository / name, library, tmp_path, 200)  # unoptimised, and without a fused multiply-add


def int16(audio: Floats) -> NDArray[np.int16]:
    """As the object rounds: to nearest, ties to even, and clipped."""
    return np.asarray(np.clip(np.rint(audio * np.float32(32768)), -32768, 32767), np.int16)


async def listen(stream: Any, mel: Floats, seed: int, *, moves: int = 0) -> bytes:
    """An utterance in chunks of 1 to 9 frames, with some moves to another sequence on the way."""
    sizes = random_splits(len(mel), 9, seed)
    moving = set(np.random.default_rng(seed).permutation(np.arange(1, len(sizes)))[:moves].tolist())
    parts, start = [], 0
    for number, size in enumerate(sizes):
        if number in moving:
            await stream.move()
        parts.append(await stream.decode(mel[start : start + size]))
        start += size
    parts.append(await stream.flush())
    return np.concatenate(parts).tobytes()


@fleet
def test_every_stream_is_as_if_alone(server: Any, alone: dict[str, Vocoder]) -> None:
    """Streams of different progress, types and models at the same time; some move to another sequence, and replay."""

    async def play(name: str) -> None:
        vocoder = alone[name]
        async with Fleet(server.address, name) as found:

            async def one(seed: int) -> None:
                mel = some_mel(40 + 11 * seed, vocoder.mels, seed)
                expected = vocoder.utterance(mel)
                stream = await found.open("int16" if seed % 3 == 0 else "float32")
                for moves in (0, 3):  # a stream begins anew after its flush
                    got = await listen(stream, mel, seed, moves=moves)
                    assert got == (int16(expected) if seed % 3 == 0 else expected).tobytes(), (name, seed)
                    assert stream.moves == moves

            await asyncio.gather(*map(one, range(20)))

    async def both() -> None:
        await asyncio.gather(play("tiny"), play("ahead"))

    before = server.metrics("vocosc_")
    asyncio.run(both())
    after = server.metrics("vocosc_")
    done = {key: after[key] - before[key] for key in after}
    assert done["vocosc_frames_total"] > 2 * 2 * sum(
        40 + 11 * seed for seed in range(20)
    )  # twice, and what is replayed
    assert 0 < done["vocosc_calls_total"] < done["vocosc_frames_total"]
    assert done["vocosc_refused_total"] == 0
    assert server.metrics("nv_inference_request_success")["nv_inference_request_success"] > 0


class Unary:
    """Requests one by one, as any client may send them: what comes back is an answer or an error."""

    def __init__(self, channel: Any, model: str, metadata: Any = None) -> None:
        self.stub, self.model, self.metadata = GRPCInferenceServiceStub(channel), model, metadata

    async def __call__(
        self,
        sequence: int | str,
        mel: NDArray[Any],
        *,
        start: bool = False,
        end: bool = False,
        datatype: str = "FP32",
        shape: Sequence[int] | None = None,
        outputs: Sequence[str] = ("audio",),
    ) -> NDArray[np.float32] | str:
        request = service_pb2.ModelInferRequest(model_name=self.model)
        if isinstance(sequence, str):
            request.parameters["sequence_id"].string_param = sequence
        else:
            request.parameters["sequence_id"].int64_param = sequence
        request.parameters["sequence_start"].bool_param = start
        request.parameters["sequence_end"].bool_param = end
        request.inputs.add(name="mel", datatype=datatype, shape=[1, *mel.shape] if shape is None else shape)
        for output in outputs:
            request.outputs.add(name=output)
        request.raw_input_contents.append(mel.tobytes())
        try:
            answer = await self.stub.ModelInfer(request, timeout=30, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return np.frombuffer(answer.raw_output_contents[0], np.float32)


def unary(address: str, play: Callable[[Any, Unary], Awaitable[None]], model: str = "tiny") -> None:
    async def run() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            await play(channel, Unary(channel, model))

    asyncio.run(run())


def says(answer: object, *words: str) -> None:
    """An error of one line, with these words in it."""
    assert isinstance(answer, str), "no error"
    assert "\n" not in answer
    for word in words:
        assert word in answer, answer


@fleet
def test_bad_input_gets_a_clear_error_and_harms_nobody(server: Any, alone: dict[str, Vocoder]) -> None:
    vocoder = alone["tiny"]
    mel = some_mel(60, vocoder.mels)
    nan, infinite = mel[:4].copy(), mel[:4].copy()
    nan[2, 3], infinite[1, 0] = np.nan, -np.inf
    expected = vocoder.utterance(mel)

    async def play(_: Any, send: Unary) -> None:
        cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
            ({"mel": mel[:4, :4]}, ("shape", "mel", "5")),
            ({"mel": mel[:4].T}, ("shape", "mel", "5")),
            ({"mel": mel[:4], "shape": [4, 5]}, ("mel",)),
            ({"mel": mel[:4], "shape": [2, 2, 5]}, ("batch-size 1",)),
            ({"mel": mel[:4].astype(np.float64), "datatype": "FP64"}, ("data-type", "mel", "FP32")),
            ({"mel": mel[:4], "shape": [1, 5, 5]}, ("mel",)),
            ({"mel": mel[:4], "shape": [1, 3, 5]}, ("mel",)),
            ({"mel": mel[:0]}, ("mel has 0 frames", "1 to 256")),
            ({"mel": some_mel(257, 5)}, ("mel has 257 frames", "1 to 256")),
            ({"mel": nan}, ("NaN or infinite", "frame 2, band 3")),
            ({"mel": infinite}, ("NaN or infinite", "frame 1, band 0")),
            ({"mel": mel[:4], "outputs": ["sound"]}, ("sound",)),
        ]
        heard = [await send(7, mel[:20], start=True)]
        for case, words in cases:  # of the same stream, and of one that has not begun
            says(await send(7, **case), *words)
            says(await send(8, **case, start=True), *words)
            says(await send(8, mel[:4]), "8", "START")
        says(await send(7, mel[:4], start=True), "sequence 7", "started already", "END")
        says(await send(0, mel[:4], start=True), "correlation ID")
        says(await send(9, mel[:4]), "sequence 9", "START")
        says(await send("nine", mel[:4]), "nine", "START")
        heard += [await send(7, mel[20:50]), await send(7, mel[50:], end=True)]
        assert np.concatenate(heard).tobytes() == expected.tobytes()
        says(await send(7, mel[:4]), "sequence 7", "START")

        # An end is an end, with a bad mel, too.
        assert not isinstance(await send(7, mel[:4], start=True), str)
        says(await send(7, nan, end=True), "NaN")
        assert not isinstance(await send(7, mel, start=True, end=True), str)
        both = await send("7", mel[:4], start=True, end=True, outputs=["audio", "audio_int16"])
        assert isinstance(both, np.ndarray) and both.tobytes() == vocoder.utterance(mel[:4]).tobytes()

    unary(server.address, play)
    assert server.is_ready()


@fleet
def test_numbers_and_texts_are_different_sequences(server: Any, alone: dict[str, Vocoder]) -> None:
    mel = some_mel(30, 5)

    async def play(_: Any, send: Unary) -> None:
        first, second = await send(11, mel, start=True), await send("11", mel[:9], start=True)
        assert not isinstance(first, str) and not isinstance(second, str)
        heard = [second, await send("11", mel[9:], end=True)]
        assert not isinstance(heard[1], str)
        assert np.concatenate(heard).tobytes() == alone["tiny"].utterance(mel).tobytes()
        assert not isinstance(await send(11, mel, end=True), str)

    unary(server.address, play)


@fleet
def test_a_stream_that_never_ends_is_closed_and_can_go_on(server: Any, alone: dict[str, Vocoder]) -> None:
    """After its idle time; the client then starts another and replays, unasked."""
    mel = some_mel(90, 5)

    async def play(_: Any, send: Unary) -> None:
        assert not isinstance(await send(21, mel, start=True), str)
        async with Fleet(server.address, "tiny") as found, await found.open() as stream:
            heard = [await stream.decode(mel[:50])]
            assert server.metrics("vocosc_streams", "tiny")["vocosc_streams"] >= 2
            await asyncio.sleep(IDLE / 2)
            heard.append(await stream.decode(mel[50:51]))
            assert server.metrics("vocosc_idle_streams", "tiny")["vocosc_idle_streams"] >= 1
            assert server.metrics("vocosc_slots", "tiny")["vocosc_slots"] == MOST
            await asyncio.sleep(2 * IDLE + 0.5)
            says(await send(21, mel), "21", "START")
            heard += [await stream.decode(mel[51:]), await stream.flush()]
            assert stream.moves == 1
        assert np.concatenate(heard).tobytes() == alone["tiny"].utterance(mel).tobytes()
        assert not isinstance(await send(21, mel, start=True, end=True), str)

    unary(server.address, play)
    assert server.metrics("vocosc_streams", "tiny")["vocosc_streams"] == 0
    assert server.metrics("vocosc_idle_streams", "tiny")["vocosc_idle_streams"] == 0
    assert server.metrics("vocosc_expired")["vocosc_expired_total"] >= 2


@fleet
def test_ten_thousand_idle_sequences(server: Any, alone: dict[str, Vocoder]) -> None:
    """As many as there may be are open, all others are refused at once; the memory is bounded, and comes free again."""
    mel, sequences = some_mel(3, 5), range(1000, 11000)

    async def open_all(send: Unary) -> list[object]:
        answers: list[object] = []
        for first in range(sequences.start, sequences.stop, 500):
            some = range(first, min(first + 500, sequences.stop))
            answers += await asyncio.gather(*[send(sequence, mel, start=True) for sequence in some])
        return answers

    async def play(_: Any, send: Unary) -> None:
        await open_all(send)  # so that the server has what it needs for so many requests
        await asyncio.sleep(2 * IDLE)
        before = server.memory()
        started = time.monotonic()
        refused = [text for text in await open_all(send) if isinstance(text, str)]
        if time.monotonic() - started < IDLE:
            assert len(refused) == len(sequences) - MOST
        assert len(refused) > 0
        for text in refused:
            says(text, f"{MOST} streams open", "max_streams", "another server")
        assert server.metrics("vocosc_streams", "tiny")["vocosc_streams"] <= MOST
        assert server.memory() - before < 50_000_000
        await asyncio.sleep(2 * IDLE)
        answer = await send(999, mel, start=True, end=True)
        assert not isinstance(answer, str) and answer.tobytes() == alone["tiny"].utterance(mel).tobytes()

    unary(server.address, play)
    assert server.metrics("vocosc_streams", "tiny")["vocosc_streams"] == 0


@fleet
def test_streams_survive_their_servers(repository: Path, alone: dict[str, Vocoder], tmp_path: Path) -> None:
    """Two servers behind HAProxy. One is killed and comes back, then the other is asked to stop: all audio is whole."""

    async def play(balancer: Any, pair: list[Any]) -> None:
        async with Fleet(balancer.address, "ahead") as found:
            mel = some_mel(20_000, alone["ahead"].mels)

            async def events() -> None:
                while sum(balancer.calls().values()) < 8:
                    await asyncio.sleep(0.05)
                assert balancer.calls() == {"one": 4, "two": 4}
                await asyncio.to_thread(pair[0].kill)
                await asyncio.to_thread(pair[0].start)
                while sum(balancer.calls().values()) < 8:  # one that came late may have met the first server again
                    await asyncio.sleep(0.05)
                balancer.order("set server servers/two state drain")
                await asyncio.to_thread(pair[1].stop)

            moving = asyncio.create_task(asyncio.wait_for(events(), 60))

            async def one(size: int) -> int:
                """A stream in chunks of one size, until all has happened and for a while longer."""
                parts, stream, frames, more = [], await found.open(), 0, 20
                while more > 0:
                    parts.append(await stream.decode(mel[frames : frames + size]))
                    frames += size
                    more -= moving.done()
                    await asyncio.sleep(0.1)
                parts.append(await stream.flush())
                assert frames <= len(mel), "it took too long"
                assert np.concatenate(parts).tobytes() == alone["ahead"].utterance(mel[:frames]).tobytes()
                return int(stream.moves)

            moves = await asyncio.gather(*map(one, range(1, 9)))
            await moving
            assert min(moves) >= 1

    with servers.balanced(repository / "models", tmp_path) as (balancer, pair):
        asyncio.run(play(balancer, pair))


@fleet
def test_streams_whose_clients_lose_patience(repository: Path, alone: dict[str, Vocoder], tmp_path: Path) -> None:
    """Requests are given up at any moment, streams go on elsewhere: what is heard is right. VOCOSC_FLEET_SECONDS says
    how long, 15 if unset. A server that dies of a cancelled call (examples/fleet/README.md) is started again."""
    seconds, vocoder = float(os.environ.get("VOCOSC_FLEET_SECONDS", "15")), alone["ahead"]
    mels = [some_mel(40 + 11 * number, vocoder.mels, number) for number in range(40)]
    expected = [vocoder.utterance(mel).tobytes() for mel in mels]
    done = {"utterances": 0, "moves": 0, "deaths": 0}

    async def play(server: Any) -> None:
        end = time.monotonic() + seconds
        patient = Fleet(server.address, "ahead", patience=20.0, attempts=60)

        async def watch() -> None:
            while True:
                await asyncio.sleep(0.2)
                if server.process.poll() is not None:
                    done["deaths"] += 1
                    await asyncio.to_thread(server.start)

        async def one(seed: int) -> None:
            rng = np.random.default_rng(seed)
            hasty = Fleet(server.address, "ahead", attempts=1)
            while time.monotonic() < end:
                number = int(rng.integers(len(mels)))
                stream, parts, start = await patient.open(), [], 0
                for size in random_splits(len(mels[number]), 9, int(rng.integers(1 << 30))):
                    mel = mels[number][start : start + size]
                    start += size
                    if rng.random() < 0.1:
                        hasty.patience = float(rng.uniform(0.0, 0.02))
                        stream._fleet = hasty
                        try:
                            if rng.random() < 0.3:
                                await stream.move()
                            parts.append(await stream.decode(mel))
                            continue
                        except FleetError:
                            pass
                        finally:
                            stream._fleet = patient
                    parts.append(await stream.decode(mel))
                parts.append(await stream.flush())
                assert np.concatenate(parts).tobytes() == expected[number], (seed, done)
                done["utterances"] += 1
                done["moves"] += stream.moves
            await hasty.close()

        watching = asyncio.create_task(watch())
        await asyncio.gather(*map(one, range(40)))
        watching.cancel()
        await patient.close()

    with servers.running(repository / "models", tmp_path) as (found,):
        asyncio.run(play(found))
    print(f"streams whose clients lose patience: {done}")
    assert done["utterances"] > 0 and done["moves"] > 0


@fleet
def test_requests_one_by_one_stay_with_a_server(repository: Path, alone: dict[str, Vocoder], tmp_path: Path) -> None:
    """By their header, also while that server takes no new streams."""
    mel, orders = some_mel(20, 5), ("set server servers/one state drain", "set server servers/two state drain")

    with servers.balanced(repository / "models", tmp_path) as (balancer, _):

        async def play(channel: Any, _: Unary) -> None:
            clients = [Unary(channel, "tiny", ((HEADER, str(number)),)) for number in range(1, 9)]
            parts = [[await send(number, mel[:9], start=True)] for number, send in enumerate(clients, 1)]
            for order in orders:
                balancer.order(order)
                for number, send in enumerate(clients, 1):
                    parts[number - 1].append(await send(number, mel[9 + 5 * orders.index(order) :][:5]))
                balancer.order(order.replace("drain", "ready"))
            for number, send in enumerate(clients, 1):
                parts[number - 1].append(await send(number, mel[19:], end=True))
            for part in parts:
                assert np.concatenate(part).tobytes() == alone["tiny"].utterance(mel).tobytes()

        unary(balancer.address, play)


# ---- deployment files ----

FLEET = ROOT / "examples" / "fleet"


@fleet
def test_the_deployment_files_keep_to_their_schemas() -> None:
    """Compose's specification; Kubernetes' API of an old and a recent release, with no field that it does not know."""
    run_ok(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FLEET / "compose.yaml"]
    )
    objects = list(yaml.safe_load_all((FLEET / "kubernetes.yaml").read_text()))
    assert len(objects) == 9
    for version in ("1.28", kubernetes_validate.latest_version()):
        for found in objects:
            kubernetes_validate.validate(found, version, strict=True)
    broken = {**objects[-2], "spec": {**objects[-2]["spec"], "maxReplica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError, match="maxReplica"):
        kubernetes_validate.validate(broken, "1.28", strict=True)


@fleet
def test_the_deployment_files_agree(tmp_path: Path) -> None:
    """HAProxy takes both configurations, which route alike; what is scaled by, the servers publish."""
    objects = {
        (o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all((FLEET / "kubernetes.yaml").read_text())
    }
    (tmp_path / "cluster.cfg").write_text(objects["ConfigMap", "haproxy"]["data"]["haproxy.cfg"])
    compose = yaml.safe_load((FLEET / "compose.yaml").read_text())
    environment = {**compose["services"]["haproxy"]["environment"], "FLEET_1": "127.0.0.1:1", "FLEET_2": "127.0.0.1:2"}
    path = f"{os.environ['PATH']}:/usr/sbin"
    for config in (FLEET / "haproxy.cfg", tmp_path / "cluster.cfg"):
        run_ok(["haproxy", "-c", "-q", "-f", config], env={**os.environ, **environment, "PATH": path})
    here, there = ((FLEET / "haproxy.cfg").read_text(), (tmp_path / "cluster.cfg").read_text())
    for line in here.partition("backend servers")[2].splitlines():
        if not re.match(r" *(#|server |$)", line):
            words = re.sub(r" +#.*", "", line).strip().replace("check inter", "check port 8000 inter")
            assert words in there, words
    metric = objects["HorizontalPodAutoscaler", "triton"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    (rule,) = yaml.safe_load(objects["ConfigMap", "prometheus-adapter"]["data"]["config.yaml"])["rules"]
    assert rule["name"]["as"] == metric


@fleet
def test_what_is_scaled_by_is_published(server: Any) -> None:
    published = server.metrics("nv_inference_", "tiny")
    for name in re.findall(r"\bnv_inference_\w+", (FLEET / "kubernetes.yaml").read_text()):
        assert name in published, name
