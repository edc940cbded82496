/*
 * The network over OpenBLAS and FFTW3 (--link libs): the plainest way to write it down, for whoever may link them, and
 * the oracle of our own kernels. See vocosc_network.c for the steps.
 *
 * The promises of the default profile do not hold here: the libraries allocate, FFTW's planner wants one thread at a
 * time, and the bits depend on the libraries. A team's first worker does all of the work. Tables hold one panel as wide
 * as the layer, bias first: behind the bias, a row-major matrix [inputs][outputs].
 */
#include <cblas.h>
#include <fftw3.h>
#include <math.h>
#include <string.h>

#include "vocosc_model.h"
#include "vocosc_network.h"

/* y [frames][outputs] += bias + x [frames][inputs] times the table's matrix. */
static void add_product(const float *x, int x_stride, const float *table, int inputs, int outputs, float *y,
                        int y_stride, int frames) {
  for (int frame = 0; frame < frames; frame++) {
    for (int c = 0; c < outputs; c++) y[frame * y_stride + c] += table[c];
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, frames, outputs, inputs, 1.0f, x, x_stride, table + outputs,
              outputs, 1.0f, y, y_stride);
}

/* As add_product, onto zeros. */
static void product(const float *x, int x_stride, const float *table, int inputs, int outputs, float *y, int y_stride,
                    int frames) {
  for (int frame = 0; frame < frames; frame++) memset(y + frame * y_stride, 0, sizeof(float) * (size_t)outputs);
  add_product(x, x_stride, table, inputs, outputs, y, y_stride, frames);
}

/* LayerNorm without its affine part: x to y, which may be x. */
static void norm(const float *x, float *y, int frames) {
  for (int frame = 0; frame < frames; frame++) {
    const float *from = x + frame * DIM_STRIDE;
    float *row = y + frame * DIM_STRIDE;
    float sum = 0.0f;
    for (int c = 0; c < DIM; c++) sum += from[c];
    const float mean = sum / (float)DIM;
    float squares = 0.0f;
    for (int c = 0; c < DIM; c++) squares += (from[c] - mean) * (from[c] - mean);
    const float scale = 1.0f / sqrtf(squares / (float)DIM + NORM_EPSILON);
    for (int c = 0; c < DIM; c++) row[c] = (from[c] - mean) * scale;
  }
}

/* One ConvNeXt block: x += contract(gelu(expand(norm(conv(x))))). */
static void block(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team,
                  int history_offset, const float *conv_table, const block_weight *expand_table,
                  const block_weight *contract_table) {
  float *history = jobs->stream->history + history_offset;
  float *x = scratch->values + SCRATCH_RESIDUAL;
  float *normalised = scratch->values + SCRATCH_NORMALISED;
  float *hidden = scratch->values + SCRATCH_HIDDEN;
  (void)count;
  (void)team;
  for (int frame = 0; frame < frames; frame++) {
    float *row = normalised + frame * DIM_STRIDE;
    memcpy(row, conv_table, sizeof(float) * DIM_PADDED);
    for (int tap = 0; tap < TAPS; tap++) {
      const int from = frame + tap - CONTEXT;
      const float *in = from < 0 ? history + (from + CONTEXT) * DIM_PADDED : x + from * DIM_STRIDE;
      for (int c = 0; c < DIM; c++) row[c] += in[c] * conv_table[(1 + tap) * DIM_PADDED + c];
    }
  }
  for (int row = 0; row < CONTEXT; row++) {
    const int from = row + frames;
    const float *in = from < CONTEXT ? history + from * DIM_PADDED : x + (from - CONTEXT) * DIM_STRIDE;
    memcpy(history + row * DIM_PADDED, in, sizeof(float) * DIM_PADDED);
  }
  norm(normalised, normalised, frames);
  product(normalised, DIM_STRIDE, expand_table, DIM, HIDDEN_PADDED, hidden, HIDDEN_STRIDE, frames);
  for (int frame = 0; frame < frames; frame++) {
    float *row = hidden + frame * HIDDEN_STRIDE;
    for (int c = 0; c < HIDDEN; c++) row[c] = 0.5f * row[c] * (1.0f + erff(row[c] * 0.70710678f));
  }
  add_product(hidden, HIDDEN_STRIDE, contract_table, HIDDEN, DIM_PADDED, x, DIM_STRIDE, frames);
}

#include "vocosc_blocks.h"

static const fftwf_iodim transform = {N_FFT, 1, 1};

/* The inverse real FFT of a spectrum [2][BINS_PADDED], which it overwrites, to samples [N_FFT]. */
static void inverse_real_fft(float *spectrum, float *samples) {
  float *im = spectrum + BINS_PADDED;
  im[0] = 0.0f;
  if (N_FFT % 2 == 0) im[BINS - 1] = 0.0f;
  const fftwf_plan plan = fftwf_plan_guru_split_dft_c2r(1, &transform, 0, NULL, spectrum, im, samples,
                                                        FFTW_ESTIMATE | FFTW_UNALIGNED | FFTW_DESTROY_INPUT);
  fftwf_execute(plan);
  fftwf_destroy_plan(plan);
}

static void decode(const vocosc_job *job, vocosc_scratch *scratch, int frames, const vocosc_team *team) {
  vocosc_stream *stream = job->stream;
  const weights_file *weights = weights_of(stream);
  float *window = scratch->values + SCRATCH_MEL_WINDOW;
  float *x = scratch->values + SCRATCH_RESIDUAL;
  float *normalised = scratch->values + SCRATCH_NORMALISED;
  float *spectrum = scratch->values + SCRATCH_SPECTRUM;
  memcpy(window, stream->mel_history, sizeof(float) * CONTEXT * MELS);
  memcpy(window + CONTEXT * MELS, job->mel, sizeof(float) * (size_t)frames * MELS);
  memcpy(stream->mel_history, window + frames * MELS, sizeof(float) * CONTEXT * MELS);
  for (int frame = 0; frame < frames; frame++) { /* rows overlap, which BLAS does not allow in one matrix */
    product(window + frame * MELS, TAPS * MELS, weights->embed, TAPS * MELS, DIM_PADDED,
            normalised + frame * DIM_STRIDE, DIM_STRIDE, 1);
  }
  memset(x, 0, sizeof(float) * (size_t)frames * DIM_STRIDE);
  norm(normalised, x, frames);
  for (int frame = 0; frame < frames; frame++) {
    float *row = x + frame * DIM_STRIDE;
    for (int c = 0; c < DIM; c++) row[c] = row[c] * weights->embed_norm[c] + weights->embed_norm[DIM_PADDED + c];
  }

  blocks(job, 1, scratch, frames, team, weights);

  norm(x, normalised, frames);
  product(normalised, DIM_STRIDE, weights->magnitude, DIM, BINS_PADDED, spectrum, SPECTRUM_STRIDE, frames);
  product(normalised, DIM_STRIDE, weights->phase, DIM, BINS_PADDED, spectrum + BINS_PADDED, SPECTRUM_STRIDE, frames);
  for (int frame = 0; frame < frames; frame++) {
    float *re = spectrum + frame * SPECTRUM_STRIDE;
    float *im = re + BINS_PADDED;
    float *samples = scratch->values + SCRATCH_FFT + frame * FFT_STRIDE;
    for (int bin = 0; bin < BINS; bin++) {
      const float size = fminf(expf(re[bin]), MAX_MAGNITUDE);
      const float angle = im[bin];
      re[bin] = size * cosf(angle);
      im[bin] = size * sinf(angle);
    }
    inverse_real_fft(re, samples);
    for (int i = 0; i < N_FFT; i++) samples[i] *= vocosc_synthesis_window[i];
    for (int i = 0; i < OVERLAP; i++) samples[i] += stream->overlap[i];
    memcpy(job->audio + frame * HOP, samples, sizeof(float) * HOP);
    memcpy(stream->overlap, samples + HOP, sizeof(float) * OVERLAP);
  }
}

void vocosc_network_libs(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames,
                         const vocosc_team *team) {
  for (int job = 0; team->worker == 0 && job < count; job++) decode(jobs + job, scratch, frames, team);
  if (team->workers > 1) team->barrier(team->context);
}

void vocosc_analysis_libs(const float *window, vocosc_scratch *scratch, float *mel) {
  float *samples = scratch->values + SCRATCH_ANALYSIS;
  float *re = samples + SPECTRUM_STRIDE;
  float *im = re + BINS_PADDED;
  const float scale = N_FFT % 2 == 0 ? 2.0f : 1.0f; /* the window's other half: see vocosc_tables.c */
  for (int i = 0; i < N_FFT; i++) samples[i] = scale * vocosc_analysis_window[i] * window[i];
  const fftwf_plan plan =
      fftwf_plan_guru_split_dft_r2c(1, &transform, 0, NULL, samples, re, im, FFTW_ESTIMATE | FFTW_UNALIGNED);
  fftwf_execute(plan);
  fftwf_destroy_plan(plan);
  for (int filter = 0; filter < MELS; filter++) {
    const int start = vocosc_mel_first_weight[filter];
    const int end = vocosc_mel_first_weight[filter + 1];
    float sum = 0.0f;
    for (int i = start; i < end; i++) {
      const int bin = vocosc_mel_first_bin[filter] + i - start;
      sum += vocosc_mel_weights[i] * sqrtf(re[bin] * re[bin] + im[bin] * im[bin] + 1e-6f);
    }
    mel[filter] = logf(fmaxf(sum, MEL_FLOOR));
  }
}
