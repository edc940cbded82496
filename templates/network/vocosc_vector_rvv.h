/*
 * RISC-V's V 1.0: sixteen lanes, a whole panel, in four registers of 128 bits, or in part of four wider ones. So the code is
 * the same for every length of register from 128 bits on, and so are the bits. See vocosc_vector.h.
 *
 * By Clang's vectors: the instructions, and their lengths, are its choice. GCC before 14 knows no V.
 */
#ifndef VOCOSC_VECTOR_RVV_H
#define VOCOSC_VECTOR_RVV_H

#if !defined(__clang__) || !defined(__riscv_v)
#error "this target is for Clang, and RISC-V with V: say so, such as by -march=rv64gcv -mabi=lp64d"
#endif

#include <riscv_vector.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_LANES 16
#define VEC_FUNCTION static inline
#define VEC_PREFETCH(p, level) ((void)(p)) /* V has none */

typedef float vec __attribute__((ext_vector_type(16)));
typedef uint32_t vec_bits __attribute__((ext_vector_type(16)));
typedef int32_t rvv_ints __attribute__((ext_vector_type(16)));
typedef int16_t rvv_shorts __attribute__((ext_vector_type(16)));
typedef int8_t rvv_bytes __attribute__((ext_vector_type(16)));
typedef uint8_t rvv_unsigned_bytes __attribute__((ext_vector_type(16)));

static inline float fma_float(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

static inline vec vec_load(const float *p) {
  vec value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}
static inline void vec_store(float *p, vec a) { __builtin_memcpy(p, &a, sizeof a); }
static inline vec vec_set(float a) { return (vec)a; }
static inline vec vec_add(vec a, vec b) { return a + b; }
static inline vec vec_sub(vec a, vec b) { return a - b; }
static inline vec vec_mul(vec a, vec b) { return a * b; }
static inline vec vec_div(vec a, vec b) { return a / b; }
static inline vec vec_sqrt(vec a) { return __builtin_elementwise_sqrt(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return __builtin_elementwise_fma(a, b, c); }

static inline vec_bits vec_to_bits(vec a) { return (vec_bits)a; }
static inline vec vec_from_bits(vec_bits a) { return (vec)a; }
static inline vec_bits vec_bits_set(uint32_t a) { return (vec_bits)a; }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return a + b; }
static inline vec_bits vec_bits_sub(vec_bits a, vec_bits b) { return a - b; }
static inline vec_bits vec_bits_mul(vec_bits a, vec_bits b) { return a * b; }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return a & b; }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return a ^ b; }
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return a << (uint32_t)count; }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return a >> (uint32_t)count; }
/* By masks: Clang, which makes one instruction of it, would warn of a choice between vectors. */
static inline vec rvv_choose(rvv_ints mask, vec a, vec b) { return (vec)(((rvv_ints)a & mask) | ((rvv_ints)b & ~mask)); }
static inline vec vec_select(vec_bits chosen, vec a, vec b) { return rvv_choose(chosen != 0, a, b); }
static inline vec vec_min(vec a, vec b) { return rvv_choose(a < b, a, b); }
static inline vec vec_max(vec a, vec b) { return rvv_choose(a > b, a, b); }
static inline vec vec_abs(vec a) { return (vec)((vec_bits)a & 0x7fffffffu); }
static inline vec vec_from_int(vec_bits a) { return __builtin_convertvector((rvv_ints)a, vec); }

/* The exponent and fraction of a half, moved to a float's place, are 2^112 times too small; between them and the sign are
 * copies of it. */
static inline vec vec_load_small_half(const uint16_t *p) {
  rvv_shorts half;
  __builtin_memcpy(&half, p, sizeof half);
  const vec_bits wide = (vec_bits)__builtin_convertvector(half, rvv_ints);
  return (vec)(wide << 13 & 0x8fffffffu);
}
static inline vec vec_load_half(const uint16_t *p) { return vec_load_small_half(p) * (vec)0x1p112f; }
#define VEC_SMALL_HALVES

/*
 * Integer sums are of the other kind of vectors, by intrinsics: of plain operators Clang would make products and sums apart.
 * A product of 16 bits, added to a sum of 32, is one instruction. Weights are those of two inputs.
 */
typedef vint32m4_t rvv_sum;
typedef vint16m2x2_t rvv_weights;
typedef const int16_t *rvv_inputs;
static inline rvv_weights rvv_pair(vint16m2_t even, vint16m2_t odd) { return __riscv_vcreate_v_i16m2x2(even, odd); }
/* Of a lane's 16 bits the lower and the upper half. */
static inline rvv_weights rvv_split_bytes(vint16m2_t pairs) {
  const vint16m2_t even = __riscv_vsra_vx_i16m2(__riscv_vsll_vx_i16m2(pairs, 8, VEC_LANES), 8, VEC_LANES);
  return rvv_pair(even, __riscv_vsra_vx_i16m2(pairs, 8, VEC_LANES));
}
static inline vint16m2_t rvv_widen(vint8m1_t bytes) { return __riscv_vsext_vf2_i16m2(bytes, VEC_LANES); }
/* Of a lane's 32 bits. */
static inline rvv_weights rvv_split_shorts(vint32m4_t pairs) {
  return rvv_pair(__riscv_vncvt_x_x_w_i16m2(pairs, VEC_LANES), __riscv_vnsra_wx_i16m2(pairs, 16, VEC_LANES));
}
static inline rvv_weights rvv_load_pairs(const int16_t *p) {
  return rvv_split_shorts(__riscv_vle32_v_i32m4((const int32_t *)(const void *)p, VEC_LANES));
}
static inline rvv_sum rvv_accumulate(rvv_sum sum, rvv_weights weights, int16_t even, int16_t odd) {
  sum = __riscv_vwmacc_vx_i32m4(sum, even, __riscv_vget_v_i16m2x2_i16m2(weights, 0), VEC_LANES);
  return __riscv_vwmacc_vx_i32m4(sum, odd, __riscv_vget_v_i16m2x2_i16m2(weights, 1), VEC_LANES);
}
static inline rvv_sum rvv_zero(void) { return __riscv_vmv_v_x_i32m4(0, VEC_LANES); }
static inline vec_bits rvv_total(rvv_sum sum) {
  vec_bits total;
  __riscv_vse32_v_i32m4((int32_t *)&total, sum, VEC_LANES);
  return total;
}

#define W8_STEP 2
typedef rvv_sum w8_sum;
typedef rvv_weights w8_weights;
typedef rvv_inputs w8_inputs;
/* The low bits of a float this large are an integer. */
static inline void w8_store(int16_t *p, vec a) {
  const rvv_shorts whole = __builtin_convertvector((rvv_ints)(a + (vec)0x1.8p23f), rvv_shorts);
  __builtin_memcpy(p, &whole, sizeof whole);
}
static inline w8_inputs w8_load_inputs(const int16_t *p) { return p; }
static inline w8_weights w8_load_weights(const int8_t *p) {
  return rvv_split_bytes(__riscv_vle16_v_i16m2((const int16_t *)(const void *)p, VEC_LANES));
}
static inline w8_sum w8_accumulate(w8_sum sum, w8_weights weights, w8_inputs inputs) {
  return rvv_accumulate(sum, weights, inputs[0], inputs[1]);
}
static inline w8_sum w8_zero(void) { return rvv_zero(); }
static inline vec_bits w8_total(w8_sum sum) { return rvv_total(sum); }

#define W16_STEP 2
typedef rvv_sum w16_sum;
typedef rvv_weights w16_weights;
typedef rvv_inputs w16_inputs;
static inline w16_inputs w16_load_inputs(const int16_t *p) { return p; }
static inline w16_weights w16_load_weights(const int16_t *p) { return rvv_load_pairs(p); }
static inline w16_sum w16_accumulate(w16_sum sum, w16_weights weights, w16_inputs inputs) {
  return rvv_accumulate(sum, weights, inputs[0], inputs[1]);
}
static inline w16_sum w16_zero(void) { return rvv_zero(); }
static inline vec_bits w16_total(w16_sum sum) { return rvv_total(sum); }
static inline void w16_store(int16_t *p, vec a) { w8_store(p, a); }

/* w4: four bytes of a lane hold eight inputs: the fours of bits from 4 k and from 16 + 4 k on are a pair. */
#define W4_PARTS 4
#define W4_INPUT_OFFSET 0
typedef rvv_weights w4_packed, w4_weights;
typedef rvv_inputs w4_inputs;
typedef rvv_sum w4_group;
static inline w4_packed w4_load_packed(const int8_t *p) { return rvv_load_pairs((const int16_t *)(const void *)p); }
static inline vint16m2_t w4_four(vint16m2_t fours, size_t left) {
  return __riscv_vsra_vx_i16m2(__riscv_vsll_vx_i16m2(fours, left, VEC_LANES), 12, VEC_LANES);
}
static inline w4_weights w4_unpack(w4_packed packed, int part) {
  const size_t left = (size_t)(12 - 8 * (part & 1) - 4 * (part >> 1));
  return rvv_pair(w4_four(__riscv_vget_v_i16m2x2_i16m2(packed, 0), left), w4_four(__riscv_vget_v_i16m2x2_i16m2(packed, 1), left));
}
static inline w4_inputs w4_load_inputs(const int16_t *p, int part) { return p + 2 * part; }
static inline w4_group w4_open(void) { return rvv_zero(); }
static inline w4_group w4_accumulate(w4_group group, w4_weights weights, w4_inputs inputs) {
  return rvv_accumulate(group, weights, inputs[0], inputs[1]);
}
static inline vec_bits w4_total(w4_group group) { return rvv_total(group); }
static inline void w4_store(int16_t *p, vec a) { w8_store(p, a); }
static inline vec_bits w4_load_scales(const int8_t *p) {
  rvv_bytes scales;
  __builtin_memcpy(&scales, p, sizeof scales);
  return (vec_bits)__builtin_convertvector(scales, rvv_ints);
}

/* w8a8: weights of four inputs, in pairs. */
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 0
typedef rvv_sum w8a8_sum;
typedef vint8m1x4_t w8a8_weights;
typedef const uint8_t *w8a8_inputs;
static inline void w8a8_store(uint8_t *p, vec a) {
  const rvv_unsigned_bytes whole = __builtin_convertvector((vec_bits)(a + (vec)0x1.8p23f), rvv_unsigned_bytes);
  __builtin_memcpy(p, &whole, sizeof whole);
}
static inline w8a8_inputs w8a8_load_inputs(const uint8_t *p) { return p; }
static inline w8a8_weights w8a8_load_weights(const int8_t *p) { return __riscv_vlseg4e8_v_i8m1x4(p, VEC_LANES); }
static inline w8a8_sum w8a8_accumulate(w8a8_sum sum, w8a8_weights weights, w8a8_inputs inputs) {
  sum = __riscv_vwmacc_vx_i32m4(sum, inputs[0], rvv_widen(__riscv_vget_v_i8m1x4_i8m1(weights, 0)), VEC_LANES);
  sum = __riscv_vwmacc_vx_i32m4(sum, inputs[1], rvv_widen(__riscv_vget_v_i8m1x4_i8m1(weights, 1)), VEC_LANES);
  sum = __riscv_vwmacc_vx_i32m4(sum, inputs[2], rvv_widen(__riscv_vget_v_i8m1x4_i8m1(weights, 2)), VEC_LANES);
  return __riscv_vwmacc_vx_i32m4(sum, inputs[3], rvv_widen(__riscv_vget_v_i8m1x4_i8m1(weights, 3)), VEC_LANES);
}
static inline w8a8_sum w8a8_zero(void) { return rvv_zero(); }
static inline vec_bits w8a8_total(w8a8_sum sum) { return rvv_total(sum); }

#endif /* VOCOSC_VECTOR_RVV_H */
