"""--target wasm: in Node.js the module gives the object's bits, through NAME.js and its AudioWorklet's processor."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.formats import FORMATS
from tests import builds, vocoders
from tests.ahead import CASES
from tests.objects import ALL, ROOT, TINY, Floats, Vocoder, every, run_compiler, run_ok, some_audio, some_mel

NODE = shutil.which("node") or shutil.which("nodejs") or ""
HERE = ROOT / "tests" / "wasm"
OPTIONS = ("--chunk", "1,3", "--target", "wasm")
# An older Node.js knows relaxed SIMD if it is told to.
RELAXED = "--experimental-wasm-relaxed-simd"
BUILDS = ("f32", "w8 --weights blob", *every(tuple(f"{name} --weights c" for name in FORMATS), ()))
MADD, NEGATED = b"\xfd\x85\x02", b"\xfd\x86\x02"  # f32x4.relaxed_madd, and nmadd


def need_tools() -> None:
    for program in ("clang-19", "wasm-ld-19"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: .ci/setup test")
    if not NODE:
        pytest.skip("no Node.js here: .ci/setup test")


def compiled(options: str) -> Path:
    """The uneven model for WebAssembly."""
    need_tools()
    precision, *more = options.split()
    return builds.model(builds.checkpoint(vocoders.UNEVEN), "tiny", *OPTIONS, "--precision", precision, *more)


def flags() -> list[str]:
    done = subprocess.run([NODE, RELAXED, "-e", ""], capture_output=True, check=False)
    return [RELAXED] if done.returncode == 0 else []


def node(script: str, folder: Path, module: Path, work: Path, *more: object) -> dict[str, Any]:
    """Runs a script of tests/wasm over a module; returns what it says."""
    loader = work / "loader.mjs"
    loader.write_bytes((folder / "tiny.js").read_bytes())
    weights = folder / "tiny_weights.bin"
    arguments = (HERE / script, loader, module, weights if weights.exists() else "-", work, *more)
    no_collection = ["--expose-gc", "--min-semi-space-size=64", "--max-semi-space-size=64"]
    command = [NODE, *flags(), *no_collection, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def floats(path: Path) -> Floats:
    return np.fromfile(path, np.float32)


def inputs(work: Path, vocoder: Vocoder) -> tuple[Floats, Floats]:
    """Files of mel and of audio."""
    mel, audio = some_mel(40, vocoder.mels), some_audio(60 * vocoder.hop + 3)
    mel.tofile(work / "mel")
    audio.tofile(work / "audio")
    return mel, audio


def valid(module: Path) -> bool:
    script = f"console.log(WebAssembly.validate(fs.readFileSync('{module}')))"
    return "true" in subprocess.run([NODE, *flags(), "-e", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("options", BUILDS, ids=lambda options: options.replace(" ", "_"))
@pytest.mark.parametrize("module", ["tiny", "tiny_relaxed"])
def test_the_bits_are_those_of_the_object(options: str, module: str, tmp_path: Path) -> None:
    folder = compiled(options)
    if not valid(folder / f"{module}.wasm"):
        assert module == "tiny_relaxed"
        pytest.skip("this Node.js has no relaxed SIMD; Chromium has: make test-doors")
    precision = options.split(maxsplit=1)[0]
    desktop = ("--chunk", "1,3", "--target", "portable", "--precision", precision)
    same = Vocoder(builds.library(builds.checkpoint(vocoders.UNEVEN), "tiny", *desktop), "tiny")
    mel, audio = inputs(tmp_path, same)
    said = node("decode.mjs", folder, folder / f"{module}.wasm", tmp_path)
    expected = same.utterance(mel)
    for name in ("whole", "pieces", "copied", "reset"):
        assert np.array_equal(floats(tmp_path / name), expected), name
    assert np.array_equal(floats(tmp_path / "mels"), same.log_mel(audio).ravel())
    assert said["golden"]["hash"] == said["golden"]["expected"]
    assert said["target"] in {"tiny": ["wasm"], "tiny_relaxed": ["wasm", "wasm_relaxed"]}[module]
    sizes = (same.mels, same.hop, same.max_frames, same.tail)
    assert tuple(said["info"][key] for key in ("mels", "hop", "maxFrames", "tail")) == sizes
    assert said["errors"] == {
        "shape": "RangeError: tiny: mel has 6 values, which is no multiple of 5 a frame",
        "type": "TypeError: tiny: decode takes a Float32Array",
        "input": "Error: tiny: bad input: a value is NaN or infinite",
        "count": "Error: tiny: bad argument: a null or misaligned pointer, or a count out of range",
    }


def test_where_relaxed_multiply_adds_are_not_fused_they_are_emulated(tmp_path: Path) -> None:
    """An engine that computes something else: here, by another instruction in its place."""
    folder = compiled("f32")
    if not valid(folder / "tiny_relaxed.wasm"):
        pytest.skip("this Node.js has no relaxed SIMD")
    module = (folder / "tiny_relaxed.wasm").read_bytes()
    assert module.count(MADD) > 100 and MADD not in (folder / "tiny.wasm").read_bytes()
    (tmp_path / "other.wasm").write_bytes(module.replace(MADD, NEGATED))
    some_mel(40, 5).tofile(tmp_path / "mel")
    some_audio(90).tofile(tmp_path / "audio")
    said = node("decode.mjs", folder, tmp_path / "other.wasm", tmp_path)
    assert said["target"] == "wasm"
    assert said["golden"]["hash"] == said["golden"]["expected"]
    as_it_is = node("decode.mjs", folder, folder / "tiny_relaxed.wasm", tmp_path)
    assert as_it_is["target"] == "wasm_relaxed" or "fma" not in Path("/proc/cpuinfo").read_text()


@pytest.mark.parametrize("chunk", [1, 3])
def test_the_processor_of_an_audio_worklet(loaded: vocoders.Vocoders, chunk: int, tmp_path: Path) -> None:
    """Audio in and out, a chunk later; mel in by messages; and no garbage."""
    folder = compiled("w8 --weights blob")
    same = loaded.get("portable w8")
    mel, audio = inputs(tmp_path, same)
    said = node("processor.mjs", folder, folder / "tiny.wasm", tmp_path, chunk)
    assert said["refused"] == "tiny: chunk: 1 to 3 frames"
    length = chunk * same.hop
    heard = audio[: len(audio) // 128 * 128]
    whole = heard[: len(heard) // length * length]
    spoken = same.decode(same.log_mel(whole)[: len(whole) // same.hop])
    expected = np.concatenate([np.zeros(length, np.float32), spoken])[: len(heard)]
    assert np.array_equal(floats(tmp_path / "said")[: len(expected)], expected)
    decoded = same.decode(mel)
    found = floats(tmp_path / "read")
    assert np.array_equal(found[length : length + len(decoded)], decoded)
    assert said["figures"]["chunks"] >= len(mel) / chunk and said["figures"]["missing"] >= 1
    assert said["garbage"] < 8 * said["calls"], "bytes: less than the smallest object a call"


@pytest.mark.skipif(not ALL, reason="make test-all")
@pytest.mark.parametrize("name", ["vocos_same", "vocos_center", "streaming"])
def test_a_model_that_looks_ahead(name: str, tmp_path: Path) -> None:
    need_tools()
    checkpoint = CASES[name].checkpoint
    folder = builds.model(checkpoint, "tiny", *OPTIONS, "--precision", "f16")
    native = ("--chunk", "3", "--target", "portable", "--precision", "f16")
    same = Vocoder(builds.library(checkpoint, "tiny", *native), "tiny")
    mel, audio = inputs(tmp_path, same)
    said = node("decode.mjs", folder, folder / "tiny.wasm", tmp_path)
    for file in ("whole", "pieces", "copied", "reset"):
        assert np.array_equal(floats(tmp_path / file), same.utterance(mel)), file
    assert np.array_equal(floats(tmp_path / "mels"), same.log_mel(audio).ravel())
    assert said["golden"]["hash"] == said["golden"]["expected"]
    node("processor.mjs", folder, folder / "tiny.wasm", tmp_path, 3)
    spoken = floats(tmp_path / "read")
    decoded = same.decode(mel)
    whole = len(mel) // 3 * 3
    late = whole * same.hop - len(same.decode(mel[:whole]))  # silence before the first samples that are complete
    assert late >= 0 and np.array_equal(spoken[3 * same.hop + late :][: len(decoded)], decoded)


def test_the_types_name_what_the_module_has(tmp_path: Path) -> None:
    """Neither more nor less, but for what begins with an underscore."""
    folder = compiled("f32")
    shutil.copy(folder / "tiny.js", tmp_path / "tiny.mjs")
    script = """import * as all from "./tiny.mjs";
      const isPublic = (name) => !/^_|constructor/.test(name);
      const members = ({ prototype }) => Object.getOwnPropertyNames(prototype).filter(isPublic);
      const own = { Model: ["module", "weights", "target"], Stream: [] };
      const found = { info: Object.keys(all.info) };
      for (const name of ["Model", "Stream"]) found[name] = [...own[name], ...members(all[name])];
      console.log(JSON.stringify({ exports: Object.keys(all), ...found }));"""
    (tmp_path / "list.mjs").write_text(script)
    done = subprocess.run([NODE, tmp_path / "list.mjs"], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    types = (folder / "tiny.d.ts").read_text()
    assert set(re.findall(r"^export declare (?:const|function|class) (\w+)", types, re.MULTILINE)) == set(
        said["exports"]
    )
    for name in ("info", "Model", "Stream"):
        body = re.search(rf"^export declare (?:const|class) {name}\b.*?^}}", types, re.MULTILINE | re.DOTALL)
        assert body, name
        declared = set(re.findall(r"^  (?:readonly |get )?(\w+)(?:\(.*\))?: ", body[0], re.MULTILINE))
        assert declared == set(said[name]), name


def test_typescript_takes_the_types(tmp_path: Path) -> None:
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("no tsc here: .ci/setup doors")
    shutil.copy(compiled("f32") / "tiny.d.ts", tmp_path)
    shutil.copy(HERE / "use.ts", tmp_path)
    flags = ["--strict", "--noEmit", "--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"]
    run_ok([tsc, *flags, tmp_path / "use.ts"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--link", "libs"], "--target wasm: does not work with --link libs"),
        (["--wheel"], "--wheel: is not for --target wasm, whose NAME.js is the module"),
    ],
)
def test_what_does_not_go_together(options: list[str], words: str, tmp_path: Path) -> None:
    done = run_compiler(builds.checkpoint(TINY), "-o", tmp_path / "out", "--target", "wasm", *options)
    assert done.returncode == 1 and done.stderr == f"vocosc: error: {words}\n"
