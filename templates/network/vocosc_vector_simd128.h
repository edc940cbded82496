/*
 * Four lanes of 128 bits, mostly without a fused multiply-add: a quarter of a panel. See vocosc_vector.h.
 *
 * All but a few operations are the compilers' own on vectors. A header that includes this one has the rest, of its machine:
 *
 *   simd_sqrt(a), simd_min(a, b), simd_max(a, b)   of four floats; the latter as vec_min and vec_max
 *   simd_widen_low(a), simd_widen_high(a)          two of four floats as doubles
 *   simd_narrow(low, high)                         four floats of two pairs of doubles, rounded to nearest
 *   simd_multiply_pairs(a, b)                      of eight int16: the sums of neighbouring products, four int32
 *   SIMD_FMA(a, b, c)                              a fused multiply-add, where the machine has one
 */
#ifndef VOCOSC_VECTOR_SIMD128_H
#define VOCOSC_VECTOR_SIMD128_H

#include "vocosc_fma.h"

#define VEC_LANES 4
#define VEC_FUNCTION static inline
#define VEC_PREFETCH(p, level) __builtin_prefetch((p), 0, 4 - (level))

static inline vec vec_load(const float *p) {
  vec value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}
/* Eight bytes, the others zero. By way of an integer: else GCC fills the vector in memory. */
static inline simd_longs simd_load_half(const void *p) {
  int64_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return (simd_longs){bits, 0};
}
static inline void vec_store(float *p, vec a) { __builtin_memcpy(p, &a, sizeof a); }
static inline vec vec_set(float a) { return (vec){a, a, a, a}; }
static inline vec vec_add(vec a, vec b) { return a + b; }
static inline vec vec_sub(vec a, vec b) { return a - b; }
static inline vec vec_mul(vec a, vec b) { return a * b; }
static inline vec vec_div(vec a, vec b) { return a / b; }
static inline vec vec_sqrt(vec a) { return simd_sqrt(a); }
static inline vec vec_min(vec a, vec b) { return simd_min(a, b); }
static inline vec vec_max(vec a, vec b) { return simd_max(a, b); }

#ifdef SIMD_FMA
static inline vec vec_fma(vec a, vec b, vec c) { return SIMD_FMA(a, b, c); }
#else
/* fma_float of two lanes, not yet rounded to float: see there. */
static inline simd_doubles simd_fma_odd(simd_doubles a, simd_doubles b, simd_doubles c) {
  const simd_doubles product = a * b;
  const simd_doubles sum = product + c;
  const simd_doubles shadow = sum - product;
  const simd_doubles error = (product - (sum - shadow)) + (c - shadow);
  const simd_longs sign = {INT64_MIN, INT64_MIN};
  const simd_doubles outward = (simd_doubles)((simd_longs)error ^ ((simd_longs)sum & sign));
  const simd_longs away = outward < (simd_doubles){0.0, 0.0}; /* a lane that is true is -1 */
  const simd_longs inexact = away | (outward > (simd_doubles){0.0, 0.0});
  return (simd_doubles)(((simd_longs)sum + away) | (simd_longs)((simd_unsigned_longs)inexact >> 63));
}
static inline vec vec_fma(vec a, vec b, vec c) {
  return simd_narrow(simd_fma_odd(simd_widen_low(a), simd_widen_low(b), simd_widen_low(c)),
                     simd_fma_odd(simd_widen_high(a), simd_widen_high(b), simd_widen_high(c)));
}
#endif

static inline vec_bits vec_to_bits(vec a) { return (vec_bits)a; }
static inline vec vec_from_bits(vec_bits a) { return (vec)a; }
static inline vec_bits vec_bits_set(uint32_t a) { return (vec_bits){a, a, a, a}; }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return a + b; }
static inline vec_bits vec_bits_sub(vec_bits a, vec_bits b) { return a - b; }
static inline vec_bits vec_bits_mul(vec_bits a, vec_bits b) { return a * b; }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return a & b; }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return a ^ b; }
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return a << (uint32_t)count; }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return a >> (uint32_t)count; }
static inline vec vec_select(vec_bits chosen, vec a, vec b) {
  const vec_bits mask = (vec_bits)(chosen != vec_bits_set(0));
  return (vec)(((vec_bits)a & mask) | ((vec_bits)b & ~mask));
}
static inline vec vec_abs(vec a) { return (vec)((vec_bits)a & vec_bits_set(0x7fffffffu)); }
static inline vec vec_from_int(vec_bits a) { return __builtin_convertvector((simd_ints)a, vec); }

/* The half's exponent and fraction, moved to a float's place, are 2^112 times too small; also those of subnormals. */
static inline vec vec_load_half(const uint16_t *p) {
  const vec_bits wide = (vec_bits)__builtin_shufflevector((simd_shorts)simd_load_half(p), (simd_shorts){0}, 0, 8, 1, 9, 2, 10, 3, 11);
  const vec size = (vec)((wide & vec_bits_set(0x7fffu)) << 13) * vec_set(0x1p112f);
  return (vec)((vec_bits)size | (wide & vec_bits_set(0x8000u)) << 16);
}

/* w8: pairs of int16. The sum's low bits are the integer. */
static inline void w8_store(int16_t *p, vec a) {
  const simd_shorts whole = (simd_shorts)(a + vec_set(0x1.8p23f));
  const simd_shorts low = __builtin_shufflevector(whole, whole, 0, 2, 4, 6, 0, 2, 4, 6);
  __builtin_memcpy(p, &low, 8);
}
static inline vec_bits w8_load_weights(const int8_t *p) {
  const simd_shorts upper = (simd_shorts)__builtin_shufflevector((simd_bytes){0}, (simd_bytes)simd_load_half(p), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  return (vec_bits)(upper >> 8);
}
static inline vec_bits w8_accumulate(vec_bits sum, vec_bits weights, vec_bits inputs) {
  return sum + simd_multiply_pairs(weights, inputs);
}

/* w4: four bytes a lane, so that the half bytes of its words are pairs of inputs. */
typedef vec_bits w4_packed, w4_weights;
static inline w4_packed w4_load_packed(const int8_t *p) {
  vec_bits packed;
  __builtin_memcpy(&packed, p, sizeof packed);
  return packed;
}
static inline w4_weights w4_unpack(w4_packed packed, int part) {
  const int16_t left = (int16_t)(12 - 8 * (part & 1) - 4 * (part >> 1));
  return (vec_bits)(((simd_shorts)packed << left) >> 12);
}
static inline vec_bits w4_load_scales(const int8_t *p) {
  return (vec_bits){(uint32_t)p[0], (uint32_t)p[1], (uint32_t)p[2], (uint32_t)p[3]};
}

/* w8a8: bytes as int16, the even and the odd ones apart. */
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 0
typedef struct {
  vec_bits even, odd;
} w8a8_inputs, w8a8_weights;
typedef vec_bits w8a8_sum;

static inline void w8a8_store(uint8_t *p, vec a) {
  const vec_bits whole = (vec_bits)(a + vec_set(0x1.8p23f));
  for (int lane = 0; lane < VEC_LANES; lane++) p[lane] = (uint8_t)whole[lane];
}
static inline w8a8_inputs w8a8_load_inputs(const uint8_t *p) {
  uint32_t inputs;
  __builtin_memcpy(&inputs, p, sizeof inputs);
  return (w8a8_inputs){vec_bits_set(inputs & 0x00ff00ffu), vec_bits_set(inputs >> 8 & 0x00ff00ffu)};
}
static inline w8a8_weights w8a8_load_weights(const int8_t *p) {
  simd_shorts all;
  __builtin_memcpy(&all, p, sizeof all);
  return (w8a8_weights){(vec_bits)((all << 8) >> 8), (vec_bits)(all >> 8)};
}
static inline w8a8_sum w8a8_accumulate(w8a8_sum sum, w8a8_weights weights, w8a8_inputs inputs) {
  return sum + simd_multiply_pairs(weights.even, inputs.even) + simd_multiply_pairs(weights.odd, inputs.odd);
}
static inline w8a8_sum w8a8_zero(void) { return vec_bits_set(0); }
static inline vec_bits w8a8_total(w8a8_sum sum) { return sum; }

#endif /* VOCOSC_VECTOR_SIMD128_H */
