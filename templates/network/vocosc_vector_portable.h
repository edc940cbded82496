/* Plain C: one lane. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_PORTABLE_H
#define VOCOSC_VECTOR_PORTABLE_H

#include <stdint.h>

#include "vocosc_fma.h"

#define VEC_LANES 1
#ifndef VEC_FUNCTION
#define VEC_FUNCTION static __attribute__((noinline)) /* called for every lane: keep the code small */
#endif
#define VEC_PREFETCH(p, level) ((void)(p))

/* One copy for all lengths of rows: GCC would make one of each. */
#if defined(__GNUC__) && !defined(__clang__)
#define VEC_PRODUCTS static __attribute__((noinline, noclone))
#else
#define VEC_PRODUCTS static __attribute__((noinline))
#endif

typedef float vec;
typedef uint32_t vec_bits;

static inline vec_bits vec_to_bits(vec a) {
  return ((union {
           float value;
           uint32_t bits;
         }){.value = a})
      .bits;
}
static inline vec vec_from_bits(vec_bits a) {
  return ((union {
           uint32_t bits;
           float value;
         }){.bits = a})
      .value;
}

/*
 * Tables with halves hold floats too: memcpy, so that the compiler sees no float where a half was declared. Builtin and
 * aligned, or else some compilers call a function, or take the bytes one by one.
 */
static inline vec vec_load(const float *p) {
  vec value;
  __builtin_memcpy(&value, __builtin_assume_aligned(p, sizeof *p), sizeof value);
  return value;
}
#ifndef VEC_HAS_HALF
/* The half's exponent and fraction, moved to a float's place, are 2^112 times too small; that also holds for
 * subnormals. */
static inline vec vec_load_half(const uint16_t *p) {
  const float size = vec_from_bits((uint32_t)(*p & 0x7fffu) << 13) * 0x1p112f;
  return vec_from_bits(vec_to_bits(size) | (uint32_t)(*p & 0x8000u) << 16);
}
#endif
static inline void vec_store(float *p, vec a) { *p = a; }
static inline vec vec_set(float a) { return a; }
static inline vec vec_add(vec a, vec b) { return a + b; }
static inline vec vec_sub(vec a, vec b) { return a - b; }
static inline vec vec_mul(vec a, vec b) { return a * b; }
static inline vec vec_div(vec a, vec b) { return a / b; }
#ifdef VEC_SOFT_FLOAT
static inline vec vec_sqrt(vec a) { return sqrt_float(a); }
#else
static inline vec vec_sqrt(vec a) { return __builtin_sqrtf(a); } /* an instruction, with -fno-math-errno */
#endif
static inline vec vec_fma(vec a, vec b, vec c) { return fma_float(a, b, c); }

static inline vec_bits vec_bits_set(uint32_t a) { return a; }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return a + b; }
static inline vec_bits vec_bits_sub(vec_bits a, vec_bits b) { return a - b; }
static inline vec_bits vec_bits_mul(vec_bits a, vec_bits b) { return a * b; }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return a & b; }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return a ^ b; }
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return a << count; }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return a >> count; }
#ifndef VEC_HAS_SELECT
/* By masks: compilers would make branches of some. */
static inline vec vec_select(vec_bits chosen, vec a, vec b) {
  const uint32_t mask = 0u - (uint32_t)(chosen != 0);
  return vec_from_bits((vec_to_bits(a) & mask) | (vec_to_bits(b) & ~mask));
}
#endif
#ifndef VEC_HAS_MIN
static inline vec vec_min(vec a, vec b) { return vec_select(a < b, a, b); }
static inline vec vec_max(vec a, vec b) { return vec_select(a > b, a, b); }
static inline vec vec_abs(vec a) { return vec_from_bits(vec_to_bits(a) & 0x7fffffffu); }
#endif

static inline vec vec_from_int(vec_bits a) { return (float)(int32_t)a; }

/* The sum's low bits are the integer: compilers convert less well. */
static inline void w8_store(int16_t *p, vec a) { *p = (int16_t)(uint16_t)vec_to_bits(a + 0x1.8p23f); }
static inline vec_bits w8_load_weights(const int8_t *p) { return (uint16_t)p[0] | (uint32_t)(uint16_t)p[1] << 16; }
static inline vec_bits w8_accumulate(vec_bits sum, vec_bits weights, vec_bits inputs) {
  const int32_t first = (int16_t)(uint16_t)weights * (int16_t)(uint16_t)inputs;
  const int32_t second = (int16_t)(uint16_t)(weights >> 16) * (int16_t)(uint16_t)(inputs >> 16);
  return sum + (uint32_t)first + (uint32_t)second;
}

/* w4: an output's four bytes; of its eight inputs a part has two, as a pair of int16. */
typedef vec_bits w4_packed, w4_weights;
static inline w4_packed w4_load_packed(const int8_t *p) {
  return (uint8_t)p[0] | (uint32_t)(uint8_t)p[1] << 8 | (uint32_t)(uint8_t)p[2] << 16 | (uint32_t)(uint8_t)p[3] << 24;
}
static inline vec_bits w4_unpack(w4_packed packed, int part) {
  const int first = 8 * (part & 1) + 4 * (part >> 1); /* the lowest bit; the other input's is 16 further up */
  const int32_t low = (int32_t)(packed << (28 - first)) >> 28;
  const int32_t high = (int32_t)(packed << (12 - first)) >> 28;
  return (uint16_t)low | (uint32_t)high << 16;
}
static inline vec_bits w4_load_scales(const int8_t *p) { return (uint32_t)*p; }

#ifndef W8A8_STEP
static inline void w8a8_store(uint8_t *p, vec a) { *p = (uint8_t)vec_to_bits(a + 0x1.8p23f); }
static inline vec_bits w8a8_load_weights(const int8_t *p) {
  return (uint8_t)p[0] | (uint32_t)(uint8_t)p[1] << 8 | (uint32_t)(uint8_t)p[2] << 16 | (uint32_t)(uint8_t)p[3] << 24;
}
static inline vec_bits w8a8_accumulate(vec_bits sum, vec_bits weights, vec_bits inputs) {
  for (int byte = 0; byte < 32; byte += 8) {
    sum += (uint32_t)((int8_t)(uint8_t)(weights >> byte) * (int32_t)(uint8_t)(inputs >> byte));
  }
  return sum;
}
#endif

#endif /* VOCOSC_VECTOR_PORTABLE_H */
