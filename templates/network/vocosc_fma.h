/* The fused multiply-add and the square root of one float: the CPU's own, or exact emulations. */
#ifndef VOCOSC_FMA_H
#define VOCOSC_FMA_H

#include <stdint.h>

#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__mips_soft_float)
#define VEC_SOFT_FLOAT /* every operation on floats is a call */
#endif

typedef union {
  float value;
  uint32_t bits;
} float_bits;

#ifdef VEC_SOFT_FLOAT
/* a / 2^n, n from 0 to 63. If anything falls off, the last bit is set. */
static inline uint64_t shift_right_sticky(uint64_t a, int n) {
  const uint64_t kept = a >> n;
  return kept | (uint64_t)(kept << n != a);
}
static inline int lesser(int a, int b) { return a < b ? a : b; }

/* By integers alone, where no operand is infinite or NaN. */
static __attribute__((noinline)) float fma_float(float a, float b, float c) {
  const uint32_t bits_a = ((float_bits){.value = a}).bits;
  const uint32_t bits_b = ((float_bits){.value = b}).bits;
  const uint32_t bits_c = ((float_bits){.value = c}).bits;
  const uint32_t infinite = 0x7f800000u;
  if ((bits_a & infinite) == infinite || (bits_b & infinite) == infinite) return a * b + c;
  if ((bits_c & infinite) == infinite) return c;
  /* A denormal has the exponent 1, and no leading one. */
  const uint32_t field_a = bits_a >> 23 & 0xff;
  const uint32_t field_b = bits_b >> 23 & 0xff;
  const uint32_t field_c = bits_c >> 23 & 0xff;
  const uint32_t fraction_a = (bits_a & 0x7fffffu) | (uint32_t)(field_a != 0) << 23;
  const uint32_t fraction_b = (bits_b & 0x7fffffu) | (uint32_t)(field_b != 0) << 23;
  const uint32_t fraction_c = (bits_c & 0x7fffffu) | (uint32_t)(field_c != 0) << 23;
  /* Product and addend, below 2^62, times 2^(exponent - 314) */
  uint64_t product = (uint64_t)fraction_a * fraction_b << 14;
  uint64_t addend = (uint64_t)fraction_c << 37;
  int exponent_p = (int)(field_a + (field_a == 0) + field_b + (field_b == 0));
  int exponent_c = (int)(field_c + (field_c == 0)) + 127;
  if (product == 0) exponent_p = exponent_c;
  if (addend == 0) exponent_c = exponent_p;
  const int larger = -lesser(-exponent_p, -exponent_c);
  product = shift_right_sticky(product, lesser(larger - exponent_p, 63));
  addend = shift_right_sticky(addend, lesser(larger - exponent_c, 63));
  const uint64_t minus_p = 0u - (uint64_t)((bits_a ^ bits_b) >> 31);
  const uint64_t minus_c = 0u - (uint64_t)(bits_c >> 31);
  const uint64_t sum = ((product ^ minus_p) - minus_p) + ((addend ^ minus_c) - minus_c);
  const uint64_t minus = 0u - (sum >> 63);
  uint64_t size = (sum ^ minus) - minus;
  /* Of two zeros, -0 only if both are */
  if (size == 0) return ((float_bits){.bits = (bits_a ^ bits_b) & bits_c & 0x80000000u}).value;
  /* The leading one to bit 62, or a denormal's further down; bits 0 to 38 are rounded off, ties to even */
  const int zeros = __builtin_clzll(size) - 1;
  const int exponent = larger - zeros - 125;
  size = shift_right_sticky(size << zeros, exponent < 1 ? lesser(1 - exponent, 63) : 0);
  const uint32_t rounded = (uint32_t)((size + ((1ull << 38) - 1) + (size >> 39 & 1)) >> 39);
  const uint32_t bits = rounded + ((uint32_t)(exponent < 1 ? 0 : exponent - 1) << 23);
  const uint32_t found = exponent >= 255 || bits >= infinite ? infinite : bits;
  return ((float_bits){.bits = found | ((uint32_t)minus & 0x80000000u)}).value;
}

/* Of a number that is not negative: digit by digit. */
static __attribute__((noinline)) float sqrt_float(float a) {
  const uint32_t bits = ((float_bits){.value = a}).bits;
  if (bits == 0 || bits >= 0x7f800000u) return a;
  const int field = (int)(bits >> 23);
  const uint32_t fraction = (bits & 0x7fffffu) | (uint32_t)(field != 0) << 23;
  const int zeros = __builtin_clz(fraction) - 8;
  const int exponent = field + (field == 0) - zeros; /* fraction * 2^zeros, from 2^23 to 2^24, times 2^(exponent - 150) */
  uint64_t rest = (uint64_t)fraction << zeros << (exponent % 2 == 0 ? 26 : 25);
  uint64_t root = 0;
  for (uint64_t bit = 1ull << 48; bit != 0; bit >>= 2) {
    const uint64_t trial = root + bit;
    root >>= 1;
    if (rest >= trial) {
      rest -= trial;
      root += bit;
    }
  }
  /* 25 bits, the last one to be rounded off: it is never a tie */
  return ((float_bits){.bits = (uint32_t)((root + 1) >> 1) + ((uint32_t)((exponent + 125 + (exponent % 2 != 0)) / 2) << 23)}).value;
}
#else
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
#endif

#endif /* VOCOSC_FMA_H */
