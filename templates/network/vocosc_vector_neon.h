/* NEON, as every AArch64 has it: four lanes, a quarter of a panel. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_NEON_H
#define VOCOSC_VECTOR_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>

#define VEC_LANES 4
#define VEC_FUNCTION static inline
#define VEC_PREFETCH(p, level) __builtin_prefetch((p), 0, 4 - (level))

typedef float32x4_t vec;
typedef uint32x4_t vec_bits;

static inline float fma_float(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

static inline vec vec_load(const float *p) { return vld1q_f32(p); }
static inline vec vec_load_half(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline void vec_store(float *p, vec a) { vst1q_f32(p, a); }
static inline vec vec_set(float a) { return vdupq_n_f32(a); }
static inline vec vec_add(vec a, vec b) { return vaddq_f32(a, b); }
static inline vec vec_sub(vec a, vec b) { return vsubq_f32(a, b); }
static inline vec vec_mul(vec a, vec b) { return vmulq_f32(a, b); }
static inline vec vec_div(vec a, vec b) { return vdivq_f32(a, b); }
static inline vec vec_sqrt(vec a) { return vsqrtq_f32(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
/* Not vminq, vmaxq: they give NaN where either is NaN, and order the zeros. */
static inline vec vec_min(vec a, vec b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vec vec_max(vec a, vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

static inline vec_bits vec_to_bits(vec a) { return vreinterpretq_u32_f32(a); }
static inline vec vec_from_bits(vec_bits a) { return vreinterpretq_f32_u32(a); }
static inline vec_bits vec_bits_set(uint32_t a) { return vdupq_n_u32(a); }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return vaddq_u32(a, b); }
static inline vec_bits vec_bits_sub(vec_bits a, vec_bits b) { return vsubq_u32(a, b); }
static inline vec_bits vec_bits_mul(vec_bits a, vec_bits b) { return vmulq_u32(a, b); }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return vandq_u32(a, b); }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return veorq_u32(a, b); }
/* Operators, not vshlq_n: that takes only constants, which `count` becomes only where these are inlined. */
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return a << vdupq_n_u32((uint32_t)count); }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return a >> vdupq_n_u32((uint32_t)count); }
static inline vec vec_select(vec_bits chosen, vec a, vec b) { return vbslq_f32(vtstq_u32(chosen, chosen), a, b); }

static inline vec vec_abs(vec a) { return vabsq_f32(a); }
static inline vec vec_from_int(vec_bits a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }

/* f16: eight halves, of which this vector takes the first or the second four. */
#define VEC_SHARED_HALVES
typedef struct {
  float16x8_t both;
  vec value;
} f16_weights;
static inline f16_weights f16_load_weights(const uint16_t *p) {
  const float16x8_t both = vreinterpretq_f16_u16(vld1q_u16(p));
  return (f16_weights){both, vcvt_f32_f16(vget_low_f16(both))};
}
static inline f16_weights f16_next(f16_weights first) {
  first.value = vcvt_high_f32_f16(first.both);
  return first;
}
static inline vec f16_value(f16_weights weights) { return weights.value; }

/* w16: the lanes' first weights of two inputs, and their second ones. */
#define W16_STEP 2
typedef int16x4x2_t w16_weights;
typedef int16x4_t w16_inputs;
typedef int32x4_t w16_sum;
static inline w16_weights w16_load_weights(const int16_t *w) { return vld2_s16(w); }
static inline w16_inputs w16_load_inputs(const int16_t *x) {
  int32_t pair;
  __builtin_memcpy(&pair, x, sizeof pair);
  return vreinterpret_s16_s32(vdup_n_s32(pair));
}
static inline w16_sum w16_zero(void) { return vdupq_n_s32(0); }
static inline w16_sum w16_accumulate(w16_sum sum, w16_weights weights, w16_inputs inputs) {
  return vmlal_lane_s16(vmlal_lane_s16(sum, weights.val[0], inputs, 0), weights.val[1], inputs, 1);
}
static inline vec_bits w16_total(w16_sum sum) { return vreinterpretq_u32_s32(sum); }
static inline void w16_store(int16_t *p, vec a) { vst1_s16(p, vmovn_s32(vcvtnq_s32_f32(a))); }

static inline vec_bits w4_load_scales(const int8_t *p) {
  int32_t scales;
  __builtin_memcpy(&scales, p, sizeof scales);
  const int16x4_t words = vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(scales))));
  return vreinterpretq_u32_s32(vmovl_s16(words));
}

#ifdef __ARM_FEATURE_DOTPROD
/*
 * w8: an input of 16 bits is 256 * high + low, both int8: high is rounded, and low what is left, -128 to 127. Four inputs
 * are stored as [low: 4][high: 4], and a sum is one of lows and one of highs. 256 * 127 + 127 = 32639 is the largest.
 */
#define W8_STEP 4
typedef int8x8_t w8_inputs;
typedef int8x16_t w8_weights;
typedef int32x4x2_t w8_sum;

static inline void w8_store(int16_t *p, vec a) {
  const int16x4_t whole = vmovn_s32(vcvtnq_s32_f32(a));
  const int16x4_t high = vrshr_n_s16(whole, 8);
  vst1_s8((int8_t *)p, vmovn_s16(vcombine_s16(whole, high)));
}
static inline w8_inputs w8_load_inputs(const int16_t *p) { return vld1_s8((const int8_t *)p); }
/* Two pairs of inputs, the second 2 PANEL after the first, as four for each lane. */
static inline w8_weights w8_load_weights(const int8_t *p) {
  const int16x4_t none = vdup_n_s16(0);
  const int16x8_t pairs = vcombine_s16(vreinterpret_s16_s8(vld1_s8(p)), none);
  const int16x8_t next_pairs = vcombine_s16(vreinterpret_s16_s8(vld1_s8(p + 32)), none);
  return vreinterpretq_s8_s16(vzip1q_s16(pairs, next_pairs));
}
static inline w8_sum w8_accumulate(w8_sum sum, w8_weights weights, w8_inputs inputs) {
  sum.val[0] = vdotq_lane_s32(sum.val[0], weights, inputs, 0);
  sum.val[1] = vdotq_lane_s32(sum.val[1], weights, inputs, 1);
  return sum;
}
static inline w8_sum w8_zero(void) { return (w8_sum){{vdupq_n_s32(0), vdupq_n_s32(0)}}; }

/* w4: rows are those of w8, but for the order 0, 2, 1, 3; weights are 16 times as large as they are. */
#define W4_PARTS 2
#define W4_INPUT_OFFSET 0
typedef int8x16_t w4_packed; /* four bytes a lane */
static inline w4_packed w4_load_packed(const int8_t *p) { return vld1q_s8(p); }
typedef int8x16_t w4_weights;
typedef int8x8_t w4_inputs;
typedef int32x4x2_t w4_group;

static inline w4_weights w4_unpack(w4_packed packed, int part) {
  return part == 0 ? vshlq_n_s8(packed, 4) : vandq_s8(packed, vdupq_n_s8((int8_t)-16));
}
static inline w4_inputs w4_load_inputs(const int16_t *x, int part) { return vld1_s8((const int8_t *)(x + 4 * part)); }
static inline w4_group w4_open(void) { return w8_zero(); }
static inline w4_group w4_accumulate(w4_group group, w4_weights weights, w4_inputs inputs) {
  return w8_accumulate(group, weights, inputs);
}
static inline vec_bits w4_total(w4_group group) {
  return vreinterpretq_u32_s32(vaddq_s32(vshrq_n_s32(group.val[0], 4), vshlq_n_s32(group.val[1], 4)));
}
static inline void w4_store(int16_t *p, vec a) {
  int8x8_t bytes;
  int16_t words[4];
  w8_store(words, a);
  __builtin_memcpy(&bytes, words, sizeof bytes);
  vst1_s8((int8_t *)p, vtbl1_s8(bytes, vcreate_s8(0x0705060403010200)));
}
static inline vec_bits w8_total(w8_sum sum) {
  return vreinterpretq_u32_s32(vaddq_s32(vshlq_n_s32(sum.val[1], 8), sum.val[0]));
}
#else
static inline void w8_store(int16_t *p, vec a) { vst1_s16(p, vmovn_s32(vcvtnq_s32_f32(a))); }
/* Four inputs' weights of 16 outputs, of which this vector takes four; or of 8, for a tile no wider. */
#define W8_STEP 4
typedef struct {
  int16x8_t of[4], next[4];
  int vector;
} w8_weights;
typedef int16x4_t w8_inputs;
typedef int32x4_t w8_sum;
static inline w8_inputs w8_load_inputs(const int16_t *p) { return vld1_s16(p); }
static inline w8_weights w8_load_weights(const int8_t *p) {
  const int8x16x2_t first = vld2q_s8(p);
  const int8x16x2_t next = vld2q_s8(p + 32);
  w8_weights weights = {.vector = 0};
//% for k, pair in ((0, "first.val[0]"), (1, "first.val[1]"), (2, "next.val[0]"), (3, "next.val[1]"))
  weights.of[${k}] = vmovl_s8(vget_low_s8(${pair}));
  weights.next[${k}] = vmovl_high_s8(${pair});
//% endfor
  return weights;
}
static inline w8_weights w8_load_weights_of_2(const int8_t *p) {
  const int8x8x2_t first = vld2_s8(p);
  const int8x8x2_t next = vld2_s8(p + 32);
  return (w8_weights){.of = {vmovl_s8(first.val[0]), vmovl_s8(first.val[1]), vmovl_s8(next.val[0]), vmovl_s8(next.val[1])}};
}
static inline w8_weights w8_next(w8_weights weights) {
  weights.vector++;
  return weights;
}
static inline w8_sum w8_accumulate(w8_sum sum, w8_weights weights, w8_inputs inputs) {
//% for k in range(4)
  const int16x8_t of${k} = weights.vector < 2 ? weights.of[${k}] : weights.next[${k}];
  sum = weights.vector % 2 == 1 ? vmlal_high_lane_s16(sum, of${k}, inputs, ${k}) : vmlal_lane_s16(sum, vget_low_s16(of${k}), inputs, ${k});
//% endfor
  return sum;
}
static inline w8_sum w8_zero(void) { return vdupq_n_s32(0); }
static inline vec_bits w8_total(w8_sum sum) { return vreinterpretq_u32_s32(sum); }
/* w4: four bytes of 16 outputs, of which this vector takes four. Weights are 16 times as large as they are. */
#define W4_PARTS 2
#define W4_INPUT_OFFSET 0
typedef struct {
  int8x16x4_t bytes;
  int vector;
} w4_packed;
typedef struct {
  int16x8_t of[4];
  bool is_second;
} w4_weights;
typedef int16x4_t w4_inputs;
typedef int32x4_t w4_group;

static inline w4_packed w4_load_packed(const int8_t *p) { return (w4_packed){vld4q_s8(p), 0}; }
static inline w4_packed w4_next(w4_packed packed) {
  packed.vector++;
  return packed;
}
static inline w4_weights w4_unpack(w4_packed packed, int part) {
  w4_weights weights = {.is_second = packed.vector % 2 == 1};
//% for k, byte in ((0, 0), (1, 2), (2, 1), (3, 3))
  const int8x16_t of${k} = part == 0 ? vshlq_n_s8(packed.bytes.val[${byte}], 4) : vandq_s8(packed.bytes.val[${byte}], vdupq_n_s8((int8_t)-16));
  weights.of[${k}] = packed.vector < 2 ? vmovl_s8(vget_low_s8(of${k})) : vmovl_high_s8(of${k});
//% endfor
  return weights;
}
static inline w4_inputs w4_load_inputs(const int16_t *x, int part) { return vld1_s16(x + 4 * part); }
static inline w4_group w4_open(void) { return w8_zero(); }
static inline w4_group w4_accumulate(w4_group group, w4_weights weights, w4_inputs inputs) {
//% for k in range(4)
  group = weights.is_second ? vmlal_high_lane_s16(group, weights.of[${k}], inputs, ${k}) : vmlal_lane_s16(group, vget_low_s16(weights.of[${k}]), inputs, ${k});
//% endfor
  return group;
}
static inline vec_bits w4_total(w4_group group) { return vreinterpretq_u32_s32(vshrq_n_s32(group, 4)); }
static inline void w4_store(int16_t *p, vec a) { w8_store(p, a); }
#endif

/* w8a8: bytes less 128, as int8. */
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 128
typedef int8x16_t w8a8_inputs, w8a8_weights;
typedef int32x4_t w8a8_sum;

static inline void w8a8_store(uint8_t *p, vec a) {
  const int16x4_t words = vmovn_s32(vsubq_s32(vcvtnq_s32_f32(a), vdupq_n_s32(W8A8_INPUT_OFFSET)));
  const uint32x2_t bytes = vreinterpret_u32_s8(vmovn_s16(vcombine_s16(words, words)));
  const uint32_t all = vget_lane_u32(bytes, 0);
  __builtin_memcpy(p, &all, sizeof all);
}
static inline w8a8_inputs w8a8_load_inputs(const uint8_t *p) {
  uint32_t inputs;
  __builtin_memcpy(&inputs, p, sizeof inputs);
  return vreinterpretq_s8_u32(vdupq_n_u32(inputs));
}
static inline w8a8_weights w8a8_load_weights(const int8_t *p) { return vld1q_s8(p); }
static inline w8a8_sum w8a8_accumulate(w8a8_sum sum, w8a8_weights weights, w8a8_inputs inputs) {
#ifdef __ARM_FEATURE_DOTPROD
  return vdotq_s32(sum, weights, inputs);
#else
  /* Two products of at most 127 * 128 are within int16. */
  const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(inputs));
  return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(weights, inputs)));
#endif
}
static inline w8a8_sum w8a8_zero(void) { return vdupq_n_s32(0); }
static inline vec_bits w8a8_total(w8a8_sum sum) { return vreinterpretq_u32_s32(sum); }

#endif /* VOCOSC_VECTOR_NEON_H */
