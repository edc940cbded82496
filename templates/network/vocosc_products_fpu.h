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
//% if conv_channels
//% set taps = plan.left + 1

#define VEC_CONVOLVES

/* The depthwise convolution of a row: rows [taps] times table [channels / 4][bias, taps][4], to y. */
static inline void vec_convolve(const float *const *rows, const float *table, float *y) {
//% for tap in range(taps)
  const float *x${tap} = rows[${tap}];
//% endfor
  const float *const end = y + ${plan.dim | padded};
  __asm__ volatile(
      "1:\n"
      "vldmia %[table]!, {s0-s3}\n"
//% for tap in range(taps)
//% if tap % 2 == 0
      "vldmia %[table]!, {s4-s${11 if tap + 1 < taps else 7}}\n"
//% endif
//% set w = 4 + 4 * (tap % 2)
//% set x = 12 + 4 * (tap % 2)
      "vldmia %[x${tap}]!, {s${x}-s${x + 3}}\n"
//% for channel in range(4)
      "vfma.f32 s${channel}, s${x + channel}, s${w + channel}\n"
//% endfor
//% endfor
      "vstmia %[y]!, {s0-s3}\n"
      "cmp %[y], %[end]\n"
      "bne 1b\n"
      : [table] "+&r"(table), [y] "+&r"(y)${", "}
//%- for tap in range(taps)
[x${tap}] "+&r"(x${tap})${", " if not loop.last}
//%- endfor

      : [end] "r"(end)
      : "cc", "memory"${", "}
//%- for register in range(20)
"s${register}"${", " if not loop.last}
//%- endfor
);
}

/* The sums of a row's 16 virtual lanes: see vocosc_vector.h. */
static inline void vec_lane_sums(const float *row, float *sums) {
  const float *const end = row + ${plan.dim | padded};
  const float zero = 0.0f;
  __asm__ volatile(
//% for lane in range(16)
      "vmov.f32 s${lane}, %[zero]\n"
//% endfor
      "1: vldmia %[row]!, {s16-s23}\n"
//% for lane in range(8)
      "vadd.f32 s${lane}, s${lane}, s${16 + lane}\n"
//% endfor
      "vldmia %[row]!, {s16-s23}\n"
//% for lane in range(8)
      "vadd.f32 s${8 + lane}, s${8 + lane}, s${16 + lane}\n"
//% endfor
      "cmp %[row], %[end]\n"
      "bne 1b\n"
      "vstmia %[sums], {s0-s15}\n"
      : [row] "+&r"(row)
      : [end] "r"(end), [sums] "r"(sums), [zero] "t"(zero)
      : "cc", "memory"${", "}
//%- for register in range(24)
"s${register}"${", " if not loop.last}
//%- endfor
);
}
//% endif
//% if plan.dim % PANEL == 0

#if __ARM_ARCH >= 8 || defined(VEC_FPV5)
#define VEC_CENTRES

/* A row less its mean, in place; the sums of its lanes' squares, and the largest |value|. */
static inline float vec_centre(float *row, float mean, float *squares) {
  const float *const end = row + ${plan.dim};
  float largest = 0.0f;
  __asm__ volatile(
      "vmov.f32 s24, %[mean]\n"
      "vmov.f32 s25, %[largest]\n"
//% for lane in range(16)
      "vmov.f32 s${lane}, s25\n"
//% endfor
      "1:\n"
//% for half in range(2)
      "vldmia %[row], {s16-s23}\n"
//% for lane in range(8)
      "vsub.f32 s${16 + lane}, s${16 + lane}, s24\n"
//% endfor
      "vstmia %[row]!, {s16-s23}\n"
//% for lane in range(8)
      "vfma.f32 s${8 * half + lane}, s${16 + lane}, s${16 + lane}\n"
      "vabs.f32 s${16 + lane}, s${16 + lane}\n"
      "vmaxnm.f32 s25, s${16 + lane}, s25\n"
//% endfor
//% endfor
      "cmp %[row], %[end]\n"
      "bne 1b\n"
      "vstmia %[squares], {s0-s15}\n"
      "vmov.f32 %[largest], s25\n"
      : [row] "+&r"(row), [largest] "+&t"(largest)
      : [end] "r"(end), [squares] "r"(squares), [mean] "t"(mean)
      : "cc", "memory"${", "}
//%- for register in range(26)
"s${register}"${", " if not loop.last}
//%- endfor
);
  return largest;
}
#endif
//% endif

#endif /* VOCOSC_PRODUCTS_FPU_H */
