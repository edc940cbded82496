/* WebAssembly's SIMD: four lanes. See vocosc_vector.h and vocosc_vector_simd128.h. */
#ifndef VOCOSC_VECTOR_WASM_H
#define VOCOSC_VECTOR_WASM_H

#include <wasm_simd128.h>

#include "vocosc_simd128_types.h"

static inline vec simd_sqrt(vec a) { return (vec)wasm_f32x4_sqrt((v128_t)a); }
static inline vec simd_min(vec a, vec b) { return (vec)wasm_f32x4_pmin((v128_t)b, (v128_t)a); }
static inline vec simd_max(vec a, vec b) { return (vec)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }
static inline simd_doubles simd_widen_low(vec a) { return (simd_doubles)wasm_f64x2_promote_low_f32x4((v128_t)a); }
static inline simd_doubles simd_widen_high(vec a) { return simd_widen_low(__builtin_shufflevector(a, a, 2, 3, 2, 3)); }
static inline vec simd_narrow(simd_doubles low, simd_doubles high) {
  const vec a = (vec)wasm_f32x4_demote_f64x2_zero((v128_t)low);
  return __builtin_shufflevector(a, (vec)wasm_f32x4_demote_f64x2_zero((v128_t)high), 0, 1, 4, 5);
}
static inline vec_bits simd_multiply_pairs(vec_bits a, vec_bits b) {
  return (vec_bits)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
}

#include "vocosc_vector_simd128.h"

#endif /* VOCOSC_VECTOR_WASM_H */
