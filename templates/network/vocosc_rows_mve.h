/*
 * Rows by MVE's floats, which take denormal numbers for zero, where that changes nothing: what is computed here becomes
 * int16 in the end (w8), and a value of that size is 0 there. Compile with +nomve.fp all the same, or GCC does more of it.
 */
#ifndef VOCOSC_ROWS_MVE_H
#define VOCOSC_ROWS_MVE_H

#include <stdint.h>

#include "vocosc_vector_fpu.h"

#define MVE_FLOATS ".arch_extension mve.fp\n"
#define NO_MVE_FLOATS ".arch_extension nomve.fp\n.arch_extension mve\n"

/*
 * A row's 16 sums of integers, finished (w8_finish; `header` is biases and scales), and their GELU to y, for rows that are
 * quantised then. As vec_gelu computes it, operation by operation, but for the division, which MVE has not: the
 * reciprocal by three of Newton's steps, and one that rounds the quotient. All 268 million arguments were compared with the
 * hardware's division once, by hand.
 */
//% set numerator = polynomials["erf_numerator"]
//% set denominator = polynomials["erf_denominator"]
//% macro horner(sum, t, k)
      "ldr %[c], [%[table]], #4\n"
//% for v in range(2)
      "vfmas.f32 q${sum + 4 * v}, q${t + 4 * v}, %[c]\n"
//% endfor
//% endmacro
//% macro both(text)
//% for v in range(2)
      "${text | replace("A", "q%d" % (4 * v)) | replace("B", "q%d" % (4 * v + 1)) | replace("C", "q%d" % (4 * v + 2)) | replace("D", "q%d" % (4 * v + 3))}\n"
//% endfor
//% endmacro
static inline void gelu_panel(const uint32_t *sums, const float *header, uint32_t row_scale, float *y) {
  static const float constants[] = {${constants["SQRT_HALF"] | literal}, ${constants["LARGEST_ERF"] | literal}, -${constants["LARGEST_ERF"] | literal},
//%- for c in numerator
 ${c}f,
//%- endfor
//%- for c in denominator
 ${c}f,
//%- endfor
 0.5f, 0x1.e6238ep+126f /* its bits less a float's: about the reciprocal's */};
  /* Of four values each, A (q0, q4): x, then its half; B: z, then z p, then what the quotient leaves; C: t, p, 1 / q; D: q. */
  for (float *const end = y + 16; y < end; y += 8, sums += 8, header += 8) {
    const float *table = constants;
    uint32_t c;
    __asm__ volatile(
        MVE_FLOATS
//% for v in range(2)
        "vldrw.u32 q${1 + 4 * v}, [%[header], #${64 + 16 * v}]\n"
        "vldrw.u32 q${2 + 4 * v}, [%[sums], #${16 * v}]\n"
        "vldrw.u32 q${4 * v}, [%[header], #${16 * v}]\n"
//% endfor
${both("vmul.f32 B, B, %[row]") | chomp}
${both("vcvt.f32.s32 C, C") | chomp}
${both("vfma.f32 A, C, B") | chomp}
        "ldr %[c], [%[table]], #4\n"
${both("vmul.f32 B, A, %[c]") | chomp}
        "ldr %[c], [%[table]], #4\n"
        "vdup.32 q2, %[c]\n"
        "ldr %[c], [%[table]], #4\n"
        "vdup.32 q3, %[c]\n"
        "vminnm.f32 q1, q1, q2\n"
        "vminnm.f32 q5, q5, q2\n"
        "vmaxnm.f32 q1, q1, q3\n"
        "vmaxnm.f32 q5, q5, q3\n"
${both("vmul.f32 C, B, B") | chomp}
        "ldr %[c], [%[table]], #4\n"
        "vdup.32 q3, %[c]\n"
        "vdup.32 q7, %[c]\n"
//% for k in range(numerator | length - 1)
${horner(3, 2, k) | chomp}
//% endfor
${both("vmul.f32 B, B, D") | chomp}
        "ldr %[c], [%[table]], #4\n"
        "vdup.32 q3, %[c]\n"
        "vdup.32 q7, %[c]\n"
//% for k in range(denominator | length - 1)
${horner(3, 2, k) | chomp}
//% endfor
        "ldr %[c], [%[table]], #4\n" /* a half: x is needed no more */
${both("vmul.f32 A, A, %[c]") | chomp}
        "vstrw.32 q0, [%[y]]\n"
        "vstrw.32 q4, [%[y], #16]\n"
        "ldr %[c], [%[table]], #4\n"
        "vdup.32 q2, %[c]\n"
        "vdup.32 q6, %[c]\n"
${both("vsub.i32 C, C, D") | chomp}
//% for step in range(3)
${both("vmov.f32 A, #1.0") | chomp}
${both("vfms.f32 A, D, C") | chomp}
${both("vfma.f32 C, C, A") | chomp}
//% endfor
${both("vmul.f32 A, B, C") | chomp}
${both("vfms.f32 B, A, D") | chomp}
${both("vfma.f32 A, B, C") | chomp} /* the error function, and x / 2 times it */
        "vldrw.u32 q1, [%[y]]\n"
        "vldrw.u32 q5, [%[y], #16]\n"
        "vmov q2, q1\n"
        "vmov q6, q5\n"
${both("vfma.f32 C, B, A") | chomp}
        "vstrw.32 q2, [%[y]]\n"
        "vstrw.32 q6, [%[y], #16]\n"
        NO_MVE_FLOATS
        : [table] "+&r"(table), [c] "=&r"(c)
        : [y] "r"(y), [sums] "r"(sums), [header] "r"(header), [row] "r"(row_scale)
        : "memory"${", "}
//%- for register in range(32)
"s${register}"${", " if not loop.last}
//%- endfor
);
  }
}
//% if formats | selectattr("is_integer") | rejectattr("name", "eq", "w8a8") | list

#define W8_ROWS_BY_VECTORS

/* The largest |x| of `width` values, whole panels of them. One that is denormal counts as 0, less than a row's range. */
static inline float w8_largest(const float *x, int width) {
  uint32_t largest = 0;
  __asm__ volatile(
      MVE_FLOATS
      "vmov.i32 q0, #0\n"
      "dls lr, %[turns]\n"
      "1:\n"
//% for turn in range(4)
      "vldrw.u32 q${1 + turn % 2}, [%[x]], #16\n"
      "vmaxnma.f32 q0, q${1 + turn % 2}\n"
//% endfor
      "le lr, 1b\n"
      "vmaxnmav.f32 %[largest], q0\n"
      NO_MVE_FLOATS
      : [x] "+&r"(x), [largest] "+&r"(largest)
      : [turns] "r"(width / 16)
      : "lr", "memory", "q0", "q1", "q2");
  return vec_from_bits(largest);
}

/*
 * x * factor * inverse of `width` values, within +-limit, as int16, 8 together and then those of `spread` - 1 other rows.
 * A factor is at most 1000 and an inverse 32639 / 1e-30: what is denormal is below 0.4 then.
 */
static inline void w8_store_row(const float *x, int width, float factor, float inverse, int limit, int16_t *y, int spread) {
  __asm__ volatile(
      MVE_FLOATS
      "vdup.32 q2, %[high]\n"
      "vneg.f32 q3, q2\n"
      "dls lr, %[turns]\n"
      "1:\n"
      "vldrw.u32 q0, [%[x]], #16\n"
      "vldrw.u32 q1, [%[x]], #16\n"
//% for text in ("vmul.f32 Q, Q, %[factor]", "vmul.f32 Q, Q, %[inverse]", "vminnm.f32 Q, Q, q2", "vmaxnm.f32 Q, Q, q3", "vadd.f32 Q, Q, %[rounder]")
//% for v in range(2)
      "${text | replace("Q", "q%d" % v)}\n"
//% endfor
//% endfor
      "vstrh.32 q0, [%[y]]\n" /* the sum's low bits are the integer */
      "vstrh.32 q1, [%[y], #8]\n"
      "add %[y], %[y], %[step]\n"
      "le lr, 1b\n"
      NO_MVE_FLOATS
      : [x] "+&r"(x), [y] "+&l"(y)
      : [turns] "r"(width / 8), [factor] "r"(vec_to_bits(factor)), [inverse] "r"(vec_to_bits(inverse)),
        [high] "r"(vec_to_bits((float)limit)), [rounder] "r"(vec_to_bits(0x1.8p23f)), [step] "r"(16 * spread)
      : "lr", "memory", "q0", "q1", "q2", "q3");
}
//% endif

#endif /* VOCOSC_ROWS_MVE_H */
