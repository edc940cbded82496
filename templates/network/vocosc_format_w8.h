/*
 * int8 weights times rows of int16: see vocosc_format_f32.h. What an instruction set has of its own for it stands in its
 * vocosc_vector_....h.
 */
#ifndef VOCOSC_FORMAT_W8_H
#define VOCOSC_FORMAT_W8_H

#include "vocosc_vector.h"

#ifndef W8_STEP
#define W8_STEP 2
typedef vec_bits w8_sum, w8_inputs, w8_weights;
static inline w8_inputs w8_load_inputs(const int16_t *x) { return vec_bits_load_all(x); }
static inline w8_sum w8_zero(void) { return vec_bits_set(0); }
static inline vec_bits w8_total(w8_sum sum) { return sum; }
#endif

#ifdef W8_SIDE_BY_SIDE
enum { W8_TOGETHER = W8_SIDE_BY_SIDE };
#else
enum { W8_TOGETHER = VEC_LANES };
#endif

typedef struct {
  vec bias, scale;
} w8_outputs;

/* A row is scale * its integers. */
typedef struct {
  float scale;
} w8_row_scale;

static inline w8_sum w8_begin(const float *header) {
  (void)header;
  return w8_zero();
}
static inline w8_outputs w8_load_outputs(const float *header) {
  return (w8_outputs){vec_load(header), vec_load(header + PANEL)};
}
static inline vec w8_finish(w8_sum sum, w8_outputs outputs, w8_row_scale row) {
  return vec_fma(vec_from_int(w8_total(sum)), vec_mul(vec_set(row.scale), outputs.scale), outputs.bias);
}

/*
 * A row x * factor of `width` values as int16 between -limit and limit, to nearest, as `store` lays them out. `largest`
 * is each lane's largest |x|. A row of zeros has a tiny scale. `together` values lie together, and then come those of
 * `spread` - 1 other rows.
 */
static inline w8_row_scale quantise_int16(const float *x, int width, vec factor, vec largest, int limit, int16_t *y, int together, int spread, void store(int16_t *p, vec a)) {
  const vec range = vec_max(vec_largest_lane(vec_mul(largest, factor)), vec_set(1e-30f));
  const vec low = vec_set(-(float)limit);
  const vec high = vec_set((float)limit);
  const vec inverse = vec_div(high, range);
#ifdef W8_ROWS_BY_VECTORS
  if (together == W8_SIDE_BY_SIDE) {
    w8_store_row(x, width, factor, inverse, limit, y, spread);
    return (w8_row_scale){vec_first_lane(range) / (float)limit};
  }
#endif
  for (int first = 0; first < width; first += together) {
    for (int c = first; c < first + together; c += VEC_LANES) {
      const vec scaled = vec_mul(vec_mul(vec_load(x + c), factor), inverse);
      /* rounding may pass the limit; NaN is the limit */
      store(y + first * spread + c - first, vec_max(vec_min(scaled, high), low));
    }
  }
  return (w8_row_scale){vec_first_lane(range) / (float)limit};
}

/* Each lane's largest |x|, of `width` values. */
static inline vec largest_of(const float *x, int width) {
#ifdef W8_ROWS_BY_VECTORS
  return w8_largest(x, width);
#else
  vec largest = vec_set(0.0f);
  for (int c = 0; c < width; c += VEC_LANES) largest = vec_max(vec_abs(vec_load(x + c)), largest);
  return largest;
#endif
}

static w8_row_scale w8_quantise_normalised(const float *x, int width, vec factor, vec largest, int limit, int16_t *y, int spread) {
  return quantise_int16(x, width, factor, largest, limit, y, W8_TOGETHER, spread, w8_store);
}

/* A row of `width` values, likewise. */
static inline w8_row_scale w8_quantise_row(const float *x, int width, int limit, int16_t *y, int spread) {
  const vec largest = largest_of(x, width);
  return w8_quantise_normalised(x, width, vec_set(1.0f), largest, limit, y, spread);
}

#endif /* VOCOSC_FORMAT_W8_H */
