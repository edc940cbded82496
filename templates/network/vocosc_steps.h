/*
 * The steps of the network, but for its matrix products (vocosc_tiles_....h). Each is shared out among the workers, by
 * frames or by streams, and ends with a barrier.
 */
#ifndef VOCOSC_STEPS_H
#define VOCOSC_STEPS_H

#include "vocosc_chunk.h"
#include "vocosc_fft.h"
//% for format in formats
#include "vocosc_format_${format.name}.h"
//% endfor
#include "vocosc_memory.h"
#include "vocosc_model.h"
//% if plan.counts_frames
#include "vocosc_output.h"
//% endif
#include "vocosc_values.h"
#include "vocosc_vector.h"
#include "vocosc_vector_math.h"

/*
 * Takes its mean from a row [DIM_PADDED] whose padding is zero and stays so; `sums` are the row's lane sums. Returns
 * the factor, in all lanes, that completes LayerNorm without its affine part, and in `largest` each lane's largest
 * |value|.
 */
static vec centre(float *row, const vec sums[PANEL_VECTORS], vec *largest) {
  const vec mean = vec_set(panel_sum(sums) / (float)DIM);
  vec squares[PANEL_VECTORS];
#ifdef VEC_CENTRES
  *largest = vec_centre(row, mean, squares);
#else
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
#endif
  const float variance = panel_sum(squares) / (float)DIM;
  return vec_div(vec_set(1.0f), vec_sqrt(vec_set(variance + NORM_EPSILON)));
}

/*
 * LayerNorm: x to y, rows of DIM_STRIDE. `affine` is [scale, shift][DIM_PADDED], or null where it is folded into a
 * product that follows. Of that product's inputs those below 2^-64 count as zero, so that with weights in half no sum
 * can become denormal: an instruction set that has no denormals (MVE) then gives the same bits.
 */
static ONE_COPY void layer_norm(const chunk *c, const float *x, const float *affine, float *y) {
  for (int frame = c->first_row; frame < c->last_row; frame++) {
    const float *from = x + frame * DIM_STRIDE;
    float *row = y + frame * DIM_STRIDE;
    vec sums[PANEL_VECTORS];
#ifdef VEC_CONVOLVES
    memcpy(row, from, sizeof(float) * DIM_PADDED);
    vec_lane_sums(row, sums);
#else
    for (int v = 0; v < PANEL_VECTORS; v++) sums[v] = vec_set(0.0f);
    for (int panel = 0; panel < DIM_PADDED; panel += PANEL) {
      for (int v = 0; v < PANEL_VECTORS; v++) {
        const vec value = vec_load(from + panel + v * VEC_LANES);
        vec_store(row + panel + v * VEC_LANES, value);
        sums[v] = vec_add(sums[v], value);
      }
    }
#endif
    vec largest;
    const vec factor = centre(row, sums, &largest);
    for (int i = 0; affine != NULL && i < DIM_PADDED; i += VEC_LANES) {
      const vec value = vec_mul(vec_load(row + i), factor);
      vec_store(row + i, vec_fma(value, vec_load(affine + i), vec_load(affine + DIM_PADDED + i)));
    }
    for (int i = 0; affine == NULL && i < DIM_PADDED; i += VEC_LANES) {
      const vec value = vec_mul(vec_load(row + i), factor);
      const vec_bits size = vec_to_bits(vec_abs(value));
      const vec_bits is_small = vec_bits_shift_right(vec_bits_add(size, vec_bits_set(0u - SMALLEST_NORMALISED)), 31);
      const vec normalised = vec_select(is_small, vec_set(0.0f), value);
      vec_store(row + i, ${"vec_enlarge(normalised)" if "layer_norm" in enlarged else "normalised"});
    }
  }
  barrier(c);
}

//% if plan.lookahead
/*
 * Rows of frames outside the utterance are zero at the input of every convolution, whatever the layers below made of
 * them. x is `lag` frames behind the mel.
 */
STEP void clear_outside(const chunk *c, float *x, int lag) {
  if (!c->is_edge) return;
  for (int row = c->first_row; row < c->last_row; row++) {
    const vocosc_job *job = c->jobs + row / c->frames;
    const int frame = frames_seen(job->stream) + row % c->frames - lag;
    if (frame < 0 || (job->mel == NULL && frame >= (int)job->stream->frames)) {
      memset(x + row * DIM_STRIDE, 0, sizeof(float) * DIM_PADDED);
    }
  }
  barrier(c);
}

/*
 * Channels first .. last - 1 of the last LEFT rows of (history, x) to history. x becomes the rows `right` frames before
 * it: those that the convolution's output is for.
 */
static void keep_history(float *history, float *x, int frames, int first, int last, int right) {
  float kept[LEFT][PANEL];
  for (int panel = first; panel < last; panel += PANEL) {
    for (int row = 0; row < LEFT; row++) memcpy(kept[row], history + row * DIM_PADDED + panel, sizeof kept[row]);
    for (int row = 0; row < LEFT; row++) {
      const int from = row + frames;
      const float *source = from < LEFT ? kept[from] : x + (from - LEFT) * DIM_STRIDE + panel;
      memcpy(history + row * DIM_PADDED + panel, source, sizeof kept[row]);
    }
    for (int row = frames - 1; right > 0 && row >= 0; row--) {
      const float *source = row < right ? kept[LEFT + row - right] : x + (row - right) * DIM_STRIDE + panel;
      memcpy(x + row * DIM_STRIDE + panel, source, sizeof kept[0]);
    }
  }
}
//% else
/* Channels first .. last - 1 of the last LEFT rows of (history, x) to history. */
static void keep_history(float *history, const float *x, int frames, int first, int last) {
  const size_t bytes = (size_t)(last - first) * sizeof(float);
  for (int row = 0; row < LEFT; row++) {
    const int from = row + frames;
    const float *source = from < LEFT ? history + from * DIM_PADDED : x + (from - LEFT) * DIM_STRIDE;
    memcpy(history + row * DIM_PADDED + first, source + first, bytes);
  }
}
//% endif

/*
 * The depthwise convolution of one row of x, that of frame `frame` of its stream; rows before the stream's first are in
 * its history [LEFT][DIM_PADDED]. `table` is [bias, taps, oldest first][DIM_PADDED], or as vec_convolve wants it. Adds up
 * the row's lane sums.
 */
static void convolve(const float *x, const float *history, int frame, const float *table, float *row,
                     vec sums[PANEL_VECTORS]) {
  const float *rows[TAPS];
  for (int tap = 0; tap < TAPS; tap++) {
    const int from = tap - LEFT;
    rows[tap] = frame + from < 0 ? history + (frame + tap) * DIM_PADDED : x + from * DIM_STRIDE;
  }
#ifdef VEC_CONVOLVES
  vec_convolve(rows, table, row);
  vec_lane_sums(row, sums);
#else
  for (int v = 0; v < PANEL_VECTORS; v++) sums[v] = vec_set(0.0f);
  for (int panel = 0; panel < DIM_PADDED; panel += PANEL) {
    for (int v = 0; v < PANEL_VECTORS; v++) {
      const int i = panel + v * VEC_LANES;
      vec value = vec_load(table + i);
      for (int tap = 0; tap < TAPS; tap++) {
        value = vec_fma(vec_load(rows[tap] + i), vec_load(table + (1 + tap) * DIM_PADDED + i), value);
      }
      vec_store(row + i, value);
      sums[v] = vec_add(sums[v], value);
    }
  }
#endif
}

/* The end of a convolution: each stream's last rows, for the next chunk. A worker keeps the channels that it may write. */
static void keep_histories(const chunk *c, ${"" if plan.lookahead else "const "}float *x, int state${", int right" if plan.lookahead}) {
  const int first = PANEL * first_of(c, DIM_PADDED / PANEL);
  const int last = PANEL * last_of(c, DIM_PADDED / PANEL);
  for (int job = 0; job < c->count; job++) {
    keep_history(c->jobs[job].stream->values + state, x + job * c->frames * DIM_STRIDE, c->frames, first, last${", right" if plan.lookahead});
  }
}
//% for format in formats if format.is_integer
//% if loop.first

/* Where a quantised row begins, in elements, and how many rows lie side by side there. */
typedef struct {
  int first, spread;
} place;
//% endif

/* Of one of `rows` rows: the rows of a tile lie side by side, where the instruction set multiplies them so. */
static inline place ${format.name}_place(int rows, int row) {
#ifdef ${format.name | upper}_SIDE_BY_SIDE
  const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const int tile = ((row + 1) * tiles - 1) / rows; /* vocosc_tiles_....h divides them so */
  const int first = rows * tile / tiles;
  return (place){first * QUANTISED_STRIDE + (row - first) * ${format.name | upper}_SIDE_BY_SIDE, rows * (tile + 1) / tiles - first};
#else
  (void)rows;
  return (place){row * QUANTISED_STRIDE, 1};
#endif
}
//% endfor
//% set x, right = ("float", ", int right") if plan.lookahead else ("const float", "")
//% for format in norm_formats

/*
 * ${"Depthwise" if plan.lookahead else "Causal depthwise"} convolution and LayerNorm, x to y, rows of DIM_STRIDE${"" if format.is_integer == 0 else ", quantised"}. `state` is where the stream's history of x stands.${" The convolution looks `right` frames ahead: by as many x is delayed." if plan.lookahead}
 */
//% if format.is_integer
STEP void conv_norm_${format.name}(const chunk *c, ${x} *x, int state, const float *table, float *normalised, int limit,
                      ${format.row_type} *y, ${format.name}_row_scale *scales${right}) {
//% else
STEP void conv_norm(const chunk *c, ${x} *x, int state, const float *table, float *normalised${right}) {
//% endif
  for (int index = c->first_row; index < c->last_row; index++) {
    float *row = normalised + index * DIM_STRIDE;
    vec sums[PANEL_VECTORS];
    convolve(x + index * DIM_STRIDE, c->jobs[index / c->frames].stream->values + state, index % c->frames, table, row, sums);
    vec largest;
    const vec factor = centre(row, sums, &largest);
//% if format.is_integer
    const place at = ${format.name}_place(c->rows, index);
    scales[index] = ${format.name}_quantise_normalised(row, DIM_PADDED, factor, largest, limit, y + at.first, at.spread);
//% else
    for (int i = 0; i < DIM_PADDED; i += VEC_LANES) {
      const vec value = vec_mul(vec_load(row + i), factor);
      vec_store(row + i, ${"vec_enlarge(value)" if "conv_norm" in enlarged else "value"});
    }
//% endif
  }
  barrier(c);
  keep_histories(c, x, state${", right" if plan.lookahead});
}
//% endfor
//% for format in quantised_formats

/* Rows of x, `width` wide and `stride` apart, as integers. */
STEP void quantise_${format.name}(const chunk *c, const float *x, int width, int stride, int limit, ${format.row_type} *y, ${format.name}_row_scale *scales) {
  for (int row = c->first_row; row < c->last_row; row++) {
    const place at = ${format.name}_place(c->rows, row);
    scales[row] = ${format.name}_quantise_row(x + row * stride, width, limit, y + at.first, at.spread);
  }
  barrier(c);
}
//% endfor
//% for format in window_formats

/*
 * Windows of the mel, as gather_windows leaves them, each as a row of integers. Past its end a window goes on to the
 * next one, so that what is left of its last panel is copied.
 */
STEP void quantise_windows_${format.name}(const chunk *c, const float *windows, int limit, ${format.row_type} *y, ${format.name}_row_scale *scales) {
  enum { WHOLE = TAPS * MELS / PANEL * PANEL, REST = TAPS * MELS - WHOLE };
  for (int row = c->first_row; row < c->last_row; row++) {
    const float *window = windows + (row + row / c->frames * LEFT) * MELS;
    float rest[PANEL] = {0.0f};
    memcpy(rest, window + WHOLE, REST * sizeof(float));
    vec largest = vec_set(0.0f);
    for (int i = 0; i < WHOLE; i += VEC_LANES) largest = vec_max(vec_abs(vec_load(window + i)), largest);
    for (int i = 0; i < PANEL; i += VEC_LANES) largest = vec_max(vec_abs(vec_load(rest + i)), largest);
    const place at = ${format.name}_place(c->rows, row);
    ${format.row_type} *to = y + at.first;
    scales[row] = ${format.name}_quantise_normalised(window, WHOLE, vec_set(1.0f), largest, limit, to, at.spread);
    if (REST > 0) ${format.name}_quantise_normalised(rest, PANEL, vec_set(1.0f), largest, limit, to + WHOLE * at.spread, at.spread);
  }
  barrier(c);
}
//% endfor

/*
 * Each job's mel, without denormals, behind the LEFT frames before it, which `state` holds: windows [jobs][LEFT + frames]
 * [MELS]. The last frames become the state.
 */
STEP void gather_windows(const chunk *c, int state, float *windows) {
  const int floats = (LEFT + c->frames) * MELS;
  const int first = first_of(c, c->count);
  const int last = last_of(c, c->count);
  for (int job = first; job < last; job++) {
    float *window = windows + job * floats;
    float *history = c->jobs[job].stream->values + state;
    memcpy(window, history, sizeof(float) * LEFT * MELS);
//% if plan.lookahead
    if (c->jobs[job].mel == NULL) memset(window + LEFT * MELS, 0, sizeof(float) * (size_t)(c->frames * MELS));
    for (int i = 0; c->jobs[job].mel != NULL && i < c->frames * MELS; i++) {
      window[LEFT * MELS + i] = without_denormals(c->jobs[job].mel[i]);
    }
//% else
    const float *mel = c->jobs[job].mel;
    for (int i = 0; i < c->frames * MELS; i++) window[LEFT * MELS + i] = without_denormals(mel[i]);
//% endif
    memcpy(history, window + c->frames * MELS, sizeof(float) * LEFT * MELS);
  }
  barrier(c);
}

/* Spectra [2][BINS_PADDED], rows of SPECTRUM_STRIDE, to samples without their window; both buffers are overwritten. */
STEP void inverse_rfft(const chunk *c, float *spectrum, float *samples) {
  for (int row = c->first_row; row < c->last_row; row++) {
    inverse_real_fft(spectrum + row * SPECTRUM_STRIDE, samples + row * SAMPLES_STRIDE);
  }
  barrier(c);
}

//% if plan.counts_frames
/*
 * Adds the windowed samples of frame `frame` to the overlap; the first HOP sums are complete. Those that are audio go
 * out${", divided by the envelope" if plan.is_divided}: returns how many they are.
 */
static int add_frame(const float *samples, int frame, float *overlap, float *audio) {
  const int first = samples_trimmed(frame);
  for (int i = first; i < HOP; i++) {
    audio[i - first] = i < OVERLAP ? fma_float(samples[i], vocosc_synthesis_window[i], overlap[i])
                                   : samples[i] * vocosc_synthesis_window[i];
  }
//% if plan.is_divided
  for (int i = first; i < HOP; i++) {
    audio[i - first] /= frame < COVER - 1 ? envelope_at(frame * HOP + i, frame + 1) : vocosc_envelope[i];
  }
//% endif
  for (int i = HOP; i < N_FFT; i++) {
    overlap[i - HOP] = i < OVERLAP ? fma_float(samples[i], vocosc_synthesis_window[i], overlap[i])
                                   : samples[i] * vocosc_synthesis_window[i];
  }
  return HOP - first;
}

/* Frames of samples, `stride` apart, to each job's audio. The streams have seen so many frames more. */
STEP void overlap_add(const chunk *c, const float *samples, int stride, int state) {
  const int first = first_of(c, c->count);
  const int last = last_of(c, c->count);
  for (int job = first; job < last; job++) {
    vocosc_stream *stream = c->jobs[job].stream;
    float *audio = c->jobs[job].audio;
    for (int i = 0; i < c->frames; i++) {
      const int frame = frames_seen(stream) + i - LOOKAHEAD;
      const float *from = samples + (job * c->frames + i) * stride;
      if (frame >= 0) audio += add_frame(from, frame, stream->values + state, audio);
    }
    const int frames = (int)stream->frames + c->frames;
    if (c->jobs[job].mel != NULL) stream->frames = (uint32_t)(frames < SETTLED ? frames : SETTLED);
//% if plan.lookahead
    if (c->jobs[job].mel == NULL) stream->flushed += (uint32_t)c->frames;
//% endif
  }
  barrier(c);
}
//% else
/* Adds a frame's windowed samples to the overlap; the first HOP sums are complete and go out. */
static void add_frame(const float *samples, float *overlap, float *audio) {
  enum { ADDED = HOP < OVERLAP ? HOP : OVERLAP, KEPT = HOP > OVERLAP ? HOP : OVERLAP };
  const float *window = vocosc_synthesis_window;
  for (int i = 0; i < ADDED; i++) audio[i] = fma_float(samples[i], window[i], overlap[i]);
  for (int i = ADDED; i < HOP; i++) audio[i] = samples[i] * window[i];
  for (int i = HOP; i < KEPT; i++) overlap[i - HOP] = fma_float(samples[i], window[i], overlap[i]);
  for (int i = KEPT; i < N_FFT; i++) overlap[i - HOP] = samples[i] * window[i];
}

/* Frames of samples, `stride` apart, to each job's audio. */
STEP void overlap_add(const chunk *c, const float *samples, int stride, int state) {
  const int first = first_of(c, c->count);
  const int last = last_of(c, c->count);
  for (int job = first; job < last; job++) {
    for (int frame = 0; frame < c->frames; frame++) {
      const float *from = samples + (job * c->frames + frame) * stride;
      add_frame(from, c->jobs[job].stream->values + state, c->jobs[job].audio + frame * HOP);
    }
  }
  barrier(c);
}
//% endif

#endif /* VOCOSC_STEPS_H */
