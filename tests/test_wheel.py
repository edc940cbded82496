"""The Python wheel: installed where nothing else is, it gives the object's bits, and says what was wrong."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import warnings
import wave
import zipfile
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.wheel import check_module_name, platforms
from tests import builds
from tests.ahead import CASES
from tests.objects import ALL, ROOT, SENTENCE, TINY, Vocoder, every, golden, run_compiler, run_ok, some_audio, some_mel
from tests.wheels import MODEL, install, load, site_of, wheel_of


@pytest.fixture(scope="module")
def directory() -> Path:
    return builds.model(builds.checkpoint("odd"), "odd", *MODEL, light=True)


@pytest.fixture(scope="module")
def site(directory: Path) -> Path:
    return site_of(directory)


@pytest.fixture(scope="module")
def odd_module(site: Path) -> ModuleType:
    return load(site, "odd")


@pytest.fixture(scope="module")
def same(directory: Path) -> Vocoder:
    """The object that the wheel was made of."""
    return Vocoder(directory, "odd")


# ---- installed ----

SCRIPT = """
import sys
assert not [path for path in sys.path if "vocosc" in path or path == ""], sys.path
import numpy, odd
mel = numpy.load(sys.argv[1])
parts = []
with odd.Stream() as stream:
    for start in range(0, len(mel), 7):
        parts.append(stream.decode(mel[start : start + 7]))
    parts.append(stream.flush())
assert numpy.concatenate(parts).tobytes() == odd.decode(mel, flush=True).tobytes()
odd.selftest()
numpy.save(sys.argv[2], odd.decode(mel))
"""


def test_a_clean_environment_gets_the_objects_bits(directory: Path, same: Vocoder, tmp_path: Path) -> None:
    """A new venv that has numpy and the wheel, and no compiler in reach."""
    run_ok([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"])
    python = tmp_path / "venv" / "bin" / "python"
    packages = Path(run_ok([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    for name in ("numpy", "numpy.libs"):
        found = Path(sysconfig.get_path("purelib")) / name
        if found.exists():
            (packages / name).symlink_to(found)
    install(wheel_of(directory), packages)
    np.save(tmp_path / "mel.npy", golden("odd", "mel"))
    script = [python, "-I", "-c", SCRIPT, tmp_path / "mel.npy", tmp_path / "audio.npy"]
    run_ok(script, cwd=tmp_path, env={"PATH": "/nowhere"})
    assert np.load(tmp_path / "audio.npy").tobytes() == same.decode(golden("odd", "mel")).tobytes()
    tool = [directory / "odd", "decode", tmp_path / "mel.npy", tmp_path / "tool.npy"]
    run_ok(tool)
    assert np.load(tmp_path / "tool.npy").tobytes() == np.load(tmp_path / "audio.npy").tobytes()


def test_the_wheel_says_what_it_is(directory: Path) -> None:
    wheel = wheel_of(directory)
    assert re.fullmatch(
        r"odd-0\.\d+\.\d+\+m[0-9a-f]{8}-py3-none-manylinux_2_\d+_\w+(\.manylinux2014_\w+)?\.whl", wheel.name
    )
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        own = {f"odd/{name}" for name in ("__init__.py", "__init__.pyi", "py.typed", "libodd.so", "model.json")}
        assert own <= names
        assert archive.read("odd/libodd.so") == (directory / "libodd.so").read_bytes()
        assert json.loads(archive.read("odd/model.json"))["report"] == json.loads((directory / "odd.json").read_text())
        assert {member.date_time[0] for member in archive.infolist()} == {1980}
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("METADATA"))
    assert re.findall(r"^Requires-Dist: (\w+)", metadata, re.MULTILINE) == ["numpy"]


def test_the_platform_tag_is_what_the_library_needs(directory: Path, tmp_path: Path) -> None:
    """Its own, of memcpy and its like; a newer function, or a library of this machine's, takes more."""
    machine = os.uname().machine
    assert f"manylinux2014_{machine}" in platforms(directory / "libodd.so")
    source = tmp_path / "more.c"
    for text, libraries, expected in (
        ("int getentropy(void *, unsigned long); int f(void *p) { return getentropy(p, 8); }", (), "manylinux_2_25_"),
        ("double fftw_cost(void *); double f(void) { return fftw_cost(0); }", ("-lfftw3",), "linux_"),
    ):
        source.write_text(text)
        run_ok(["cc", "-shared", "-fPIC", source, "-o", tmp_path / "more.so", *libraries])
        assert platforms(tmp_path / "more.so") == [expected + machine]


@pytest.mark.parametrize("name", ["class", "json", "numpy", "_x", "a__b", "x_"])
def test_names_that_no_package_can_have(name: str) -> None:
    with pytest.raises(CompileError, match=f"--name {name}: --wheel"):
        check_module_name(name)


def test_a_package_of_pypi_is_not_replaced_unnoticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O0")  # built sooner
    options = ("-o", tmp_path / "out", "--chunk", "1", "--wheel")
    done = run_compiler(builds.checkpoint(TINY), *options)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("vocosc: warning: --wheel: PyPI has a package vocos")


def test_the_command_says_what_does_not_go_together(tmp_path: Path) -> None:
    for option in ("--sources-only", "--report"):
        done = run_compiler("compile", "none.ckpt", "--wheel", option, cwd=ROOT)
        assert (
            done.returncode == 1 and done.stderr.startswith("vocosc: error: --wheel") and "\n" not in done.stderr[:-1]
        )


# ---- audio ----


def test_every_way_gives_the_same_samples(odd_module: ModuleType, same: Vocoder) -> None:
    mel = golden("odd", "mel")
    stream = same.stream()
    whole = same.continue_decode(stream, mel)
    tail = same.flush(stream)
    assert odd_module.decode(mel).tobytes() == whole.tobytes()
    assert odd_module.decode(mel, flush=True).tobytes() == whole.tobytes() + tail.tobytes()
    assert odd_module.decode(np.asfortranarray(mel)).tobytes() == whole.tobytes()
    assert odd_module.decode(mel[::-1])[:50].tobytes() != whole[:50].tobytes()
    for sizes in ([1] * len(mel), [40, 0, 5, len(mel) - 45]):
        ours, start, parts = odd_module.Stream("portable"), 0, []
        for size in sizes:
            parts.append(ours.decode(mel[start : start + size]))
            start += size
        assert np.concatenate([*parts, ours.flush()]).tobytes() == whole.tobytes() + tail.tobytes()
        assert ours.decode(mel).tobytes() == whole.tobytes(), "flush did not reset"


def test_int16_is_the_librarys(odd_module: ModuleType, same: Vocoder) -> None:
    mel = golden("odd", "mel")[: same.max_frames]
    audio = np.zeros(len(mel) * same.hop, np.int16)
    tail = np.zeros(same.tail, np.int16)
    stream = same.stream()
    assert same.call("decode_int16", stream, same._scratch, mel, len(mel), audio) == audio.size
    assert same.call("flush_int16", stream, tail) == tail.size
    assert odd_module.decode(mel, np.int16).tobytes() == audio.tobytes()
    assert odd_module.decode(mel, "int16", flush=True).tobytes() == audio.tobytes() + tail.tobytes()
    assert odd_module.Batch(1).decode([mel], np.int16)[0].tobytes() == audio.tobytes()
    assert len(np.unique(audio)) > 100


def test_mel_is_the_librarys(odd_module: ModuleType, same: Vocoder) -> None:
    audio = some_audio(10 * same.hop * same.max_frames + 17)
    expected = same.log_mel(audio)
    assert odd_module.mel(audio).tobytes() == expected.tobytes()
    assert odd_module.mel(np.asarray(audio * 32768, np.int16)).tobytes() == expected.tobytes()
    stream, parts = odd_module.MelStream(), []
    for start in range(0, len(audio), 333):
        parts.append(stream.mel(audio[start : start + 333]))
    assert np.concatenate([*parts, stream.flush()]).tobytes() == expected.tobytes()
    assert odd_module.mel(audio[:0]).shape == (0, odd_module.MELS)


def test_arrays_are_read_in_place(odd_module: ModuleType) -> None:
    """No copy of what is contiguous, be it read-only or a part of more."""
    mel = golden("odd", "mel").copy()
    mel.flags.writeable = False
    assert np.shares_memory(odd_module._frames(mel[3:9]), mel)
    audio = np.zeros(100, np.int16)
    assert np.shares_memory(odd_module._audio(audio[1:]), audio)


def test_streams_are_copied_and_saved(odd_module: ModuleType, site: Path) -> None:
    mel = golden("odd", "mel")
    stream = odd_module.Stream()
    stream.decode(mel[:11])
    snapshot = stream.snapshot()
    others = [stream.copy(), copy(stream), deepcopy(stream), odd_module.Stream.restore(snapshot)]
    expected = stream.decode(mel[11:]).tobytes()
    for other in others:
        assert other.decode(mel[11:]).tobytes() == expected
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import odd, numpy; "
        "stream = odd.Stream.restore(sys.stdin.buffer.read()); "
        "sys.stdout.buffer.write(stream.decode(numpy.load(sys.argv[2])).tobytes())"
    )
    np.save(site.parent / "rest.npy", mel[11:])
    command = [sys.executable, "-c", script, str(site), str(site.parent / "rest.npy")]
    assert subprocess.run(command, input=snapshot, capture_output=True, check=True).stdout == expected
    analysis = odd_module.MelStream()
    audio = some_audio(1000)
    analysis.mel(audio[:111])
    again = odd_module.MelStream.restore(analysis.snapshot())
    assert again.mel(audio[111:]).tobytes() == analysis.mel(audio[111:]).tobytes()
    with pytest.raises(TypeError, match="snapshot"):
        deepcopy_by_pickle(stream)
    stream.reset()
    assert stream.decode(mel[:3]).tobytes() == odd_module.decode(mel[:3]).tobytes()


def deepcopy_by_pickle(stream: Any) -> Any:
    return importlib.import_module("pickle").dumps(stream)


def test_snapshots_of_others_are_refused(odd_module: ModuleType) -> None:
    snapshot = odd_module.Stream().snapshot()
    for bad, said in (
        (b"", "none of a vocosc stream"),
        (b"x" * 500, "none of a vocosc stream"),
        (snapshot[:-1], "cut off"),
        (snapshot[:100] + bytes([snapshot[100] ^ 1]) + snapshot[101:], "damaged"),
        (snapshot[:20] + b"\xff" + snapshot[21:], "another model"),
        (odd_module.MelStream().snapshot(), "not one of a Stream"),
    ):
        with pytest.raises(ValueError, match=said):
            odd_module.Stream.restore(bad)


def test_a_batch_of_streams_out_of_step(odd_module: ModuleType) -> None:
    """More streams than a call takes, with any number of frames each, and some with none."""
    rng = np.random.default_rng(5)
    count = odd_module.MAX_FRAMES + 3
    mels = [some_mel(60, odd_module.MELS, seed) for seed in range(count)]
    batch, place = odd_module.Batch(count), [0] * count
    audio: list[list[np.ndarray]] = [[] for _ in range(count)]
    for _ in range(4):
        sizes = rng.integers(0, 14, count)
        given = [mel[at : at + size] if size else None for mel, at, size in zip(mels, place, sizes, strict=True)]
        for i, samples in enumerate(batch.decode(given)):
            audio[i].append(samples)
            place[i] += int(sizes[i])
    (last,) = (samples for samples in batch.decode({1: mels[1][place[1] : place[1] + 2]}) if len(samples))
    audio[1].append(last)
    place[1] += 2
    for i, parts in enumerate(audio):
        expected = odd_module.decode(mels[i][: place[i]], flush=True)
        assert np.concatenate([*parts, batch.flush(i)]).tobytes() == expected.tobytes(), i
    with pytest.raises(ValueError, match="2 entries for 19 streams"):
        batch.decode([None, None])
    with pytest.raises(ValueError, match="stream 99"):
        batch.decode({99: mels[0]})
    with pytest.raises(TypeError, match="stream 2: mel: is float64"):
        batch.decode({2: mels[0].astype(float)})
    stream = odd_module.Stream()
    with pytest.raises(ValueError, match="twice"):
        odd_module.Batch([stream, stream])


def test_a_model_that_looks_ahead() -> None:
    """Fewer samples at first, the rest with the flush; streams that are not in step give unequal numbers."""
    case = CASES["vocos_center"]
    options = ("--chunk", "5", "--target", "portable", "--wheel")
    directory = builds.model(case.checkpoint, "ahead", *options, light=True)
    module = load(site_of(directory), "ahead")
    same = Vocoder(directory, "ahead")
    mel = np.asarray(some_mel(40, same.mels) / 3, np.float32)
    whole = same.utterance(mel)
    assert len(whole) == 39 * same.hop
    assert module.decode(mel).tobytes() == module.decode(mel, flush=True).tobytes() == whole.tobytes()
    assert module.decode(mel[:0]).shape == module.Stream().flush().shape == (0,)
    assert np.abs(module.decode(mel, "int16") - np.clip(np.rint(whole * 32768), -32768, 32767)).max() == 0
    batch, place = module.Batch(3), [0, 0, 0]
    parts: list[list[np.ndarray]] = [[], [], []]
    for sizes in ([1, 0, 9], [7, 3, 2], [2, 5, 4], [30, 32, 25]):
        given = [mel[at : at + size] for at, size in zip(place, sizes, strict=True)]
        if sizes[0] == 2:  # saved and restored while frames are in flight
            batch = module.Batch([module.Stream.restore(stream.snapshot()) for stream in batch.streams])
        for i, samples in enumerate(batch.decode(given)):
            parts[i].append(samples)
            place[i] += sizes[i]
    for i in range(3):
        assert np.concatenate([*parts[i], batch.flush(i)]).tobytes() == whole.tobytes(), i
    audio = some_audio(33 * same.hop + 5)
    tool = [str(directory / "ahead"), "mel", "--raw", "f32", "-", "-"]
    expected = subprocess.run(tool, input=audio.tobytes(), capture_output=True, check=True).stdout
    assert module.mel(audio).tobytes() == expected
    stream = module.MelStream()
    pieces = [stream.mel(audio[at : at + 100]) for at in range(0, len(audio), 100)]
    assert np.concatenate([*pieces, stream.flush()]).tobytes() == expected


def test_calls_release_the_interpreter(odd_module: ModuleType) -> None:
    """Streams of several threads give what they give alone, and another thread runs during a call."""
    mel = np.tile(golden("odd", "mel"), (every(40, 8), 1))
    expected = odd_module.decode(mel).tobytes()
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(odd_module.decode(mel).tobytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
    assert not isinstance(odd_module._LIBRARY, importlib.import_module("ctypes").PyDLL)


# ---- what was wrong ----


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda mel: mel.T, ValueError, r"\(21, 63\), must be \(frames, 21\): it is transposed, pass mel\.T"),
        (lambda mel: mel[None], ValueError, r"mel\[0\]"),
        (lambda mel: mel.T[None], ValueError, r"mel\[0\]\.T"),
        (lambda mel: mel[0], ValueError, r"mel\[None\]"),
        (lambda mel: mel[:, :20], ValueError, "this model has 21 mels"),
        (lambda mel: mel.astype(np.float64), TypeError, r"is float64, must be float32: pass mel\.astype"),
        (lambda mel: mel.astype(np.int32), TypeError, "is int32"),
        (lambda mel: "mel.npy", TypeError, "mel: "),
        (lambda mel: [None], TypeError, "is a list"),
        (lambda mel: with_value(mel, np.nan), ValueError, "is nan in frame 5, bin 2"),
        (lambda mel: with_value(mel, -np.inf), ValueError, "is -inf in frame 5, bin 2"),
    ],
)
def test_what_is_no_mel(odd_module: ModuleType, spoil: Callable[[Any], Any], kind: type[Exception], said: str) -> None:
    mel = golden("odd", "mel")
    stream = odd_module.Stream()
    stream.decode(mel[:7])
    before = stream.snapshot()
    for call in (odd_module.decode, stream.decode):
        with pytest.raises(kind, match=said):
            call(spoil(mel))
    assert stream.snapshot() == before


def with_value(mel: np.ndarray, value: float) -> np.ndarray:
    spoiled = mel.copy()
    spoiled[5, 2] = value
    return spoiled


@pytest.fixture(scope="module")
def speech(odd_module: ModuleType) -> np.ndarray:
    """Log-mel of a sentence, at half its rate, as this model takes."""
    with wave.open(str(SENTENCE)) as file:
        audio = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.asarray(odd_module.mel(audio[: len(audio) // 2 * 2].reshape(-1, 2).mean(1).astype(np.int16)))


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (lambda mel: mel / np.log(10), r"looks like log10; multiply by numpy\.log\(10\)"),
        (lambda mel: 20 * mel / np.log(10), "looks like decibels"),
        (np.exp, "without its logarithm"),
        (lambda mel: mel + np.log(32768), "16-bit samples"),
    ],
)
def test_another_scale_is_named(
    odd_module: ModuleType, speech: np.ndarray, scale: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    mel = scale(speech).astype(np.float32)
    with pytest.raises(ValueError, match=said):
        odd_module.decode(mel)
    assert len(odd_module.decode(mel, check=False)) == len(mel) * odd_module.HOP
    stream = odd_module.Stream()
    with pytest.warns(RuntimeWarning, match=said):
        for start in range(0, len(mel), 5):
            stream.decode(mel[start : start + 5])


def test_the_models_own_scale_is_let_pass(odd_module: ModuleType, speech: np.ndarray) -> None:
    """Speech, quiet or noisy; and what is no speech at all, for who tests with it."""
    rng = np.random.default_rng(1)
    audio = rng.standard_normal(40000).astype(np.float32)
    shape = (120, odd_module.MELS)
    others = (rng.standard_normal(shape), rng.standard_normal(shape) * 3 - 6, rng.uniform(0, 1, shape), np.zeros(shape))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mel in (speech, speech - 3, speech[:60], odd_module.mel(0.01 * audio), some_mel(*shape), *others):
            odd_module.decode(mel.astype(np.float32))
            odd_module.Stream().decode(mel.astype(np.float32))


def test_what_is_no_audio(odd_module: ModuleType) -> None:
    audio = some_audio(1000)
    for bad, kind, said in (
        (audio.astype(np.float64), TypeError, "is float64, must be float32"),
        (audio[None], ValueError, r"\(1, 1000\), must be \(samples,\): one channel of 8000 Hz"),
        (audio * np.float32(32768), ValueError, "divide by 32768"),
        (np.where(np.arange(1000) == 7, np.float32(np.nan), audio), ValueError, "is nan at sample 7"),
    ):
        with pytest.raises(kind, match=said):
            odd_module.mel(bad)


def test_other_arguments(odd_module: ModuleType) -> None:
    mel = golden("odd", "mel")
    with pytest.raises(TypeError, match="must be float32 or int16"):
        odd_module.decode(mel, np.float64)
    with pytest.raises(ValueError, match="'sse' is none; this build has best, portable"):
        odd_module.Stream("sse")
    with pytest.raises(odd_module.VocoderError, match="bad target"):
        odd_module.Stream("neon")
    assert odd_module.decode(mel[:0]).shape == (0,)


# ---- in place of others ----


class Tensor:
    """As much of torch.Tensor as is used."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def detach(self) -> "Tensor":
        return self

    cpu = detach

    def numpy(self) -> np.ndarray:
        return self.values

    def new_tensor(self, values: np.ndarray) -> "Tensor":
        return Tensor(values)


def test_it_stands_in_for_vocos(odd_module: ModuleType) -> None:
    mel = golden("odd", "mel")
    expected = odd_module.decode(mel)
    both = np.stack([mel.T, mel[::-1].T])
    audio = odd_module.Vocos().decode(Tensor(both))
    assert isinstance(audio, Tensor)
    assert audio.values.shape == (2, len(expected)) and audio.values[0].tobytes() == expected.tobytes()
    assert odd_module.Vocos().decode(mel.T).tobytes() == expected.tobytes()
    assert odd_module.decode(Tensor(mel)).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match=r"must be \(batch, 21, frames\)"):
        odd_module.Vocos().decode(mel)


def test_a_tensor_of_torch(site: Path, odd_module: ModuleType, tmp_path: Path) -> None:
    """The real one, in the Python that has it."""
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode:
        pytest.skip("no PyTorch here: make setup-bench")
    np.save(tmp_path / "mel.npy", golden("odd", "mel"))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numpy, torch, odd; "
        "mel = torch.from_numpy(numpy.load(sys.argv[2])).requires_grad_(); "
        "audio = odd.Vocos().decode(mel.T[None]); assert type(audio) is torch.Tensor and audio.ndim == 2; "
        "sys.stdout.buffer.write(audio[0].numpy().tobytes())"
    )
    command = [python, "-c", script, str(site), str(tmp_path / "mel.npy")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == odd_module.decode(golden("odd", "mel")).tobytes()


# ---- types ----

TYPED = """
import numpy as np
import numpy.typing as npt
import odd

mel: npt.NDArray[np.float32] = odd.mel(np.zeros(100, np.int16))
audio: npt.NDArray[np.float32] = odd.decode(mel)
short: npt.NDArray[np.int16] = odd.decode(mel, np.int16)
with odd.Stream() as stream:
    copy: odd.Stream = stream.copy()
    short = stream.flush("int16")
many: list[npt.NDArray[np.float32]] = odd.Batch(2).decode([mel, None])
wrong: int = odd.decode(mel)  # type: ignore[assignment]
"""


def test_the_types_are_right(site: Path, tmp_path: Path) -> None:
    """A typed program passes, but for the line that is wrong; with `make test-all`, the stubs list what there is."""
    environment = {**os.environ, "MYPYPATH": str(site)}
    (tmp_path / "program.py").write_text(TYPED)
    run_ok([sys.executable, "-m", "mypy", "--strict", "program.py"], env=environment, cwd=tmp_path)
    if ALL:
        stubtest = [sys.executable, "-m", "mypy.stubtest", "odd", "--ignore-missing-stub"]
        run_ok(stubtest, env={**environment, "PYTHONPATH": str(site)}, cwd=tmp_path)


# ---- the compiler, installed ----


def installed(folder: Path) -> Path:
    """The compiler as pip installs it by pyproject.toml: packages, and of what is no Python the files listed there."""
    tools: dict[str, Any] = importlib.import_module("tomllib").loads((ROOT / "pyproject.toml").read_text())["tool"]
    setup = SimpleNamespace(**{key.replace("-", "_"): value for key, value in tools["setuptools"].items()})
    for package in setup.packages:
        source = setup.package_dir.get(package) or setup.package_dir["vocosc"] + package.removeprefix("vocosc").replace(
            ".", "/"
        )
        to = folder / package.replace(".", "/")
        for pattern in ("*.py", *setup.package_data.get(package, ())):
            for path in (ROOT / source).glob(pattern):
                if path.is_file():
                    copied = to / path.relative_to(ROOT / source)
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copied)
    return folder


def test_the_installed_compiler_compiles_anywhere(tmp_path: Path) -> None:
    """By what is package data alone, from a folder that holds nothing of the repository's; -o is NAME by default.

    This model's weights are in a file of their own: the wheel carries it along.
    """
    site = installed(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    options = ("--name", "apart", "--target", "portable", "--weights", "blob", "--wheel")
    run_ok(
        [sys.executable, "-m", "vocosc", "compile", builds.checkpoint(TINY), *options], cwd=tmp_path, env=environment
    )
    module = load(install(wheel_of(tmp_path / "apart"), tmp_path / "modules"), "apart")
    np.save(tmp_path / "mel.npy", some_mel(23, module.MELS))
    run_ok([tmp_path / "apart" / "apart", "decode", "mel.npy", "audio.npy"], cwd=tmp_path)
    assert module.decode(some_mel(23, module.MELS)).tobytes() == np.load(tmp_path / "audio.npy").tobytes()
    module.selftest()


@pytest.mark.skipif(not ALL, reason="takes a package from PyPI: make test-all")
def test_pip_installs_the_command(tmp_path: Path) -> None:
    run_ok([sys.executable, "-m", "venv", tmp_path / "venv"])
    run_ok([tmp_path / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", ROOT])
    command = [tmp_path / "venv" / "bin" / "vocosc", "compile", builds.checkpoint(TINY), "--name", "tiny", "--wheel"]
    run_ok(command, cwd=tmp_path)
    assert wheel_of(tmp_path / "tiny").name.startswith("tiny-")
