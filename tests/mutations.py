"""Breaks the sources in one way after another, and demands that the tests of `make test` notice each.

Run as `python -m tests.mutations [NAME ...]`; without names, every mutation. It works in a copy of the tracked files.
Each mutation names the cheapest tests that must catch it. These tests must pass on the sources as they are, and fail on
the sources that the mutation broke: by a failing test, not because pytest could not run. A few need an x86-64 CPU with
AVX2.

A full run takes about an hour of one core. What was caught stands in build/mutations.json, and is not tried again while
the tracked files are the same: a run that was interrupted goes on where it was.

Prints a line per mutation and a sum. The exit status is 1 if a mutation survives, 2 if it could not be tried.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CAUGHT = ROOT / "build" / "mutations.json"
TIME_LIMIT = 900  # seconds of one mutation's tests: a mutation that hangs is not caught


@dataclass(frozen=True)
class Mutation:
    """`old`, which occurs once in the file, becomes `new`; one of `tests` (pytest's names, below tests/) must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


# Models of one build for plain C, through the whole chain: float against the float64 truth, or integers' own bits.
MODEL = "test_architectures.py::test_any_architecture[mlp-3.3]"
FAULTS = "test_proofs.py::test_after_any_fault_a_reset_gives_the_golden_bits"
FLOATS, W8, W8A8 = (f"{FAULTS}[{build}]" for build in ("portable_f32_--no-libc", "portable_w8", "x86-64_w8a8"))
API = "test_linking.py::test_the_thread_sanitizer_finds_nothing"
SYMBOLS = "test_linking.py::test_the_global_symbols_are_the_functions_of_the_header[portable_w8]"
HANDED_ON = "test_calibrate.py::test_errors_are_handed_on_to_correlated_inputs"
FLOAT64 = "test_calibrate.py::test_the_compilers_own_float64_is_the_truth[odd]"
BITS = "test_object.py::test_the_golden_audio_has_one_hash_on_every_target[odd]"
MATH = "test_kernels.py::test_vector_math_keeps_its_word_and_is_the_same_everywhere"
INT16 = "test_object.py::test_int16_is_the_float_rounded_and_clipped[odd]"
WAV = "test_tool.py::test_wav_is_the_rounded_npy"
LOUD = "test_tool.py::test_loud_samples_are_clipped_in_wav_files"

LOOKAHEAD = "test_families.py::test_splits_and_targets_give_the_bits_of_the_whole[vocos_same]"

BOARD = "test_bare_metal.py::test_a_board_gives_the_bits_of_the_desk"

MUTATIONS = (
    # ---- compiler ----
    Mutation(
        "int8 weights are cut off, not rounded",
        "compiler/quantise.py",
        "np.clip(np.rint(steps), -LARGEST, LARGEST)",
        "np.clip(np.trunc(steps), -LARGEST, LARGEST)",
        ("test_precisions.py::test_int8_errs_as_much_as_its_steps_explain[small]",),
    ),
    Mutation(
        "rounding errors are handed on with the wrong sign",
        "compiler/quantise.py",
        "left[i + 1 : last] -= np.outer(",
        "left[i + 1 : last] += np.outer(",
        (HANDED_ON,),
    ),
    Mutation(
        "the mean error of rounding stays out of the bias",
        "compiler/quantise.py",
        "product.bias + fed.mean @ (",
        "product.bias + 0 * fed.mean @ (",
        (HANDED_ON,),
    ),
    Mutation(
        "a folded norm's scale is forgotten",
        "compiler/fold.py",
        '"weight": weight * scale,',
        '"weight": weight,',
        (FLOAT64,),
    ),
    Mutation(
        "a folded norm's shift is forgotten",
        "compiler/fold.py",
        "weight @ shift + linear.bias",
        "linear.bias",
        (FLOAT64,),
    ),
    Mutation(
        "a layer scale is not applied to the bias",
        "compiler/fold.py",
        'tensors["bias"] * scale}',
        'tensors["bias"]}',
        (FLOAT64,),
    ),
    Mutation(
        "buffers are given away one step early",
        "compiler/plan.py",
        "return min(touching), max(touching)\n",
        "return min(touching), max(touching) - 1\n",
        ("test_plan.py::test_scratch_is_never_used_twice_at_once",),
    ),
    Mutation(
        "states of two convolutions overlap",
        "compiler/plan.py",
        "found[-1].offset + found[-1].floats if found",
        "found[-1].offset + found[-1].floats // 2 if found",
        (MODEL,),
    ),
    Mutation(
        "rows are as far apart as they are wide, without padding",
        "compiler/plan.py",
        "name: row_stride(width) for",
        "name: width for",
        (MODEL,),
    ),
    Mutation(
        "sums of 32 bits may overflow",
        "compiler/formats/format.py",
        "min(LARGEST_INPUT, (2**31 - 1) // max(1, self.largest_sum))",
        "LARGEST_INPUT",
        ("test_precisions.py::test_no_input_can_overflow",),
    ),
    Mutation(
        "scales of halves are no powers of two",
        "compiler/formats/f16.py",
        "np.ldexp(np.ones_like(largest), exponents - 1)",
        "np.where(largest > 0, largest, 1)",
        ("test_precisions.py::test_a_half_keeps_small_weights",),
    ),
    Mutation(
        "sums of weights leave out the last input",
        "compiler/formats/w8a8.py",
        "rows.sum(axis=0, dtype=np.int32)",
        "rows[:18].sum(axis=0, dtype=np.int32)",
        (W8A8,),
    ),
    Mutation(
        "the weights' checksum is of the tables alone",
        "compiler/weights.py",
        "crc32 = zlib.crc32(rest)",
        "crc32 = zlib.crc32(rest[40:])",
        ("test_weights.py::test_every_precision[w8]",),
    ),
    Mutation(
        "weights for another hop length are taken",
        "compiler/weights.py",
        "for name in _SIZES},",
        'for name in _SIZES if name != "hop_length"},',
        ("test_weights.py::test_weights_of_another_architecture[{}-['--hop-length', '3']]",),
    ),
    Mutation(
        "mel filters are not of equal area",
        "compiler/mel.py",
        "return filters * 2 / (high - low) if",
        "return filters if",
        (MODEL,),
    ),
    Mutation(
        "twiddle factors turn the wrong way",
        "compiler/fft.py",
        "sines=_cosines(turns - 0.25),\n        half_cosines",
        "sines=_cosines(turns + 0.25),\n        half_cosines",
        (MODEL,),
    ),
    Mutation(
        "the synthesis window forgets 1 / n_fft",
        "compiler/synthesis.py",
        "else 1 / config.n_fft",
        "else 1",
        (MODEL,),
    ),
    Mutation(
        "contradicting hyper-parameters are taken",
        "compiler/config.py",
        "if len(set(values.values())) > 1:",
        "if len(set(values.values())) > 9:",
        ("test_network.py::test_hyper_parameters_that_contradict",),
    ),
    Mutation(
        "a transform with the factor 7 is taken",
        "compiler/config.py",
        "if left != 1:",
        "if left not in (1, 7):",
        ("test_network.py::test_factors",),
    ),
    Mutation(
        "unknown tensors are ignored",
        "compiler/tensors.py",
        "if self.left:",
        "if len(self.left) > 5:",
        ("test_network.py::test_unknown_tensors_are_named",),
    ),
    Mutation(
        "NaN in a tensor is taken",
        "compiler/tensors.py",
        "good = np.abs(array) <= _FLOAT_MAX",
        "good = ~(np.abs(array) > _FLOAT_MAX)",
        ("test_network.py::test_non_finite_tensors_are_named",),
    ),
    Mutation(
        "an overlap-add that is none is taken",
        "compiler/tensors.py",
        "or not np.all(np.diagonal(kernel) == 1)",
        "or not np.any(np.diagonal(kernel) == 1)",
        ("test_network.py::test_the_overlap_add_must_be_one",),
    ),
    Mutation(
        "tensors may reach outside their storage",
        "compiler/checkpoint.py",
        "if view.offset + _span(view) > length:",
        "if _span(view) > length:",
        ("test_checkpoint.py::test_views_outside_their_storage",),
    ),
    Mutation(
        "a failed build leaves its folder behind",
        "compiler/output.py",
        "made = _make(folder)\n",
        "made = _make(folder)[:0]\n",
        ("test_compile.py::test_a_build_that_fails",),
    ),
    Mutation(
        "the budget is not checked after the build",
        "compiler/compile.py",
        "            check_budget(budget or {}, figures(measured=measured))\n",
        "",
        ("test_budget.py::test_a_budget_that_suffices",),
    ),
    Mutation(
        "every quantised product is taken for one of a norm's rows",
        "compiler/steps.py",
        'if before.kind == "conv_norm" and before.y',
        "if before.y",
        (W8A8,),
    ),
    # ---- templates ----
    Mutation(
        "the history of a convolution is a frame short",
        "templates/network/vocosc_steps.h",
        "const int from = row + frames;\n    const float *source = from < LEFT ? history",
        "const int from = row + frames - 1;\n    const float *source = from < LEFT ? history",
        (MODEL,),
    ),
    Mutation(
        "a norm's mean is over the padding, too",
        "templates/network/vocosc_steps.h",
        "panel_sum(sums) / (float)DIM)",
        "panel_sum(sums) / (float)DIM_PADDED)",
        (MODEL,),
    ),
    Mutation(
        "a norm's padding does not stay zero",
        "templates/network/vocosc_steps.h",
        "if (DIM < DIM_PADDED && panel + PANEL > DIM) {",
        "if (DIM < DIM_PADDED && panel > DIM) {",
        (MODEL,),
    ),
    Mutation(
        "workers do not wait behind a convolution",
        "templates/network/vocosc_steps.h",
        "  barrier(c);\n  keep_histories(",
        "  keep_histories(",
        (API,),
    ),
    Mutation(
        "the last sample of the overlap is lost",
        "templates/network/vocosc_steps.h",
        "for (int i = KEPT; i < N_FFT; i++) overlap",
        "for (int i = KEPT; i < N_FFT - 1; i++) overlap",
        (MODEL,),
    ),
    Mutation(
        "the last sample of the overlap is lost, of models whose frames are counted",
        "templates/network/vocosc_steps.h",
        "overlap[i - HOP] = i < OVERLAP ?",
        "overlap[i - HOP] = i < OVERLAP - 1 ?",
        ("test_families.py::test_audio_is_the_packages[vocos_center]",),
    ),
    Mutation(
        "denormal inputs are not taken for zero",
        "templates/network/vocosc_steps.h",
        "MELS; i++) window[LEFT * MELS + i] = without_denormals(mel[i]);",
        "MELS; i++) window[LEFT * MELS + i] = mel[i];",
        ("test_object.py::test_denormal_input_counts_as_zero[odd-9e-21]",),
    ),
    Mutation(
        "infinite inputs are refused, NaN is taken",
        "templates/network/vocosc_values.h",
        "(bits_of_float(values + i) & 0x7f800000u) == 0x7f800000u",
        "(bits_of_float(values + i) & 0x7fffffffu) == 0x7f800000u",
        (FLOATS,),
    ),
    Mutation(
        "a row is lost where tiles differ in height",
        "templates/network/vocosc_tiles.h",
        "rows * (tile + 1) / tiles - row;",
        "rows / tiles;",
        (MODEL,),
    ),
    Mutation(
        "streams of a batch read each other's mel",
        "templates/network/vocosc_tiles.h",
        "x + job * (LEFT + c->frames) *",
        "x + job * c->frames *",
        (API,),
    ),
    Mutation(
        "the scale of an int8 output is forgotten",
        "templates/network/vocosc_format_w8.h",
        "vec_mul(vec_set(row.scale), outputs.scale)",
        "vec_set(row.scale)",
        (W8,),
    ),
    Mutation(
        "the zero point is off by one",
        "templates/network/vocosc_format_w8a8.h",
        "vec_bits_set((uint32_t)row.zero_point)",
        "vec_bits_set((uint32_t)row.zero_point + 1)",
        (W8A8,),
    ),
    Mutation(
        "magnitudes are not limited",
        "templates/network/vocosc_epilogues.h",
        "vec_min(vec_exp(sum), vec_set(MAX_MAGNITUDE))",
        "vec_exp(sum)",
        (BITS,),
    ),
    Mutation(
        "sine and cosine are swapped",
        "templates/network/vocosc_epilogues.h",
        "vec_sincos(sum, &sine, &cosine);",
        "vec_sincos(sum, &cosine, &sine);",
        (MODEL,),
    ),
    Mutation(
        "a butterfly of radix 5 has a wrong sign",
        "templates/network/fft_steps.h",
        '${turned(1, "mid1", "turn1", "+")}',
        '${turned(1, "mid1", "turn1", "-")}',
        ("test_kernels.py::test_fft_against_fftw[75]",),
    ),
    Mutation(
        "the spectrum's last bin has a wrong sign",
        "templates/network/vocosc_fft.h",
        "work[FFT_LENGTH] = re[0] - re[FFT_LENGTH];",
        "work[FFT_LENGTH] = re[0] + re[FFT_LENGTH];",
        (MODEL,),
    ),
    Mutation(
        "exp is reduced in one step",
        "templates/network/vocosc_vector_math.h",
        "  r = vec_fma(n, vec_set(-LN_2_LOW), r);\n",
        "",
        (MATH,),
    ),
    Mutation(
        "the emulated fused multiply-add does not round to odd",
        "templates/network/vocosc_fma.h",
        "odd.bits = (odd.bits - away) | inexact;",
        "odd.bits = odd.bits + 0 * away;",
        (MATH,),
    ),
    Mutation(
        "NaN passes the portable minimum",
        "templates/network/vocosc_vector_portable.h",
        "return vec_select(a < b, a, b);",
        "return vec_select(b < a, b, a);",
        (MATH,),
    ),
    Mutation(
        "AVX2 multiplies and adds in two roundings",
        "templates/network/vocosc_vector_avx2.h",
        "return _mm256_fmadd_ps(a, b, c);",
        "return _mm256_add_ps(_mm256_mul_ps(a, b), c);",
        (BITS,),
    ),
    Mutation(
        "the C compiler may contract products and sums",
        "templates/vocosc.mk",
        "-ffp-contract=off",
        "-ffp-contract=fast",
        (BITS,),
    ),
    Mutation(
        "the object's inner functions are global",
        "templates/vocosc.mk",
        "$(OBJCOPY) --localize-hidden network/all.o $@",
        "$(OBJCOPY) network/all.o $@",
        (SYMBOLS,),
    ),
    Mutation(
        "baked weights are not aligned to lines of the cache",
        "templates/network/vocosc_weights.S",
        "%progbits\n        .balign 64",
        "%progbits\n        .balign 16",
        ("test_linking.py::test_nothing_is_writable[portable_w8]",),
    ),
    # ---- runtime ----
    Mutation(
        "a null scratch is taken",
        "runtime/vocosc.c",
        "if (!usable(scratch, 4) || frames < 1 ||",
        "if (frames < 1 ||",
        (API,),
    ),
    Mutation(
        "misaligned pointers are taken",
        "runtime/vocosc.c",
        "(uintptr_t)memory % alignment == 0",
        "alignment > 0",
        ("test_proofs.py::test_only_the_arrays_given_are_touched_and_the_system_is_never_called[portable_w8]",),
    ),
    Mutation(
        "only the first frame is searched for NaN",
        "runtime/vocosc.c",
        "all_finite(jobs[i].mel, frames * MELS)",
        "all_finite(jobs[i].mel, MELS)",
        (FLOATS,),
    ),
    Mutation(
        "errors leave the audio as it was",
        "runtime/vocosc.c",
        "memset(jobs[i].audio, 0, audio_bytes(frames, sizeof *jobs[i].audio));",
        "memset(jobs[i].audio, 0, audio_bytes(0, sizeof *jobs[i].audio));",
        (FLOATS,),
    ),
    Mutation(
        "reset forgets the end of the state",
        "runtime/vocosc.c",
        "memset((unsigned char *)stream + kept, 0, sizeof *stream - kept);",
        "memset((unsigned char *)stream + kept, 0, sizeof *stream - kept - 8);",
        (FLOATS,),
    ),
    Mutation(
        "a batch may hold a stream twice",
        "runtime/vocosc.c",
        "if (jobs[i].stream == jobs[other].stream) return VOCOSC_BAD_ARGUMENT;",
        "if (jobs[i].audio == jobs[other].audio) return VOCOSC_BAD_ARGUMENT;",
        ("test_batch.py::test_errors_move_no_stream",),
    ),
    Mutation(
        "flush does not reset",
        "runtime/vocosc.c",
        "  vocosc_reset(stream);\n  return VOCOSC_TAIL;",
        "  return VOCOSC_TAIL;",
        ("test_object.py::test_flush_gives_the_rest_of_the_overlap_add[odd]",),
    ),
    Mutation(
        "int16 is not rounded",
        "runtime/vocosc.c",
        "const float rounder = 0x1.8p23f;",
        "const float rounder = 0.0f;",
        (INT16,),
    ),
    Mutation(
        "int16 wraps where it should be clipped",
        "runtime/vocosc.c",
        "float_select(scaled < 32767.0f, scaled, 32767.0f)",
        "float_select(scaled < 65535.0f, scaled, 65535.0f)",
        (INT16,),
    ),
    Mutation(
        "the self-test finds all well",
        "runtime/vocosc.c",
        "  return hash == weights_of(stream)->golden_hash ?",
        "  return hash != 0 ?",
        ("test_weights.py::test_the_selftest_finds_damage_done_after_init",),
    ),
    Mutation(
        "weights of another version are taken",
        "runtime/vocosc.c",
        "weights->version == WEIGHTS_VERSION &&",
        "weights->version > 0 &&",
        ("test_weights.py::test_wrong_headers",),
    ),
    Mutation(
        "the analysis window moves on by too little",
        "runtime/vocosc.c",
        "memmove(stream->window, stream->window + HOP,",
        "memmove(stream->window, stream->window + HOP - 1,",
        (MODEL,),
    ),
    Mutation(
        "a last sample is not flushed into a frame",
        "runtime/vocosc.c",
        "if (stream->pending == 0) return 0;",
        "if (stream->pending <= 1) return 0;",
        (MODEL,),
    ),
    Mutation(
        "a damaged stream's target is run",
        "runtime/vocosc_target.c",
        "    default:\n      return 0;\n  }\n}\n\nvocosc_target vocosc_best_target",
        "    default:\n      return target > 70;\n  }\n}\n\nvocosc_target vocosc_best_target",
        ("test_object.py::test_a_stream_of_a_target_that_is_not_here_is_refused",),
    ),
    Mutation(
        "another target is taken for an unknown one",
        "runtime/vocosc_target.c",
        "(wanted == VOCOSC_BEST || wanted == target) &&",
        "(wanted <= VOCOSC_BEST || wanted >= target) &&",
        (API,),
    ),
    Mutation(
        "a barrier publishes nothing",
        "runtime/vocosc_team_pthread.c",
        "atomic_store_explicit(&team->phase, phase + 1, memory_order_release);",
        "atomic_store_explicit(&team->phase, phase + 1, memory_order_relaxed);",
        (API,),
    ),
    Mutation(
        "memmove copies from the wrong end",
        "runtime/vocosc_memory.c",
        "if ((uintptr_t)t <= (uintptr_t)f) {",
        "if ((uintptr_t)t >= (uintptr_t)f) {",
        (
            FLOATS,
            "test_proofs.py::test_only_the_arrays_given_are_touched_and_the_system_is_never_called"
            "[portable_f32_--no-libc]",
            "test_proofs.py::test_any_finite_audio_has_a_finite_log_mel[portable_f32_--no-libc]",
        ),
    ),
    Mutation(
        "memset forgets the last byte",
        "runtime/vocosc_memory.c",
        "for (size_t i = 0; i < bytes; i++) t[i] = (unsigned char)value;",
        "for (size_t i = 0; i + 1 < bytes; i++) t[i] = (unsigned char)value;",
        (FLOATS,),
    ),
    Mutation(
        "a WAV header tells a wrong length",
        "runtime/tool/vocosc_tool_writer.c",
        "put(header + 40, data, 4);",
        "put(header + 40, data + 2, 4);",
        (WAV,),
    ),
    Mutation(
        "loud samples wrap in WAV files",
        "runtime/tool/vocosc_tool_writer.c",
        "scaled > 32767.0f ? 32767.0f",
        "scaled > 65535.0f ? 65535.0f",
        (LOUD,),
    ),
    Mutation(
        "a mel in Fortran order is taken",
        "runtime/tool/vocosc_tool_npy.c",
        'if (strncmp(order, "False", 5) != 0) {',
        'if (strncmp(order, "False", 5) > 99) {',
        ("test_tool.py::test_bad_mel[fortran order]",),
    ),
    Mutation(
        "the tool says nothing of a full disk",
        "runtime/tool/vocosc_tool_output.c",
        'if (written < 0) return fail_errno(out->name, "cannot write");',
        "if (written < 0) return true;",
        ("test_tool.py::test_standard_output_on_a_full_disk[decode]",),
    ),
    Mutation(
        "the tool takes any chunk",
        "runtime/tool/vocosc_tool_options.c",
        "FIELD(chunk), 1, VOCOSC_MAX_FRAMES}",
        "FIELD(chunk), 1, MOST_RUNS}",
        ("test_tool.py::test_bad_command_line",),
    ),
    Mutation(
        "an interrupted tool leaves half a file",
        "runtime/tool/vocosc_tool_output.c",
        "if (partial_file != NULL) unlink(partial_file);",
        "if (partial_file == NULL) unlink(partial_file);",
        ("test_tool.py::test_an_interrupt_leaves_nothing",),
    ),
    # ---- look-ahead ----
    Mutation(
        "the first frame before the utterance is seen by the next convolution",
        "templates/network/vocosc_steps.h",
        "if (frame < 0 || (job->mel == NULL",
        "if (frame < -1 || (job->mel == NULL",
        (LOOKAHEAD,),
    ),
    Mutation(
        "the first frame behind the utterance is seen by the next convolution",
        "templates/network/vocosc_steps.h",
        "frame >= (int)job->stream->frames",
        "frame > (int)job->stream->frames",
        (LOOKAHEAD,),
    ),
    Mutation(
        "the residual is delayed by a frame too few",
        "templates/network/vocosc_steps.h",
        "kept[LEFT + row - right]",
        "kept[LEFT + row - right + 1]",
        (LOOKAHEAD,),
    ),
    Mutation(
        "the envelope knows of no last frame",
        "templates/network/vocosc_output.h",
        "last < frames ? last : frames - 1",
        "last",
        (LOOKAHEAD,),
    ),
    Mutation(
        "flush keeps the samples that are to be trimmed",
        "runtime/vocosc.c",
        "i < OVERLAP - TRIM",
        "i < OVERLAP",
        (LOOKAHEAD,),
    ),
    Mutation(
        "a damaged count of frames is believed",
        "runtime/vocosc.c",
        "stream->frames <= SETTLED && ",
        "",
        ("test_families.py::test_errors_are_silent_and_leave_the_stream_alone",),
    ),
    Mutation(
        "every bandwidth has the norms of the first",
        "compiler/tensors.py",
        "(rows, dim))[row]",
        "(rows, dim))[0]",
        ("test_families.py::test_audio_is_the_packages[vocos_encodec]",),
    ),
    Mutation(
        "center trims like same",
        "compiler/synthesis.py",
        '"center": config.n_fft}',
        '"center": config.n_fft - config.hop_length}',
        ("test_families.py::test_audio_is_the_packages[vocos_center]",),
    ),
    Mutation(
        "a row's input is another row's on RISC-V",
        "templates/network/vocosc_products_fmadd.h",
        "fmadd.s f${row * outputs + output}, f${x + (k * rows + row) % xs}",
        "fmadd.s f${row * outputs + output}, f${x + k * rows % xs}",
        (f"{BOARD}[riscv32 f32]",),
    ),
    Mutation(
        "weights that were not masked stay in the sums of RV64",
        "templates/network/vocosc_products_riscv.h",
        '"sub ${sums[4 * row + pair]}, ${sums[4 * row + pair]}, ${t}\\n"',
        '"sub ${sums[4 * row + pair]}, ${sums[4 * row + pair]}, zero\\n"',
        (f"{BOARD}[riscv64 w8]",),
    ),
    Mutation(
        "RV32's sums of int4 take the weights of an input twice",
        "templates/network/vocosc_products_riscv.h",
        '"fcvt.s.w f${20 + j}, ${w[j]}\\n"',
        '"fcvt.s.w f${20 + j}, ${w[j // 2]}\\n"',
        (f"{BOARD}[riscv32 w4]",),
    ),
    Mutation(
        "rows that may be too large for it are enlarged",
        "compiler/arrange.py",
        "largest[before.name] < 2.0**15",
        "largest[before.name] < 2.0**19",
        ("test_plan.py::test_halves_stay_small_where_no_row_can_overflow",),
    ),
)


def main(names: Sequence[str]) -> int:
    unknown = sorted(set(names) - {mutation.name for mutation in MUTATIONS})
    if unknown:
        print(f"mutations: no mutation is named {unknown[0]!r}", file=sys.stderr)
        return 2
    # Those with the same tests one after the other: they read the same files.
    chosen = sorted((m for m in MUTATIONS if not names or m.name in names), key=lambda m: m.tests)
    for mutation in chosen:
        if misfit := misfit_of(mutation):
            print(f"mutations: {misfit}", file=sys.stderr)
            return 2
    survivors: list[str] = []
    passing: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = copy_tree(Path(folder) / "tree")
        digest = digest_of(tree)
        caught = read_caught(digest)
        for mutation in chosen:
            if mutation.name in caught:
                continue
            untried = sorted(set(mutation.tests) - passing)
            status, output = run_tests(tree, untried) if untried else (0, "")
            if status != 0:
                print(f"{output}\nmutations: {untried} fail on the sources as they are", file=sys.stderr)
                return 2
            passing.update(untried)
            if is_caught(tree, mutation):
                caught.append(mutation.name)
                CAUGHT.parent.mkdir(exist_ok=True)
                CAUGHT.write_text(json.dumps({"sources": digest, "caught": caught}, indent=1))
            else:
                survivors.append(mutation.name)
    print(f"{len(chosen)} mutations, {len(chosen) - len(survivors)} caught")
    return 1 if survivors else 0


def misfit_of(mutation: Mutation) -> str:
    """Why a mutation cannot be tried on these sources; empty if it can."""
    count = (ROOT / mutation.file).read_text().count(mutation.old)
    return "" if count == 1 else f"{mutation.name}: {mutation.file} has its text {count} times"


def digest_of(tree: Path) -> str:
    """The hash of a copy's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in tree.rglob("*") if path.is_file() and ".venv" not in path.parts):
        digest.update(f"{path.relative_to(tree)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def read_caught(digest: str) -> list[str]:
    """The mutations that an earlier run caught in the same sources."""
    found = json.loads(CAUGHT.read_text()) if CAUGHT.exists() else {}
    return list(found["caught"]) if found.get("sources") == digest else []


def copy_tree(tree: Path) -> Path:
    """The tracked files as they are now, and the Python environment."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for file in filter(None, listing.stdout.split("\0")):
        if (ROOT / file).exists():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, tree / file, follow_symlinks=False)
    (tree / ".venv").symlink_to(ROOT / ".venv")
    return tree


def is_caught(tree: Path, mutation: Mutation) -> bool:
    """Whether a test fails on the broken sources, which are mended afterwards. Prints the mutation's line."""
    file, start = tree / mutation.file, time.monotonic()
    text = file.read_text()
    file.write_text(text.replace(mutation.old, mutation.new))
    try:
        status, output = run_tests(tree, mutation.tests)
    finally:
        file.write_text(text)
    words = {0: "SURVIVES", 1: "caught"}.get(status, f"SURVIVES: pytest's exit status is {status}")
    print(f"{time.monotonic() - start:5.0f} s  {mutation.file}: {mutation.name}: {words}", flush=True)
    if status not in (0, 1):
        print(output, file=sys.stderr)
    return status == 1


def run_tests(tree: Path, tests: Sequence[str], limit: float = TIME_LIMIT) -> tuple[int, str]:
    """pytest's exit status, and what it printed. The builds that tests share live as long as the call."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("VOCOSC_TEST_ALL", None)
    with tempfile.TemporaryDirectory(prefix="builds-", dir=tree.parent) as folder:
        options = ["-x", "-q", "--tb=short", "-p", "no:cacheprovider", f"--basetemp={folder}/pytest"]
        command = [sys.executable, "-m", "pytest", *options, *(f"tests/{test}" for test in tests)]
        try:
            done = subprocess.run(
                command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return -1, f"no end after {limit:.0f} s"
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
