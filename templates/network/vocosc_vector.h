/*
 * Vectors of float, one set of operations for every instruction set.
 *
 * The kernels are compiled once per instruction set; vocosc_network_ISA.c says which, and the set's own header defines:
 *   VEC_LANES                      floats in a vector: 1 (portable, CUDA), 4 (SSE2, WebAssembly, NEON), 8 (AVX2), 16 (AVX-512)
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
 *   w8_store, w8a8_store           of floats between -32639 and 32639, or 0 and 255, rounded to nearest, ties to even:
 *                                  inputs of 2 bytes, or of 1, as value - W8A8_INPUT_OFFSET
 *   w8_load_weights                of the next W8_STEP inputs, 2 or 4: lane j's are elements 2 j and 2 j + 1, and if there
 *                                  are 4 also those 2 PANEL further on
 *   w8a8_load_weights              of the next 4 inputs: lane j's are elements 4 j to 4 j + 3
 *   w4_load_packed, w4_unpack, w4_load_scales, and where pairs of int16 are not the way W4_PARTS, W4_INPUT_OFFSET, w4_store
 *                                  and what goes with them: see vocosc_format_w4.h
 *   f16_next, w8_next, w4_next     where a load is for several vectors (shared_loads in compiler/isa.py): the next one's
 *   w8_accumulate, w8a8_accumulate (sum, weights, inputs): sum + the products' sum in 32-bit integers, in each lane
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

//% for isa in vector_isas
${"#if" if loop.first else "#elif"} defined(VOCOSC_ISA_${isa | upper})
#include "vocosc_vector_${isa}.h"
//% endfor
#else
#error "define the VOCOSC_ISA_..., as vocosc_network_....c do"
#endif

//% if enlarged
/* Rows for weights in half that are 2^112 times too small, where such are the cheapest to widen: compiler/arrange.py. */
#ifdef VEC_SMALL_HALVES
static inline vec vec_enlarge(vec a) { return vec_mul(a, vec_set(0x1p112f)); }
#else
static inline vec vec_enlarge(vec a) { return a; }
#endif

//% endif
enum { PANEL = ${PANEL}, PANEL_VECTORS = PANEL / VEC_LANES };

#ifdef VEC_SOFT_FLOAT
static inline float float_sqrt(float a) { return sqrt_float(a); }
#elif !defined(VOCOSC_ISA_CUDA)
static inline float float_sqrt(float a) { return __builtin_sqrtf(a); } /* an instruction, with -fno-math-errno */
#endif

#if defined(__clang__)
#define UNROLL_4 _Pragma("clang loop unroll_count(4)")
#define UNROLL_NONE _Pragma("clang loop unroll(disable)")
#else
#define UNROLL_4 _Pragma("GCC unroll 4")
#define UNROLL_NONE _Pragma("GCC unroll 1")
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

/* The largest of all lanes, in each. A vector throughout: of a float's maximum compilers make a branch. */
static inline vec vec_largest_lane(vec a) {
  float lanes[VEC_LANES];
  vec_store(lanes, a);
  vec largest = vec_set(lanes[0]);
  for (int lane = 1; lane < VEC_LANES; lane++) largest = vec_max(vec_set(lanes[lane]), largest);
  return largest;
}

static inline float vec_first_lane(vec a) {
  float lanes[VEC_LANES];
  vec_store(lanes, a);
  return lanes[0];
}

#ifndef VOCOSC_ISA_CUDA /* whose compiler has no __builtin_memcpy */
/* The 4 bytes at p, in all lanes. */
static inline vec_bits vec_bits_load_all(const void *p) {
  uint32_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return vec_bits_set(bits);
}
#endif

#endif /* VOCOSC_VECTOR_H */
