"""The bench's arithmetic, tables, and its talk with the peers. Needs no PyTorch: fakes stand in for the peers."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.__main__ import Effort, ProgressLine, arguments, made_up_mel, mel_bins, run_row
from bench.metrics import METRICS, RunTimes, Summary, combine, ratio, share, snr_db, summarise, summary_from
from bench.peers import (
    CompiledPeer,
    PeerError,
    Progress,
    PyTorchPeer,
    Row,
    host_tool,
    openblas_core_for,
    thread_environment,
)
from bench.report import HEADINGS, RowResult, as_json, heading, machine_facts, table


def flat_summary(ms: float) -> Summary:
    return dict.fromkeys(METRICS, ms)


# --- metrics


def test_summarise_follows_the_references_definitions() -> None:
    runs = [RunTimes(0.012, (0.004, 0.001, 0.001)), RunTimes(0.020, (0.006, 0.003, 0.003))]
    summary = summarise(runs, buffer_ms=100, audio_s=3.2)
    assert tuple(summary) == METRICS
    assert summary["avg_proc_per_chunk_ms"] == pytest.approx(3)
    assert summary["avg_first_chunk_proc_ms"] == pytest.approx(5)
    assert summary["avg_latency_ms"] == pytest.approx(103)
    assert summary["first_chunk_latency_ms"] == pytest.approx(105)
    assert summary["avg_total_processing_time_ms"] == pytest.approx(16)
    assert summary["avg_rtf"] == pytest.approx(0.005)
    assert summary["p50_total_ms"] == pytest.approx(16)
    assert summary["p90_total_ms"] == pytest.approx(19.2)
    assert summary["p50_per_chunk_ms"] == pytest.approx(3)
    assert summary["max_per_chunk_ms"] == pytest.approx(6)


def test_a_run_with_more_chunks_weighs_no_more() -> None:
    runs = [RunTimes(0.003, (0.001, 0.001, 0.001)), RunTimes(0.005, (0.005,))]
    assert summarise(runs, 0, 1)["avg_proc_per_chunk_ms"] == pytest.approx(3)


def test_combine_takes_medians_but_the_worst_chunk() -> None:
    combined = combine([flat_summary(1), flat_summary(9), flat_summary(2)])
    assert combined["p50_total_ms"] == 2
    assert combined["max_per_chunk_ms"] == 9


def test_ratio_is_taken_round_by_round() -> None:
    # The machine is three times slower in the second round: the ratio does not notice.
    found = ratio(
        [flat_summary(10), flat_summary(30), flat_summary(12)], [flat_summary(2), flat_summary(6), flat_summary(2)]
    )
    assert (found.median, found.low, found.high) == (5, 5, 6)


def test_ratio_needs_equally_many_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([flat_summary(1)] * 2, [flat_summary(1)])


@pytest.mark.parametrize(("total", "rounds"), [(1000, 10), (7, 3), (3, 3), (1, 1)])
def test_share_is_even_and_complete(total: int, rounds: int) -> None:
    parts = share(total, rounds)
    assert (sum(parts), len(parts)) == (total, rounds)
    assert max(parts) - min(parts) <= 1


def test_snr() -> None:
    signal = np.array([1, -1, 1, -1], np.float32)
    assert snr_db(signal, signal * np.float32(0.9)) == pytest.approx(20, abs=1e-5)
    assert snr_db(signal, signal) == math.inf
    assert snr_db(signal, np.full(4, np.nan, np.float32)) == -math.inf


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="p90_total_ms"):
        summary_from({**flat_summary(1), "p90_total_ms": bad})


def test_a_metric_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="avg_rtf"):
        summary_from({key: 1 for key in METRICS if key != "avg_rtf"})


# --- report


def result_of(row: Row, reference_ms: float, ours_ms: float) -> RowResult:
    rounds = {"pytorch": [flat_summary(reference_ms)] * 2, "vocosc": [flat_summary(ours_ms)] * 2}
    return RowResult(row, 0.5, rounds, {"vocosc": {"target": "avx2"}}, {"vocosc": 110.25})


def cells(line: str) -> list[str]:
    return line.split()


@pytest.mark.parametrize(
    ("row", "ours_ms", "verdict"),
    [
        (Row(5, 1), 2.0, ">= 5 pass"),
        (Row(5, 1), 2.1, ">= 5 FAIL"),
        (Row(1, 1), 2.5, ">= 4 pass"),
        (Row(None, 1), 11.2, ">= 0.9 FAIL"),
        (Row(5, 2), 100.0, ""),
        (Row(2, 1), 100.0, ""),
    ],
)
def test_the_bars(row: Row, ours_ms: float, verdict: str) -> None:
    line = table([result_of(row, 10.0, ours_ms)]).splitlines()[3]
    assert line.endswith(verdict)
    assert ("pass" in line or "FAIL" in line) == bool(verdict)


def test_table_has_every_number_in_its_column() -> None:
    text = table([result_of(Row(5, 1), 10.0, 2.0)]).splitlines()
    assert [column for column in HEADINGS if column not in text[0]] == []
    assert cells(text[2])[:3] == ["5", "1", "pytorch"]
    assert cells(text[3])[:3] == ["5", "1", "vocosc"]
    assert cells(text[3])[-6:] == ["110.2", "5.00", "5.00", ">=", "5", "pass"]
    for column in ("proc/chunk", "total", "max chunk"):
        end = text[0].index(column) + len(column)
        assert float(text[2][:end].split()[-1]) == 10


def test_whole_utterance_compares_no_chunks() -> None:
    line = table([result_of(Row(None, 1), 10.0, 4.0)]).splitlines()[3]
    assert cells(line)[-5:] == ["110.2", "2.50", ">=", "0.9", "pass"]


def test_json_holds_every_round_and_is_plain() -> None:
    results = [result_of(Row(5, 1), 10.0, 2.0), result_of(Row(None, 2), 10.0, 2.0)]
    results[0].snr_db["vocosc"] = math.inf
    data = json.loads(json.dumps(as_json({"cpu": "x"}, {"runs": 2}, results), allow_nan=False))
    first = data["rows"][0]
    assert (first["chunk"], first["threads"], first["load_average"]) == ("5", 1, 0.5)
    ours = first["peers"]["vocosc"]
    assert ours["median"] == flat_summary(2)
    assert ours["rounds"] == [flat_summary(2)] * 2
    assert ours["speedup"] == {"median": 5, "range": [5, 5]}
    assert (ours["bar"], ours["pass"], ours["snr_db"], ours["error"]) == (5, True, None, None)
    assert first["peers"]["pytorch"]["speedup"] is None
    assert data["rows"][1]["peers"]["vocosc"]["snr_db"] == 110.25
    assert data["rows"][1]["peers"]["vocosc"]["pass"] is None


def test_a_peer_that_failed_fails_its_bar() -> None:
    result = result_of(Row(5, 1), 10.0, 2.0)
    result.rounds["vocosc"], result.errors["vocosc"] = [], "signal SIGILL"
    assert result.passed("vocosc") is False
    assert "5 x 1, vocosc: signal SIGILL" in table([result])
    assert as_json({}, {}, [result])["rows"][0]["peers"]["vocosc"]["error"] == "signal SIGILL"


def test_machine_facts_come_from_cpuinfo() -> None:
    facts = machine_facts("processor: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 fma\n\nprocessor: 1\nmodel name: B\n")
    assert (facts["cpu"], facts["cpu_flags"]) == ("A CPU", ["avx2", "fma"])
    assert machine_facts("")["cpu_flags"] == []


def test_heading_says_what_each_peer_is() -> None:
    text = heading({"cpu": "A CPU", "cpus": 2, "cpu_flags": ["fma"]}, [result_of(Row(5, 1), 1, 1)])
    assert "A CPU" in text
    assert "vocosc   target avx2" in text


# --- peers


def test_threads_are_set_for_every_library() -> None:
    env = thread_environment(2)
    assert {env[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"2"}


def test_openblas_core_fits_the_cpu() -> None:
    assert openblas_core_for(["avx2", "fma"]) == "Haswell"
    assert openblas_core_for(["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"]) == "SkylakeX"
    assert openblas_core_for(["asimd"]) is None


@pytest.fixture
def fake_object(tmp_path: Path) -> Callable[[str], CompiledPeer]:
    """Makes a peer whose host tool is a Python script with this body; `argv` are its arguments."""

    def make(body: str) -> CompiledPeer:
        directory = tmp_path / "object"
        directory.mkdir()
        (directory / "vocos.json").write_text("{}")
        tool = directory / "vocos"
        tool.write_text(f"#!{sys.executable}\nimport json, sys\nargv = sys.argv[1:]\n{body}\n")
        tool.chmod(0o755)
        return CompiledPeer(directory, directory, 54, tmp_path / "mel.npy", tmp_path)

    return make


ECHO = f"""
value = float(argv[argv.index("--chunk") + 1]) + 100 * float(argv[argv.index("--runs") + 1])
print(json.dumps({{"target": "avx2", "threads": 1, **dict.fromkeys({METRICS}, value)}}))
"""


def test_the_host_tool_is_asked_for_the_row(fake_object: Callable[[str], CompiledPeer]) -> None:
    peer, done = fake_object(ECHO), list[int]()
    assert peer.prepare(Row(5, 1)) == {"target": "avx2"}
    assert peer.run_round(Row(5, 1), 1, 3, done.append) == flat_summary(305)
    assert peer.run_round(Row(None, 1), 1, 3, done.append) == flat_summary(354)
    assert done == [3, 3]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('vocos: bench: no memory')", "exit status 1: vocos: bench: no memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL"),
        ("print('1 ms')", "printed no JSON"),
        ("print('[1]')", "printed no JSON object"),
        ("print('{}')", "lacks 'avg_proc_per_chunk_ms'"),
        ("print(json.dumps({'avg_proc_per_chunk_ms': None}))", "bench --json"),
    ],
)
def test_trouble_with_the_host_tool_is_said(
    fake_object: Callable[[str], CompiledPeer], body: str, message: str
) -> None:
    with pytest.raises(PeerError, match=message):
        fake_object(body).run_round(Row(5, 1), 0, 1, lambda _: None)


def test_a_directory_without_host_tool_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocos.json").write_text("{}")
    with pytest.raises(PeerError, match=str(tmp_path)):
        host_tool(tmp_path)


WORKER = f"""
import json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "describe":
        core = os.environ.get("OPENBLAS_CORETYPE", "Prescott")
        print(json.dumps({{"openblas_core": core, "threads": os.environ["OMP_NUM_THREADS"]}}), flush=True)
    elif request["runs"] == 13:
        sys.exit(3)
    elif request["runs"] == 14:
        print(json.dumps({{"error": "no memory"}}), flush=True)
    else:
        print(json.dumps({{"done": 1}}), flush=True)
        print(json.dumps(dict.fromkeys({METRICS}, request["runs"])), flush=True)
"""


@pytest.fixture
def fake_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PyTorchPeer:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    flags = ["avx2", "fma"]
    return PyTorchPeer(tmp_path / "t.npz", tmp_path / "mel.npy", tmp_path, flags, [sys.executable, "-c", WORKER])


def test_the_worker_answers_and_ends(fake_pytorch: PyTorchPeer) -> None:
    done = list[int]()
    facts = fake_pytorch.prepare(Row(5, 2))
    summary = fake_pytorch.run_round(Row(5, 2), 1, 4, done.append)
    fake_pytorch.close()
    assert facts == {"openblas_core": "Haswell", "threads": "2"}  # Prescott, had the peer not asked for better
    assert summary == flat_summary(4)
    assert done == [1]


def test_each_thread_count_gets_a_process_of_its_own(fake_pytorch: PyTorchPeer) -> None:
    assert fake_pytorch.prepare(Row(5, 1))["threads"] == "1"
    assert fake_pytorch.prepare(Row(5, 2))["threads"] == "2"
    fake_pytorch.close()


@pytest.mark.parametrize(("runs", "message"), [(13, "worker died: exit status 3"), (14, "no memory")])
def test_trouble_with_the_worker_is_said(fake_pytorch: PyTorchPeer, runs: int, message: str) -> None:
    fake_pytorch.prepare(Row(5, 1))
    with pytest.raises(PeerError, match=message):
        fake_pytorch.run_round(Row(5, 1), 0, runs, lambda _: None)
    fake_pytorch.close()


# --- a row


class FakePeer:
    """Notes its turns in a list that it shares with others, and takes `ms`."""

    def __init__(self, name: str, ms: float, turns: list[str], audio: NDArray[np.float32]) -> None:
        self.name, self.ms, self.turns, self.audio = name, ms, turns, audio
        self.fails_in_round = -1

    def prepare(self, row: Row) -> dict[str, str]:
        return {"kind": f"fake {row.label}"}

    def run_round(self, row: Row, warmup: int, runs: int, progress: Progress) -> Summary:
        if sum(turn.startswith(self.name) for turn in self.turns) == self.fails_in_round:
            raise PeerError("lost")
        self.turns.append(f"{self.name} {warmup}+{runs}")
        progress(runs)
        return flat_summary(self.ms)

    def decode(self, row: Row) -> NDArray[np.float32]:
        return self.audio

    def close(self) -> None:
        pass


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("bench.__main__.REST_S", 0.0)
    return []


AUDIO = np.linspace(-1, 1, 320, dtype=np.float32)


def test_peers_take_turns_and_share_the_runs(turns: list[str]) -> None:
    # The second peer also emits the overlap's tail, which does not count against it.
    longer = np.concatenate([AUDIO, np.ones(704, np.float32)])
    peers = [FakePeer("pytorch", 10, turns, AUDIO), FakePeer("vocosc", 2, turns, longer)]
    result = run_row(Row(5, 1), peers, Effort(3, 5, 2), ProgressLine(), "")
    assert turns == ["pytorch 2+3", "vocosc 2+3", "pytorch 2+2", "vocosc 2+2"]
    assert result.passed("vocosc") is True
    assert result.snr_db == {"vocosc": math.inf}
    assert result.facts["vocosc"] == {"kind": "fake 5"}
    assert result.errors == {}


def test_a_peer_that_fails_leaves_the_others_going(turns: list[str]) -> None:
    peers = [FakePeer("pytorch", 10, turns, AUDIO), FakePeer("vocosc", 2, turns, AUDIO)]
    peers[1].fails_in_round = 1
    result = run_row(Row(5, 1), peers, Effort(3, 3, 3), ProgressLine(), "")
    assert result.errors == {"vocosc": "lost"}
    assert len(result.rounds["pytorch"]) == 3
    assert result.rounds["vocosc"] == []


def test_audio_that_is_too_short_is_an_error(turns: list[str]) -> None:
    peers = [FakePeer("pytorch", 10, turns, AUDIO), FakePeer("vocosc", 2, turns, AUDIO[:-1])]
    result = run_row(Row(5, 1), peers, Effort(0, 1, 1), ProgressLine(), "")
    assert result.errors == {"vocosc": "decoded 319 samples, the reference 320"}


# --- the rest


def test_the_made_up_mel_is_the_same_every_time_and_like_speech() -> None:
    mel = made_up_mel(162, 80)
    assert mel.shape == (162, 80)
    assert mel.dtype == np.float32
    assert np.array_equal(mel, made_up_mel(162, 80))
    assert np.log(1e-5) - 1e-4 <= mel.min() < mel.max() < 5


def test_mel_bins_come_from_the_embedding(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    prefix = "decoder.0.embed.conv.conv."
    arrays = {f"{prefix}weight_g": np.ones((72, 1, 1)), f"{prefix}weight_v": np.ones((72, 21, 5))}
    np.savez(path, allow_pickle=False, **arrays)
    assert mel_bins(path) == 21


@pytest.mark.parametrize("bad", [["--chunks", "0"], ["--runs", "0"], ["--threads", "1,x"], []])
def test_bad_options_are_refused(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments([*(["model.ckpt"] if bad else []), *bad])
    assert "error" in capsys.readouterr().err


def test_defaults_are_the_references() -> None:
    args = arguments(["model.ckpt"])
    assert (args.warmup, args.runs, args.chunks, args.threads) == (100, 1000, [1, 2, 5, 10], [1, 2])
    assert args.compiler_python == sys.executable
