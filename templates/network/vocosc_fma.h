/* The fused multiply-add of one float: the CPU's own, or an exact emulation. */
#ifndef VOCOSC_FMA_H
#define VOCOSC_FMA_H

#include <stdint.h>

#ifdef __FP_FAST_FMAF
static inline float fma_float(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
/*
 * The fused multiply-add of a CPU that has none. The product is exact in double. The sum is rounded to odd (if inexact,
 * the last bit is set), which keeps the second rounding, to float, from going wrong (Boldo and Melquiond, "Emulation of
 * FMA and correctly rounded sums", IEEE Transactions on Computers 57, 2008).
 */
static inline float fma_float(float a, float b, float c) {
  const double product = (double)a * (double)b;
  const double addend = (double)c;
  const double sum = product + addend;
  const double shadow = sum - product;
  const double error = (product - (sum - shadow)) + (addend - shadow); /* TwoSum: exact; NaN if sum overflows */
  union {
    double value;
    uint64_t bits;
  } odd = {.value = sum}, lost = {.value = error};
  /* The magnitude to round to odd is the truncated one: step back if rounding went away from zero. */
  const uint64_t inexact = error != 0.0 && error == error;
  const uint64_t away = inexact & ((odd.bits ^ lost.bits) >> 63);
  odd.bits = (odd.bits - away) | inexact;
  return (float)odd.value;
}
#endif

#endif /* VOCOSC_FMA_H */
