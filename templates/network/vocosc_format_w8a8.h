/*
 * int8 weights times rows of bytes: see vocosc_format_f32.h. What an instruction set has of its own for it stands in its
 * vocosc_vector_....h; bytes are stored less W8A8_INPUT_OFFSET.
 */
#ifndef VOCOSC_FORMAT_W8A8_H
#define VOCOSC_FORMAT_W8A8_H

#include "vocosc_vector.h"

#ifndef W8A8_WIDE_ROWS
typedef uint8_t w8a8_element;
#endif
#ifndef W8A8_STEP
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 0
typedef vec_bits w8a8_sum, w8a8_inputs, w8a8_weights;
static inline w8a8_inputs w8a8_load_inputs(const uint8_t *x) { return vec_bits_load_all(x); }
static inline w8a8_sum w8a8_zero(void) { return vec_bits_set(0); }
static inline vec_bits w8a8_total(w8a8_sum sum) { return sum; }
#endif

#ifdef W8A8_SIDE_BY_SIDE
enum { W8A8_TOGETHER = W8A8_SIDE_BY_SIDE };
#else
enum { W8A8_TOGETHER = VEC_LANES };
#endif

typedef struct {
  vec bias, scale;
  vec_bits weight_sum;
} w8a8_outputs;

/* A row is scale * (its bytes as stored - zero point). */
typedef struct {
  float scale;
  int32_t zero_point;
} w8a8_row_scale;

static inline w8a8_sum w8a8_begin(const float *header) {
  (void)header;
  return w8a8_zero();
}
static inline w8a8_outputs w8a8_load_outputs(const float *header) {
  return (w8a8_outputs){vec_load(header), vec_load(header + PANEL), vec_to_bits(vec_load(header + 2 * PANEL))};
}
static inline vec w8a8_finish(w8a8_sum sum, w8a8_outputs outputs, w8a8_row_scale row) {
  const vec_bits shift = vec_bits_mul(vec_bits_set((uint32_t)row.zero_point), outputs.weight_sum);
  const vec total = vec_from_int(vec_bits_sub(w8a8_total(sum), shift));
  return vec_fma(total, vec_mul(vec_set(row.scale), outputs.scale), outputs.bias);
}

/*
 * A row x * factor of `width` values as bytes, to nearest, where x lies between each lane's -minus_least and largest, and
 * these are not below 0. A row of zeros has a tiny scale. W8A8_TOGETHER values lie together, as in vocosc_format_w8.h.
 */
static w8a8_row_scale w8a8_quantise(const float *x, int width, vec factor, vec minus_least, vec largest, w8a8_element *y, int spread) {
  const vec below = vec_largest_lane(vec_mul(minus_least, factor));
  const vec above = vec_largest_lane(vec_mul(largest, factor));
  const vec span = vec_max(vec_add(above, below), vec_set(1e-30f));
  const vec inverse = vec_div(vec_set(255.0f), span);
  const vec rounder = vec_set(0x1.8p23f);
  const vec most = vec_set(255.0f); /* and what NaN, of values beyond all floats, becomes */
  const vec zero_point = vec_min(vec_sub(vec_add(vec_mul(below, inverse), rounder), rounder), most);
  for (int first = 0; first < width; first += W8A8_TOGETHER) {
    for (int c = first; c < first + W8A8_TOGETHER; c += VEC_LANES) {
      const vec scaled = vec_fma(vec_mul(vec_load(x + c), factor), inverse, zero_point);
      w8a8_store(y + first * spread + c - first, vec_max(vec_min(scaled, most), vec_set(0.0f)));
    }
  }
  return (w8a8_row_scale){vec_first_lane(span) / 255.0f, (int32_t)vec_first_lane(zero_point) - W8A8_INPUT_OFFSET};
}

/* A row that lies as far below zero as above; `largest` is each lane's largest |x|. There is no limit to keep to. */
static inline w8a8_row_scale w8a8_quantise_normalised(const float *x, int width, vec factor, vec largest, int limit,
                                                      w8a8_element *y, int spread) {
  (void)limit;
  return w8a8_quantise(x, width, factor, largest, largest, y, spread);
}

/* Any row of `width` values. */
static inline w8a8_row_scale w8a8_quantise_row(const float *x, int width, int limit, w8a8_element *y, int spread) {
  (void)limit;
  vec largest = vec_set(0.0f);
  vec minus_least = vec_set(0.0f);
  for (int c = 0; c < width; c += VEC_LANES) {
    largest = vec_max(vec_load(x + c), largest);
    minus_least = vec_max(vec_sub(vec_set(0.0f), vec_load(x + c)), minus_least);
  }
  return w8a8_quantise(x, width, vec_set(1.0f), minus_least, largest, y, spread);
}

#endif /* VOCOSC_FORMAT_W8A8_H */
