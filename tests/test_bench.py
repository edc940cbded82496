"""The bench's arithmetic, tables, and its talk with the peers. Fakes stand in for PyTorch and the like."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import chart
from bench.__main__ import (
    BATCH_CHUNK,
    BATCH_STREAMS,
    OTHERS,
    PRECISIONS,
    WHOLE_CHUNK,
    Effort,
    Inputs,
    LimitsMeter,
    ProgressLine,
    arguments,
    compile_peers,
    default_peer_python,
    find_other_peers,
    made_up_mel,
    main,
    mel_bins,
    rows_of,
    run_row,
)
from bench.bars import BARS, FMA_PEAK, ONE_THREAD, Bar, bars_table, judge
from bench.limits import Limits, best_of, compile_limits, measure_limits
from bench.metrics import METRICS, RunTimes, Summary, combine, ratio, share, snr_db, summarise, summary_from
from bench.peers import (
    CompiledPeer,
    Cost,
    PeerError,
    Progress,
    PyTorchPeer,
    Row,
    WorkerPeer,
    better_openblas_core,
    cost_of,
    has_packages,
    host_tool,
    openblas_core_for,
    thread_environment,
    unpack_checkpoint,
)
from bench.quiet import FLOOR, QUIET, SPEECH, quiet_mels, quiet_name, quiet_peers
from bench.report import (
    BATCH_HEADINGS,
    HEADINGS,
    QUIET_HEADINGS,
    RowLimit,
    RowResult,
    aligned,
    as_json,
    heading,
    machine_facts,
    peer_label,
    tables,
)
from bench.rounding import block_of, distances, trials
from bench.worker import decode, timed
from tests.objects import folded, golden, grants_tiles, run_compiler, some_mel


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


OWN = "vocosc f32"
LIMIT = RowLimit(bytes_ms=1, frame_ms=0.25, call_ms=1.25, run_ms=1.5, run_fma_ms=1.25, peak_gflops=200)


def result_of(row: Row, reference_ms: float, ours_ms: float) -> RowResult:
    rounds = {"pytorch": [flat_summary(reference_ms)] * 2, OWN: [flat_summary(ours_ms)] * 2}
    return RowResult(row, 0.5, rounds, {OWN: {"target": "avx2"}}, {OWN: 110.25}, {}, {OWN: LIMIT})


def batch_of(threads: int, ms: float) -> RowResult:
    rounds = {OWN: [flat_summary(ms)] * 2, "vocosc w8": [flat_summary(ms / 2)] * 2}
    return RowResult(Row(5, threads, 16), 0.5, rounds, limits={OWN: LIMIT})


def quiet_of(speech_ms: Sequence[float], silence_ms: Sequence[float]) -> RowResult:
    """Of two precisions; the second takes twice as long."""
    rounds = {}
    for peer, factor in [(OWN, 1), ("vocosc w8", 2)]:
        for mel, times in [(SPEECH, speech_ms), ("silence", silence_ms)]:
            rounds[quiet_name(peer, mel)] = [flat_summary(factor * ms) for ms in times]
    return RowResult(Row(5, 1, quiet=True), 0.5, rounds)


def cells(line: str) -> list[str]:
    return line.split()


def test_table_has_every_number_in_its_column() -> None:
    text = tables([result_of(Row(5, 1), 10.0, 2.0)]).splitlines()
    assert [column for column in HEADINGS if column not in text[0]] == []
    assert cells(text[2])[:3] == ["5", "1", "pytorch"]
    assert cells(text[3])[:4] == ["5", "1", "vocosc", "f32"]
    assert cells(text[3])[-5:] == ["1.250", "75", "110.2", "5.00", "5.00"]
    for column in ("proc/chunk", "total", "max chunk"):
        end = text[0].index(column) + len(column)
        assert float(text[2][:end].split()[-1]) == 10


def test_whole_utterance_compares_no_chunks() -> None:
    line = tables([result_of(Row(None, 1), 10.0, 4.0)]).splitlines()[3]
    assert cells(line)[-3:] == ["38", "110.2", "2.50"]


def test_a_batch_is_told_by_stream_and_against_the_fma_peak() -> None:
    text = tables([batch_of(2, 4.0)]).splitlines()
    assert [column for column in BATCH_HEADINGS if column not in text[0]] == []
    # A call of 4 ms over 16 streams; the limit, 1.25 ms, likewise. A run of 4 ms has 1.25 ms of multiply-adds.
    expected = ["16", "5", "2", *OWN.split(), "4.000", "0.2500", "0.0781", "38", "62.5", "31"]
    assert cells(text[2]) == expected


def test_quiet_inputs_are_told_against_speech_round_by_round() -> None:
    text = tables([quiet_of([2, 20, 2], [2.1, 21, 2.1])]).splitlines()
    assert [column for column in QUIET_HEADINGS if column not in text[0]] == []
    speech, silence, _, w8_silence = map(cells, text[2:6])
    assert speech == ["5", "1", "vocosc", "f32:", "speech", "2.000", "2.000", "20.000"]
    assert silence == ["5", "1", "vocosc", "f32:", "silence", "2.100", "2.100", "21.000", "1.050"]
    assert w8_silence[-1] == "1.050"


def test_each_kind_of_row_has_a_table_of_its_own() -> None:
    text = tables([result_of(Row(5, 1), 10, 2), batch_of(1, 4), quiet_of([2], [2])])
    assert [text.count(heading) for heading in ("x total", "GFLOP/s", "time / speech")] == [1, 1, 1]
    assert text.index("x total") < text.index("GFLOP/s") < text.index("time / speech")
    assert "GFLOP/s" not in tables([result_of(Row(5, 1), 10, 2)])


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([["a", "bc"], ["def", "g"], []]) == "  a  bc\n---  --\ndef   g\n"


def test_json_is_plain() -> None:
    results = [result_of(Row(5, 1), 10.0, 2.0), result_of(Row(None, 2), 10.0, 2.0)]
    results[0].snr_db[OWN] = math.inf
    results[0].rounds[OWN] = [flat_summary(1 / 3)] * 2
    data = json.loads(json.dumps(as_json(results), allow_nan=False))
    first = data["rows"][0]
    assert (first["chunk"], first["threads"], first["load_average"]) == ("5", 1, 0.5)
    ours = first["peers"][OWN]
    assert ours["median"] == flat_summary(0.333333)
    assert ours["rounds_p50_total_ms"] == [0.333333] * 2
    assert (ours["speedup"], ours["speedup_range"]) == (30, [30, 30])
    assert ours["limit"] == asdict(LIMIT)
    assert (ours["limit_share"], ours["fma_share"], ours["gflops"]) == (4.5, 3.75, 750)
    assert (ours["snr_db"], ours["error"]) == (None, None)
    assert first["peers"]["pytorch"]["speedup"] is None
    assert first["peers"]["pytorch"]["limit"] is None
    assert data["rows"][1]["peers"][OWN]["snr_db"] == 110.25
    assert data["peers"] == {OWN: {"target": "avx2"}}


def test_batches_and_quiet_inputs_are_apart_in_the_json() -> None:
    data = as_json([result_of(Row(5, 1), 10, 2), batch_of(2, 4), quiet_of([3, 3], [4, 4])])
    assert [len(data[section]) for section in ("rows", "batch", "quiet")] == [1, 1, 1]
    batch = data["batch"][0]
    assert (batch["streams"], batch["chunk"], batch["threads"]) == (16, "5", 2)
    ours = batch["peers"][OWN]
    assert (ours["stream_ms"], ours["fma_share"], ours["gflops"]) == (0.25, 0.3125, 62.5)
    assert batch["peers"]["vocosc w8"]["speedup"] is None  # there is no other peer to compare with
    quiet = data["quiet"][0]["peers"]
    assert quiet["vocosc w8: silence"]["speedup"] == 0.75
    assert quiet["vocosc w8: speech"]["speedup"] is None


def test_a_peer_that_failed_is_named() -> None:
    result = result_of(Row(5, 1), 10.0, 2.0)
    result.rounds[OWN], result.errors[OWN] = [], "signal SIGILL"
    assert "5 x 1, vocosc f32: signal SIGILL" in tables([result])
    for other in (batch_of(1, 4), quiet_of([1], [1])):
        name = list(other.rounds)[-1]
        other.rounds[name], other.errors[name] = [], "signal SIGILL"
        text = tables([other])
        assert f" x 1, {name}: signal SIGILL" in text
        assert "failed" in text
    assert as_json([result])["rows"][0]["peers"][OWN]["error"] == "signal SIGILL"


def test_machine_facts_come_from_cpuinfo() -> None:
    facts = machine_facts("processor: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 fma\n\nprocessor: 1\nmodel name: B\n")
    assert (facts["cpu"], facts["cpu_flags"]) == ("A CPU", ["avx2", "fma"])
    assert machine_facts("")["cpu_flags"] == []
    fields = "cpu family: 25\nmodel: 17\nmodel name: A CPU\n"
    assert machine_facts(fields)["cpu"] == "A CPU, family 25 model 17"


def test_tables_say_which_pytorch_is_which() -> None:
    result = result_of(Row(5, 1), 10.0, 2.0)
    result.rounds["pytorch pypi"] = [flat_summary(9)] * 2
    result.facts["pytorch"] = {"version": "1.13.0a0", "origin": "Debian"}
    result.facts["pytorch pypi"] = {"version": "2.15.0+cu132", "origin": "PyPI"}
    text = tables([result])
    assert "pytorch 1.13 (Debian)  " in text
    assert "pytorch 2.15 (PyPI)  " in text
    assert peer_label("pytorch", {"version": "1.13.0a0"}) == "pytorch 1.13"  # as files from before say it
    assert peer_label("onnxruntime", {"version": "1.32.0"}) == "onnxruntime"


def test_heading_says_what_each_peer_is_and_who_is_missing() -> None:
    machine = {"cpu": "A CPU", "cpus": 2, "cpu_flags": ["fma"]}
    limits = Limits(2, {"avx2": 101.4}, {54_000_000: 29.6})
    lines = heading(machine, [limits], [result_of(Row(5, 1), 1, 1)], {"openvino": "not installed"}).splitlines()
    assert "A CPU" in lines[0]
    assert "limits, 2 threads  GFLOP/s of multiply-adds: float avx2 101; GB/s of reading: 30 from 54.0 MB" in lines
    integers = replace(limits, int16_gops={"avx2": 202.2, "avx512_vnni": 404.4}, int8_gops={"avx512_vnni": 808.8})
    text = heading(machine, [integers], [], {})
    assert "float avx2 101; int16 avx2 202, avx512_vnni 404; int8 avx512_vnni 809; GB/s" in text
    assert cells(lines[-2]) == ["vocosc", "f32", "target", "avx2"]
    assert cells(lines[-1]) == ["openvino", "not", "here:", "not", "installed"]


# --- bars


@pytest.mark.parametrize(("ours_ms", "passed"), [(2.0, True), (2.1, False)])
def test_a_bar_is_reached_or_not(ours_ms: float, passed: bool) -> None:
    (verdict,) = judge([result_of(Row(5, 1), 10.0, ours_ms)], [Bar(OWN, Row(5, 1), "pytorch", 5)])
    assert verdict.measured == pytest.approx(10 / ours_ms)
    assert verdict.passed is passed
    line = bars_table([verdict]).splitlines()[2]
    assert cells(line)[-1] == ("pass" if passed else "miss")


@pytest.mark.parametrize(("reference_two_threads_ms", "measured"), [(20.0, 5), (8.0, 4)])
def test_others_are_taken_at_their_better_thread_count(reference_two_threads_ms: float, measured: float) -> None:
    results = [result_of(Row(5, 1), 10.0, 3.0), result_of(Row(5, 2), reference_two_threads_ms, 2.0)]
    (verdict,) = judge(results, [Bar(OWN, Row(5, 2), "pytorch", 1)])
    assert verdict.measured == pytest.approx(measured)
    # With one thread, two are no competitor.
    (verdict,) = judge(results, [Bar(OWN, Row(5, 1), "pytorch", 1)])
    assert verdict.measured == pytest.approx(10 / 3)


@pytest.mark.parametrize(("pypi_ms", "measured"), [(8.0, 4), (12.0, 5)])
def test_pytorch_is_taken_at_the_faster_of_its_builds(pypi_ms: float, measured: float) -> None:
    result = result_of(Row(5, 1), 10.0, 2.0)
    result.rounds["pytorch pypi"] = [flat_summary(pypi_ms)] * 2
    (verdict,) = judge([result], [Bar(OWN, Row(5, 1), "pytorch", 1)])
    assert verdict.measured == pytest.approx(measured)


def test_two_threads_are_compared_with_one() -> None:
    results = [result_of(Row(None, 1), 10.0, 3.0), result_of(Row(None, 2), 10.0, 2.0)]
    (verdict,) = judge(results, [Bar(OWN, Row(None, 2), ONE_THREAD, 1.85)])
    assert verdict.measured == pytest.approx(1.5)


def test_rows_of_another_kind_are_no_competitors() -> None:
    """Batches count against batches; what speech took among the quiet inputs counts there alone."""
    results = [result_of(Row(5, 1), 10, 3), batch_of(1, 36), batch_of(2, 20), quiet_of([2], [2])]
    bars = [Bar(OWN, Row(5, 2, 16), ONE_THREAD, 1.85), Bar(OWN, Row(5, 1), "pytorch", 1)]
    assert [verdict.measured for verdict in judge(results, bars)] == [pytest.approx(1.8), pytest.approx(10 / 3)]
    assert "5 (16 streams)" in bars_table(judge(results, bars))


@pytest.mark.parametrize(("factor", "passed"), [(0.31, True), (0.32, False)])
def test_a_bar_may_be_a_part_of_the_fma_peak(factor: float, passed: bool) -> None:
    (verdict,) = judge([batch_of(1, 4)], [Bar(OWN, Row(5, 1, 16), FMA_PEAK, factor)])
    assert verdict.measured == pytest.approx(0.3125)
    assert verdict.passed is passed
    failed = batch_of(1, 4)
    failed.rounds[OWN] = []
    (verdict,) = judge([failed], [Bar(OWN, Row(5, 1, 16), FMA_PEAK, factor)])
    assert (verdict.measured, verdict.passed) == (None, False)


@pytest.mark.parametrize(("silence_ms", "passed"), [(2.19, True), (2.21, False), (1.0, True)])
def test_quiet_inputs_may_take_a_tenth_more_than_speech(silence_ms: float, passed: bool) -> None:
    # The machine is slower in the second round, for all.
    verdicts = judge([quiet_of([2, 6, 2], [silence_ms, 3 * silence_ms, silence_ms])])
    assert [(verdict.bar.peer, verdict.passed) for verdict in verdicts] == [
        ("vocosc f32: silence", passed),
        ("vocosc w8: silence", passed),
    ]


def test_a_bar_without_its_peers_or_row_is_left_out() -> None:
    bars = [Bar(OWN, Row(5, 1), "openvino", 1), Bar("vocosc w8", Row(5, 1), "pytorch", 1), Bar(OWN, Row(1, 1), "x", 1)]
    assert judge([result_of(Row(5, 1), 1, 1)], bars) == []


@pytest.mark.parametrize("peer", ["pytorch", OWN])
def test_a_peer_that_failed_misses_its_bar(peer: str) -> None:
    result = result_of(Row(5, 1), 1, 1)
    result.rounds[peer] = []
    (verdict,) = judge([result], [Bar(OWN, Row(5, 1), "pytorch", 1)])
    assert (verdict.measured, verdict.passed) == (None, False)
    assert "failed" in bars_table([verdict])


def test_every_bar_names_a_peer_that_can_be_there() -> None:
    own = {f"vocosc {precision}" for precision in PRECISIONS}
    names = {name.replace("-", " ") for name in OTHERS} | {ONE_THREAD, FMA_PEAK}
    loud = [bar for bar in BARS if not bar.row.quiet]
    assert {bar.against for bar in loud} <= names | own
    assert {bar.peer for bar in loud} <= own
    quiet = [bar for bar in BARS if bar.row.quiet]
    assert {bar.against for bar in quiet} == {quiet_name(peer, SPEECH) for peer in own}
    assert {bar.peer for bar in quiet} == {quiet_name(peer, mel) for peer in own for mel in QUIET}


def test_every_bar_has_its_row() -> None:
    assert {bar.row for bar in BARS} <= set(rows_of(arguments(["model.ckpt"])))


# --- limits


LIMITS = Limits(1, {"avx2": 100.0, "avx512": 200.0}, {50_000_000: 25.0})
COST = Cost(weight_bytes=50_000_000, macs_per_frame=10_000_000)


def test_a_call_takes_the_longer_of_reading_and_arithmetic() -> None:
    assert LIMITS.bytes_ms(COST) == pytest.approx(2)
    assert LIMITS.frame_ms(COST) == pytest.approx(0.1)  # 20 MFLOP at the better of the two peaks
    assert LIMITS.call_ms(COST, 5) == pytest.approx(2)
    assert LIMITS.call_ms(COST, 50) == pytest.approx(5)


def test_each_product_has_the_peak_of_its_type() -> None:
    peaks = replace(LIMITS, int16_gops={"avx2": 300.0, "avx512_vnni": 400.0}, int8_gops={"avx512_vnni": 800.0})
    w8, w8a8 = replace(COST, int16_macs=8_000_000), replace(COST, int8_macs=8_000_000)
    assert peaks.frame_ms(w8) == pytest.approx(0.02 + 0.04)  # 4 MFLOP at 200, 16 at 400
    assert peaks.frame_ms(w8a8) == pytest.approx(0.02 + 0.02)
    assert peaks.fma_ms(w8) == peaks.fma_ms(w8a8) == pytest.approx(0.1)
    # Without a peak of integers the limit stays one: they count for nothing.
    assert LIMITS.frame_ms(w8) == pytest.approx(0.02)


@pytest.mark.parametrize(("frames", "chunk", "ms"), [(100, 50, 10), (110, 50, 12), (5, 50, 2)])
def test_a_run_is_all_its_calls(frames: int, chunk: int, ms: float) -> None:
    assert LIMITS.run_ms(COST, frames, chunk) == pytest.approx(ms)


def test_of_two_measurements_the_better_counts() -> None:
    first = replace(LIMITS, int16_gops={"avx2": 1.0}, int8_gops={"avx2": 4.0})
    other = Limits(1, {"avx2": 101.0, "avx512": 190.0}, {50_000_000: 24.0}, {"avx2": 2.0}, {"avx2": 3.0})
    best = Limits(1, {"avx2": 101.0, "avx512": 200.0}, {50_000_000: 25.0}, {"avx2": 2.0}, {"avx2": 4.0})
    assert best_of(first, other) == best_of(other, first) == best


@pytest.fixture(scope="module")
def limits_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_limits(tmp_path_factory.mktemp("limits"))


def test_the_limits_program_measures_what_it_is_asked(limits_program: Path) -> None:
    found = measure_limits(limits_program, 2, [1 << 16, 100_000])
    assert found.threads == 2
    assert set(found.read_gbytes) == {1 << 16, 100_000}
    # Any machine that compiles this does so much; and none does more than its peak could be.
    assert all(0.1 < value < 1e5 for value in [found.peak_gflops, *found.read_gbytes.values()])
    flags = machine_facts(Path("/proc/cpuinfo").read_text())["cpu_flags"]
    assert set(found.int16_gops) == {"avx2", "avx_vnni", "avx512_vnni"} & set(flags)
    tiles = {"amx_int8"} if "amx_tile" in flags and grants_tiles() else set()
    assert set(found.int8_gops) == set(found.int16_gops) | tiles
    assert all(0.1 < value < 1e6 for value in [*found.int16_gops.values(), *found.int8_gops.values()])


@pytest.mark.parametrize(("threads", "sizes"), [(0, [1]), (65, [1]), (1, [0])])
def test_the_limits_program_refuses_nonsense(limits_program: Path, threads: int, sizes: list[int]) -> None:
    with pytest.raises(PeerError, match="limits:"):
        measure_limits(limits_program, threads, sizes)


# --- rounding


def test_rounding_is_of_the_products_that_are_named(odd_checkpoint: Path) -> None:
    network = folded(odd_checkpoint)
    mels = [some_mel(20, network.config.n_mels)]
    found = {what: distances(network, change, mels)[0] for what, change in trials(network, {})}
    assert distances(network, lambda product: product, mels) == [np.inf]
    last = max(map(block_of, network.operations))
    assert found[f"blocks 0 to {last}"] == found["blocks alone, groups of 32"] < found["blocks alone, int8"]
    assert found["blocks 0 to 0"] == found["block 0 alone"]
    assert found["blocks alone, groups of 128"] < found["blocks alone, groups of 8"]


# --- peers


def test_threads_are_set_for_every_library() -> None:
    env = thread_environment(2)
    assert {env[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"2"}


def test_openblas_core_fits_the_cpu() -> None:
    assert openblas_core_for(["avx2", "fma"]) == "Haswell"
    assert openblas_core_for(["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"]) == "SkylakeX"
    assert openblas_core_for(["asimd"]) is None


@pytest.mark.parametrize(
    ("taken", "flags", "better"),
    [
        ("Prescott", ["avx2", "fma"], "Haswell"),
        ("Haswell", ["avx2", "fma"], None),
        ("Haswell", ["avx512f", "avx512bw", "avx512dq", "avx512vl"], "SkylakeX"),
        ("Cooperlake", ["avx512f", "avx512bw", "avx512dq", "avx512vl"], None),
        ("none", ["avx512f", "avx512bw", "avx512dq", "avx512vl"], None),
        ("Prescott", [], None),
    ],
)
def test_openblas_is_told_of_a_cpu_newer_than_itself(taken: str, flags: list[str], better: str | None) -> None:
    assert better_openblas_core(taken, flags) == better


@pytest.fixture
def fake_object(tmp_path: Path) -> Callable[[str], CompiledPeer]:
    """Makes a peer whose host tool is a Python script with this body; `argv` are its arguments."""

    def make(body: str) -> CompiledPeer:
        directory = tmp_path / "object"
        directory.mkdir()
        (directory / "vocos.json").write_text('{"weight_bytes": 8, "macs_per_frame": 2, "precision": "f16"}')
        tool = directory / "vocos"
        tool.write_text(f"#!{sys.executable}\nimport json, sys\nargv = sys.argv[1:]\n{body}\n")
        tool.chmod(0o755)
        return CompiledPeer(directory, directory, 54, tmp_path / "mel.npy", tmp_path)

    return make


FAKE_TOOL = f"""
import numpy as np
if argv[0] == "decode":
    np.save(argv[-1], np.ones(51840, np.float32))
    sys.exit()
mel = np.load(argv[argv.index("--mel") + 1])
ms = 3 if (mel == mel[0, 0]).all() and mel[0, 0] < -11 else 2
if "--streams" in argv:
    assert (argv[argv.index("--streams") + 1], argv[argv.index("--runs") + 1]) == ("16", "1")
    ms = 8
print(json.dumps(dict.fromkeys({METRICS}, ms)))
"""

PEAK = {"avx2": 1.0}

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


def test_a_batch_has_an_object_of_its_own(fake_object: Callable[[str], CompiledPeer]) -> None:
    peer = fake_object(f"argv[argv.index('--chunk') + 1] = argv[argv.index('--streams') + 1]{ECHO}")
    with pytest.raises(PeerError, match="vocosc f32: no object for 16 streams at once"):
        peer.cost(Row(5, 1, 16))
    peer = replace(peer, stream_object=peer.work, batch_object=peer.stream_object)
    assert peer.cost(Row(5, 1, 16)) == Cost(8, 2)
    assert peer.run_round(Row(5, 1, 16), 1, 3, lambda _: None) == flat_summary(316)


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


def test_the_cost_comes_from_the_report(fake_object: Callable[[str], CompiledPeer]) -> None:
    peer = fake_object(ECHO)
    assert peer.cost(Row(5, 1)) == Cost(8, 2)
    (peer.stream_object / "vocos.json").write_text('{"weight_bytes": 8}')
    with pytest.raises(PeerError, match="vocosc f32: the report lacks 'macs_per_frame'"):
        peer.cost(Row(5, 1))


@pytest.mark.parametrize(("precision", "integers"), [("f32", None), ("w8", "int16_macs"), ("w8a8", "int8_macs")])
def test_the_blocks_products_are_of_integers(precision: str, integers: str | None, small_checkpoint: Path) -> None:
    options = ["--precision", precision, "--chunk", "5", "--report", "--json"]
    report = json.loads(run_compiler(small_checkpoint, *options).stdout)
    sizes = report["model"]
    blocks = 2 * sizes["dim"] * sizes["hidden"] * sizes["num_layers"]
    assert 0 < blocks < report["macs_per_frame"]
    cost = Cost(report["weight_bytes"], report["macs_per_frame"])
    assert cost_of(report) == (replace(cost, **{integers: blocks}) if integers else cost)


def inputs_in(directory: Path) -> Inputs:
    return Inputs(directory / "t.npz", directory / "mel.npy", directory, 10)


def test_given_objects_are_not_compiled(fake_object: Callable[[str], CompiledPeer], tmp_path: Path) -> None:
    directory = str(fake_object(ECHO).stream_object)
    objects = [word for kind in ("", "whole-", "batch-") for word in (f"--{kind}object", directory)]
    args = arguments(["model.ckpt", *objects, "--threads", "1"])
    (peer,) = compile_peers(args, inputs_in(tmp_path), ProgressLine(), {})
    assert (peer.name, peer.chunk(Row(2, 1)), peer.chunk(Row(None, 1))) == ("vocosc f16", 2, WHOLE_CHUNK)
    meter = LimitsMeter(args, inputs_in(tmp_path), [peer])
    meter.limits[1] = Limits(1, {"avx2": 1.0}, {8: 1.0})
    result = RowResult(Row(2, 1), 0)
    meter.apply(result, [peer], frames=10)
    assert result.limits["vocosc f16"].run_ms == pytest.approx(10 * 4e-6)  # 2 multiply-adds a frame, 1 GFLOP/s
    batch = RowResult(Row(2, 1, 16), 0)
    meter.apply(batch, [peer], frames=10)
    limit = batch.limits["vocosc f16"]
    assert [limit.call_ms, limit.run_fma_ms] == pytest.approx([32 * 4e-6, 160 * 4e-6])
    for kind in ("whole", "batch"):
        at = objects.index(f"--{kind}-object")
        with pytest.raises(PeerError, match=f"as many --{kind}-object as --object are needed, or --no-{kind}"):
            args = arguments(["model.ckpt", *objects[:at], *objects[at + 2 :]])
            compile_peers(args, inputs_in(tmp_path), ProgressLine(), {})


def test_a_precision_that_the_compiler_refuses_is_left_out(tmp_path: Path) -> None:
    compiler = tmp_path / "python"
    compiler.write_text('#!/bin/sh\ncase "$*" in *w8*) echo no such precision >&2; exit 2;; esac\n')
    compiler.chmod(0o755)
    line = ["model.ckpt", "--compiler-python", str(compiler), "--no-whole", "--precision"]
    missing = dict[str, str]()
    peers = compile_peers(arguments([*line, "f32,w8"]), inputs_in(tmp_path), ProgressLine(), missing)
    assert [peer.name for peer in peers] == ["vocosc f32"]
    assert (peers[0].stream_object.name, peers[0].batch_object) == ("stream-f32", tmp_path / "batch-f32")
    assert missing["vocosc w8"].endswith("exit status 2: no such precision")
    with pytest.raises(PeerError, match="no such precision"):
        compile_peers(arguments([*line, "w8"]), inputs_in(tmp_path), ProgressLine(), {})


def test_peers_that_are_not_installed_are_named(tmp_path: Path) -> None:
    args = arguments(["model.ckpt", "--peers", "onnxruntime-int8,openvino", "--python", str(tmp_path / "python")])
    missing = dict[str, str]()
    assert find_other_peers(args, inputs_in(tmp_path), [], missing) == []
    assert list(missing) == ["onnxruntime int8", "openvino"]
    assert "lacks onnx or openvino; .ci/setup bench" in missing["openvino"]
    args = arguments(["model.ckpt", "--peers", "pytorch-pypi", "--torch-python", str(tmp_path / "python")])
    assert find_other_peers(args, inputs_in(tmp_path), [], missing) == []
    assert missing["pytorch pypi"] == f"{tmp_path}/python lacks torch; .ci/setup train brings it"


def test_the_second_pytorch_runs_in_its_own_python(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    args = arguments(["model.ckpt", "--peers", "pytorch-pypi", "--torch-python", str(python)])
    (peer,) = find_other_peers(args, inputs_in(tmp_path), [], {})
    assert isinstance(peer, WorkerPeer)
    assert (peer.name, peer.command) == ("pytorch pypi", [str(python), "-m", "bench.torch_worker"])


def test_packages_are_looked_for() -> None:
    assert has_packages(sys.executable, ["json", "sys"])
    assert not has_packages(sys.executable, ["json", "no_such_package"])


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
    paths = (tmp_path / "t.npz", tmp_path / "mel.npy", tmp_path)
    return PyTorchPeer("pytorch", *paths, [sys.executable, "-c", WORKER], cpu_flags=["avx2", "fma"])


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


def test_other_workers_get_their_arguments_and_no_core_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    worker = "import json, os, sys; input(); print(json.dumps({'args': sys.argv[1:], 'env': sorted(os.environ)}))"
    paths = (tmp_path / "t.npz", tmp_path / "mel.npy", tmp_path)
    peer = WorkerPeer("an engine", *paths, [sys.executable, "-c", worker], ["kind"])
    facts = peer.prepare(Row(5, 2))
    peer.close()
    assert facts["args"] == [str(paths[0]), str(paths[1]), "2", "kind"]
    assert "OPENBLAS_CORETYPE" not in facts["env"]


@pytest.mark.parametrize(("runs", "message"), [(13, "worker died: exit status 3"), (14, "no memory")])
def test_trouble_with_the_worker_is_said(fake_pytorch: PyTorchPeer, runs: int, message: str) -> None:
    fake_pytorch.prepare(Row(5, 1))
    with pytest.raises(PeerError, match=message):
        fake_pytorch.run_round(Row(5, 1), 0, runs, lambda _: None)
    fake_pytorch.close()


# --- the worker's side


class FakeEngine:
    """Its audio is the running sum of what it was given since the reset."""

    frames, frame_s = 5, 0.02

    def __init__(self) -> None:
        self.sum = 0.0

    def describe(self) -> dict[str, str]:
        return {}

    def chunks(self, frames: int) -> list[list[int]]:
        return [list(range(i, min(i + frames, self.frames))) for i in range(0, self.frames, frames)]

    def reset(self) -> None:
        self.sum = 0

    def step(self, chunk: list[int]) -> float:
        self.sum += sum(chunk)
        return self.sum

    def audio(self, outputs: Sequence[float]) -> NDArray[np.float32]:
        return np.array(outputs, np.float32)


def test_every_decode_starts_from_reset() -> None:
    engine = FakeEngine()
    for _ in range(2):
        run, outputs = decode(engine, engine.chunks(2))
        assert outputs == [1, 6, 10]
        assert len(run.chunks) == 3
        assert 0 <= sum(run.chunks) <= run.total


def test_the_worker_times_chunks_and_their_buffering() -> None:
    summary = timed(FakeEngine(), 2, warmup=1, runs=3)
    assert tuple(summary) == METRICS
    assert summary["avg_latency_ms"] == pytest.approx(40 + summary["avg_proc_per_chunk_ms"])
    assert summary["avg_rtf"] == pytest.approx(summary["avg_total_processing_time_ms"] / 100)


@pytest.mark.parametrize(
    ("kind", "name", "least_db"),
    [
        ("onnxruntime", "small", 110),
        ("onnxruntime", "odd", 85),
        ("onnxruntime-int8", "small", 20),
        ("openvino", "small", 105),
        ("openvino", "odd", 80),
    ],
)
def test_the_onnx_graph_is_the_model(
    kind: str, name: str, least_db: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    python = default_peer_python()
    if not has_packages(python, OTHERS[kind]):
        pytest.skip(".venv-bench is not there: .ci/setup bench")
    checkpoint = request.getfixturevalue(f"{name}_checkpoint")
    tensors = unpack_checkpoint(sys.executable, checkpoint, tmp_path / "tensors.npz")
    mel = tmp_path / "mel.npy"
    np.save(mel, golden(name, "mel"))
    peer = WorkerPeer(kind, tensors, mel, tmp_path, [python, "-m", "bench.onnx_worker"], [kind])
    # OpenVINO 2026.4 crashes as it compiles these small models for one thread in float32; the full one it takes.
    threads = 2 if kind == "openvino" else 1
    assert peer.prepare(Row(3, threads))["version"]
    truth = golden(name, "audio64").astype(np.float32)
    # Both forms of the depthwise convolution, an incomplete last chunk, and chunks shorter than the left context.
    snr = {chunk: snr_db(truth, peer.decode(Row(chunk, threads))) for chunk in (2, 5, 10, None)}
    peer.close()
    assert all(value >= least_db for value in snr.values()), snr


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
    peers = [FakePeer("pytorch", 10, turns, AUDIO), FakePeer("vocosc f32", 2, turns, longer)]
    result = run_row(Row(5, 1), peers, Effort(3, 5, 2), ProgressLine(), "")
    assert turns == ["pytorch 2+3", "vocosc f32 2+3", "pytorch 2+2", "vocosc f32 2+2"]
    assert result.snr_db == {OWN: math.inf}
    assert result.facts[OWN] == {"kind": "fake 5"}
    assert result.errors == {}


def test_other_precisions_are_compared_with_our_float32(turns: list[str]) -> None:
    names = ("pytorch", "vocosc f32", "vocosc f16")
    factors = (1.0, 1.01, 1.11)
    peers = [FakePeer(name, 1, turns, AUDIO * np.float32(f)) for name, f in zip(names, factors, strict=True)]
    result = run_row(Row(5, 1), peers, Effort(0, 1, 1), ProgressLine(), "")
    assert result.snr_db == pytest.approx({"vocosc f32": 40, "vocosc f16": -20 * math.log10(0.11)}, abs=0.01)
    assert result.snr_f32_db == pytest.approx({"vocosc f16": -20 * math.log10(0.1 / 1.01)}, abs=0.01)


def test_a_peer_that_fails_leaves_the_others_going(turns: list[str]) -> None:
    peers = [FakePeer("pytorch", 10, turns, AUDIO), FakePeer("vocosc f32", 2, turns, AUDIO)]
    peers[1].fails_in_round = 1
    result = run_row(Row(5, 1), peers, Effort(3, 3, 3), ProgressLine(), "")
    assert result.errors == {OWN: "lost"}
    assert len(result.rounds["pytorch"]) == 3
    assert result.rounds[OWN] == []


@pytest.mark.parametrize("row", [Row(5, 1, 16), Row(5, 1, quiet=True)])
def test_batches_and_quiet_inputs_compare_no_audio(turns: list[str], row: Row) -> None:
    peers = [FakePeer("a: speech", 2, turns, AUDIO), FakePeer("a: silence", 1, turns, AUDIO[:-1])]
    result = run_row(row, peers, Effort(0, 1, 1), ProgressLine(), "")
    assert (result.errors, result.snr_db) == ({}, {})
    assert all(result.rounds.values())


def test_a_batch_decodes_no_more_utterances_but_in_every_round() -> None:
    assert Effort(100, 1000, 10).for_streams(16) == Effort(7, 63, 10)
    assert Effort(3, 20, 10).for_streams(16) == Effort(1, 10, 10)
    assert Effort(100, 1000, 10).for_streams(1) == Effort(100, 1000, 10)


def test_rows_of_all_kinds_follow_the_options() -> None:
    line = ["model.ckpt", "--chunks", "1,2", "--threads", "2", "--no-whole"]
    batch, quiet = Row(BATCH_CHUNK, 2, BATCH_STREAMS), Row(2, 1, quiet=True)
    assert rows_of(arguments(line)) == [Row(1, 2), Row(2, 2), batch, quiet]
    assert rows_of(arguments([*line, "--no-batch", "--no-quiet"])) == [Row(1, 2), Row(2, 2)]


def test_the_whole_bench_of_a_fake_object(
    fake_object: Callable[[str], CompiledPeer],
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the command line to tables and JSON; the tool takes 2 ms, but 3 for silence and 8 for a batch."""
    monkeypatch.setattr("bench.__main__.REST_S", 0.0)
    directory = fake_object(FAKE_TOOL).stream_object
    objects = [word for kind in ("", "whole-", "batch-") for word in (f"--{kind}object", str(directory))]
    monkeypatch.setattr("bench.__main__.measure_limits", lambda _, threads, sizes: Limits(threads, PEAK, {8: 1.0}))
    out = tmp_path / "out" / "bench.json"
    options = ["--peers", "none", "--runs", "16", "--rounds", "1", "--chunks", "5", "--threads", "1"]
    options += ["--work", str(tmp_path), "--json", str(out)]
    assert main([str(small_checkpoint), *objects, *options]) == 0
    data = json.loads(out.read_text())
    assert [len(data[section]) for section in ("rows", "batch", "quiet")] == [2, 1, 1]
    assert data["batch"][0]["peers"]["vocosc f16"]["stream_ms"] == 0.5
    speedups = {name: peer["speedup"] for name, peer in data["quiet"][0]["peers"].items()}
    assert speedups["vocosc f16: silence"] == pytest.approx(2 / 3, abs=1e-5)
    assert speedups["vocosc f16: decaying tail"] == 1
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if "vocosc f16: silence" in line and line.endswith("miss")]
    assert "% of FMA peak" in printed


def test_audio_that_is_too_short_is_an_error(turns: list[str]) -> None:
    peers = [FakePeer("pytorch", 10, turns, AUDIO), FakePeer("vocosc f32", 2, turns, AUDIO[:-1])]
    result = run_row(Row(5, 1), peers, Effort(0, 1, 1), ProgressLine(), "")
    assert result.errors == {OWN: "decoded 319 samples, the reference 320"}


# --- the chart


def test_the_chart_takes_the_whole_utterance_as_one_chunk() -> None:
    rows = as_json([result_of(Row(None, 1), 10, 2), result_of(Row(5, 1), 20, 4)])["rows"]
    assert chart.curve(rows, "pytorch", 162) == chart.Curve([5, 162], [20, 10])
    assert chart.curve(rows, "absent", 162) == chart.Curve([], [])
    assert chart.limit_curve(rows, OWN, [1, 4, 8]) == chart.Curve([1, 4, 8], [1, 1, 2])
    assert chart.limit_curve(rows, "pytorch", [1]) == chart.Curve([], [])


def test_the_chart_is_the_same_every_time(tmp_path: Path) -> None:
    results = [result_of(Row(chunk, threads), 10, 2) for threads in (1, 2) for chunk in (1, 5, None)]
    data = {"date": "2026-01-01", "machine": {"cpu": "A CPU"}, "settings": {"frames": 162}, **as_json(results)}
    for draw in (chart.draw_others, chart.draw_limits):
        for name in ("a.png", "b.png"):
            draw(data, tmp_path / name)
        picture = (tmp_path / "a.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert picture == (tmp_path / "b.png").read_bytes()


def test_the_limit_of_integers_is_drawn_if_it_was_measured() -> None:
    data: dict[str, Any] = {"limits": [{"fma_gflops": {"avx2": 100.0}}]}
    assert chart.knows_limit(data, "vocosc f32")
    assert not chart.knows_limit(data, "vocosc w8"), "an older file, whose limit of integers is that of floats"
    data["limits"][0]["int16_gops"] = {"avx2": 200.0}
    assert chart.knows_limit(data, "vocosc w8")
    assert not chart.knows_limit(data, "pytorch")


def test_the_title_names_the_models_size() -> None:
    limits = [asdict(Limits(1, {"avx2": 1.0}, {53_800_000: 25.0, 14_000_000: 80.0}))]
    assert chart.weights_text({"limits": limits, "rows": [{"peers": {"vocosc f32": {}}}]}) == "model of 13.4 M weights"
    assert chart.weights_text({"limits": limits, "rows": [{"peers": {"vocosc w8": {}}}]}) == ""


def test_the_legend_says_which_pytorch_is_which() -> None:
    facts = {"version": "2.15.0+cu132", "origin": "PyPI"}
    assert chart.legend_name("pytorch pypi", facts) == "PyTorch 2.15 (PyPI)"
    assert chart.legend_name("onnxruntime int8", {"version": "1.32.0"}) == "ONNX Runtime int8"
    assert chart.legend_name("vocosc w8a8", {}) == "vocosc w8a8"


# --- the rest


def test_the_made_up_mel_is_the_same_every_time_and_like_speech() -> None:
    mel = made_up_mel(162, 80)
    assert mel.shape == (162, 80)
    assert mel.dtype == np.float32
    assert np.array_equal(mel, made_up_mel(162, 80))
    assert np.log(1e-5) - 1e-4 <= mel.min() < mel.max() < 5


def test_quiet_inputs_are_quiet() -> None:
    speech = made_up_mel(162, 80)
    mels = quiet_mels(speech)
    assert set(mels) == {SPEECH, *QUIET}
    assert all(mel.shape == speech.shape and mel.dtype == np.float32 for mel in mels.values())
    assert mels[SPEECH] is speech
    assert (mels["silence"] == FLOOR).all()
    tail = mels["decaying tail"]
    assert np.array_equal(tail[0], speech[0])
    assert (tail <= speech).all()
    assert (tail[-1] == FLOOR).all()
    assert (tail[40] > FLOOR).any(), "gone at once"
    tiny = mels["mel of 1e-38"]
    assert ((tiny > 0) & (tiny < np.finfo(np.float32).smallest_normal)).all()


def test_each_of_our_own_peers_gets_each_quiet_input(
    fake_object: Callable[[str], CompiledPeer], tmp_path: Path
) -> None:
    speech = made_up_mel(4, 3)
    peers = quiet_peers([fake_object(ECHO)], speech, tmp_path)
    assert [peer.name for peer in peers] == [quiet_name(OWN, mel) for mel in (SPEECH, *QUIET)]
    for peer, mel in zip(peers, quiet_mels(speech).values(), strict=True):
        assert np.array_equal(np.load(peer.mel), mel)


def test_mel_bins_come_from_the_embedding(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    prefix = "decoder.0.embed.conv.conv."
    arrays = {f"{prefix}weight_g": np.ones((72, 1, 1)), f"{prefix}weight_v": np.ones((72, 21, 5))}
    np.savez(path, allow_pickle=False, **arrays)
    assert mel_bins(path) == 21


@pytest.mark.parametrize("bad", [["--chunks", "0"], ["--runs", "0"], ["--threads", "1,x"], ["--peers", "x"], []])
def test_bad_options_are_refused(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments([*(["model.ckpt"] if bad else []), *bad])
    assert "error" in capsys.readouterr().err


def test_defaults_are_the_references() -> None:
    args = arguments(["model.ckpt"])
    assert (args.warmup, args.runs, args.chunks, args.threads) == (100, 1000, [1, 2, 5, 10], [1, 2])
    assert args.compiler_python == sys.executable
    assert (args.peers, args.precision) == (None, PRECISIONS)
