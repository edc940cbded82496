"""The page of `make page`, in a headless Chromium: its bits, its controls, its looks. `make test-doors` runs it."""

import hashlib
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.chromium import Chromium
from tests.objects import ALL, ROOT, SENTENCE, Floats, Vocoder, every

WANTED = ALL or os.environ.get("VOCOSC_TEST_DOORS") == "1"
pytestmark = [
    pytest.mark.skipif(not WANTED, reason="takes packages of its own: make test-doors"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here: make test-doors"),
    pytest.mark.skipif(shutil.which("clang-19") is None, reason="no clang-19 here: make test-doors"),
]
MODEL = ROOT / "examples" / "model" / "tiny.ckpt"
PRECISIONS = ("f32", "w8", "w4")

RENDER = """
(async (precision, chunk, seconds) => {
  const { info, model: { module, weights } } = await vocoder.voice(precision);
  const context = new OfflineAudioContext(1, seconds * info.sampleRate, info.sampleRate);
  await context.audioWorklet.addModule(vocoder.urlOf(precision));
  const words = new Int16Array((await vocoder.bytes("bdl_arctic_a0001")).slice(44)); // behind the head of the WAV
  const buffer = new AudioBuffer({ length: words.length, sampleRate: info.sampleRate });
  buffer.copyToChannel(Float32Array.from(words, (word) => word / 32768), 0);
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  const node = new AudioWorkletNode(context, info.name, { processorOptions: { module, weights, chunk } });
  source.connect(node).connect(context.destination);
  source.start();
  const digest = async (samples) => Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", samples)));
  return digest((await context.startRendering()).getChannelData(0));
})
"""


@pytest.fixture(scope="module")
def address() -> str:
    """The page of the small model."""

    def make(out: Path) -> None:
        command = [sys.executable, ROOT / "examples" / "page" / "build.py", out, "--checkpoint", MODEL]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr

    return (builds.once("page", make) / "index.html").as_uri()


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Chromium]:
    """It, opened; at the end nothing has gone wrong in it, and it has asked nobody for anything."""
    with Chromium(tmp_path / "profile") as chromium:
        chromium.open(address)
        chromium.wait("document.querySelector('#golden tbody tr:last-child td:last-child').textContent.length > 1", 120)
        yield chromium
        assert chromium.errors == []
        outside = [one for one in chromium.requests if not one.startswith("data:") and one != address]
        assert outside == []


def sound() -> Floats:
    assert SENTENCE.read_bytes()[36:40] == b"data"
    with wave.open(str(SENTENCE)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return np.asarray(samples / 32768, np.float32)


def play(page: Chromium) -> None:
    page.run("document.querySelector('#sources button').click()")
    page.wait("Boolean(vocoder.state().running) && null !== document.querySelector('#sources [aria-pressed=true]')")


def test_the_golden_audio_has_the_hash_that_the_compiler_said(page: Chromium) -> None:
    rows = page.run(
        "[...document.querySelector('#golden').tBodies[0].rows]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[0] for row in rows] == list(PRECISIONS)
    for _, expected, found, verdict in rows:
        assert len(expected) == 16 and found == expected and verdict == "✓ the same"
    if "fma" in Path("/proc/cpuinfo").read_text():
        assert page.run("vocoder.voice('f32').then(({ model }) => model.target)") == "wasm_relaxed"


@pytest.mark.parametrize(("precision", "chunk"), [("f32", 1), ("w8", 5), ("w4", 10)])
def test_the_audio_thread_gives_the_bits_of_the_object(page: Chromium, precision: str, chunk: int) -> None:
    """A minute of repeated speech, or an hour's worth, through the AudioWorklet."""
    seconds = every(3600, 60) if precision == "w8" else 10
    options = ("--chunk", "16", "--target", "x86-64", "--precision", precision)
    same = Vocoder(builds.library(MODEL, "tiny", *options), "tiny")
    found = bytes(page.run(f"{RENDER.strip()}('{precision}', {chunk}, {seconds})"))
    samples = seconds * same.report["model"]["sample_rate"]
    heard = np.resize(sound(), samples)
    spoken = same.decode(same.log_mel(heard)[: samples // same.hop])
    late = chunk * same.hop
    expected = np.concatenate([np.zeros(late, np.float32), spoken])[:samples]
    assert np.abs(expected).max() > 0.1
    assert found == hashlib.sha256(expected.tobytes()).digest()


def test_by_the_keyboard_alone(page: Chromium) -> None:
    """A sentence is played, and another chunk and precision chosen while it plays."""
    page.key("Tab")
    assert page.run("document.activeElement.textContent") == "A man speaks"
    page.key("Enter")
    page.wait("vocoder.state().total > 5")
    assert page.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert page.run("document.getElementById('status').textContent").startswith("Playing")
    for wanted in ("vocoder.state().running.chunk === 10", "vocoder.state().running.precision === 'w8'"):
        name = "chunk" if "chunk" in wanted else "precision"
        for _ in range(20):
            if page.run("document.activeElement.name") == name:
                break
            page.key("Tab")
            if name == "precision" and page.run("document.activeElement === document.body"):
                page.key("Tab")
        assert page.run("document.activeElement.name") == name
        page.key("ArrowRight")
        page.wait(wanted)
    before = page.run("vocoder.state().total")
    page.wait(f"vocoder.state().total > {before} + 5")
    page.run("document.querySelector('#sources [aria-pressed=true]').focus()")
    page.key(" ")
    page.wait("document.getElementById('status').textContent === 'Stopped.'")


def test_a_recording_is_heard_through_the_vocoder_and_so_is_a_microphone(page: Chromium, tmp_path: Path) -> None:
    recording = shutil.copy(SENTENCE, tmp_path / "mine.wav")
    page.choose("#file", Path(recording))
    page.wait("document.getElementById('status').textContent === 'Playing: mine.wav.'")
    page.wait("vocoder.state().total > 5")
    (tmp_path / "no.wav").write_text("no sound")
    page.choose("#file", tmp_path / "no.wav")
    page.wait("document.getElementById('status').textContent === 'no.wav: this browser can read no audio in it.'")
    page.run("document.querySelector('#sources button:last-child').click()")
    page.wait("document.getElementById('status').textContent.startsWith('Playing: the microphone')")
    before = page.run("vocoder.state().total")
    page.wait(f"vocoder.state().total > {before} + 5")
    bins = "const bins = new Uint8Array(256); vocoder.state().audio.analyser.getByteFrequencyData(bins);"
    page.wait(f"(() => {{ {bins} return Math.max(...bins) > 20; }})()")


def test_a_screen_reader_has_names_for_everything(page: Chromium) -> None:
    nodes = page.accessibility()
    kinds = {"button", "radio", "checkbox", "image", "heading", "table", "group", "status"}
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    controls = [name for role, name in named if role in ("button", "radio", "checkbox")]
    assert len(controls) >= 3 + 2 + 3 + 3 + 1 + 1
    assert {role for role, _ in named} >= {"main", "banner", "contentinfo", "heading", "status"}
    for role, name in named:
        assert name or role not in kinds - {"status"}, role
    assert page.run("document.documentElement.lang") == "en" and page.run("document.title")
    assert page.run("[...document.querySelectorAll('h1, h2')].map((one) => one.tagName).join()") == "H1,H2,H2,H2,H2"


CONTRASTS = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
  };
  const found = [];
  for (const one of document.querySelectorAll("body *:not(script, style)")) {
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.trim().slice(0, 30)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_it_fits_and_can_be_read(page: Chromium, width: int, tmp_path: Path) -> None:
    """On a phone and on a desk, by day and by night; the pictures are there to be looked at."""
    page.resize(width, 800)
    play(page)
    page.wait("vocoder.state().total > 5")
    for dark in (False, True):
        page.dark(dark)
        assert page.run("document.documentElement.scrollWidth") <= width
        contrasts = page.run(CONTRASTS)
        assert len(contrasts) > 40 and contrasts[0][0] >= 4.5, contrasts[0]
        picture = tmp_path / f"{width}{'-dark' if dark else ''}.png"
        page.screenshot(picture)
        assert picture.stat().st_size > 20000
