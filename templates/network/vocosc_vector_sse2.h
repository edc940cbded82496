/* SSE2, as every x86-64 has it: four lanes. See vocosc_vector.h and vocosc_vector_simd128.h. */
#ifndef VOCOSC_VECTOR_SSE2_H
#define VOCOSC_VECTOR_SSE2_H

#include <emmintrin.h>

#include "vocosc_simd128_types.h"

static inline vec simd_sqrt(vec a) { return _mm_sqrt_ps(a); }
static inline vec simd_min(vec a, vec b) { return _mm_min_ps(a, b); }
static inline vec simd_max(vec a, vec b) { return _mm_max_ps(a, b); }
static inline simd_doubles simd_widen_low(vec a) { return _mm_cvtps_pd(a); }
static inline simd_doubles simd_widen_high(vec a) { return _mm_cvtps_pd(_mm_movehl_ps(a, a)); }
static inline vec simd_narrow(simd_doubles low, simd_doubles high) {
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
static inline vec_bits simd_multiply_pairs(vec_bits a, vec_bits b) {
  return (vec_bits)_mm_madd_epi16((__m128i)a, (__m128i)b);
}

#include "vocosc_vector_simd128.h"

#endif /* VOCOSC_VECTOR_SSE2_H */
