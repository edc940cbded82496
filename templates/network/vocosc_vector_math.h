/*
 * exp, log, sin and cos, and GELU, lane by lane, in explicit fused multiply-adds: the same bits on every instruction
 * set. The polynomials are minimax fits of our own; tests/test_math.c holds them to the errors stated here.
 */
#ifndef VOCOSC_VECTOR_MATH_H
#define VOCOSC_VECTOR_MATH_H

#include "vocosc_vector.h"

/* Added to a float of less than 2^22, ROUNDER rounds it to an integer, which the sum's low bits then hold. */
//% for name, value in constants.items()
#define ${name} ${value | literal}
//% endfor
//% macro polynomial(result, x, name, declaration="vec ")
  ${declaration}${result} = vec_set(${polynomials[name][0]}f);
//% for coefficient in polynomials[name][1:]
  ${result} = vec_fma(${result}, ${x}, vec_set(${coefficient}f));
//% endfor
//% endmacro

/* e^x, within 1 ulp; x is clamped to +-87, so that the result is always a normal number. NaN gives e^87. */
VEC_FUNCTION vec vec_exp(vec x) {
  x = vec_max(vec_min(x, vec_set(LARGEST_EXPONENT)), vec_set(-LARGEST_EXPONENT));
  const vec rounded = vec_fma(x, vec_set(LOG2_E), vec_set(ROUNDER));
  const vec n = vec_sub(rounded, vec_set(ROUNDER));
  vec r = vec_fma(n, vec_set(-LN_2_HIGH), x);
  r = vec_fma(n, vec_set(-LN_2_LOW), r);
${polynomial("p", "r", "exp") | chomp}
  p = vec_fma(p, vec_mul(r, r), r);
  p = vec_add(p, vec_set(1.0f));
  return vec_from_bits(vec_bits_add(vec_to_bits(p), vec_bits_shift_left(vec_to_bits(rounded), 23)));
}

//% if config.mel
/* The natural logarithm of a positive normal number, within 1 ulp (near 1: within 1e-7). */
VEC_FUNCTION vec vec_log(vec x) {
  /* x = m * 2^e with m in [sqrt(1/2), sqrt(2)): take the exponent after moving sqrt(1/2) to a power of two. */
  const vec_bits moved = vec_bits_add(vec_to_bits(x), vec_bits_set(0x3f800000u - 0x3f3504f3u));
  /* 2^23 + (e + 127), as a float, is the biased exponent in the low bits of 2^23. */
  const vec biased = vec_from_bits(vec_bits_add(vec_bits_shift_right(moved, 23), vec_bits_set(0x4b000000u)));
  const vec e = vec_sub(biased, vec_set(0x1p23f + 127.0f));
  const vec m = vec_from_bits(vec_bits_add(vec_bits_and(moved, vec_bits_set(0x007fffffu)), vec_bits_set(0x3f3504f3u)));
  const vec f = vec_sub(m, vec_set(1.0f));
${polynomial("p", "f", "log") | chomp}
  const vec square = vec_mul(f, f);
  p = vec_fma(p, vec_mul(f, square), vec_mul(e, vec_set(LN_2_LOW)));
  p = vec_fma(square, vec_set(-0.5f), p);
  p = vec_add(p, f);
  return vec_fma(e, vec_set(LN_2_HIGH), p);
}

//% endif
/*
 * sin x and cos x, within 1e-7 absolute for |x| up to 1e5 rad. Beyond 1e6 x is clamped, NaN counts as 1e6: the result
 * is always finite and at most 1.
 */
VEC_FUNCTION void vec_sincos(vec x, vec *sine, vec *cosine) {
  x = vec_max(vec_min(x, vec_set(LARGEST_ANGLE)), vec_set(-LARGEST_ANGLE));
  const vec rounded = vec_fma(x, vec_set(TWO_OVER_PI), vec_set(ROUNDER)); /* quarter turns: x / (pi / 2) */
  const vec n = vec_sub(rounded, vec_set(ROUNDER));
  vec r = vec_fma(n, vec_set(-HALF_PI_HIGH), x);
  r = vec_fma(n, vec_set(-HALF_PI_MIDDLE), r);
  r = vec_fma(n, vec_set(-HALF_PI_LOW), r);
  const vec square = vec_mul(r, r);
${polynomial("s", "square", "sin") | chomp}
  s = vec_fma(s, vec_mul(square, r), r);
${polynomial("c", "square", "cos") | chomp}
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
  const vec z = vec_max(vec_min(vec_mul(x, vec_set(SQRT_HALF)), vec_set(LARGEST_ERF)), vec_set(-LARGEST_ERF));
  const vec t = vec_mul(z, z);
${polynomial("p", "t", "erf_numerator") | chomp}
${polynomial("q", "t", "erf_denominator") | chomp}
  const vec erf = vec_div(vec_mul(z, p), q);
  const vec half = vec_mul(x, vec_set(0.5f));
  return vec_fma(half, erf, half);
}

#endif /* VOCOSC_VECTOR_MATH_H */
