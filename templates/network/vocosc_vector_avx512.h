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

/*
 * w4: an input plus 32768 is two bytes. Four inputs are stored as [low: 4][high: 4], in the order 0, 2, 1, 3 of the
 * weights, which stay in the upper halves of their bytes, 16 times as large as they are.
 */
#define W4_PARTS 2
#define W4_INPUT_OFFSET 32768
typedef __m512i w4_packed, w4_weights;
typedef struct {
  __m512i low, high;
} w4_inputs, w4_group;

static inline w4_packed w4_load_packed(const int8_t *p) { return _mm512_loadu_si512(p); }
static inline w4_weights w4_unpack(w4_packed packed, int part) {
  const __m512i upper = part == 0 ? _mm512_slli_epi16(packed, 4) : packed;
  return _mm512_and_si512(upper, _mm512_set1_epi8((char)0xf0));
}
static inline w4_inputs w4_load_inputs(const int16_t *x, int part) {
  int32_t low, high;
  __builtin_memcpy(&low, x + 4 * part, sizeof low);
  __builtin_memcpy(&high, x + 4 * part + 2, sizeof high);
  return (w4_inputs){_mm512_set1_epi32(low), _mm512_set1_epi32(high)};
}
static inline w4_group w4_open(void) { return (w4_group){_mm512_setzero_si512(), _mm512_setzero_si512()}; }
static inline w4_group w4_accumulate(w4_group group, w4_weights weights, w4_inputs inputs) {
  __asm__("vpdpbusd %1, %2, %0" : "+v"(group.low) : "v"(weights), "v"(inputs.low));
  __asm__("vpdpbusd %1, %2, %0" : "+v"(group.high) : "v"(weights), "v"(inputs.high));
  return group;
}
static inline vec_bits w4_total(w4_group group) {
  return _mm512_add_epi32(_mm512_srai_epi32(group.low, 4), _mm512_slli_epi32(group.high, 4));
}
static inline vec_bits w4_load_scales(const int8_t *p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
}
static inline void w4_store(int16_t *p, vec a) {
  const __m512i words = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(W4_INPUT_OFFSET));
  const __m512i order = _mm512_set1_epi64(0x0d0509010c040800);
  const __m512i even = _mm512_set_epi64(0, 0, 0, 0, 6, 4, 2, 0);
  const __m512i bytes = _mm512_permutexvar_epi64(even, _mm512_shuffle_epi8(words, order));
  _mm256_storeu_si256((__m256i *)p, _mm512_castsi512_si256(bytes));
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
