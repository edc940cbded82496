/*
 * The network: log-mel frames to audio. Compiled once per instruction set, by vocosc_network_....c.
 *
 * Activations are rows of frames, [streams][frames][channels], channels padded to whole panels of ${PANEL}; the padding stays
 * zero. Only convolutions and overlap-add know streams apart. What can be computed from the weights alone is in the
 * tables: see compiler/fold.py.
 *
 * Every dot product is one chain of fused multiply-adds in the order of its inputs, starting at the bias; sums over
 * channels run over ${PANEL} lanes and one tree. Nothing depends on how frames are grouped into chunks, nor on the number of
 * workers or lanes: hence the same bits for all of them.
 */
#ifndef VOCOSC_NETWORK_H
#define VOCOSC_NETWORK_H

#include "vocosc_chunk.h"
//% for isa in isas if isa.lanes
${"#if" if loop.first else "#elif"} defined(VOCOSC_ISA_${isa.name | upper})
#include "vocosc_tiles_${isa.name}.h"
//% endfor
#endif
#include "vocosc_steps.h"

/* See vocosc_target.h. */
static void network(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team) {
  const weights_file *weights = weights_of(jobs->stream);
  chunk all = {jobs, count, frames, count * frames, 0, 0, ${"0, " if plan.lookahead}scratch->values, team};
  all.first_row = first_of(&all, all.rows);
  all.last_row = last_of(&all, all.rows);
//% if plan.lookahead
  for (int job = 0; job < count; job++) all.is_edge |= jobs[job].mel == NULL || frames_seen(jobs[job].stream) < LOOKAHEAD;
//% endif
  const chunk *c = &all;
//% for buffer in plan.scratch if buffer.name not in ("audio", "analysis", "features", "jobs", "quantised", "row_scales")
  float *${buffer.name} = scratch->values + SCRATCH_${buffer.name | upper};
//% endfor
//% if "quantised" in plan.strides
//% for format in formats if format.is_integer
  ${format.row_type} *rows_${format.name} = (${format.row_type} *)(scratch->values + SCRATCH_QUANTISED);
  ${format.name}_row_scale *scales_${format.name} = (${format.name}_row_scale *)(scratch->values + SCRATCH_ROW_SCALES);
//% endfor
//% endif
//% set group = namespace(name="")
//% for step in plan.steps
//% set name = step.name
//% set NAME = name | upper
//% set its_group = name.partition("_")[0] if name.startswith("block") else "edge"
//% if its_group != group.name

//% set group.name = its_group
//% endif
//% set rows = "rows_%s, scales_%s" | format(step.format.name, step.format.name) if step.format and step.format.is_integer
//% set right = ", %d" | format(step.operation.right) if plan.lookahead else ""
//% set gathers = step.operation.kind == "conv" and (step.kind == "quantise" or step.x != "quantised")
//% if plan.lookahead and (gathers or step.kind == "conv_norm")
  take_rows(&all, frames, ${step.lag + step.operation.right});
//% endif
//% if plan.lookahead and step.kind == "conv_norm"
  clear_outside(c, ${step.x}, ${step.lag});
//% endif
//% if gathers
  gather_windows(c, STATE_${NAME}, mel_windows);
//% endif
//% if gathers and step.kind == "quantise"
  quantise_windows_${step.format.name}(c, mel_windows, ${step.product | upper}_LIMIT, ${rows});
//% elif gathers
  ${step.operation.kernel}(c, mel_windows, weights->${name}, ${step.y});
//% elif step.kind in ("conv", "linear")
  ${step.operation.kernel}(c, ${rows if step.x == "quantised" else step.x}, weights->${name}, ${step.y});
//% elif step.kind == "layer_norm"
  layer_norm(c, ${step.x}, ${"weights->" ~ name if step.operation.tensors else "NULL"}, ${step.y});
//% elif step.kind == "conv_norm" and step.product
  conv_norm_${step.format.name}(c, ${step.x}, STATE_${NAME}, weights->${name}, ${step.operation.y}, ${step.product | upper}_LIMIT, ${rows}${right});
//% elif step.kind == "conv_norm"
  conv_norm(c, ${step.x}, STATE_${NAME}, weights->${name}, ${step.y}${right});
//% elif step.kind == "quantise"
  quantise_${step.format.name}(c, ${step.x}, ${step.x | upper}_PADDED, ${step.x | upper}_STRIDE, ${step.product | upper}_LIMIT, ${rows});
//% elif step.kind == "inverse_rfft"
  inverse_rfft(c, ${step.x}, ${step.y});
//% else
  overlap_add(c, ${step.x}, ${step.x | upper}_STRIDE, STATE_OVERLAP);
//% endif
//% endfor
}
//% if config.mel

/* The log-mel [MELS] of one window [N_FFT] of audio: see vocosc_target.h. */
static void analysis(const float *window, vocosc_scratch *scratch, float *mel) {
  float *bins = scratch->values + SCRATCH_ANALYSIS;
  float *work = bins + SPECTRUM_STRIDE;
  const float *magnitudes = forward_real_fft(window, bins, work);
  float sums[PANEL];
  for (int panel = 0; panel < MELS; panel += PANEL) {
    for (int j = 0; j < PANEL; j++) {
      float sum = 0.0f;
      if (panel + j < MELS) {
        /* Within their tables, even if these have been damaged. */
        enum { WEIGHTS = sizeof vocosc_mel_weights / sizeof *vocosc_mel_weights };
        const int first = index_within(vocosc_mel_first_bin[panel + j], BINS);
        const int start = index_within(vocosc_mel_first_weight[panel + j], WEIGHTS);
        const int most = index_within(start + BINS - first, WEIGHTS);
        const int end = index_within(vocosc_mel_first_weight[panel + j + 1], most);
        for (int i = start; i < end; i++) sum = fma_float(vocosc_mel_weights[i], magnitudes[first + i - start], sum);
      }
      sums[j] = sum;
    }
    for (int j = 0; j < PANEL; j += VEC_LANES) {
      vec_store(sums + j, vec_log(vec_max(vec_load(sums + j), vec_set(MEL_FLOOR))));
    }
    const int count = MELS - panel < PANEL ? MELS - panel : PANEL;
    memcpy(mel + panel, sums, sizeof(float) * (size_t)count);
  }
}
//% endif

#endif /* VOCOSC_NETWORK_H */
