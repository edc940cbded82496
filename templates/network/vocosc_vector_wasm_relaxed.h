/*
 * WebAssembly's relaxed SIMD: four lanes, and multiply-adds of which each engine decides whether it rounds them once. See
 * vocosc_vector.h and vocosc_vector_wasm.h.
 */
#ifndef VOCOSC_VECTOR_WASM_RELAXED_H
#define VOCOSC_VECTOR_WASM_RELAXED_H

#include <wasm_simd128.h>

#define SIMD_FMA(a, b, c) ((vec)wasm_f32x4_relaxed_madd((v128_t)(a), (v128_t)(b), (v128_t)(c)))

#include "vocosc_vector_wasm.h"

static inline float fma_emulated(float a, float b, float c) { return fma_float(a, b, c); }
static inline float fma_relaxed(float a, float b, float c) { return vec_fma(vec_set(a), vec_set(b), vec_set(c))[0]; }
#define fma_float fma_relaxed

/*
 * Whether vec_fma rounds once, as far as trying it on a thousand operands tells: products that nearly cancel against what
 * is added, of which nothing is left if they are rounded, and sums that end near the middle between two floats.
 */
static inline int vec_fma_is_fused(void) {
  volatile uint32_t seed = 1; /* nothing of it is known when this is compiled */
  uint32_t state = seed;
  uint32_t differ = 0;
  for (int i = 0; i < 1024; i++) {
    float_bits operands[3];
    for (int j = 0; j < 3; j++) {
      state = state * 1664525u + 1013904223u;
      operands[j].bits = 0x3f800000u | state >> 9; /* 1 to 2 */
    }
    const float a = operands[0].value;
    const float b = operands[1].value;
    const float small = operands[2].value * (i & 2 ? 0x1p-24f : 0x1p-47f);
    const float c = i & 1 ? -(a * b) : small;
    const float_bits fused = {.value = fma_relaxed(a, b, c)};
    const float_bits exact = {.value = fma_emulated(a, b, c)};
    differ |= fused.bits ^ exact.bits;
  }
  return differ == 0;
}

#endif /* VOCOSC_VECTOR_WASM_RELAXED_H */
