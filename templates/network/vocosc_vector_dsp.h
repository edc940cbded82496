/* Cortex-M with an FPU and the DSP extension: one lane of float, whole panels of products. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_DSP_H
#define VOCOSC_VECTOR_DSP_H

#if !defined(__ARM_FEATURE_DSP) || !defined(__ARM_FEATURE_FMA)
#error "this target is for Cortex-M with DSP and FPU: say so, such as by -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
#endif

/* In line: the constants of a polynomial stay in registers for a whole panel. */
#define VEC_FUNCTION static inline
#define VEC_HAS_MIN

/* No operand is a signalling NaN, and none that can be -0 is compared with 0 as the second one. */
#ifdef __ARM_FEATURE_NUMERIC_MAXMIN
static inline float vec_min(float a, float b) {
  __asm__("vminnm.f32 %0, %1, %2" : "=t"(a) : "t"(a), "t"(b));
  return a;
}
static inline float vec_max(float a, float b) {
  __asm__("vmaxnm.f32 %0, %1, %2" : "=t"(a) : "t"(a), "t"(b));
  return a;
}
#else
static inline float vec_min(float a, float b) {
  __asm__("vcmp.f32 %1, %0\n vmrs APSR_nzcv, fpscr\n it mi\n vmovmi.f32 %0, %1" : "+t"(b) : "t"(a) : "cc");
  return b;
}
static inline float vec_max(float a, float b) {
  __asm__("vcmp.f32 %1, %0\n vmrs APSR_nzcv, fpscr\n it gt\n vmovgt.f32 %0, %1" : "+t"(b) : "t"(a) : "cc");
  return b;
}
#endif
static inline float vec_abs(float a) { return __builtin_fabsf(a); }

#include "vocosc_vector_portable.h"

#include "vocosc_products_fpu.h"
//% if "w8" in formats | map(attribute="name")
#include "vocosc_products_dsp.h"

#define W8_SIDE_BY_SIDE 4 /* inputs of a row before those of the next row */
//% endif

#endif /* VOCOSC_VECTOR_DSP_H */
