/* AVX2 with FMA: eight lanes. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_AVX2_H
#define VOCOSC_VECTOR_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define VEC_LANES 8
#define VEC_FUNCTION static inline
#define VEC_PREFETCH(p, level) __builtin_prefetch((p), 0, 4 - (level))

typedef __m256 vec;
typedef __m256i vec_bits;

static inline float fma_float(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

static inline vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
static inline vec vec_load_half(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
static inline void vec_store(float *p, vec a) { _mm256_storeu_ps(p, a); }
static inline vec vec_set(float a) { return _mm256_set1_ps(a); }
static inline vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec vec_div(vec a, vec b) { return _mm256_div_ps(a, b); }
static inline vec vec_sqrt(vec a) { return _mm256_sqrt_ps(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec vec_min(vec a, vec b) { return _mm256_min_ps(a, b); }
static inline vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }

static inline vec_bits vec_to_bits(vec a) { return _mm256_castps_si256(a); }
static inline vec vec_from_bits(vec_bits a) { return _mm256_castsi256_ps(a); }
static inline vec_bits vec_bits_set(uint32_t a) { return _mm256_set1_epi32((int)a); }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return _mm256_add_epi32(a, b); }
static inline vec_bits vec_bits_sub(vec_bits a, vec_bits b) { return _mm256_sub_epi32(a, b); }
static inline vec_bits vec_bits_mul(vec_bits a, vec_bits b) { return _mm256_mullo_epi32(a, b); }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return _mm256_and_si256(a, b); }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return _mm256_xor_si256(a, b); }
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return _mm256_slli_epi32(a, count); }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return _mm256_srli_epi32(a, count); }
static inline vec vec_select(vec_bits chosen, vec a, vec b) {
  const __m256i zero = _mm256_cmpeq_epi32(chosen, _mm256_setzero_si256());
  return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(zero));
}

static inline vec vec_abs(vec a) { return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff))); }
static inline vec vec_from_int(vec_bits a) { return _mm256_cvtepi32_ps(a); }

/* With the intrinsic of the sum GCC 12 copies sums, and spills some. */
static inline vec_bits vec_add_products(vec_bits sum, vec_bits a, vec_bits b) {
  __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(_mm256_madd_epi16(a, b)));
  return sum;
}

/* w8: pairs of int16. */
static inline void w8_store(int16_t *p, vec a) {
  const __m256i whole = _mm256_cvtps_epi32(a);
  _mm_storeu_si128((__m128i *)p, _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
}
static inline vec_bits w8_load_weights(const int8_t *p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
}
static inline vec_bits w8_accumulate(vec_bits sum, vec_bits weights, vec_bits inputs) {
  return vec_add_products(sum, weights, inputs);
}

/* w4: four bytes a lane, so that the half bytes of its words are pairs of inputs. */
typedef vec_bits w4_packed, w4_weights;
static inline w4_packed w4_load_packed(const int8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline w4_weights w4_unpack(w4_packed packed, int part) {
  static const int left[] = {12, 4, 8, 0};
  return _mm256_srai_epi16(_mm256_slli_epi16(packed, left[part]), 12);
}
static inline vec_bits w4_load_scales(const int8_t *p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

/* w8a8: bytes as int16, the even and the odd ones apart, since the instruction that multiplies bytes saturates its sums. */
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 0
typedef struct {
  vec_bits even, odd;
} w8a8_inputs, w8a8_weights;
typedef vec_bits w8a8_sum;

static inline void w8a8_store(uint8_t *p, vec a) {
  const __m256i whole = _mm256_cvtps_epi32(a);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
}
static inline w8a8_inputs w8a8_load_inputs(const uint8_t *p) {
  int32_t inputs;
  __builtin_memcpy(&inputs, p, sizeof inputs);
  const __m256i all = _mm256_set1_epi32(inputs);
  return (w8a8_inputs){_mm256_and_si256(all, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(all, 8)};
}
static inline w8a8_weights w8a8_load_weights(const int8_t *p) {
  const __m256i all = _mm256_loadu_si256((const __m256i *)p);
  return (w8a8_weights){_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
}
static inline w8a8_sum w8a8_accumulate(w8a8_sum sum, w8a8_weights weights, w8a8_inputs inputs) {
  return vec_add_products(vec_add_products(sum, weights.even, inputs.even), weights.odd, inputs.odd);
}
static inline w8a8_sum w8a8_zero(void) { return vec_bits_set(0); }
static inline vec_bits w8a8_total(w8a8_sum sum) { return sum; }

#endif /* VOCOSC_VECTOR_AVX2_H */
