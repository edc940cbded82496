/*
 * int16 weights times rows of int16: see vocosc_format_f32.h. What an instruction set has of its own for it stands in its
 * vocosc_vector_....h.
 */
#ifndef VOCOSC_FORMAT_W16_H
#define VOCOSC_FORMAT_W16_H

#include "vocosc_format_w8.h"
#include "vocosc_vector.h"

#ifndef W16_STEP
#define W16_STEP 2
typedef vec_bits w16_sum, w16_inputs, w16_weights;
static inline w16_inputs w16_load_inputs(const int16_t *x) { return vec_bits_load_all(x); }
static inline w16_weights w16_load_weights(const int16_t *w) {
  w16_weights weights;
  __builtin_memcpy(&weights, w, sizeof weights);
  return weights;
}
static inline w16_sum w16_zero(void) { return vec_bits_set(0); }
static inline w16_sum w16_accumulate(w16_sum sum, w16_weights weights, w16_inputs inputs) {
  return w8_accumulate(sum, weights, inputs);
}
static inline vec_bits w16_total(w16_sum sum) { return sum; }
static inline void w16_store(int16_t *p, vec a) { w8_store(p, a); }
#endif

typedef w8_outputs w16_outputs;
typedef w8_row_scale w16_row_scale;

static inline w16_sum w16_begin(const float *header) {
  (void)header;
  return w16_zero();
}
static inline w16_outputs w16_load_outputs(const float *header) { return w8_load_outputs(header); }
static inline vec w16_finish(w16_sum sum, w16_outputs outputs, w16_row_scale row) {
  return vec_fma(vec_from_int(w16_total(sum)), vec_mul(vec_set(row.scale), outputs.scale), outputs.bias);
}

#ifdef W16_SIDE_BY_SIDE
enum { W16_TOGETHER = W16_SIDE_BY_SIDE };
#else
enum { W16_TOGETHER = VEC_LANES };
#endif

/* See w8_quantise_normalised. */
static w16_row_scale w16_quantise_normalised(const float *x, int width, vec factor, vec largest, int limit, int16_t *y, int spread) {
  return quantise_int16(x, width, factor, largest, limit, y, W16_TOGETHER, spread, w16_store);
}

/* A row of `width` values, likewise. */
static inline w16_row_scale w16_quantise_row(const float *x, int width, int limit, int16_t *y, int spread) {
  const vec largest = largest_of(x, width);
  return w16_quantise_normalised(x, width, vec_set(1.0f), largest, limit, y, spread);
}

#endif /* VOCOSC_FORMAT_W16_H */
