/*
 * exp, log, sin and cos, and GELU, lane by lane, in explicit fused multiply-adds: the same bits on every instruction
 * set. The polynomials are minimax fits of our own; tests/test_math.c holds them to the errors stated here.
 */
#ifndef VOCOSC_VECTOR_MATH_H
#define VOCOSC_VECTOR_MATH_H

#include "vocosc_vector.h"

/* Added to a float of less than 2^22, 1.5 * 2^23 rounds it to an integer, which the sum's low bits then hold. */
#define ROUNDER 0x1.8p23f

/* e^x, within 1 ulp; x is clamped to +-87, so that the result is always a normal number. NaN gives e^87. */
VEC_FUNCTION vec vec_exp(vec x) {
  x = vec_max(vec_min(x, vec_set(87.0f)), vec_set(-87.0f));
  const vec rounded = vec_fma(x, vec_set(0x1.715476p+0f), vec_set(ROUNDER)); /* x / ln 2 */
  const vec n = vec_sub(rounded, vec_set(ROUNDER));
  vec r = vec_fma(n, vec_set(-0x1.62e43p-1f), x); /* ln 2 in two parts */
  r = vec_fma(n, vec_set(0x1.05c61p-29f), r);
  vec p = vec_set(0x1.6a2318p-10f);
  p = vec_fma(p, r, vec_set(0x1.123a8ep-7f));
  p = vec_fma(p, r, vec_set(0x1.5558f6p-5f));
  p = vec_fma(p, r, vec_set(0x1.55549p-3f));
  p = vec_fma(p, r, vec_set(0x1.fffffcp-2f));
  p = vec_fma(p, vec_mul(r, r), r);
  p = vec_add(p, vec_set(1.0f));
  return vec_from_bits(vec_bits_add(vec_to_bits(p), vec_bits_shift_left(vec_to_bits(rounded), 23)));
}

/* The natural logarithm of a positive normal number, within 1 ulp (near 1: within 1e-7). */
VEC_FUNCTION vec vec_log(vec x) {
  /* x = m * 2^e with m in [sqrt(1/2), sqrt(2)): take the exponent after moving sqrt(1/2) to a power of two. */
  const vec_bits moved = vec_bits_add(vec_to_bits(x), vec_bits_set(0x3f800000u - 0x3f3504f3u));
  /* 2^23 + (e + 127), as a float, is the biased exponent in the low bits of 2^23. */
  const vec biased = vec_from_bits(vec_bits_add(vec_bits_shift_right(moved, 23), vec_bits_set(0x4b000000u)));
  const vec e = vec_sub(biased, vec_set(0x1p23f + 127.0f));
  const vec m = vec_from_bits(vec_bits_add(vec_bits_and(moved, vec_bits_set(0x007fffffu)), vec_bits_set(0x3f3504f3u)));
  const vec f = vec_sub(m, vec_set(1.0f));
  vec p = vec_set(0x1.1457a2p-4f);
  p = vec_fma(p, f, vec_set(-0x1.de3c14p-4f));
  p = vec_fma(p, f, vec_set(0x1.e6f06cp-4f));
  p = vec_fma(p, f, vec_set(-0x1.fc2208p-4f));
  p = vec_fma(p, f, vec_set(0x1.233768p-3f));
  p = vec_fma(p, f, vec_set(-0x1.555c4ep-3f));
  p = vec_fma(p, f, vec_set(0x1.99a4b6p-3f));
  p = vec_fma(p, f, vec_set(-0x1.000006p-2f));
  p = vec_fma(p, f, vec_set(0x1.555548p-2f));
  const vec square = vec_mul(f, f);
  p = vec_fma(p, vec_mul(f, square), vec_mul(e, vec_set(-0x1.05c61p-29f)));
  p = vec_fma(square, vec_set(-0.5f), p);
  p = vec_add(p, f);
  return vec_fma(e, vec_set(0x1.62e43p-1f), p);
}

/*
 * sin x and cos x, within 1e-7 absolute for |x| up to 1e5 rad. Beyond 1e6 x is clamped, NaN counts as 1e6: the result
 * is always finite and at most 1.
 */
VEC_FUNCTION void vec_sincos(vec x, vec *sine, vec *cosine) {
  x = vec_max(vec_min(x, vec_set(1e6f)), vec_set(-1e6f));
  const vec rounded = vec_fma(x, vec_set(0x1.45f306p-1f), vec_set(ROUNDER)); /* quarter turns: x / (pi / 2) */
  const vec n = vec_sub(rounded, vec_set(ROUNDER));
  vec r = vec_fma(n, vec_set(-0x1.921fb6p+0f), x); /* pi / 2 in three parts (Cody and Waite) */
  r = vec_fma(n, vec_set(0x1.777a5cp-25f), r);
  r = vec_fma(n, vec_set(0x1.ee59dap-50f), r);
  const vec square = vec_mul(r, r);
  vec s = vec_set(-0x1.992f58p-13f);
  s = vec_fma(s, square, vec_set(0x1.1107p-7f));
  s = vec_fma(s, square, vec_set(-0x1.555544p-3f));
  s = vec_fma(s, vec_mul(square, r), r);
  vec c = vec_set(0x1.99f026p-16f);
  c = vec_fma(c, square, vec_set(-0x1.6c0c4ep-10f));
  c = vec_fma(c, square, vec_set(0x1.55554ap-5f));
  c = vec_fma(c, square, vec_set(-0.5f));
  c = vec_fma(c, square, vec_set(1.0f));
  /* Odd quarters swap sine and cosine; quarters 2 and 3 negate the sine, 1 and 2 the cosine. */
  const vec_bits quarter = vec_to_bits(rounded);
  const vec_bits odd = vec_bits_and(quarter, vec_bits_set(1));
  const vec_bits sine_sign = vec_bits_shift_left(vec_bits_and(quarter, vec_bits_set(2)), 30);
  const vec_bits next = vec_bits_add(quarter, vec_bits_set(1));
  const vec_bits cosine_sign = vec_bits_shift_left(vec_bits_and(next, vec_bits_set(2)), 30);
  *sine = vec_from_bits(vec_bits_xor(vec_to_bits(vec_select(odd, c, s)), sine_sign));
  *cosine = vec_from_bits(vec_bits_xor(vec_to_bits(vec_select(odd, s, c)), cosine_sign));
}

/* GELU in its erf form, x/2 (1 + erf(x / sqrt 2)), within 3e-7 max(1, |x|). erf is a rational function, odd in x. */
VEC_FUNCTION vec vec_gelu(vec x) {
  const vec z = vec_max(vec_min(vec_mul(x, vec_set(0x1.6a09e6p-1f)), vec_set(3.92f)), vec_set(-3.92f));
  const vec t = vec_mul(z, z);
  vec p = vec_set(0x1.1118ap-19f);
  p = vec_fma(p, t, vec_set(0x1.2d71e8p-12f));
  p = vec_fma(p, t, vec_set(0x1.fb08d6p-9f));
  p = vec_fma(p, t, vec_set(0x1.b2ac24p-5f));
  p = vec_fma(p, t, vec_set(0x1.8ac85ap-3f));
  p = vec_fma(p, t, vec_set(0x1.20dd72p+0f));
  vec q = vec_set(0x1.3f5c08p-15f);
  q = vec_fma(q, t, vec_set(0x1.3775b4p-10f));
  q = vec_fma(q, t, vec_set(0x1.f12b16p-7f));
  q = vec_fma(q, t, vec_set(0x1.d7635cp-4f));
  q = vec_fma(q, t, vec_set(0x1.0221fp-1f));
  q = vec_fma(q, t, vec_set(1.0f));
  const vec erf = vec_div(vec_mul(z, p), q);
  const vec half = vec_mul(x, vec_set(0.5f));
  return vec_fma(half, erf, half);
}

#endif /* VOCOSC_VECTOR_MATH_H */
