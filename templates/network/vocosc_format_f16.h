/* Weights in half, with a scale per output: see vocosc_format_f32.h. */
#ifndef VOCOSC_FORMAT_F16_H
#define VOCOSC_FORMAT_F16_H

#include "vocosc_vector.h"

enum { F16_STEP = 1 };
typedef vec f16_sum, f16_inputs, f16_outputs;
#ifndef VEC_SHARED_HALVES
typedef vec f16_weights;
static inline f16_weights f16_load_weights(const uint16_t *w) { return vec_load_half(w); }
static inline vec f16_value(f16_weights weights) { return weights; }
#endif
//% if small_halves
#ifdef VEC_SMALL_HALVES
static inline f16_weights f16_load_small_weights(const uint16_t *w) { return vec_load_small_half(w); }
#endif
//% endif

static inline f16_sum f16_begin(const float *header) { return vec_load(header); }
static inline f16_inputs f16_load_inputs(const float *x) { return vec_set(*x); }
static inline f16_sum f16_accumulate(f16_sum sum, f16_weights weights, f16_inputs inputs) {
  return vec_fma(inputs, f16_value(weights), sum);
}
static inline f16_outputs f16_load_outputs(const float *header) { return vec_load(header + PANEL); }
static inline vec f16_finish(f16_sum sum, f16_outputs scale) { return vec_mul(sum, scale); }

#endif /* VOCOSC_FORMAT_F16_H */
