/*
 * Products of integer weights by the integers of MVE (Armv8.1-M): up to 5 rows of int16 (w8, w16, w4) or int8 (w8a8) times a
 * panel, as exact 32-bit sums.
 *
 * A step takes as many inputs as a vector holds, 8 or 16, of two outputs and up to three rows: sums stand in even
 * registers, of which there are seven. The rows lie side by side, one vector of each and then the next ones, so that one
 * pointer reads them: with five, GCC 12 takes half as many instructions again. A panel's weights are [16 outputs][inputs].
 */
#ifndef VOCOSC_PRODUCTS_MVE_H
#define VOCOSC_PRODUCTS_MVE_H

#include <stdint.h>

#include "vocosc_vector_fpu.h"
//% macro load_rows(load, rows, all, row)
//% if row + 1 < rows
      "${load} q${2 + row}, [%[x]${", #%d" | format(16 * (row + 1 - rows)) if row + 1 < rows}]\n"
//% else
      "${load} q${2 + row}, [%[x]], #${16 * all}\n"
//% endif
//% endmacro
//% macro step(rows, all, load_weights, after, load, multiply)
      "${load_weights} q0, [%[w0]]${after}\n"
      "${load_weights} q1, [%[w1]]${after}\n"
//% for row in range(rows)
${load_rows(load, rows, all, row) | chomp}
      "${multiply} %[sum${row}_0], q0, q${2 + row}\n"
      "${multiply} %[sum${row}_1], q1, q${2 + row}\n"
//% endfor
//% endmacro
//% macro operands(rows, kind="+&")
[w0] "+&l"(w0), [w1] "+&l"(w1), [x] "+&r"(x)
//%- for row in range(rows)
//%- for output in range(2)
, [sum${row}_${output}] "${kind}Te"(sum${row}_${output})
//%- endfor
//%- endfor

//% endmacro
//% for name, type, lanes, load, multiply, weight, load_weights, bytes in (("w8", "int16_t", 8, "vldrh.u16", "vmladava.s16", "int8_t", "vldrb.s16", 8), ("w16", "int16_t", 8, "vldrh.u16", "vmladava.s16", "int16_t", "vldrh.u16", 16), ("w8a8", "uint8_t", 16, "vldrb.u8", "vmladava.s8", "int8_t", "vldrb.u8", 16)) if name in formats | map(attribute="name")
//% for all in range(1, [5, plan.max_rows] | min + 1)
//% for first, rows in ([(0, all)] if all <= 3 else [(0, all - 2), (all - 2, 2)])

/* Rows ${first} to ${first + rows - 1} of ${all} times two outputs: y [rows][16]. */
static inline void ${name}_${all}_${first}(const ${type} *x, const ${weight} *w, int count, uint32_t *y) {
  const ${weight} *w0 = w;
  const ${weight} *w1 = w + count;
  x += ${(first + rows - 1) * lanes}; /* the last of these rows */
//% for row in range(rows)
  uint32_t sum${row}_0, sum${row}_1;
//% endfor
  const int turns = count / ${8 * lanes};
  if (turns > 0) { /* the first one needs no sums */
    __asm__ volatile(
//% for turn in range(8)
${step(rows, all, load_weights, ", #%d" | format(bytes), load, multiply | replace("va", "v") if turn == 0 else multiply) | chomp}
//% endfor
        : ${operands(rows, "=&") | chomp}
        :
        : "memory", "q0", "q1", "q2", "q3"${', "q4"' if rows > 2});
  } else {
//% for row in range(rows)
    sum${row}_0 = sum${row}_1 = 0;
//% endfor
  }
//% for steps, loops in ((8, "turns - 1"), (1, "count / %d %% 8" | format(lanes)))
  if (${loops} > 0) {
    __asm__ volatile(
        "dls lr, %[turns]\n"
        "1:\n"
//% for turn in range(steps)
${step(rows, all, load_weights, ", #%d" | format(bytes), load, multiply) | chomp}
//% endfor
        "le lr, 1b\n"
        : ${operands(rows) | chomp}
        : [turns] "r"(${loops})
        : "lr", "memory", "q0", "q1", "q2", "q3"${', "q4"' if rows > 2});
  }
//% endfor
  if (count % ${lanes} != 0) { /* the weights that there are, and zeros */
    __asm__ volatile(
        "vctp.${128 // lanes} %[rest]\n"
        "vpstt\n"
${step(rows, all, load_weights[:5] ~ "t" ~ load_weights[5:], "", load, multiply) | chomp}
        : ${operands(rows) | chomp}
        : [rest] "r"(count % ${lanes})
        : "memory", "q0", "q1", "q2", "q3"${', "q4"' if rows > 2}, "p0");
  }
  __asm__ volatile(
//% for row in range(rows)
      "strd %[sum${row}_0], %[sum${row}_1], [%[y], #${64 * (first + row)}]\n"
//% endfor
      :
      : [y] "r"(y)
//%- for row in range(rows)
, [sum${row}_0] "r"(sum${row}_0), [sum${row}_1] "r"(sum${row}_1)
//%- endfor

      : "memory");
}
//% endfor
//% endfor

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times weights. A copy for each length saves a tenth. */
static __attribute__((noinline)) void ${name}_products(const ${type} *x, int rows, const ${weight} *w, int count, uint32_t *y) {
  for (int output = 0; output < 16; output += 2) {
    switch (rows) {
//% for all in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(all) if not loop.last else "default"}:
//% for first in ([0] if all <= 3 else [0, all - 2])
        ${name}_${all}_${first}(x, w + output * count, count, y + output);
//% endfor
        break;
//% endfor
    }
  }
}
//% endfor
//% if "w4" in formats | map(attribute="name")
<# 8 inputs' weights stand in q0. #>
//% macro eight(rows)
//% for row in range(rows)
      "vldrh.u16 q2, [%[x]], #16\n"
      "vmladava.s16 %[sum${row}], q0, q2\n"
//% endfor
//% endmacro
//% for rows in range(1, [5, plan.max_rows] | min + 1)

/*
 * ${rows} rows times an output of w4: y [rows][16]. Of 16 inputs the first 8 are the lower halves of bytes. Each weight is
 * multiplied by its group's scale, which takes 11 bits: the halves' 4096 * w by 8 * scale, doubled, has it in its upper
 * half. A group's scales are 16 bytes after those of the one before it.
 */
static inline void w4_${rows}(const int16_t *x, const int8_t *scales, const int8_t *w, int count, uint32_t *y) {
//% for row in range(rows)
  uint32_t sum${row} = 0;
//% endfor
  int32_t scale, scale_by_8;
  __asm__ volatile(
      "dls lr, %[groups]\n"
      "1:\n"
      "ldrsb %[scale], [%[scales]], #16\n"
      "lsl %[scale_by_8], %[scale], #3\n"
//% for half in range(2)
      "vldrb.s16 q1, [%[w]], #8\n"
      "vshl.i16 q0, q1, #12\n"
      "vqdmulh.s16 q0, q0, %[scale_by_8]\n"
${eight(rows) | chomp}
      "vshr.s16 q1, q1, #4\n"
      "vmul.i16 q0, q1, %[scale]\n"
${eight(rows) | chomp}
//% endfor
      "le lr, 1b\n"
      : [w] "+&l"(w), [x] "+&r"(x), [scales] "+&r"(scales), [scale] "=&r"(scale), [scale_by_8] "=&r"(scale_by_8)
//%- for row in range(rows)
, [sum${row}] "+&Te"(sum${row})
//%- endfor

      : [groups] "r"(count / 32)
      : "lr", "memory", "q0", "q1", "q2");
//% for row in range(rows)
  y[${16 * row}] = sum${row};
//% endfor
}
//% endfor

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times scales times weights. */
static __attribute__((noinline)) void w4_products(const int16_t *x, int rows, const int8_t *scales, const int8_t *w, int count, uint32_t *y) {
  for (int output = 0; output < 16; output++) {
    switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
        w4_${rows}(x, scales + output, w + output * count / 2, count, y + output);
        break;
//% endfor
    }
  }
}
//% endif
//% if by_vectors
//% macro add(row, k)
      "vfma.f32 q${row}, ${("q5", "q7")[k]}, ${("%[a", "%[b")[row % 2]}${k}]\n"
//% endmacro
//% macro two_inputs(rows)
      "vldrw.u32 q6, [%[w]], #16\n"
      ".inst.w 0xfe3fae0d\n" /* vcvtb.f32.f16 q5, q6: as GNU as 2.40 has it, it is another instruction */
      ".inst.w 0xfe3ffe0d\n" /* vcvtt.f32.f16 q7, q6 */
//% for row in range(0, rows, 2)
//% set here = [row, row + 1] if row + 1 < rows else [row]
//% for r in here
      "ldrd ${"%[a0], %[a1]" if r % 2 == 0 else "%[b0], %[b1]"}, [%[x${r}]], #8\n"
//% endfor
//% for k in range(2)
//% for r in here
${add(r, k) | chomp}
//% endfor
//% endfor
//% endfor
//% endmacro
//% for rows in range(1, [5, plan.max_rows] | min + 1)

/* ${rows} rows, `stride` apart, times 4 outputs: y [rows][16] = biases + x [rows][inputs] times w [inputs / 2][4][2]. */
static inline void f16_vector_${rows}x4(const float *x, int stride, const float *biases, const uint16_t *w, int count, float *y) {
//% for row in range(rows)
  const float *x${row} = x${" + %d * stride" % row if row > 1 else " + stride" if row else ""};
//% endfor
//% if rows == 1
  (void)stride;
//% endif
  uint32_t a0, a1${", b0, b1" if rows > 1};
  __asm__ volatile(
      ".arch_extension mve.fp\n"
//% for row in range(rows)
      "vldrw.u32 q${row}, [%[biases]]\n"
//% endfor
//% for pairs in (4, 1)
//% if pairs == 4
      "lsrs lr, %[count], #3\n"
//% else
      "ands lr, %[count], #6\n"
      "lsr lr, lr, #1\n"
//% endif
      "beq 2f\n"
      "dls lr, lr\n"
      "1:\n"
//% for pair in range(pairs)
${two_inputs(rows) | chomp}
//% endfor
      "le lr, 1b\n"
      "2:\n"
//% endfor
//% for row in range(rows)
      "vstrw.32 q${row}, [%[y], #${64 * row}]\n"
//% endfor
      ".arch_extension nomve.fp\n"
      ".arch_extension mve\n"
      : [w] "+&r"(w), [a0] "=&r"(a0), [a1] "=&r"(a1)${", [b0] \"=&r\"(b0), [b1] \"=&r\"(b1)" if rows > 1}${", "}
//%- for row in range(rows)
[x${row}] "+&r"(x${row})${", " if not loop.last}
//%- endfor

      : [biases] "r"(biases), [count] "r"(count), [y] "r"(y)
      : "lr", "cc", "memory"${", "}
//%- for register in range(32)
"s${register}"${", " if not loop.last}
//%- endfor
);
}
//% endfor

/*
 * Up to 5 rows of x, `stride` apart, times a panel of halves, by vectors: y [rows][16] = biases + x times weights. These
 * take denormal numbers for zero; compiler/arrange.py says why there are none.
 */
static __attribute__((noinline)) void f16_vector_products(const float *x, int stride, int rows, const float *biases, const uint16_t *w, int count, float *y) {
  for (int output = 0; output < 16; output += 4) {
    switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
        f16_vector_${rows}x4(x, stride, biases + output, w + output * count, count, y + output);
        break;
//% endfor
    }
  }
}
//% endif

#endif /* VOCOSC_PRODUCTS_MVE_H */
