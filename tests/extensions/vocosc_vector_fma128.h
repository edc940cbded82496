/* Four lanes of SSE with FMA. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_FMA128_H
#define VOCOSC_VECTOR_FMA128_H

#include <immintrin.h>
#include <stdint.h>

#define VEC_LANES 4
#define VEC_FUNCTION static inline
#define VEC_PREFETCH(p, level) __builtin_prefetch((p), 0, 4 - (level))

typedef __m128 vec;
typedef __m128i vec_bits;

static inline float fma_float(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline vec vec_load(const float *p) { return _mm_loadu_ps(p); }
static inline void vec_store(float *p, vec a) { _mm_storeu_ps(p, a); }
static inline vec vec_set(float a) { return _mm_set1_ps(a); }
static inline vec vec_add(vec a, vec b) { return _mm_add_ps(a, b); }
static inline vec vec_sub(vec a, vec b) { return _mm_sub_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm_mul_ps(a, b); }
static inline vec vec_div(vec a, vec b) { return _mm_div_ps(a, b); }
static inline vec vec_sqrt(vec a) { return _mm_sqrt_ps(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm_fmadd_ps(a, b, c); }
static inline vec vec_min(vec a, vec b) { return _mm_min_ps(a, b); }
static inline vec vec_max(vec a, vec b) { return _mm_max_ps(a, b); }

static inline vec_bits vec_to_bits(vec a) { return _mm_castps_si128(a); }
static inline vec vec_from_bits(vec_bits a) { return _mm_castsi128_ps(a); }
static inline vec_bits vec_bits_set(uint32_t a) { return _mm_set1_epi32((int)a); }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return _mm_add_epi32(a, b); }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return _mm_and_si128(a, b); }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return _mm_xor_si128(a, b); }
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return _mm_slli_epi32(a, count); }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return _mm_srli_epi32(a, count); }
static inline vec vec_select(vec_bits chosen, vec a, vec b) {
  const __m128i zero = _mm_cmpeq_epi32(chosen, _mm_setzero_si128());
  return _mm_blendv_ps(a, b, _mm_castsi128_ps(zero));
}
static inline vec vec_abs(vec a) { return _mm_and_ps(a, _mm_castsi128_ps(_mm_set1_epi32(0x7fffffff))); }

#endif /* VOCOSC_VECTOR_FMA128_H */
