"""The measures of sound, and the bench that takes them."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import lookahead
from bench.measures import log_spectral_distance, magnitudes, mel_distance, pitch_errors, stft_distance
from bench.peers import PeerError
from bench.quality import MODEL, Sentence, draw, means, read_wav, table, verdicts, write_wav
from tests.objects import Floats, some_audio

RATE = 16000


def row(pesq: float, snr: float | None = None) -> dict[str, float]:
    values = {"mel_distance": 1.5, "log_spectral_distance_db": 9.0, "pesq_wb": pesq, "stoi": 0.9}
    values |= {"stft_distance": 0.3, "pitch_rmse_cents": 30.0, "voicing_error": 0.05}
    return values if snr is None else {**values, "snr_db": snr}


def results(w8: float, pesq: float) -> dict[str, dict[str, dict[str, float]]]:
    """Two sentences; `w8`, in dB, and `pesq`, of w8, are means."""
    return {
        name: {
            **{MODEL: row(2.0), "f32": row(2.0, 100), "f16": row(2.0, 60)},
            **{"w8": row(pesq, w8 + off), "w8 --calibrate": row(2.0, 36), "w8a8": row(2.0, 32), "w4": row(2.0, 30)},
        }
        for name, off in (("a", 1.0), ("b", -1.0))
    }


def test_the_same_audio_has_no_distance() -> None:
    audio = some_audio(8000)
    assert mel_distance(audio, audio, RATE) == 0
    assert log_spectral_distance(audio, audio) == 0
    assert stft_distance(audio, audio) == 0


def test_distances_of_a_known_change() -> None:
    audio = some_audio(8000)
    # 20 dB less: one unit of log10 in each of the seven scales
    assert mel_distance(audio / 10, audio, RATE) == pytest.approx(7, rel=1e-3)
    assert log_spectral_distance(audio / 10, audio) == pytest.approx(20, rel=1e-3)
    # One unit of log10, and nine tenths of the magnitudes
    lost = np.mean([0.9 * magnitudes(audio, window).mean() for window in (512, 1024, 2048)])
    assert stft_distance(audio / 10, audio) == pytest.approx(1 + lost, rel=1e-3)


def test_pitch_errors_are_in_cents() -> None:
    pytest.importorskip("pyworld", reason="needs pyworld: make setup-quality")
    n = np.arange(RATE)

    def voice(hertz: float) -> Floats:
        return np.asarray(sum(np.sin(2 * np.pi * k * hertz * n / RATE) / k for k in range(1, 20)) / 4)

    cents, voicing = pitch_errors(voice(160 * 2 ** (1 / 12)), voice(160.0), RATE)
    assert cents == pytest.approx(100, abs=5)
    assert voicing < 0.05
    half = np.where(n < RATE // 2, voice(160.0), 0)
    assert pitch_errors(half, voice(160.0), RATE)[1] == pytest.approx(0.5, abs=0.1)


def test_distances_see_time_and_frequency() -> None:
    n = np.arange(RATE)
    tone, other = (0.3 * np.sin(2 * np.pi * hertz * n / RATE) for hertz in (440.0, 470.0))
    click = np.where(n == 8000, 0.5, 0.0)
    assert mel_distance(other, tone, RATE) > 0.3
    assert mel_distance(np.roll(click, 400), click, RATE) > 0.05
    assert mel_distance(-tone, tone, RATE) == pytest.approx(0, abs=1e-9)


def test_bars() -> None:
    def failed(w8: float, pesq: float) -> list[tuple[str, float]]:
        return [
            (verdict["what"], verdict["bar"]) for verdict in verdicts(means(results(w8, pesq))) if not verdict["passed"]
        ]

    assert not failed(35.0, 2.015)
    assert failed(34.9, 2.0) == [("w8, dB from PyTorch", 35.0)]
    assert failed(36.0, 1.97) == [("w8, PESQ off f32's", 0.02)]
    assert failed(36.0, 1.89) == [("w8, PESQ off f32's", 0.02), ("w8, PESQ off f32's", 0.1)]


def test_the_table_has_means_bars_and_sentences() -> None:
    data = results(36.0, 1.95)
    text = table(data, verdicts(means(data)))
    assert "| w8 | 36.0 | 1.500 | 9.00 | 1.950 | 0.900 | 0.300 | 30.0 | 0.0500 |" in text
    assert "| w8, PESQ off f32's | 0.02 | 0.05 | NO |" in text
    assert "| b, w8 | 35.0 |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {10, 5}


def test_the_picture(tmp_path: Path) -> None:
    audio = some_audio(4000)
    sentence = Sentence("a", audio, dict.fromkeys((MODEL, "f32", "f16", "w8"), audio))
    draw(sentence, RATE, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_lookahead_buys(tmp_path: Path) -> None:
    judged = [{"latency_ms": ms, "mean": means({"a": {"f32": row(pesq)}})} for ms, pesq in ((42.0, 2.5), (22.0, 2.0))]
    rows = lookahead.points(judged)
    assert [(point["latency_ms"], point["pesq_wb"]) for point in rows] == [(22.0, 2.0), (42.0, 2.5)]
    for number, one in enumerate(judged):
        (tmp_path / f"{number}.json").write_text(json.dumps(one))
    files = [str(tmp_path / name) for name in ("all.json", "all.png", "0.json", "1.json")]
    lookahead.main(files)
    assert json.loads((tmp_path / "all.json").read_text()) == {"rows": rows}
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")


def test_wav_files(tmp_path: Path) -> None:
    audio = some_audio(1000)
    write_wav(tmp_path / "a.wav", audio, RATE)
    back, rate = read_wav(tmp_path / "a.wav")
    assert rate == RATE
    assert np.array_equal(back, np.round(audio * 32768) / 32768)
    (tmp_path / "b.wav").write_bytes(b"no WAV")
    with pytest.raises(PeerError, match=r"b\.wav: no WAV file"):
        read_wav(tmp_path / "b.wav")
