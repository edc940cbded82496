/*
 * Products of float and of half weights on a Cortex-M's FPU: up to 5 rows times a panel. Its 32 registers hold the sums
 * of 4 outputs, their weights for a few inputs, and those inputs. The lines of a loop are spelled out, since GCC 12
 * loads registers one by one and keeps the weights' pointers apart.
 *
 * A panel's weights are [4][inputs][4 outputs]: `order` in compiler/isa.py. Halves are widened by vcvtb and vcvtt, which
 * is exact. Each sum is one chain of vfma in the order of its inputs.
 */
#ifndef VOCOSC_PRODUCTS_FPU_H
#define VOCOSC_PRODUCTS_FPU_H

#include <stdint.h>

#include "vocosc_vector_fpu.h"

<# Registers s`first` to s`first + count - 1`, as vldmia wants them. #>
//% macro registers(first, count)
{s${first}${"-s%d" % (first + count - 1) if count > 1}}
//%- endmacro
//% macro step(half, rows, inputs)
//% set w = 4 * rows
//% set x = w + 4 * inputs
//% set words = 2 * inputs
//% if half
      "vldmia %[w]!, ${registers(w + words, words)}\n"
//% for word in range(words)
      "vcvtb.f32.f16 s${w + 2 * word}, s${w + words + word}\n"
      "vcvtt.f32.f16 s${w + 2 * word + 1}, s${w + words + word}\n"
//% endfor
//% else
      "vldmia %[w]!, ${registers(w, 4 * inputs)}\n"
//% endif
//% for row in range(rows)
//% set at = x + (inputs * row) % (32 - x - (32 - x) % inputs)
      "vldmia %[x${row}]!, ${registers(at, inputs)}\n"
//% for k in range(inputs)
//% for output in range(4)
      "vfma.f32 s${4 * row + output}, s${at + k}, s${w + 4 * k + output}\n"
//% endfor
//% endfor
//% endfor
//% endmacro
//% for name, half in (("f32", false), ("f16", true)) if name in plan.kernels | rejectattr("name", "in", by_vectors) | map(attribute="format.name")
//% set type = "uint16_t" if half else "float"
//% for rows in range(1, [5, plan.max_rows] | min + 1)
//% set inputs = 4 if rows <= 3 else 2

/* ${rows} rows, `stride` apart, times 4 outputs: y [rows][16] = biases + x [rows][inputs] times w [inputs][4]. */
static inline void ${name}_${rows}x4(const float *x, int stride, const float *biases, const ${type} *w, int count, float *y) {
//% for row in range(rows)
  const float *x${row} = x${" + %d * stride" % row if row > 1 else " + stride" if row else ""};
//% endfor
//% if rows == 1
  (void)stride;
//% endif
  int eights = count / 8;
  int ones = count % 8;
  __asm__ volatile(
//% for row in range(rows)
      "vldmia %[biases], ${registers(4 * row, 4)}\n"
//% endfor
      "cmp %[eights], #0\n"
      "beq 2f\n"
      "1:\n"
//% for turn in range(8 // inputs)
${step(half, rows, inputs) | chomp}
//% endfor
      "subs %[eights], %[eights], #1\n"
      "bne 1b\n"
      "2: cmp %[ones], #0\n"
      "beq 4f\n"
      "3:\n"
${step(half, rows, 1) | chomp}
      "subs %[ones], %[ones], #1\n"
      "bne 3b\n"
      "4:\n"
//% for row in range(rows)
      "vstmia %[y], ${registers(4 * row, 4)}\n"
//% if row + 1 < rows
      "add %[y], %[y], #64\n"
//% endif
//% endfor
      : [w] "+&r"(w), [y] "+&r"(y), [eights] "+&r"(eights), [ones] "+&r"(ones)${", "}
//%- for row in range(rows)
[x${row}] "+&r"(x${row})${", " if not loop.last}
//%- endfor

      : [biases] "r"(biases)
      : "cc", "memory"${", "}
//%- for register in range(32)
"s${register}"${", " if not loop.last}
//%- endfor
);
}
//% endfor

/* Up to 5 rows of x, `stride` apart, times a panel: y [rows][16] = biases + x times weights. */
VEC_PRODUCTS void ${name}_products(const float *x, int stride, int rows, const float *biases, const ${type} *w, int count, float *y) {
  for (int output = 0; output < 16; output += 4) {
    switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
        ${name}_${rows}x4(x, stride, biases + output, w + output * count, count, y + output);
        break;
//% endfor
    }
  }
}
//% endfor

#endif /* VOCOSC_PRODUCTS_FPU_H */
