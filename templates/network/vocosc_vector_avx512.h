/* AVX-512 F, VL, BW and DQ, and VNNI for integers: sixteen lanes, a whole panel. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_AVX512_H
#define VOCOSC_VECTOR_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define VEC_LANES 16
#define VEC_FUNCTION static inline
#define VEC_PREFETCH(p, level) __builtin_prefetch((p), 0, 4 - (level))

typedef __m512 vec;
typedef __m512i vec_bits;

static inline float fma_float(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

static inline vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline vec vec_load_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
static inline void vec_store(float *p, vec a) { _mm512_storeu_ps(p, a); }
static inline vec vec_set(float a) { return _mm512_set1_ps(a); }
static inline vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec vec_div(vec a, vec b) { return _mm512_div_ps(a, b); }
static inline vec vec_sqrt(vec a) { return _mm512_sqrt_ps(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }
static inline vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }

static inline vec_bits vec_to_bits(vec a) { return _mm512_castps_si512(a); }
static inline vec vec_from_bits(vec_bits a) { return _mm512_castsi512_ps(a); }
static inline vec_bits vec_bits_set(uint32_t a) { return _mm512_set1_epi32((int)a); }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return _mm512_add_epi32(a, b); }
static inline vec_bits vec_bits_sub(vec_bits a, vec_bits b) { return _mm512_sub_epi32(a, b); }
static inline vec_bits vec_bits_mul(vec_bits a, vec_bits b) { return _mm512_mullo_epi32(a, b); }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return _mm512_and_si512(a, b); }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return _mm512_xor_si512(a, b); }
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return _mm512_slli_epi32(a, (unsigned)count); }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return _mm512_srli_epi32(a, (unsigned)count); }
static inline vec vec_select(vec_bits chosen, vec a, vec b) {
  return _mm512_mask_blend_ps(_mm512_test_epi32_mask(chosen, chosen), b, a);
}

static inline vec vec_abs(vec a) { return _mm512_abs_ps(a); }
static inline vec vec_from_int(vec_bits a) { return _mm512_cvtepi32_ps(a); }

/* With the intrinsics of VNNI GCC 12 copies every sum before and after. */
static inline void w8_store(int16_t *p, vec a) {
  _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(a)));
}
static inline vec_bits w8_load_weights(const int8_t *p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}
static inline vec_bits w8_accumulate(vec_bits sum, vec_bits weights, vec_bits inputs) {
  __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(inputs));
  return sum;
}

static inline void w8a8_store(uint8_t *p, vec a) {
  _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}
static inline vec_bits w8a8_load_weights(const int8_t *p) { return _mm512_loadu_si512(p); }
static inline vec_bits w8a8_accumulate(vec_bits sum, vec_bits weights, vec_bits inputs) {
  __asm__("vpdpbusd %1, %2, %0" : "+v"(sum) : "v"(weights), "v"(inputs));
  return sum;
}

#endif /* VOCOSC_VECTOR_AVX512_H */
