/* Weights in bfloat16: see vocosc_format_f32.h. */
#ifndef VOCOSC_FORMAT_BF16_H
#define VOCOSC_FORMAT_BF16_H

#include "vocosc_vector.h"

enum { BF16_STEP = 1 };
typedef vec bf16_sum, bf16_inputs, bf16_weights;

static inline bf16_sum bf16_begin(const float *header) { return vec_load(header); }
static inline bf16_inputs bf16_load_inputs(const float *x) { return vec_set(*x); }
static inline bf16_weights bf16_load_weights(const uint16_t *w) {
  uint32_t bits[VEC_LANES];
  float values[VEC_LANES];
  for (int lane = 0; lane < VEC_LANES; lane++) bits[lane] = (uint32_t)w[lane] << 16;
  __builtin_memcpy(values, bits, sizeof values);
  return vec_load(values);
}
static inline bf16_sum bf16_accumulate(bf16_sum sum, bf16_weights weights, bf16_inputs inputs) {
  return vec_fma(inputs, weights, sum);
}
static inline vec bf16_finish(bf16_sum sum) { return sum; }

#endif /* VOCOSC_FORMAT_BF16_H */
