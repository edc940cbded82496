/*
 * int4 weights, in groups with a scale each, times rows of int16: see vocosc_format_f32.h. What an instruction set has of
 * its own for it stands in its vocosc_vector_....h. Beside what other formats say:
 *
 *   W4_GROUP                       inputs that share a scale
 *   w4_group, w4_open()            one vector of outputs' sums over a group, and such sums at their beginning
 *   w4_scales, w4_load_scales(p)   the outputs' scales of a group
 *   w4_packed, w4_load_packed(p)   their weights for W4_STEP inputs, which w4_unpack(packed, part) and w4_load_inputs(x,
 *                                  part) take in W4_PARTS parts
 *   w4_close(sum, group, scales)   sum + group * scales
 */
#ifndef VOCOSC_FORMAT_W4_H
#define VOCOSC_FORMAT_W4_H

#include "vocosc_format_w8.h"
#include "vocosc_vector.h"

enum { W4_GROUP = ${layers.group}, W4_STEP = 8 };

#ifndef W4_PARTS
#define W4_PARTS 4
#define W4_INPUT_OFFSET 0
typedef vec_bits w4_group, w4_inputs;
static inline w4_group w4_open(void) { return vec_bits_set(0); }
static inline w4_inputs w4_load_inputs(const int16_t *x, int part) { return vec_bits_load_all(x + 2 * part); }
static inline w4_group w4_accumulate(w4_group group, w4_weights weights, w4_inputs inputs) {
  return w8_accumulate(group, weights, inputs);
}
static inline vec_bits w4_total(w4_group group) { return group; }
static inline void w4_store(int16_t *p, vec a) { w8_store(p, a); }
#endif

typedef vec_bits w4_sum, w4_scales;
typedef w8_row_scale w4_row_scale;
typedef struct {
  vec bias, scale;
  vec_bits weight_sum;
} w4_outputs;

static inline w4_sum w4_begin(const float *header) {
  (void)header;
  return vec_bits_set(0);
}
static inline w4_sum w4_close(w4_sum sum, w4_group group, w4_scales scales) {
  return vec_bits_add(sum, vec_bits_mul(w4_total(group), scales));
}
static inline w4_outputs w4_load_outputs(const float *header) {
  return (w4_outputs){vec_load(header), vec_load(header + PANEL), vec_to_bits(vec_load(header + 2 * PANEL))};
}
static inline vec w4_finish(w4_sum sum, w4_outputs outputs, w4_row_scale row) {
  const vec_bits shift = vec_bits_mul(vec_bits_set(W4_INPUT_OFFSET), outputs.weight_sum);
  const vec total = vec_from_int(vec_bits_sub(sum, shift));
  return vec_fma(total, vec_mul(vec_set(row.scale), outputs.scale), outputs.bias);
}

#ifdef W4_SIDE_BY_SIDE
enum { W4_TOGETHER = W4_SIDE_BY_SIDE };
#else
enum { W4_TOGETHER = VEC_LANES };
#endif

/* See w8_quantise_normalised. The row is filled up to whole groups with zeros. */
static w4_row_scale w4_quantise_normalised(const float *x, int width, vec factor, vec largest, int limit, int16_t *y, int spread) {
  for (int c = width; c % W4_GROUP != 0; c += VEC_LANES) {
    const int inside = c % W4_TOGETHER;
    w4_store(y + (c - inside) * spread + inside, vec_set(0.0f));
  }
  return quantise_int16(x, width, factor, largest, limit, y, W4_TOGETHER, spread, w4_store);
}

/* A row of `width` values, likewise. */
static inline w4_row_scale w4_quantise_row(const float *x, int width, int limit, int16_t *y, int spread) {
  const vec largest = largest_of(x, width);
  return w4_quantise_normalised(x, width, vec_set(1.0f), largest, limit, y, spread);
}

#endif /* VOCOSC_FORMAT_W4_H */
