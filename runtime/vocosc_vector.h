/*
 * Vectors of float, one set of operations for every instruction set.
 *
 * The kernels are compiled once per instruction set, with VOCOSC_ISA_... saying which. Each header below defines:
 *   VEC_LANES                      floats in a vector: 1 (portable, CUDA), 4 (NEON), 8 (AVX2), 16 (AVX-512)
 *   vec, vec_bits                  floats, and the same lanes as 32-bit integers
 *   vec_load, vec_store            any alignment
 *   vec_load_half                  of IEEE binary16 as uint16_t, widened exactly
 *   vec_set, vec_bits_set          one value in all lanes
 *   vec_add, vec_sub, vec_mul, vec_div, vec_sqrt, vec_fma(a, b, c) = a * b + c, all rounded once (IEEE 754)
 *   vec_min, vec_max               a < b ? a : b, and a > b ? a : b: where either is NaN, b
 *   vec_to_bits, vec_from_bits     reinterpretation
 *   vec_bits_add, vec_bits_sub, vec_bits_mul (the lower half), vec_bits_and, vec_bits_xor
 *   vec_bits_shift_left, vec_bits_shift_right (filled with zeros)
 *   vec_select(bits, a, b)         a where the lane's bits are not 0, else b
 *   vec_abs, vec_from_int          |a|; the float nearest to a signed 32-bit integer
 *   vec_store_inputs               of floats between -32639 and 32639, rounded to nearest, ties to even: inputs of
 *                                  vec_dot, 2 bytes each
 *   vec_load_inputs                of the next VEC_DOT_INPUTS, 2 or 4: the same in all lanes
 *   vec_load_int8                  of as many inputs' weights: lane j's are elements 2 j and 2 j + 1, and if there are
 *                                  4 also those 2 PANEL further on
 *                                  With BYTE_ROWS inputs are floats between 0 and 255, in a byte each as value -
 *                                  VEC_INPUT_OFFSET, and lane j's weights elements 4 j to 4 j + 3
 *   vec_dot(sum, weights, inputs)  sum + the products' sum in 32-bit integers, in each lane
 *   vec_sum_zero, vec_sum_total    a sum's beginning, and in the end its value in vec_bits
 *   fma_float(a, b, c)             the scalar fused multiply-add
 *   VEC_PREFETCH(p, level)         hints that the line at p will be read soon, into the cache of level 1 or 2
 *   VEC_FUNCTION                   storage class of the functions of vocosc_vector_math.h
 * Every operation is correctly rounded, so a computation gives the same bits whatever the number of lanes.
 *
 * Panels and reductions are PANEL = 16 lanes wide on every instruction set: PANEL_VECTORS vectors.
 */
#ifndef VOCOSC_VECTOR_H
#define VOCOSC_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(VOCOSC_ISA_AVX512)
#include "vocosc_vector_avx512.h"
#define VOCOSC_FOR_ISA(name) name##_avx512
#elif defined(VOCOSC_ISA_AVX2)
#include "vocosc_vector_avx2.h"
#define VOCOSC_FOR_ISA(name) name##_avx2
#elif defined(VOCOSC_ISA_NEON)
#include "vocosc_vector_neon.h"
#define VOCOSC_FOR_ISA(name) name##_neon
#elif defined(VOCOSC_ISA_CUDA)
#include "vocosc_vector_cuda.h"
#define VOCOSC_FOR_ISA(name) name##_cuda
#else
#include "vocosc_vector_portable.h"
#define VOCOSC_FOR_ISA(name) name##_portable
#endif

enum { PANEL = 16, PANEL_VECTORS = PANEL / VEC_LANES };

#if defined(__clang__)
#define UNROLL_4 _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL_4 _Pragma("GCC unroll 4")
#endif

#if !defined(VEC_DOT_INPUTS) && \
    !defined(VOCOSC_ISA_CUDA) /* which has no use for it, nor its compiler a __builtin_memcpy */
#define VEC_DOT_INPUTS (BYTE_ROWS ? 4 : 2)
typedef vec_bits vec_inputs, vec_int8, vec_sum;

static inline vec_inputs vec_load_inputs(const void *p) {
  uint32_t inputs;
  __builtin_memcpy(&inputs, p, sizeof inputs);
  return vec_bits_set(inputs);
}
static inline vec_sum vec_sum_zero(void) { return vec_bits_set(0); }
static inline vec_bits vec_sum_total(vec_sum sum) { return sum; }
#endif

/*
 * The sum of 16 virtual lanes, always by the same tree: halves are added to halves, 16 -> 8 -> 4 -> 2 -> 1. Lane j
 * holds the partial sum of elements j, j + 16, ...
 */
static inline float panel_sum(const vec lanes[PANEL_VECTORS]) {
  float sum[PANEL];
  for (int v = 0; v < PANEL_VECTORS; v++) vec_store(sum + v * VEC_LANES, lanes[v]);
  for (int half = PANEL / 2; half > 0; half /= 2) {
    /* cppcheck-suppress uninitvar ; it does not see through the intrinsics of vec_store */
    for (int j = 0; j < half; j++) sum[j] += sum[j + half];
  }
  return sum[0];
}

#endif /* VOCOSC_VECTOR_H */
