/* RISC-V with M and F, one lane: see vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_RISCV_H
#define VOCOSC_VECTOR_RISCV_H

#include <stdint.h>

#if !defined(__riscv_flen) || !defined(__riscv_mul)
#error "this target is for RISC-V with M and F: say so, such as by -march=rv32imafc -mabi=ilp32f"
#endif

/* In line: the constants of a polynomial stay in registers for a whole panel. */
#define VEC_FUNCTION static inline
#define VEC_HAS_MIN
#define VEC_HAS_HALF
//% if "w8a8" in formats | map(attribute="name")
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 0
#define W8A8_WIDE_ROWS
typedef int16_t w8a8_element;
//% endif

/* fmin.s and fmax.s take the number where one operand is NaN; none that can be -0 is compared with 0 as the second one. */
static inline float vec_min(float a, float b) {
  __asm__("fmin.s %0, %1, %2" : "=f"(a) : "f"(a), "f"(b));
  return a;
}
static inline float vec_max(float a, float b) {
  __asm__("fmax.s %0, %1, %2" : "=f"(a) : "f"(a), "f"(b));
  return a;
}
static inline float vec_abs(float a) { return __builtin_fabsf(a); }

/* As in vocosc_vector_portable.h, but that the sign comes along: bits between it and the exponent are masked out. */
#if defined(__riscv_zfh) || defined(__riscv_zfhmin)
static inline float vec_load_half(const uint16_t *p) {
  float wide;
  __asm__("flh %0, %1\n fcvt.s.h %0, %0" : "=f"(wide) : "m"(*p));
  return wide;
}
#else
#define VEC_SMALL_HALVES
static inline float vec_load_small_half(const uint16_t *p) {
  return ((union {
           uint32_t bits;
           float value;
         }){.bits = (uint32_t)(int16_t)*p << 13 & 0x8fffffffu})
      .value;
}
static inline float vec_load_half(const uint16_t *p) { return vec_load_small_half(p) * 0x1p112f; }
#endif

#include "vocosc_products_fmadd.h"
#include "vocosc_vector_portable.h"
//% if formats | selectattr("is_integer") | list
#include "vocosc_products_riscv.h"

#define W8_SIDE_BY_SIDE 4 /* inputs of a row before those of the next row */
#define W16_SIDE_BY_SIDE W8_SIDE_BY_SIDE
#define W4_SIDE_BY_SIDE W8_SIDE_BY_SIDE
//% endif
//% if "w8a8" in formats | map(attribute="name")

/* w8a8 is w8 with less in a row: bytes as int16. */
#define W8A8_SIDE_BY_SIDE W8_SIDE_BY_SIDE
//% endif
//% if "w8a8" in formats | map(attribute="name")
typedef vec_bits w8a8_sum;
static inline vec_bits w8a8_total(w8a8_sum sum) { return sum; }
static inline w8a8_sum w8a8_zero(void) { return 0; }
static inline void w8a8_store(w8a8_element *p, vec a) { w8_store(p, a); }
//% endif

#endif /* VOCOSC_VECTOR_RISCV_H */
