"""Times a model that looks ahead, of the size of charactr/vocos-mel-24khz, beside what else decodes it.

    python3 -m bench.families [--threads N] [--runs N] [--work DIR] [--json bench/results/families.json]

Ours streams; PyTorch and ONNX Runtime decode the whole utterance, which is all that they can; and PyTorch decodes
chunks with some frames on both sides, whose audio it throws away: the usual trick, with seams. Weights are random, so
the dB of the seams say how far a chunk's audio is from the whole utterance's where nothing has been learned, no more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics import snr_db
from bench.peers import (
    ROOT,
    PeerError,
    compile_object,
    exit_reason,
    host_tool,
    last_line,
    openblas_core_for,
    thread_environment,
)
from bench.report import this_machine
from compiler.checkpoint import read_checkpoint
from compiler.fold import fold
from compiler.forward import decode
from compiler.network import read_network
from tests import make_vocos

SIZES: dict[str, Any] = {
    **make_vocos.TINY,
    **{"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "dim": 512, "hidden": 1536},
    **{"num_layers": 8, "seed": 24},
}
FRAMES = 281  # 3 s
CHUNKS = (1, 5, 10)
WHOLE_CHUNK = 54
TRICK_CHUNK, CONTEXTS = 25, (1, 3, 8, 16, 29)
PRECISIONS = ("f32", "w8")


def made_up_mel(frames: int, mels: int) -> NDArray[np.float32]:
    """Log-mel that wanders."""
    random = np.random.RandomState(1)
    phase = random.uniform(0, 2 * np.pi, mels) + np.arange(frames)[:, None] * random.uniform(0.05, 0.4, mels)
    return (-2 + 2 * np.sin(phase) + 0.3 * random.standard_normal((frames, mels))).astype(np.float32)


def run(command: list[str], threads: int) -> Any:
    """The JSON that a command prints. Raises PeerError."""
    env, core = thread_environment(threads), openblas_core_for(this_machine()["cpu_flags"])
    if core:  # Debian's OpenBLAS may take the CPU for an older one
        env = {"OPENBLAS_CORETYPE": core, **env}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerError(f"{' '.join(command[:3])}: {exit_reason(done.returncode)}: {last_line(done.stderr)}")
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Job:
    """What is decoded, how often, on how many threads, and where audio goes."""

    tensors: Path
    mel: Path
    threads: int
    runs: int
    work: Path


def compiled(folder: Path, directory: Path, chunks: tuple[int, ...], precision: str) -> Path:
    """The object's directory, as an earlier run left it or new."""
    if not (directory / "vocos.json").exists():
        compile_object(sys.executable, folder, directory, chunks, precision)
    return directory


def own_rows(folder: Path, job: Job) -> list[dict[str, Any]]:
    """Ours, in every precision and chunk."""
    mel, threads, work = job.mel, job.threads, job.work
    rows = []
    for precision in PRECISIONS:
        stream = compiled(folder, work / precision, CHUNKS, precision)
        whole = compiled(folder, work / f"{precision}-whole", (WHOLE_CHUNK,), precision)
        for chunk in (*CHUNKS, WHOLE_CHUNK):
            tool = str(host_tool(whole if chunk == WHOLE_CHUNK else stream))
            options = ["--chunk", str(chunk), "--threads", str(threads)]
            audio = work / f"{precision}-{chunk}.npy"
            subprocess.run([tool, "decode", *options, str(mel), str(audio)], check=True)
            times = ["--mel", str(mel), "--warmup", "3", "--runs", str(job.runs), "--json"]
            found = run([tool, "bench", *options, *times], threads)
            report = json.loads((Path(tool).parent / "vocos.json").read_text())
            rows.append(
                {
                    "peer": f"vocosc {precision}",
                    "chunk": chunk,
                    "total_ms": found["p50_total_ms"],
                    "chunk_ms": found["p50_per_chunk_ms"],
                    "flush_ms": found["avg_flush_ms"],
                    "latency_frames": chunk + report["latency_lookahead_frames"],
                    "state_bytes": report["state_bytes"],
                    "audio": str(audio),
                }
            )
    return rows


def other_rows(job: Job, pythons: tuple[str, str]) -> Any:
    """PyTorch's rows and ONNX Runtime's, and their versions. A peer that fails is named on stderr and left out."""
    ways = ",".join(f"{TRICK_CHUNK}:{context}" for context in CONTEXTS)
    common = [str(part) for part in (job.tensors, job.mel, job.threads, job.runs, job.work)]
    commands = {
        "pytorch": [pythons[0], "-m", "bench.families_torch", *common, ways],
        "onnxruntime": [pythons[1], "-m", "bench.families_onnx", *common],
    }
    rows, versions = [], {}
    for peer, command in commands.items():
        try:
            found = run(command, job.threads)
        except (OSError, PeerError) as error:
            print(f"{peer}: left out: {error}", file=sys.stderr)
            continue
        versions[peer] = found["version"]
        for row in found["rows"]:
            calls = -(-FRAMES // row["chunk"])
            ahead = {} if row["chunk"] == FRAMES else {"latency_frames": row["chunk"] + row["context"]}
            rows.append({"peer": peer, **row, **ahead, "chunk_ms": row["total_ms"] / calls})
    return rows, versions


def table(rows: list[dict[str, Any]]) -> str:
    """The rows, for people."""
    lines = [
        "| peer | chunk | context | utterance, ms | chunk, ms | frames until audio | dB from float64 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        chunk = "whole" if row["chunk"] == FRAMES else row["chunk"]
        lines.append(
            f"| {row['peer']} | {chunk} | {row.get('context') or ''} | {row['total_ms']:.1f} | {row['chunk_ms']:.2f} "
            f"| {row.get('latency_frames', FRAMES)} | {row['snr_db']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--python", default=".venv-bench/bin/python", help="that has onnx and onnxruntime")
    parser.add_argument("--torch-python", default="/usr/bin/python3")
    parser.add_argument("--work", type=Path, help="keeps the objects there, for the next run")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = options.work or Path(name)
        work.mkdir(exist_ok=True)
        folder = make_vocos.write_folder(work / "model", SIZES)
        job = Job(work / "tensors.npz", work / "mel.npy", options.threads, options.runs, work)
        arrays: dict[str, Any] = {"hop": SIZES["hop_length"], **make_vocos.tensors(SIZES)}
        np.savez(job.tensors, **arrays)
        np.save(job.mel, made_up_mel(FRAMES, SIZES["n_mels"]))
        truth = decode(fold(read_network(read_checkpoint(folder), {})), np.load(job.mel))
        rows = own_rows(folder, job)
        others, versions = other_rows(job, (options.torch_python, options.python))
        for row in rows + others:
            audio = np.load(row.pop("audio")).ravel()
            assert len(audio) == len(truth), f"{row['peer']}: {len(audio)} samples, not {len(truth)}"
            row["snr_db"] = round(snr_db(np.asarray(truth, np.float64), audio), 1)
    result = {"machine": this_machine(), "threads": options.threads, "runs": options.runs, "frames": FRAMES}
    result |= {"sizes": SIZES, "versions": versions, "rows": rows + others}
    print(table(rows + others))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, default=str) + "\n")


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        raise SystemExit(f"bench: {error}") from None
