/* One lane of float on a Cortex-M's FPU, for vocosc_vector_dsp.h and vocosc_vector_mve.h. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_FPU_H
#define VOCOSC_VECTOR_FPU_H

#include <stdint.h>

/* In line: the constants of a polynomial stay in registers for a whole panel. */
#define VEC_FUNCTION static inline
#define VEC_HAS_MIN
#define VEC_HAS_SELECT

/* No operand is a signalling NaN, and none that can be -0 is compared with 0 as the second one. */
#if __ARM_ARCH >= 8 || defined(VEC_FPV5) /* vocosc.mk defines it for a Cortex-M7: compilers do not tell */
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
/* Conditional instructions take their place in the count in any case. */
static inline float vec_select(uint32_t chosen, float a, float b) {
  __asm__("cmp %1, #0\n it ne\n vmovne.f32 %0, %2" : "+t"(b) : "r"(chosen), "t"(a) : "cc");
  return b;
}
static inline float vec_abs(float a) { return __builtin_fabsf(a); }

#include "vocosc_vector_portable.h"

#endif /* VOCOSC_VECTOR_FPU_H */
