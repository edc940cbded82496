/*
 * Products of float and of half weights on scalar RISC-V: up to 5 rows times a panel. The 32 registers for floats hold the
 * sums of some outputs, those of an input of all rows and of the next one's, and weights. The lines of a loop are spelled
 * out: GCC 12 spills sums when it makes this from C.
 *
 * One or two instructions of a weight's way from memory stand between two others' products, so that none waits for the one
 * before it: it is loaded, and a half is widened, in the shadow of the weights before it.
 *
 * A panel's weights are [4][inputs][4 outputs]: `order` in compiler/isa.py. A tile of few rows takes several such fours at
 * once. Each sum is one chain of fmadd.s in the order of its inputs.
 */
#ifndef VOCOSC_PRODUCTS_FMADD_H
#define VOCOSC_PRODUCTS_FMADD_H

#include <stdint.h>

#include "vocosc_vector_portable.h"

//% set kernels = plan.kernels | map(attribute="format.name") | list
//% if "f16" in kernels
/*
 * A half on its way: without Zfh its exponent and fraction are moved to a float's place, which is 2^112 times too small,
 * between copies of its sign, which are masked out. `t` is an integer's register, `f` a float's. Rows that are 2^112 times too
 * large (vec_enlarge) take halves as small as that.
 */
#if defined(__riscv_zfh) || defined(__riscv_zfhmin)
#define HALF_LOAD(t, at)
#define HALF_SHIFT(t)
#define HALF_MASK(t)
#define HALF_MOVE(f, t, at) "flh " f ", " at "\n"
#define HALF_WIDEN(f) "fcvt.s.h " f ", " f "\n"
#else
#define HALF_LOAD(t, at) "lh " t ", " at "\n"
#define HALF_SHIFT(t) "slli " t ", " t ", 13\n"
#define HALF_MASK(t) "and " t ", " t ", %[mask]\n"
#define HALF_MOVE(f, t, at) "fmv.w.x " f ", " t "\n"
#define HALF_WIDEN(f) "fmul.s " f ", " f ", %[scale]\n"
#endif

//% endif
<# The stages of weight i of a step of so many inputs, each some weights ahead of its use. #>
//% macro stage(half, small, lead, i, outputs, inputs, w, count)
//% set f, t = "f%d" % (w + i % count), "%%[t%d]" % (i % 4)
//% set at = "%d(%%[w%d])" | format((i // outputs * 4 + i % 4) * (2 if half else 4), i % outputs // 4)
//% if not half
      "flw ${f}, ${at}\n"
//% elif lead == 5 - small
      HALF_LOAD("${t}", "${at}")
//% elif lead == 4 - small
      HALF_SHIFT("${t}")
//% elif lead == 3 - small
      HALF_MASK("${t}")
//% elif lead == 2 - small
      HALF_MOVE("${f}", "${t}", "${at}")
//% else
      HALF_WIDEN("${f}")
//% endif
//% endmacro
//% macro step(half, small, rows, outputs, inputs)
//% set sums = rows * outputs
//% set leads = (4, 3, 2, 1) if small else (5, 4, 3, 2, 1) if half else (4,) if rows == 1 else (2,) if rows == 2 else (1,)
//% set weights = 2 if small else 3 if half else leads[0] + 1
//% set w = 32 - weights
//% set x = sums
//% set xs = w - (half and not small) | int - x
//% set early = [xs - rows, rows] | min
//% for i in range(-leads[0], outputs * inputs)
//% set k, output = i // outputs, i % outputs
//% if i == 0 or i > 0 and output == 0 and early < rows
//% for row in range(0 if i == 0 else early, rows)
      "flw f${x + (k * rows + row) % xs}, ${4 * k}(%[x${row}])\n"
//% endfor
//% endif
//% for lead in leads if 0 <= i + lead < outputs * inputs
${stage(half, small | int, lead, i + lead, outputs, inputs, w, weights) | chomp}
//% endfor
//% if i >= 0
//% for row in range(early) if row * outputs // early == output and k + 1 < inputs
      "flw f${x + ((k + 1) * rows + row) % xs}, ${4 * k + 4}(%[x${row}])\n"
//% endfor
//% for row in range(rows)
      "fmadd.s f${row * outputs + output}, f${x + (k * rows + row) % xs}, f${w + i % weights}, f${row * outputs + output}\n"
//% endfor
//% endif
//% endfor
//% for four in range(outputs // 4)
      "addi %[w${four}], %[w${four}], ${4 * inputs * (2 if half else 4)}\n"
//% endfor
//% for row in range(rows)
      "addi %[x${row}], %[x${row}], ${4 * inputs}\n"
//% endfor
//% endmacro
//% set all_small = plan.kernels | selectattr("format.name", "eq", "f16") | rejectattr("name", "in", small_halves) | list | length == 0
//% for name, half, small in (("f32", false, false), ("f16", true, false), ("f16_small", true, true)) if name in kernels or small and small_halves
//% set type = "uint16_t" if half else "float"
//% if small

#ifndef VEC_SMALL_HALVES
#define f16_small_products f16_products
#else
//% elif half and all_small

#ifndef VEC_SMALL_HALVES
//% endif
//% for rows in range(1, [5, plan.max_rows] | min + 1)
//% set outputs = (16, 8, 8, 4, 4)[rows - 1]

/* ${rows} rows, `stride` apart, times ${outputs} outputs: y [rows][16] = biases + x [rows][inputs] times w [${outputs // 4}][inputs][4]. */
static inline void ${name}_${rows}x${outputs}(const float *x, int stride, const float *biases, const ${type} *w, int count, float *y) {
//% for row in range(rows)
  const float *x${row} = x${" + %d * stride" % row if row > 1 else " + stride" if row else ""};
//% endfor
//% for four in range(outputs // 4)
  const ${type} *w${four} = w${" + %d * count" % (4 * four) if four};
//% endfor
//% if rows == 1
  (void)stride;
//% endif
//% if half
  const uint32_t mask = 0x8fffffffu;
//% if not small
  const float scale = 0x1p112f;
//% endif
  uint32_t t0, t1, t2, t3;
//% endif
  int eights = count / 8;
  int ones = count % 8;
  __asm__ volatile(
//% for row in range(rows)
//% for output in range(outputs)
      "flw f${row * outputs + output}, ${4 * output}(%[biases])\n"
//% endfor
//% endfor
      "beqz %[eights], 2f\n"
      "1:\n"
${step(half, small, rows, outputs, 8) | chomp}
      "addi %[eights], %[eights], -1\n"
      "bnez %[eights], 1b\n"
      "2: beqz %[ones], 4f\n"
      "3:\n"
${step(half, small, rows, outputs, 1) | chomp}
      "addi %[ones], %[ones], -1\n"
      "bnez %[ones], 3b\n"
      "4:\n"
//% for row in range(rows)
//% for output in range(outputs)
      "fsw f${row * outputs + output}, ${64 * row + 4 * output}(%[y])\n"
//% endfor
//% endfor
      : [eights] "+&r"(eights), [ones] "+&r"(ones)${", "}
//%- for four in range(outputs // 4)
[w${four}] "+&r"(w${four}), ${""}
//%- endfor
//%- if half
[t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), ${""}
//%- endif
//%- for row in range(rows)
[x${row}] "+&r"(x${row})${", " if not loop.last}
//%- endfor

      : [biases] "r"(biases), [y] "r"(y)${', [mask] "r"(mask)' if half}${', [scale] "f"(scale)' if half and not small}
      : "memory"${", "}
//%- for register in range(32) if not (half and not small and register == 28)
"f${register}"${", " if not loop.last}
//%- endfor
);
}
//% endfor

/* Up to 5 rows of x, `stride` apart, times a panel: y [rows][16] = biases + x times weights. */
VEC_PRODUCTS void ${name}_products(const float *x, int stride, int rows, const float *biases, const ${type} *w, int count, float *y) {
  switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
//% set outputs = (16, 8, 8, 4, 4)[rows - 1]
    ${"case %d" | format(rows) if not loop.last else "default"}:
      for (int output = 0; output < 16; output += ${outputs}) {
        ${name}_${rows}x${outputs}(x, stride, biases + output, w + output * count, count, y + output);
      }
      break;
//% endfor
  }
}
//% if small or half and all_small
#endif
//% endif
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
//% for channel in range(4)
      "flw f${channel}, ${4 * channel}(%[table])\n"
//% endfor
//% for tap in range(taps)
//% set at = 4 + 8 * (tap % 3)
//% for channel in range(4)
      "flw f${at + channel}, ${16 * (tap + 1) + 4 * channel}(%[table])\n"
      "flw f${at + 4 + channel}, ${4 * channel}(%[x${tap}])\n"
//% endfor
      "addi %[x${tap}], %[x${tap}], 16\n"
//% for channel in range(4)
      "fmadd.s f${channel}, f${at + 4 + channel}, f${at + channel}, f${channel}\n"
//% endfor
//% endfor
      "addi %[table], %[table], ${16 * (taps + 1)}\n"
//% for channel in range(4)
      "fsw f${channel}, ${4 * channel}(%[y])\n"
//% endfor
      "addi %[y], %[y], 16\n"
      "bne %[y], %[end], 1b\n"
      : [table] "+&r"(table), [y] "+&r"(y)${", "}
//%- for tap in range(taps)
[x${tap}] "+&r"(x${tap})${", " if not loop.last}
//%- endfor

      : [end] "r"(end)
      : "memory"${", "}
//%- for register in range(28)
"f${register}"${", " if not loop.last}
//%- endfor
);
}

/* The sums of a row's 16 virtual lanes: see vocosc_vector.h. */
static inline void vec_lane_sums(const float *row, float *sums) {
  const float *const end = row + ${plan.dim | padded};
  __asm__ volatile(
//% for lane in range(16)
      "fmv.w.x f${lane}, zero\n"
//% endfor
      "1:\n"
//% for lane in range(16)
      "flw f${16 + lane}, ${4 * lane}(%[row])\n"
//% endfor
      "addi %[row], %[row], 64\n"
//% for lane in range(16)
      "fadd.s f${lane}, f${lane}, f${16 + lane}\n"
//% endfor
      "bne %[row], %[end], 1b\n"
//% for lane in range(16)
      "fsw f${lane}, ${4 * lane}(%[sums])\n"
//% endfor
      : [row] "+&r"(row)
      : [end] "r"(end), [sums] "r"(sums)
      : "memory"${", "}
//%- for register in range(32)
"f${register}"${", " if not loop.last}
//%- endfor
);
}
//% endif

#endif /* VOCOSC_PRODUCTS_FMADD_H */
