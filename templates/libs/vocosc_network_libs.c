/*
 * The network over OpenBLAS and FFTW3 (--link libs): the plainest way to write it down, for whoever may link them, and
 * the oracle of our own kernels. Rows are as in vocosc_network.h.
 *
 * The promises of the default profile do not hold here: the libraries allocate, FFTW's planner wants one thread at a
 * time, and the bits depend on the libraries. A team's first worker does all of the work. A product's table is a bias in
 * front of a row-major matrix [inputs][outputs].
 */
#include <cblas.h>
#include <fftw3.h>
#include <math.h>
#include <string.h>

#include "vocosc_model.h"
//% if plan.counts_frames
#include "vocosc_output.h"
//% endif
#include "vocosc_target.h"
#include "vocosc_values.h"

enum {
//% for product in plan.kernels
  ${product.name | upper}_INPUTS = ${product.inputs},
  ${product.name | upper}_OUTPUTS = ${product.outputs | padded},
//% endfor
};

/* y [frames][outputs] += bias + x [frames][inputs] times the table's matrix. */
static void add(const float *x, int x_stride, const float *table, int inputs, int outputs, float *y, int y_stride, int frames) {
  for (int frame = 0; frame < frames; frame++) {
    for (int i = 0; i < outputs; i++) y[frame * y_stride + i] += table[i];
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, frames, outputs, inputs, 1.0f, x, x_stride, table + outputs,
              outputs, 1.0f, y, y_stride);
}

/* The same, onto zeros. */
static void store(const float *x, int x_stride, const float *table, int inputs, int outputs, float *y, int y_stride, int frames) {
  for (int frame = 0; frame < frames; frame++) memset(y + frame * y_stride, 0, sizeof(float) * (size_t)outputs);
  add(x, x_stride, table, inputs, outputs, y, y_stride, frames);
}

/* A convolution of the mel: rows of windows overlap, which BLAS does not allow in one matrix. */
static void convolve_mel(const vocosc_job *job, int state, float *window, const float *table, int inputs, int outputs, float *y, int y_stride, int frames) {
  float *history = job->stream->values + state;
  memcpy(window, history, sizeof(float) * LEFT * MELS);
  for (int i = 0; i < frames * MELS; i++) window[LEFT * MELS + i] = ${"job->mel == NULL ? 0.0f : " if plan.lookahead}without_denormals(job->mel[i]);
  memcpy(history, window + frames * MELS, sizeof(float) * LEFT * MELS);
  for (int frame = 0; frame < frames; frame++) {
    store(window + frame * MELS, inputs, table, inputs, outputs, y + frame * y_stride, y_stride, 1);
  }
}

//% if plan.lookahead
/* Rows of frames outside the utterance are zero at the input of every convolution. x is `lag` frames behind the mel. */
static void clear_outside(const vocosc_job *job, float *x, int lag, int frames) {
  for (int row = 0; row < frames; row++) {
    const int frame = frames_seen(job->stream) + row - lag;
    if (frame < 0 || (job->mel == NULL && frame >= (int)job->stream->frames)) {
      memset(x + row * DIM_STRIDE, 0, sizeof(float) * DIM_PADDED);
    }
  }
}

/* Puts off x by `right` frames; `before` holds the rows before it. */
static void delay(float *x, float before[LEFT][DIM_PADDED], int right, int frames) {
  for (int row = frames - 1; row >= 0; row--) {
    const float *from = row < right ? before[LEFT + row - right] : x + (row - right) * DIM_STRIDE;
    memmove(x + row * DIM_STRIDE, from, sizeof(float) * DIM_PADDED);
  }
}

//% endif
/* `history` [LEFT][DIM_PADDED] holds the rows before x, and then the last ones of x. */
static void depthwise_conv(const float *x, float *history, const float *table, float *y, int frames) {
  for (int frame = 0; frame < frames; frame++) {
    float *row = y + frame * DIM_STRIDE;
    memcpy(row, table, sizeof(float) * DIM_PADDED);
    for (int tap = 0; tap < TAPS; tap++) {
      const int from = frame + tap - LEFT;
      const float *in = from < 0 ? history + (from + LEFT) * DIM_PADDED : x + from * DIM_STRIDE;
      for (int i = 0; i < DIM; i++) row[i] += in[i] * table[(1 + tap) * DIM_PADDED + i];
    }
  }
  for (int row = 0; row < LEFT; row++) {
    const int from = row + frames;
    const float *in = from < LEFT ? history + from * DIM_PADDED : x + (from - LEFT) * DIM_STRIDE;
    memcpy(history + row * DIM_PADDED, in, sizeof(float) * DIM_PADDED);
  }
}

/* A row x to y, which may be x. `affine` is [scale, shift][DIM_PADDED], or null. */
static void layer_norm(const float *x, const float *affine, float *y) {
  float sum = 0.0f;
  for (int i = 0; i < DIM; i++) sum += x[i];
  const float mean = sum / (float)DIM;
  float squares = 0.0f;
  for (int i = 0; i < DIM; i++) squares += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / sqrtf(squares / (float)DIM + NORM_EPSILON);
  for (int i = 0; i < DIM; i++) {
    y[i] = (x[i] - mean) * scale;
    if (affine != NULL) y[i] = y[i] * affine[i] + affine[DIM_PADDED + i];
  }
  memset(y + DIM, 0, sizeof(float) * (DIM_PADDED - DIM));
}

static void epilogue_gelu(float *row, int width) {
  for (int i = 0; i < width; i++) row[i] = 0.5f * row[i] * (1.0f + erff(row[i] * 0.70710678f));
}

static void epilogue_exp(float *row, int width) {
  for (int i = 0; i < width; i++) row[i] = fminf(expf(row[i]), MAX_MAGNITUDE);
}

/* Magnitudes and, BINS_PADDED behind them, phases become real and imaginary parts. */
static void epilogue_polar(float *re, int width) {
  float *im = re + BINS_PADDED;
  for (int bin = 0; bin < width; bin++) {
    const float size = re[bin];
    re[bin] = size * cosf(im[bin]);
    im[bin] = size * sinf(im[bin]);
  }
}

static const fftwf_iodim transform = {N_FFT, 1, 1};

/* Spectra [2][BINS_PADDED], which are overwritten, to samples [N_FFT]. */
static void inverse_rfft(float *spectra, float *samples, int frames) {
  for (int frame = 0; frame < frames; frame++) {
    float *re = spectra + frame * SPECTRUM_STRIDE;
    float *im = re + BINS_PADDED;
    im[0] = 0.0f;
    if (N_FFT % 2 == 0) im[BINS - 1] = 0.0f;
    const fftwf_plan plan =
        fftwf_plan_guru_split_dft_c2r(1, &transform, 0, NULL, re, im, samples + frame * SAMPLES_STRIDE,
                                      FFTW_ESTIMATE | FFTW_UNALIGNED | FFTW_DESTROY_INPUT);
    fftwf_execute(plan);
    fftwf_destroy_plan(plan);
  }
}

//% if plan.counts_frames
static void overlap_add(const vocosc_job *job, int state, float *samples, int frames) {
  float *overlap = job->stream->values + state;
  float *audio = job->audio;
  for (int i = 0; i < frames; i++) {
    const int frame = frames_seen(job->stream) + i - LOOKAHEAD;
    float *row = samples + i * SAMPLES_STRIDE;
    if (frame < 0) continue;
    for (int n = 0; n < N_FFT; n++) row[n] *= vocosc_synthesis_window[n];
    for (int n = 0; n < OVERLAP; n++) row[n] += overlap[n];
    for (int n = samples_trimmed(frame); n < HOP; n++) {
      *audio++ = row[n]${" / envelope_at(frame * HOP + n, frame + 1)" if plan.is_divided};
    }
    memcpy(overlap, row + HOP, sizeof(float) * OVERLAP);
  }
  const int seen = (int)job->stream->frames + frames;
  if (job->mel != NULL) {
    job->stream->frames = (uint32_t)(seen < SETTLED ? seen : SETTLED);
  } else {
    job->stream->flushed += (uint32_t)frames;
  }
}
//% else
static void overlap_add(const vocosc_job *job, int state, float *samples, int frames) {
  float *overlap = job->stream->values + state;
  for (int frame = 0; frame < frames; frame++) {
    float *row = samples + frame * SAMPLES_STRIDE;
    for (int i = 0; i < N_FFT; i++) row[i] *= vocosc_synthesis_window[i];
    for (int i = 0; i < OVERLAP; i++) row[i] += overlap[i];
    memcpy(job->audio + frame * HOP, row, sizeof(float) * HOP);
    memcpy(overlap, row + HOP, sizeof(float) * OVERLAP);
  }
}
//% endif

static void decode(const vocosc_job *job, vocosc_scratch *scratch, int frames) {
  const weights_file *weights = weights_of(job->stream);
  float *state = job->stream->values;
//% for buffer in plan.scratch if buffer.name not in ("audio", "analysis", "features", "jobs")
  float *${buffer.name} = scratch->values + SCRATCH_${buffer.name | upper};
//% endfor
//% if plan.lookahead
  float before[LEFT][DIM_PADDED];
//% endif

//% set lag = namespace(frames=0)
//% for operation in plan.network.operations
//% set name = operation.name
//% set KERNEL = operation.kernel | upper
//% set x = operation.x | upper
//% set y = operation.y
//% set Y = y | upper
//% if operation.kind == "conv"
  convolve_mel(job, STATE_${name | upper}, mel_windows, weights->${name}, ${KERNEL}_INPUTS, ${KERNEL}_OUTPUTS, ${y}, ${Y}_STRIDE, frames);
//% elif operation.kind == "linear"
  ${"add" if operation.epilogue == "add" else "store"}(${operation.x}, ${x}_STRIDE, weights->${name}, ${KERNEL}_INPUTS, ${KERNEL}_OUTPUTS, ${y}${" + BINS_PADDED" if operation.epilogue == "polar"}, ${Y}_STRIDE, frames);
//% if operation.epilogue not in ("add", "store")
  for (int frame = 0; frame < frames; frame++) epilogue_${operation.epilogue}(${y} + frame * ${Y}_STRIDE, ${KERNEL}_OUTPUTS);
//% endif
//% elif operation.kind == "depthwise_conv"
//% if plan.lookahead
  clear_outside(job, ${operation.x}, ${lag.frames}, frames);
  memcpy(before, state + STATE_${name | upper}, sizeof before);
//% endif
  depthwise_conv(${operation.x}, state + STATE_${name | upper}, weights->${name}, ${y}, frames);
//% if operation.right
  delay(${operation.x}, before, ${operation.right}, frames);
//% endif
//% elif operation.kind == "layer_norm"
  for (int frame = 0; frame < frames; frame++) layer_norm(${operation.x} + frame * ${x}_STRIDE, ${"weights->" ~ name if operation.tensors else "NULL"}, ${y} + frame * ${Y}_STRIDE);
//% elif operation.kind == "inverse_rfft"
  inverse_rfft(${operation.x}, ${y}, frames);
//% else
  overlap_add(job, STATE_OVERLAP, samples, frames);
//% endif
//% set lag.frames = lag.frames + operation.right
//% endfor
}

void vocosc_network_libs(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team) {
  for (int job = 0; team->worker == 0 && job < count; job++) decode(jobs + job, scratch, frames);
  if (team->workers > 1) team->barrier(team->context);
}
//% if config.mel

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
      sum += vocosc_mel_weights[i] * ${"sqrtf" if mel.power == 1}(re[bin] * re[bin] + im[bin] * im[bin] + POWER_FLOOR);
    }
    mel[filter] = logf(fmaxf(sum, MEL_FLOOR));
  }
}
//% endif
