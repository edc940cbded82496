/*
 * The network: log-mel frames to audio. Compiled once per instruction set (VOCOSC_ISA_...).
 *
 *   mel -> embedding -> norm -> x
 *   blocks: x += contract(gelu(expand(norm(conv(x)))))
 *   x -> norm -> head: magnitude and phase -> spectrum -> inverse FFT -> window, overlap-add -> audio
 *
 * The norms' scale and shift, the layer scale and the weight norm are folded into the tables (see compiler/fold.py).
 * Activations are rows of frames, [streams][frames][channels], channels padded to whole panels of 16; the padding stays
 * zero. Only the convolutions and the overlap-add know streams apart.
 * Every dot product is one chain of fused multiply-adds in the order of its inputs, starting at the bias; sums over
 * channels run over 16 lanes and one tree. Nothing depends on how frames are grouped into chunks, nor on the number of
 * workers or lanes: hence the same bits for all of them.
 *
 * Each step below is shared out among the team's workers: matrix products by panels of outputs, the others by frames. A
 * barrier separates the steps.
 */
#include "vocosc_network.h"

#include <string.h>

#include "vocosc_fft.h"
#include "vocosc_model.h"
#include "vocosc_vector.h"
#include "vocosc_vector_math.h"

/* What a layer does to a finished dot product on its way to y; the tiles below call these. */
static inline void finish_embed(float *y, vec sum) { vec_store(y, sum); }
static inline void finish_expand(float *y, vec sum) { vec_store(y, vec_gelu(sum)); }
static inline void finish_contract(float *y, vec sum) { vec_store(y, vec_add(vec_load(y), sum)); } /* the residual */
static inline void finish_magnitude(float *y, vec sum) { vec_store(y, vec_min(vec_exp(sum), vec_set(MAX_MAGNITUDE))); }
static inline void finish_phase(float *y, vec sum) { /* y holds the magnitudes */
  const vec size = vec_load(y);
  vec sine, cosine;
  vec_sincos(sum, &sine, &cosine);
  vec_store(y, vec_mul(size, cosine));
  vec_store(y + BINS_PADDED, vec_mul(size, sine));
}

#if defined(VOCOSC_ISA_AVX512)
#include "vocosc_tiles_avx512.h"
#elif defined(VOCOSC_ISA_AVX2)
#include "vocosc_tiles_avx2.h"
#elif defined(VOCOSC_ISA_NEON)
#include "vocosc_tiles_neon.h"
#else
#include "vocosc_tiles_portable.h"
#endif

/* The first of `count` items that is this worker's: its share runs up to the next worker's first. */
static int share(int count, int worker, int workers) { return count * worker / workers; }

static void barrier(const vocosc_team *team) {
  if (team->workers > 1) team->barrier(team->context);
}

/*
 * Takes its mean from a row [DIM_PADDED] whose padding is zero and stays so; `sums` are the row's lane sums. Returns
 * the factor, in all lanes, that completes LayerNorm without its affine part, and in `largest` each lane's largest
 * |value|.
 */
static vec centre(float *row, const vec sums[PANEL_VECTORS], vec *largest) {
  const vec mean = vec_set(panel_sum(sums) / (float)DIM);
  vec squares[PANEL_VECTORS];
  for (int v = 0; v < PANEL_VECTORS; v++) squares[v] = vec_set(0.0f);
  *largest = vec_set(0.0f);
  for (int panel = 0; panel < DIM_PADDED; panel += PANEL) {
    for (int v = 0; v < PANEL_VECTORS; v++) {
      float *p = row + panel + v * VEC_LANES;
      vec centred = vec_sub(vec_load(p), mean);
      if (DIM < DIM_PADDED && panel + PANEL > DIM) {
        centred = vec_mul(centred, vec_load(vocosc_last_panel_mask + v * VEC_LANES));
      }
      vec_store(p, centred);
      squares[v] = vec_fma(centred, centred, squares[v]);
      *largest = vec_max(vec_abs(centred), *largest);
    }
  }
  const float variance = panel_sum(squares) / (float)DIM;
  return vec_div(vec_set(1.0f), vec_sqrt(vec_set(variance + NORM_EPSILON)));
}

static void normalise(float *row, const vec sums[PANEL_VECTORS]) {
  vec largest;
  const vec factor = centre(row, sums, &largest);
  for (int c = 0; c < DIM_PADDED; c += VEC_LANES) vec_store(row + c, vec_mul(vec_load(row + c), factor));
}

/* LayerNorm without its affine part: x to y, rows of DIM_STRIDE. */
static void norm(const float *x, float *y, int first, int last) {
  for (int frame = first; frame < last; frame++) {
    const float *from = x + frame * DIM_STRIDE;
    float *row = y + frame * DIM_STRIDE;
    vec sums[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++) sums[v] = vec_set(0.0f);
    for (int panel = 0; panel < DIM_PADDED; panel += PANEL) {
      for (int v = 0; v < PANEL_VECTORS; v++) {
        const vec value = vec_load(from + panel + v * VEC_LANES);
        vec_store(row + panel + v * VEC_LANES, value);
        sums[v] = vec_add(sums[v], value);
      }
    }
    normalise(row, sums);
  }
}

/* The affine part of the embedding's norm, in place; the other norms' is folded into the layer after them. */
static void scale_and_shift(float *x, const float *table, int first, int last) {
  for (int frame = first; frame < last; frame++) {
    float *row = x + frame * DIM_STRIDE;
    for (int c = 0; c < DIM_PADDED; c += VEC_LANES) {
      vec_store(row + c, vec_fma(vec_load(row + c), vec_load(table + c), vec_load(table + DIM_PADDED + c)));
    }
  }
}

#if INT8_BLOCKS
/* The largest of all lanes, in each. A vector throughout: of a float's maximum compilers make a branch. */
static vec largest_lane(vec a) {
  float lanes[VEC_LANES];
  vec_store(lanes, a);
  vec largest = vec_set(lanes[0]);
  for (int lane = 1; lane < VEC_LANES; lane++) largest = vec_max(vec_set(lanes[lane]), largest);
  return largest;
}

static float first_lane(vec a) {
  float lanes[VEC_LANES];
  vec_store(lanes, a);
  return lanes[0];
}
#endif

#if INT8_BLOCKS && BYTE_ROWS
/*
 * A row x * factor of `width` values as bytes, to nearest: row = scale * (y - zero), where x lies between each lane's
 * -minus_least and largest, and these are not below 0. A row of zeros has a tiny scale.
 */
static row_scale quantise(const float *x, int width, vec factor, vec minus_least, vec largest, quantised *y) {
  const vec below = largest_lane(vec_mul(minus_least, factor));
  const vec above = largest_lane(vec_mul(largest, factor));
  const vec span = vec_max(vec_add(above, below), vec_set(1e-30f));
  const vec inverse = vec_div(vec_set(255.0f), span);
  const vec rounder = vec_set(0x1.8p23f);
  const vec most = vec_set(255.0f); /* and what NaN, of values beyond all floats, becomes */
  const vec zero = vec_min(vec_sub(vec_add(vec_mul(below, inverse), rounder), rounder), most);
  for (int c = 0; c < width; c += VEC_LANES) {
    const vec scaled = vec_fma(vec_mul(vec_load(x + c), factor), inverse, zero);
    vec_store_inputs(y + c, vec_max(vec_min(scaled, most), vec_set(0.0f)));
  }
  return (row_scale){first_lane(span) / 255.0f, (int32_t)first_lane(zero) - VEC_INPUT_OFFSET};
}

/* Rows of hidden values, quantised for the contraction. */
static void quantise_hidden(const float *hidden, quantised *y, row_scale *scales, int first, int last) {
  for (int frame = first; frame < last; frame++) {
    const float *row = hidden + frame * HIDDEN_STRIDE;
    vec largest = vec_set(0.0f);
    vec minus_least = vec_set(0.0f);
    for (int c = 0; c < HIDDEN_PADDED; c += VEC_LANES) {
      largest = vec_max(vec_load(row + c), largest);
      minus_least = vec_max(vec_sub(vec_set(0.0f), vec_load(row + c)), minus_least);
    }
    scales[frame] = quantise(row, HIDDEN_PADDED, vec_set(1.0f), minus_least, largest, y + frame * QUANTISED_STRIDE);
  }
}
#elif INT8_BLOCKS
/*
 * A row x * factor of `width` values as int16 between -limit and limit, to nearest; returns its scale: row = scale * y.
 * `largest` is each lane's largest |x|. A row of zeros has a tiny scale.
 */
static row_scale quantise(const float *x, int width, vec factor, vec largest, int limit, quantised *y) {
  const vec range = vec_max(largest_lane(vec_mul(largest, factor)), vec_set(1e-30f));
  const vec low = vec_set(-(float)limit);
  const vec high = vec_set((float)limit);
  const vec inverse = vec_div(high, range);
  for (int c = 0; c < width; c += VEC_LANES) {
    const vec scaled = vec_mul(vec_mul(vec_load(x + c), factor), inverse);
    vec_store_inputs(y + c, vec_max(vec_min(scaled, high), low)); /* rounding may pass the limit; NaN is the limit */
  }
  return (row_scale){first_lane(range) / (float)limit};
}

/* Rows of hidden values, quantised for the contraction. */
static void quantise_hidden(const float *hidden, quantised *y, row_scale *scales, int first, int last) {
  for (int frame = first; frame < last; frame++) {
    const float *row = hidden + frame * HIDDEN_STRIDE;
    vec largest = vec_set(0.0f);
    for (int c = 0; c < HIDDEN_PADDED; c += VEC_LANES) largest = vec_max(vec_abs(vec_load(row + c)), largest);
    scales[frame] = quantise(row, HIDDEN_PADDED, vec_set(1.0f), largest, CONTRACT_LIMIT, y + frame * QUANTISED_STRIDE);
  }
}
#endif

/*
 * Causal depthwise convolution and LayerNorm of the residual's rows, `frames` rows a job, and with int8 weights their
 * quantisation. The CONTEXT rows before a job's first are in its stream's history, from `history` on. `table` is
 * [1 + TAPS][DIM_PADDED]: bias, then the taps, oldest first.
 */
static void conv_norm(const vocosc_job *jobs, vocosc_scratch *scratch, int frames, int history, const float *table,
                      int first, int last) {
  for (int index = first; index < last; index++) {
    const int frame = index % frames;
    const float *before = jobs[index / frames].stream->history + history;
    const float *job_x = scratch->values + SCRATCH_RESIDUAL + (index - frame) * DIM_STRIDE;
    const float *rows[TAPS];
    for (int tap = 0; tap < TAPS; tap++) {
      const int from = frame + tap - CONTEXT;
      rows[tap] = from < 0 ? before + (from + CONTEXT) * DIM_PADDED : job_x + from * DIM_STRIDE;
    }
    float *row = scratch->values + SCRATCH_NORMALISED + index * DIM_STRIDE;
    vec sums[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++) sums[v] = vec_set(0.0f);
    for (int panel = 0; panel < DIM_PADDED; panel += PANEL) {
      for (int v = 0; v < PANEL_VECTORS; v++) {
        const int c = panel + v * VEC_LANES;
        vec value = vec_load(table + c);
        for (int tap = 0; tap < TAPS; tap++) {
          value = vec_fma(vec_load(rows[tap] + c), vec_load(table + (1 + tap) * DIM_PADDED + c), value);
        }
        vec_store(row + c, value);
        sums[v] = vec_add(sums[v], value);
      }
    }
#if INT8_BLOCKS
    vec largest;
    const vec factor = centre(row, sums, &largest);
    quantised *y = (quantised *)(scratch->values + SCRATCH_QUANTISED) + index * QUANTISED_STRIDE;
    row_scale *scales = (row_scale *)(scratch->values + SCRATCH_ROW_SCALES);
#if BYTE_ROWS
    /* Normalised values lie as far below 0 as above. */
    scales[index] = quantise(row, DIM_PADDED, factor, largest, largest, y);
#else
    scales[index] = quantise(row, DIM_PADDED, factor, largest, EXPAND_LIMIT, y);
#endif
#else
    normalise(row, sums);
#endif
  }
}

/* Moves channels first .. last - 1 of the last CONTEXT rows of (history, x) into history. */
static void keep_history(float *history, const float *x, int frames, int first, int last) {
  const size_t bytes = (size_t)(last - first) * sizeof(float);
  for (int row = 0; row < CONTEXT; row++) {
    const int from = row + frames;
    const float *source = from < CONTEXT ? history + from * DIM_PADDED : x + (from - CONTEXT) * DIM_STRIDE;
    memcpy(history + row * DIM_PADDED + first, source + first, bytes);
  }
}

/*
 * One ConvNeXt block: x += contract(gelu(expand(norm(conv(x))))). `history` is where the block's rows begin in the
 * history of a stream.
 */
static void block(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team,
                  int history, const float *conv_table, const block_weight *expand_table,
                  const block_weight *contract_table) {
  float *x = scratch->values + SCRATCH_RESIDUAL;
  float *hidden = scratch->values + SCRATCH_HIDDEN;
  const int worker = team->worker;
  const int workers = team->workers;

  const int rows = count * frames;
  const int first_row = share(rows, worker, workers);
  const int last_row = share(rows, worker + 1, workers);
  const int first_channel = share(DIM_PADDED, worker, workers);
  const int last_channel = share(DIM_PADDED, worker + 1, workers);
  const int first_expand = share(EXPAND_PANELS, worker, workers);
  const int last_expand = share(EXPAND_PANELS, worker + 1, workers);
  const int first_contract = share(CONTRACT_PANELS, worker, workers);
  const int last_contract = share(CONTRACT_PANELS, worker + 1, workers);

  conv_norm(jobs, scratch, frames, history, conv_table, first_row, last_row);
  barrier(team);
  for (int job = 0; job < count; job++) {
    float *kept = jobs[job].stream->history + history;
    keep_history(kept, x + job * frames * DIM_STRIDE, frames, first_channel, last_channel);
  }
#if INT8_BLOCKS
  quantised *rows_in = (quantised *)(scratch->values + SCRATCH_QUANTISED);
  row_scale *scales = (row_scale *)(scratch->values + SCRATCH_ROW_SCALES);
  expand(rows_in, scales, expand_table, hidden, rows, first_expand, last_expand);
  barrier(team);
  quantise_hidden(hidden, rows_in, scales, first_row, last_row);
  barrier(team);
  contract(rows_in, scales, contract_table, x, rows, first_contract, last_contract);
#else
  const float *normalised = scratch->values + SCRATCH_NORMALISED;
  expand(normalised, expand_table, hidden, rows, first_expand, last_expand);
  barrier(team);
  contract(hidden, contract_table, x, rows, first_contract, last_contract);
#endif
  barrier(team);
}

#include "vocosc_blocks.h"

/* Adds a frame's windowed samples to the overlap; the first HOP sums are complete and go out. */
static void overlap_add(const float *samples, float *overlap, float *audio) {
  for (int i = 0; i < HOP; i++) {
    audio[i] = i < OVERLAP ? fma_float(samples[i], vocosc_synthesis_window[i], overlap[i])
                           : samples[i] * vocosc_synthesis_window[i];
  }
  for (int i = HOP; i < N_FFT; i++) {
    overlap[i - HOP] = i < OVERLAP ? fma_float(samples[i], vocosc_synthesis_window[i], overlap[i])
                                   : samples[i] * vocosc_synthesis_window[i];
  }
}

void VOCOSC_FOR_ISA(vocosc_network)(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames,
                                    const vocosc_team *team) {
  const weights_file *weights = weights_of(jobs->stream);
  float *windows = scratch->values + SCRATCH_MEL_WINDOW; /* [jobs][CONTEXT + frames][MELS] */
  float *x = scratch->values + SCRATCH_RESIDUAL;
  float *normalised = scratch->values + SCRATCH_NORMALISED;
  float *spectrum = scratch->values + SCRATCH_SPECTRUM;
  float *work = scratch->values + SCRATCH_FFT;
  const int worker = team->worker;
  const int workers = team->workers;
  const int rows = count * frames;
  const int first_row = share(rows, worker, workers);
  const int last_row = share(rows, worker + 1, workers);
  const int first_job = share(count, worker, workers);
  const int last_job = share(count, worker + 1, workers);
  const int window_floats = (CONTEXT + frames) * MELS;

  for (int job = first_job; job < last_job; job++) {
    float *window = windows + job * window_floats;
    memcpy(window, jobs[job].stream->mel_history, sizeof(float) * CONTEXT * MELS);
    for (int i = 0; i < frames * MELS; i++) window[CONTEXT * MELS + i] = without_denormals(jobs[job].mel[i]);
  }
  barrier(team);
  for (int job = first_job; job < last_job; job++) {
    const float *window = windows + job * window_floats;
    memcpy(jobs[job].stream->mel_history, window + frames * MELS, sizeof(float) * CONTEXT * MELS);
  }
  for (int job = 0; job < count; job++) {
    embed(windows + job * window_floats, weights->embed, normalised + job * frames * DIM_STRIDE, frames,
          share(EMBED_PANELS, worker, workers), share(EMBED_PANELS, worker + 1, workers));
  }
  barrier(team);
  norm(normalised, x, first_row, last_row);
  scale_and_shift(x, weights->embed_norm, first_row, last_row);
  barrier(team);

  blocks(jobs, count, scratch, frames, team, weights);

  norm(x, normalised, first_row, last_row);
  barrier(team);
  /* The phases of a bin replace its magnitude by real and imaginary part, so both are the same worker's. */
  const int first_bins = share(BIN_PANELS, worker, workers);
  const int last_bins = share(BIN_PANELS, worker + 1, workers);
  magnitude(normalised, weights->magnitude, spectrum, rows, first_bins, last_bins);
  phase(normalised, weights->phase, spectrum, rows, first_bins, last_bins);
  barrier(team);
  for (int row = first_row; row < last_row; row++) {
    inverse_real_fft(spectrum + row * SPECTRUM_STRIDE, work + row * FFT_STRIDE);
  }
  barrier(team);
  for (int job = first_job; job < last_job; job++) {
    for (int frame = 0; frame < frames; frame++) {
      const int row = job * frames + frame;
      const float *samples = inverse_real_fft_result(spectrum + row * SPECTRUM_STRIDE, work + row * FFT_STRIDE);
      overlap_add(samples, jobs[job].stream->overlap, jobs[job].audio + frame * HOP);
    }
  }
  barrier(team);
}

void VOCOSC_FOR_ISA(vocosc_analysis)(const float *window, vocosc_scratch *scratch, float *mel) {
  float *bins = scratch->values + SCRATCH_ANALYSIS;
  float *work = bins + SPECTRUM_STRIDE;
  const float *magnitudes = forward_real_fft(window, bins, work);
  float sums[PANEL];
  for (int panel = 0; panel < MELS; panel += PANEL) {
    for (int j = 0; j < PANEL; j++) {
      float sum = 0.0f;
      if (panel + j < MELS) {
        const int first = vocosc_mel_first_bin[panel + j];
        const int start = vocosc_mel_first_weight[panel + j];
        const int end = vocosc_mel_first_weight[panel + j + 1];
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
