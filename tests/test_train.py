"""Training: losses, data, runs that resume exactly, and checkpoints that compile. Needs what .ci/setup train brings."""

import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train.sentences import sentence

NEEDED = "needs PyTorch and Lightning: make test-train"
torch = pytest.importorskip("torch", reason=NEEDED)
for package in ("lightning", "soundfile", "soxr", "yaml"):
    pytest.importorskip(package, reason=NEEDED)

import yaml  # noqa: E402

from bench.measures import mel_distance  # noqa: E402
from tests import make_checkpoint, make_vocos, reference  # noqa: E402
from tests.objects import Vocoder, compile_model, config, golden, some_audio  # noqa: E402
from train import hard_cases, listen  # noqa: E402
from train.__main__ import main  # noqa: E402
from train.audio import read_audio, write_wav  # noqa: E402
from train.configuration import ConfigurationError, read_configuration, without_overrides  # noqa: E402
from train.data import Augmentation, Corpus, SpeechData, in_a_room, with_formants_moved  # noqa: E402
from train.export import export  # noqa: E402
from train.losses import LogMel, MultiScaleMel, PhaseSlopes  # noqa: E402
from train.model import Decoder, Shape, build_decoder  # noqa: E402
from train.rounding import ROUNDINGS  # noqa: E402
from train.run import LAST, Saving, fit, resume  # noqa: E402
from train.vocoder import Vocoder as TrainedVocoder  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
HOP, N_FFT, MELS = 20, 64, 8


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for i in range(3):
        write_wav(folder / f"{i}.wav", some_audio(5000 + 777 * i, seed=i))
    return folder


def tiny(speech: Path, cache: Path, **model: Any) -> dict[str, Any]:
    """A configuration in which everything takes part."""
    return {
        "model": {
            "vocoder_feature_args": {"n_fft": N_FFT, "hop_length": HOP, "n_mels": MELS},
            "vocoder_args": {"dim": 12, "num_layers": 2, "mlp_ratio": 2.0, "kernel_size": 3},
            "learning_rate": 1e-3,
            "warm_up_steps": 3,
            "average": 0.9,
            "clip_gradient": 1.0,
            "adversarial_from": 2,
            "head_start": 1,
            "lambdas": {"phase_loss": 1.0},
            "draw_losses": True,
            "mixed_precision": True,
            "discriminators": {"period_channels": 1, "resolution_channels": 2, "periods": [2, 3], "resolutions": [64]},
            **model,
        },
        "data": {
            "train": {"a": {"folder": str(speech)}, "b": {"folder": str(speech), "weight": 0.5}},
            "validation": {"held": {"folder": str(speech), "limit": 2}},
            "cache": str(cache),
            "segment_length": 2400,
            "batch_size": 2,
            "num_workers": 0,
            "augmentation": {"rate_odds": 0.5, "equalise_odds": 0.5, "mix_odds": 0.5, "noise_odds": 0.5, "level_db": 6},
        },
        "trainer": {
            **{"max_steps": 7, "validate_every": 3, "save_every": 4, "accelerator": "cpu", "threads": 1},
            **{"enable_progress_bar": False, "enable_model_summary": False},
        },
    }


def written(configuration: dict[str, Any], folder: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path


def load(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / LAST, map_location="cpu", weights_only=False)
    return checkpoint


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{where}.{i}")
    else:
        assert ours == theirs, where


class CutOffError(Exception):
    """In place of a lost power supply."""


def cut_off_after_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    save = Saving.save

    def save_and_die(self: Saving, trainer: Any) -> None:
        save(self, trainer)
        raise CutOffError

    monkeypatch.setattr(Saving, "save", save_and_die)


# ---- runs ----


@pytest.fixture(scope="module")
def run(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of seven steps, from the fifth on after a resume."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        cut_off_after_saving(patch)
        with pytest.raises(CutOffError):
            fit(read_configuration(written(tiny(speech, folder / "cache"), folder)), folder)
    assert load(folder)["training"]["steps"] == 4
    resume(folder)
    return folder


def test_resume_goes_on_as_if_never_stopped(run: Path, speech: Path, tmp_path: Path) -> None:
    fit(read_configuration(written(tiny(speech, tmp_path / "cache"), tmp_path)), tmp_path / "run")
    resumed, straight = load(run), load(tmp_path / "run")
    assert straight["training"]["steps"] == 7
    for part in ("state_dict", "optimizer_states", "training"):
        assert_same(resumed[part], straight[part], part)


def test_the_log_holds_losses_and_validation(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation" in line] == [3, 6, 7]
    assert all(np.isfinite(line["validation"]["held"]) for line in lines if "validation" in line)
    assert {"mel", "stft", "wave", "lr"} <= lines[0]["train"].keys()
    rows = [line.split(",") for line in (run / "log.csv").read_text().splitlines()]
    assert rows[0] == ["step", "part", "name", "value"]
    assert [row[0] for row in rows if row[1:3] == ["validation", "held"]] == ["3", "6", "7"]
    assert sorted(path.name for path in (run / "audio").iterdir()) == [
        *("held_0.original.wav", "held_0.step0000003.wav", "held_0.step0000006.wav", "held_0.step0000007.wav"),
    ]


def test_a_finished_run_goes_on_when_it_is_given_more_steps(run: Path, speech: Path, tmp_path: Path) -> None:
    configuration = tiny(speech, tmp_path / "cache")
    configuration["trainer"]["max_steps"] = 4
    fit(read_configuration(written(configuration, tmp_path)), tmp_path / "run")
    configuration["trainer"]["max_steps"] = 7
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(configuration))
    resume(tmp_path / "run")
    assert_same(load(tmp_path / "run")["state_dict"], load(run)["state_dict"])


def test_a_run_finishes_early_when_told(speech: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "finish").touch()
    fit(read_configuration(written(tiny(speech, tmp_path / "cache", decay_steps=2), tmp_path)), folder)
    assert load(folder)["training"] == {"steps": 2, "decay_from": 0}


def test_a_signal_saves_the_run_after_the_step_under_way(run: Path, speech: Path, tmp_path: Path) -> None:
    configuration = written(tiny(speech, tmp_path / "cache"), tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        step = TrainedVocoder.training_step

        def step_and_signal(self: TrainedVocoder, *arguments: Any) -> None:
            if self.steps == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            step(self, *arguments)

        patch.setattr(TrainedVocoder, "training_step", step_and_signal)
        fit(read_configuration(configuration), tmp_path / "run")
    assert load(tmp_path / "run")["training"]["steps"] == 3
    assert signal.getsignal(signal.SIGTERM) == before
    resume(tmp_path / "run")
    assert_same(load(tmp_path / "run")["state_dict"], load(run)["state_dict"])


def test_discriminators_learn_before_the_decoder_listens(speech: Path, tmp_path: Path) -> None:
    states = []
    for name, extra in (
        ("alone", {"adversarial_from": None}),
        ("head-start", {"adversarial_from": 0, "head_start": 3}),
    ):
        configuration = tiny(speech, tmp_path / "cache", **extra)
        configuration["trainer"]["max_steps"] = 3
        fit(read_configuration(written(configuration, tmp_path)), tmp_path / name)
        states.append(load(tmp_path / name)["state_dict"])
    alone, listened = states
    assert all(torch.equal(value, listened[name]) for name, value in alone.items())
    assert any(name.startswith("discriminators.") for name in listened)


def test_every_part_of_the_model_learns(run: Path, speech: Path, tmp_path: Path) -> None:
    configuration = tiny(speech, tmp_path / "cache")
    configuration["trainer"]["max_steps"] = 1
    fit(read_configuration(written(configuration, tmp_path)), tmp_path / "run")
    first, last = load(tmp_path / "run")["state_dict"], load(run)["state_dict"]
    still = [name for name in first if torch.equal(first[name], last[name]) and "deconv" not in name]
    assert not still


def test_mixed_precision_takes_about_the_same_steps(run: Path, speech: Path, tmp_path: Path) -> None:
    fit(
        read_configuration(written(tiny(speech, tmp_path / "cache", mixed_precision=False), tmp_path)), tmp_path / "run"
    )
    mels = []
    for folder in (run, tmp_path / "run"):
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        mels.append([line["validation"]["held"] for line in lines if "validation" in line])
    assert mels[0] != mels[1]
    assert mels[0] == pytest.approx(mels[1], rel=0.02)


def test_a_run_begins_with_the_weights_of_a_checkpoint(run: Path, speech: Path, tmp_path: Path) -> None:
    export(run / LAST, tmp_path / "tiny.ckpt", "float32")
    configuration = read_configuration(written(tiny(speech, tmp_path / "cache"), tmp_path))
    model = TrainedVocoder(**configuration.model)
    model.start_from(tmp_path / "tiny.ckpt")
    averaged = load(run)["state_dict"]
    for name, value in model.best_decoder().state_dict().items():
        assert torch.equal(value, averaged[f"averaged.{name}"]), name
    sizes = configuration.model["vocoder_args"]
    deeper = TrainedVocoder(**{**configuration.model, "vocoder_args": {**sizes, "num_layers": 4}})
    deeper.start_from(tmp_path / "tiny.ckpt")
    with torch.no_grad():
        audio = torch.from_numpy(some_audio(2000))[None]
        said = [one.resynthesise(one.best_decoder(), audio) for one in (model.eval(), deeper.eval())]
    torch.testing.assert_close(*said)
    other = TrainedVocoder(**{**configuration.model, "vocoder_args": {**sizes, "dim": 16}})
    with pytest.raises(ValueError, match=r"tiny.ckpt: is .*dim=12.* the configuration .*dim=16"):
        other.start_from(tmp_path / "tiny.ckpt")


def test_two_processes_draw_different_batches_and_one_writes(speech: Path, tmp_path: Path) -> None:
    configuration = tiny(speech, tmp_path / "cache", lambdas={}, mixed_precision=False)
    configuration["trainer"].update(max_steps=4, devices=2)
    path = written(configuration, tmp_path)
    line = [sys.executable, "-m", "train", "fit", str(path), "--out", str(tmp_path / "two")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert [json.loads(text)["step"] for text in lines] == [0, 3, 4]

    # Their steps are those of one process that draws the batches of both
    def weights(name: str) -> Any:
        state = load(tmp_path / name)["state_dict"]
        return torch.cat([value.flatten() for key, value in sorted(state.items()) if key.startswith("decoder.")])

    configuration["trainer"]["devices"] = 1
    for name, size in (("one", 2), ("both", 4)):
        configuration["data"]["batch_size"] = size
        fit(read_configuration(written(configuration, tmp_path)), tmp_path / name)
    two = weights("two")
    assert (two - weights("both")).norm() < 0.1 * (two - weights("one")).norm()


# ---- checkpoints ----


def test_a_checkpoint_compiles_and_speaks_as_the_model_does(run: Path, tmp_path: Path) -> None:
    export(run / LAST, tmp_path / "tiny.ckpt", "float32")
    compile_model(tmp_path / "tiny.ckpt", tmp_path / "out", "tiny", "--chunk", "4")
    compiled = Vocoder(tmp_path / "out", "tiny")
    audio = some_audio(2000)
    mel = LogMel(16000, N_FFT, HOP, MELS)(torch.from_numpy(audio)[None])
    np.testing.assert_allclose(compiled.log_mel(audio), mel[0].T.numpy(), atol=2e-4)

    state = torch.load(tmp_path / "tiny.ckpt", weights_only=True)["state_dict"]
    trained = load(run)["state_dict"]
    assert all(torch.equal(value, trained[name.replace("decoder", "averaged", 1)]) for name, value in state.items())
    decoder = build_decoder({name: value.numpy() for name, value in state.items()}, HOP)
    with torch.no_grad():
        whole = decoder.utterance(mel)[0].numpy()
    stream = compiled.stream()
    ours = np.concatenate([compiled.continue_decode(stream, mel[0].T.numpy()), compiled.flush(stream)])
    assert reference.snr_db(whole, ours) > 90


def test_the_trainers_own_checkpoint_compiles_too(run: Path, tmp_path: Path) -> None:
    compile_model(run / LAST, tmp_path / "out", "tiny", "--chunk", "4", "--sources-only")


# ---- the model ----


@pytest.mark.parametrize("name", ["w8", "w4"])
def test_rounding_is_about_the_compilers_and_lets_gradients_pass(name: str) -> None:
    weight = torch.randn(6, 40, requires_grad=True)
    rounded = ROUNDINGS[name](weight)
    rounded.sum().backward()
    assert weight.grad is not None and (weight.grad == 1).all()
    error = (rounded - weight).detach()
    groups = [
        weight.detach()[:, i : i + (ROUNDINGS[name].group or 40)] for i in range(0, 40, ROUNDINGS[name].group or 40)
    ]
    steps = torch.cat([(g.abs().amax(1, keepdim=True) / ROUNDINGS[name].largest).expand_as(g) for g in groups], 1)
    assert (error.abs() <= steps * 0.5001).all() and (error.abs() > steps * 0.3).any()


def test_a_run_learns_with_rounded_weights(speech: Path, tmp_path: Path) -> None:
    fit(read_configuration(written(tiny(speech, tmp_path / "cache", precision="w4"), tmp_path)), tmp_path / "run")
    trained = load(tmp_path / "run")["state_dict"]
    weight = trained["decoder.0.convnext.0.pwconv1.weight"] * trained["decoder.0.convnext.0.norm.weight"]
    assert not torch.equal(weight, ROUNDINGS["w4"](weight)), "what is saved is not rounded"
    with pytest.raises(ConfigurationError, match="precision w3: not known; w8, w8a8, w4 are"):
        fit(read_configuration(written(tiny(speech, tmp_path, precision="w3"), tmp_path)), tmp_path / "other")


def test_the_model_is_the_reference_in_chunks_and_whole() -> None:
    sizes = config("small")
    tensors = make_checkpoint.tensors(sizes, sizes["seed"])
    decoder = build_decoder(tensors, sizes["hop_length"])
    assert {f"decoder.{name}" for name in decoder.state_dict()} == set(tensors)
    mel = torch.from_numpy(golden("small", "mel")).t()[None]
    truth = golden("small", "audio64")
    with torch.no_grad():
        whole = decoder.utterance(mel)[0].numpy()
        chunks = [decoder(mel[..., i : i + 7])[0, 0].numpy() for i in range(0, mel.shape[-1], 7)]
    assert len(whole) == len(truth) + sizes["n_fft"] - sizes["hop_length"]
    for output in (whole[: len(truth)], np.concatenate(chunks)):
        assert reference.snr_db(truth, output) > 100


@pytest.mark.parametrize("frames", [1, 4, 9])
def test_look_ahead_lags_and_changes_nothing_else(frames: int) -> None:
    torch.manual_seed(1)
    shape = Shape(
        MELS, dim=12, hidden=24, kernel_size=7, layers=2, n_fft=N_FFT, hop_length=HOP, lookahead_frames=frames
    )
    assert shape.lookaheads == {1: [1, 0, 0], 4: [3, 1, 0], 9: [3, 3, 3]}[frames]
    decoder = Decoder(shape).eval()
    mel = torch.randn(1, MELS, 40)
    with torch.no_grad():
        whole = decoder.utterance(mel)[0]
        chunks = [decoder(mel[..., i : i + 10])[0, 0] for i in range(0, 40, 10)]
        decoder.reset()
        ended = torch.cat([decoder(mel[..., i : i + 10], last=i == 30)[0, 0] for i in range(0, 40, 10)])
        changed = mel.clone()
        changed[..., 20:] += 1
        other = decoder.utterance(changed)[0]
    streamed = torch.cat(chunks)
    assert len(streamed) == (40 - frames) * HOP
    torch.testing.assert_close(streamed, whole[: len(streamed)])
    assert len(ended) == 40 * HOP
    torch.testing.assert_close(ended, whole[: len(ended)])
    first = int((whole != other).nonzero()[0])
    assert 0 <= first - (20 - frames) * HOP < HOP, (
        "a frame is heard where its look-ahead begins, where the window rises"
    )


def test_more_look_ahead_than_the_convolutions_can_take_is_refused(speech: Path, tmp_path: Path) -> None:
    sizes = {"dim": 12, "num_layers": 2, "mlp_ratio": 2.0, "kernel_size": 3, "lookahead_frames": 4}
    with pytest.raises(ConfigurationError, match="lookahead_frames 4: these convolutions can take 0 to 3"):
        fit(read_configuration(written(tiny(speech, tmp_path, vocoder_args=sizes), tmp_path)), tmp_path / "run")


def test_the_front_end_is_the_references() -> None:
    audio = some_audio(3000)
    sizes = {"sample_rate": 16000, "n_fft": 1024, "hop_length": 320, "n_mels": 80}
    mel = LogMel(**sizes)(torch.from_numpy(audio)[None])[0].T.numpy()
    np.testing.assert_allclose(mel, reference.log_mel(audio, sizes), atol=1e-4)


def test_the_mel_loss_is_the_measure_of_the_bench() -> None:
    ours, theirs = some_audio(8000, seed=1), some_audio(8000, seed=2)
    loss = float(MultiScaleMel(16000)(torch.from_numpy(ours)[None], torch.from_numpy(theirs)[None]))
    assert loss == pytest.approx(mel_distance(ours, theirs, 16000), rel=1e-3)
    assert loss > 0.1


def test_six_draws_of_the_mel_loss_make_the_whole() -> None:
    loss = MultiScaleMel(16000)
    ours, theirs = (torch.from_numpy(some_audio(8000, seed=seed))[None] for seed in (1, 2))
    draws = [float(loss(ours, theirs, draw)) for draw in range(6)]
    assert sum(draws) / 6 == pytest.approx(float(loss(ours, theirs)), rel=1e-5)
    assert len(set(draws)) == 6


def test_the_phase_loss_sees_frequency_and_not_where_periods_begin() -> None:
    n = np.arange(8000)

    def tone(hertz: float, phase: float) -> Any:
        return torch.from_numpy(np.sin(2 * np.pi * hertz / 16000 * n + phase).astype(np.float32))[None]

    loss = PhaseSlopes()
    assert float(loss(tone(200, 0), tone(200, 1.3))) < 0.1
    # After 10 ms a quarter of a period, after 20 ms half of one
    assert float(loss(tone(225, 0), tone(200, 0))) == pytest.approx((1 + 2) / 2, abs=0.1)


def test_vocos_as_its_authors_publish_it_is_taken_up(tmp_path: Path) -> None:
    """By a decoder that looks ahead as far as back: the same audio, but for the ends."""
    sizes = make_vocos.TINY
    folder = make_vocos.write_folder(tmp_path / "vocos", sizes)
    layers, n_fft = sizes["num_layers"], sizes["n_fft"]
    model = TrainedVocoder(
        sample_rate=sizes["sample_rate"],
        vocoder_feature_args={"n_fft": n_fft, "hop_length": sizes["hop_length"], "n_mels": sizes["n_mels"]},
        vocoder_args={
            **{"dim": sizes["dim"], "num_layers": layers, "mlp_ratio": 2.0, "lookahead_frames": 3 * (1 + layers)},
            "input_channels": sizes["n_mels"],
        },
        adversarial_from=None,
    )
    model.start_from(folder)
    mel = np.random.default_rng(1).standard_normal((40, sizes["n_mels"])).astype(np.float32)
    wanted = reference.VocosReference(make_vocos.tensors(sizes), sizes).decode(mel)
    with torch.no_grad():
        found = model.decoder.eval().utterance(torch.from_numpy(mel.T.copy())[None])[0].numpy()
    inside = slice(n_fft, len(wanted) - n_fft)
    np.testing.assert_allclose(found[n_fft // 2 :][: len(wanted)][inside], wanted[inside], atol=2e-5)


def test_the_group_delay_loss_sees_where_in_the_window_the_energy_is() -> None:
    click = torch.zeros(1, 8000)
    click[0, 4000] = 1.0
    loss = PhaseSlopes(PhaseSlopes.BINS)
    assert float(loss(click, click)) == pytest.approx(0, abs=1e-3)
    # 64 samples turn neighbouring bins of a window of 512 apart by an eighth of a circle, of 1024 by a sixteenth
    wanted = np.mean([1 - np.cos(2 * np.pi * 64 / size) for size in (512, 1024)])
    assert float(loss(torch.roll(click, 64, 1), click)) == pytest.approx(wanted, abs=0.08)


# ---- data ----


def test_a_segment_depends_on_seed_and_number_alone(speech: Path, tmp_path: Path) -> None:
    data = tiny(speech, tmp_path)["data"]
    batches = list(SpeechData(**data).training_loader(0, 6))
    later = list(SpeechData(**data).training_loader(4, 6))
    assert [torch.equal(a, b) for a, b in zip(batches[4:], later, strict=True)] == [True, True]
    assert not torch.equal(batches[4], batches[5])
    other = next(iter(SpeechData(**{**data, "seed": 2}).training_loader(4, 6)))
    assert not torch.equal(batches[4], other)
    assert all(batch.shape == (2, 2400) and batch.abs().max() <= 0.9 + 1e-6 for batch in batches)


def test_files_of_any_rate_become_mono_at_peak_0_9(tmp_path: Path) -> None:
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    write_wav(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 44100)
    audio = read_audio(tmp_path / "a.wav")
    assert abs(len(audio) - 16000) <= 1
    assert np.argmax(np.abs(np.fft.rfft(audio))) == pytest.approx(440, abs=1)
    corpus = Corpus(tmp_path, tmp_path / "cache")
    assert np.abs(corpus.samples).max() == round(0.9 * 32767)


def test_no_file_of_validation_is_trained_on(speech: Path, tmp_path: Path) -> None:
    for speaker in ("p1", "p2", "p3"):
        (tmp_path / "wav" / speaker).mkdir(parents=True)
        for i in range(3):
            shutil.copy(speech / f"{i}.wav", tmp_path / "wav" / speaker)
    folder = str(tmp_path / "wav")
    data = {**tiny(speech, tmp_path / "cache")["data"], "train": {"a": {"folder": folder}}}
    for validation, kept in (({"limit": 3}, 6), ({"only": ["p2"]}, 6), ({"only": ["p1", "p3"], "limit": 1}, 3)):
        speech_data = SpeechData(**{**data, "validation": {"v": {"folder": folder, **validation}}})
        segments = speech_data.training_loader(0, 1).dataset
        assert len(segments.corpora[0].ends) == kept
        assert len(speech_data.validation_loaders()[0]) == validation.get("limit", 3)
    everything = SpeechData(**{**data, "validation": {"v": {"folder": folder}}})
    with pytest.raises(ValueError, match="none is left to train on"):
        everything.training_loader(0, 1)


def test_without_augmentation_segments_are_the_recording(speech: Path, tmp_path: Path) -> None:
    data = {**tiny(speech, tmp_path)["data"], "augmentation": None, "segment_length": 512}
    corpus = Corpus(speech, tmp_path).samples.astype(np.float32) / 32767
    windows = np.lib.stride_tricks.sliding_window_view(corpus, 512)
    for segment in next(iter(SpeechData(**data).training_loader(0, 1))):
        assert (windows == segment.numpy()).all(axis=1).any()
    assert Augmentation() == Augmentation(rate_odds=0, mix_odds=0, noise_odds=0, equalise_odds=0, level_db=0)


def test_formants_move_and_the_pitch_stays() -> None:
    time = np.arange(400)
    resonance = np.exp(-time / 25) * np.sin(2 * np.pi * 1000 / 16000 * time)
    voice = np.zeros(8000, np.float32)
    voice[::160] = 1
    voice = np.convolve(voice, resonance)[:8000].astype(np.float32)
    same, moved = with_formants_moved(voice, 1.0), with_formants_moved(voice, 1.2)
    np.testing.assert_allclose(same, voice, atol=1e-5)
    spectrum = np.abs(np.fft.rfft(moved[1600:8000]))  # bins of 2.5 Hz, harmonics of 100 Hz
    harmonics = spectrum[40::40][:30]
    assert 1100 <= 100 * (1 + int(harmonics.argmax())) <= 1300
    assert spectrum[20::40][:30].max() < 0.02 * harmonics.max()  # nothing between them
    assert len(moved) == len(voice)


def test_a_room_rings_after_the_sound() -> None:
    click = np.zeros(16000, np.float32)
    click[4000] = 0.5
    heard = in_a_room(click, np.random.default_rng(1), 0.25, -10.0)
    assert np.abs(heard[:4000]).max() < 1e-6 and heard[4000] == pytest.approx(0.5)
    rest = heard[4001:]
    assert 10 * np.log10(np.sum(rest**2) / 0.25) == pytest.approx(-10, abs=0.2)
    assert np.abs(rest[:1000]).max() > 100 * np.abs(rest[3000:3900]).max() and np.abs(rest[4000:]).max() < 1e-6


# ---- configurations ----


@pytest.mark.parametrize("path", sorted((ROOT / "train" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_build(path: Path) -> None:
    configuration = read_configuration(path)
    model = TrainedVocoder(**configuration.model)
    SpeechData(**configuration.data)
    assert model.hparams["vocoder_args"]["dim"] == model.decoder.shape.dim


REFERENCE = """
seed_everything: 3407
model:
  class_path: modules.VocosVocoderModule
  init_args:
    encoder_dim: 512
    vocoder_args: {dim: 16, num_layers: 1, layer_scale_init_value: 1e-6}
    istft_head_args: {dim: 16, n_fft: 1024, hop_length: 320}
    lambdas: {mel_loss: 20.0, adv_feat_loss: 2.0, adv_gen_loss: 1.0}
    learning_rate: 1e-4
    decoder_pretrained: true
    decoder_path: first.ckpt
"""
REFERENCE_DATA = """
data:
  class_path: data_modules.ResynthesisDataModule
  init_args: {init_args: null, data_dir: data/speakers, batch_size: 16, pin_memory: true, segment_size: 30720}
trainer: {max_epochs: 100, max_steps: -1, logger: {class_path: WandbLogger, init_args: {project: mine}}}
"""


def test_the_references_files_load(tmp_path: Path) -> None:
    for name, text in (("model", REFERENCE), ("data", REFERENCE_DATA)):
        (tmp_path / f"{name}.yaml").write_text(text)
    _, overrides = without_overrides(["--model.init_args.learning_rate=3e-4", "--trainer.logger.name", "debug"])
    read = read_configuration(tmp_path / "data.yaml", tmp_path / "model.yaml", overrides=overrides)
    model = TrainedVocoder(**read.model)
    assert model.hparams["vocoder_args"]["layer_scale_init_value"] == 1e-6
    assert (model.decoder.shape.dim, model.learning_rate, read.init_from) == (16, 3e-4, "first.ckpt")
    data = SpeechData(**read.data)
    assert (data.segment_length, data.batch_size, data.train["speech"]["folder"]) == (30720, 16, "data/speakers")
    logger = {"class_path": "WandbLogger", "init_args": {"project": "mine"}, "name": "debug"}
    assert read.trainer == {"max_steps": 1_000_000, "validate_every": 5000, "save_every": 1000, "logger": logger}
    (note,) = read.notes
    for name in ("seed_everything", "model.encoder_dim", "data.pin_memory", "trainer.max_epochs"):
        assert name in note
    (tmp_path / "again.yaml").write_text(read.text())
    again = read_configuration(tmp_path / "again.yaml")
    assert (again.model, again.data, again.trainer) == (read.model, read.data, read.trainer)


def test_overrides_may_stand_anywhere() -> None:
    line = ["fit", "--model.vocoder_args.dim", "3", "-c", "a.yaml", "--data.train={a: {folder: b}}", "--out", "run"]
    others, overrides = without_overrides(line)
    assert others == ["fit", "-c", "a.yaml", "--out", "run"]
    assert overrides == [("model.vocoder_args.dim", "3"), ("data.train", "{a: {folder: b}}")]
    with pytest.raises(ConfigurationError, match=r"--model.dim: a value is missing"):
        without_overrides(["fit", "--model.dim"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {", "no YAML"),
        ("model: {}\ndata: {}\n", "expected the sections model, data, trainer"),
        ("model: {}\ndata: 3\ntrainer: {}\n", "section data: expected names and values"),
        ("[model, data, trainer]", "expected the sections model, data, trainer"),
    ],
)
def test_a_bad_configuration_gets_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as error:
        read_configuration(tmp_path / "bad.yaml")
    assert "\n" not in str(error.value)
    assert "bad.yaml" in str(error.value)


def test_the_command_says_what_is_wrong(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {}
    for section, values in {
        "model": {"learning_rat": 1},
        "lambdas": {"mel_los": 1},
        "istft_head_args": {"hop_length": HOP + 1},
        "data": {"augmentation": {"pitch": 1}},
        "trainer": {"device": 1},
    }.items():
        configuration = tiny(speech, tmp_path)
        group = configuration if section in configuration else configuration["model"]
        group.setdefault(section, {}).update(values)
        (tmp_path / section).mkdir()
        bad[section] = str(written(configuration, tmp_path / section))
    for arguments, message in (
        (["fit", bad["model"]], "section model: got an unexpected keyword argument 'learning_rat'"),
        (["fit", bad["lambdas"]], "section model: lambdas: mel_los: not known; mel_loss, adv"),
        (["fit", bad["istft_head_args"]], "section model: vocoder_args, istft_head_args and vocoder_feature_args must"),
        (["fit", bad["data"]], "section data: got an unexpected keyword argument 'pitch'"),
        (["fit", bad["trainer"]], "section trainer: got an unexpected keyword argument 'device'"),
        (["resume", str(tmp_path)], "nothing to resume"),
        (["fit", str(tmp_path / "none.yaml")], "No such file"),
    ):
        out = ["--out", str(tmp_path / "run")] if arguments[0] == "fit" else []
        monkeypatch.setattr(sys, "argv", ["train", *arguments, *out])
        assert main() == 1
        complaint = capsys.readouterr().err
        assert message in complaint
        assert complaint.startswith("train: error: ")
        assert complaint.count("\n") == 1


def test_the_listening_page_holds_every_sentence_of_every_folder(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = tmp_path / "other", tmp_path / "page.html"
    shutil.copytree(speech, other)
    monkeypatch.setattr(sys, "argv", ["listen", str(out), f"recording <b>={speech}", f"ours={other}", "--trials", "7"])
    assert listen.main() == 0
    text = out.read_text()
    assert text.count("<audio ") == 6
    assert "<th>recording &lt;b&gt;</th><th>ours</th>" in text
    data = json.loads(text.split('type="application/json">')[1].split("</script>")[0].replace("<\\/", "</"))
    assert data["trials"] == 7
    assert base64.b64decode(data["audio"]["ours"]["1.wav"]) == (speech / "1.wav").read_bytes()
    (other / "1.wav").unlink()
    assert listen.main() == 1
    assert capsys.readouterr().err == f"listen: error: 1.wav: is in one of {speech}, {other} and not in the other\n"


def test_hard_cases_are_the_same_on_every_run(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert hard_cases.main([str(tmp_path / folder)]) == 0
    for name in ("singing", "child", "strings", "noise"):
        first, second = (read_audio(tmp_path / folder / f"{name}.wav") for folder in ("a", "b"))
        assert np.array_equal(first, second)
        assert len(first) > 2 * 16000
        assert np.abs(first).max() == pytest.approx(0.5, abs=1e-3)


def test_sentences_are_the_same_for_the_same_seed() -> None:
    for script in ("english", "latin", "cyrillic"):
        first, second = (sentence(script, random.Random(seed)) for seed in (1, 1))
        assert first == second != sentence(script, random.Random(2))
