/*
 * Weights in float. A format NAME (compiler/formats/NAME.py) says in C, for tiles of any shape (vocosc_tiles_....h):
 *
 *   NAME_STEP                      inputs that an accumulation takes
 *   NAME_sum, NAME_inputs, NAME_weights    one vector of outputs' sums, an input of all of them, their weights
 *   NAME_begin(header)             a sum at its beginning; `header` is where the outputs' biases stand
 *   NAME_load_inputs(x), NAME_load_weights(w), NAME_accumulate(sum, weights, inputs)
 *   NAME_outputs, NAME_load_outputs(header)    what finishes an output, where a header has more than biases
 *   NAME_finish(sum[, outputs][, row scale])   the finished dot product
 *
 * and, if rows are quantised, NAME_row_scale, NAME_quantise_normalised and NAME_quantise_row: see vocosc_format_w8.h.
 */
#ifndef VOCOSC_FORMAT_F32_H
#define VOCOSC_FORMAT_F32_H

#include "vocosc_vector.h"

enum { F32_STEP = 1 };
typedef vec f32_sum, f32_inputs, f32_weights;

static inline f32_sum f32_begin(const float *header) { return vec_load(header); }
static inline f32_inputs f32_load_inputs(const float *x) { return vec_set(*x); }
static inline f32_weights f32_load_weights(const float *w) { return vec_load(w); }
static inline f32_sum f32_accumulate(f32_sum sum, f32_weights weights, f32_inputs inputs) {
  return vec_fma(inputs, weights, sum);
}
static inline vec f32_finish(f32_sum sum) { return sum; }

#endif /* VOCOSC_FORMAT_F32_H */
