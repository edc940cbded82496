/*
 * Products of integer weights and rows of int16 on scalar RISC-V: up to 5 rows times a panel, as exact 32-bit sums.
 *
 * All sums stand in registers, and every register that there is holds something: GCC 12 spills sums when it makes this
 * from C. So the end of the weights, a mask and the sums' place are on the stack. Weights are stored with an offset that
 * makes them positive (`flip` in compiler/isa.py). A sum is too large by the row's sum times that, which is taken off in
 * the end.
 *
 * With registers of 64 bits a multiplication makes two products: weights are masked into four pairs 32 bits apart, so that
 * an input times a pair is two products side by side, and so are their sums. The lowest pair need not be masked: all is
 * modulo 2^64, and what the others have added to its sums is known in the end. Only without the offset is the lower sum,
 * which fits 32 bits, known with its sign, and with it what the upper one has borrowed or been carried.
 *
 * Up to 5 rows lie side by side, in fours of inputs: [inputs / 4][rows][4]. A panel's weights are [2][inputs][8 outputs];
 * of w4 eight bytes have two inputs': the first one's of outputs 0 to 3, the second one's, and so on for outputs 4 to 7.
 * The sums of w4's groups are multiplied by their scales and added up.
 */
#ifndef VOCOSC_PRODUCTS_RISCV_H
#define VOCOSC_PRODUCTS_RISCV_H

#include <stdint.h>

#include "vocosc_vector_portable.h"

#if __riscv_xlen == 64
typedef uint64_t products_word; /* two sums */
enum { PRODUCTS_PARTS = 1 }; /* of 8 outputs, which are computed together */
#else
typedef uint32_t products_word;
enum { PRODUCTS_PARTS = 2 };
#endif

/* The sums of rows that lie side by side, over stretches of so many inputs: [rows][count / stretch]. */
static inline void w8_row_sums(const int16_t *x, int rows, int count, int stretch, int32_t *sums) {
  for (int row = 0; row < rows; row++) {
    for (int first = 0; first < count; first += stretch) {
      int32_t sum = 0;
      for (int k = first; k < first + stretch; k += 4) {
        const int16_t *four = x + k * rows + 4 * row;
        sum += four[0] + four[1] + four[2] + four[3];
      }
      *sums++ = sum;
    }
  }
}

/* A row's sums of 8 outputs, in pairs that are `apart`, or of 4 from 4 * `part` on: without the offset. */
static inline void products_finish(const products_word *sums, int part, int apart, uint32_t offset, int32_t row_sum, uint32_t *y) {
  const uint32_t extra = offset * (uint32_t)row_sum;
  for (int pair = 0; pair < 4; pair++) {
#if __riscv_xlen == 64
    const int32_t low = (int32_t)((uint32_t)sums[pair] - extra);
    uint32_t *to = y + 8 * part + pair / apart * 2 * apart + pair % apart;
    to[0] = (uint32_t)low;
    to[apart] = (uint32_t)((sums[pair] - (uint64_t)(low + (int64_t)offset * row_sum)) >> 32) - extra;
#else
    (void)apart;
    y[4 * part + pair] = sums[pair] - extra;
#endif
  }
}
<# Registers: a0 weights, a1 inputs; w the weights, t an input, u a product. #>
//% set w = ("a2", "a3", "a4", "a5")
//% set sums = ("a6", "a7", "t0", "t1", "t2", "t3", "t4", "t5", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11")
//% set t, u = "t6", "ra"
<# Pairs that stay as they were loaded, with other pairs above them, each so many bits further up: these are taken off the sums. #>
//% set unmasked = {"w8": {0: ((1, 8), (2, 16), (3, 24))}, "w16": {0: ((1, 16),), 2: ((3, 16),)}, "w4": {}}
<# Input k of four: weights of 8 outputs in pairs. #>
//% macro pairs(f, k)
      "ld ${u}, %[mask]\n"
//% if f == "w16"
      "ld ${w[0]}, ${16 * k}(a0)\n"
      "ld ${w[2]}, ${16 * k + 8}(a0)\n"
      "srli ${w[1]}, ${w[0]}, 16\n"
      "srli ${w[3]}, ${w[2]}, 16\n"
//% else
      "ld ${w[0]}, ${8 * k if f == "w8" else 8 * (k // 2)}(a0)\n"
//% for j in (1, 2, 3, 0)
//% set shift = 8 * j if f == "w8" else 4 * j + 16 * (k % 2)
//% if shift
      "srli ${w[j]}, ${w[0]}, ${shift}\n"
//% endif
//% endfor
//% endif
//% for j in range(4) if j not in unmasked[f]
      "and ${w[j]}, ${w[j]}, ${u}\n"
//% endfor
//% endmacro
<# Or of 4 outputs, one by one. #>
//% macro singles(f, k)
//% for j in range(4)
//% if f == "w16"
      "lhu ${w[j]}, ${16 * k + 2 * j}(a0)\n"
//% elif f == "w8"
      "lbu ${w[j]}, ${8 * k + j}(a0)\n"
//% elif j % 2 == 0
      "lbu ${w[j]}, ${8 * (k // 2) + 2 * (k % 2) + j // 2}(a0)\n"
      "srli ${w[j + 1]}, ${w[j]}, 4\n"
      "andi ${w[j]}, ${w[j]}, 15\n"
//% endif
//% endfor
//% endmacro
//% macro body(f, rows, is_wide)
  __asm__ volatile(
//% for sum in sums[:4 * rows]
      "li ${sum}, 0\n"
//% endfor
      "1:\n"
//% for k in range(4)
${pairs(f, k) | chomp if is_wide else singles(f, k) | chomp}
//% for row in range(rows)
      "lh ${t}, ${2 * (4 * row + k)}(a1)\n"
//% for j in range(4)
//% set product = u if j < 3 else t
      "mul ${product}, ${t}, ${w[j]}\n"
      "add ${sums[4 * row + j]}, ${sums[4 * row + j]}, ${product}\n"
//% endfor
//% endfor
//% endfor
      "${"ld" if is_wide else "lw"} ${t}, %[end]\n"
      "addi a0, a0, ${{"w8": 32, "w16": 64, "w4": 16}[f]}\n"
      "addi a1, a1, ${8 * rows}\n"
      "bne a0, ${t}, 1b\n"
//% for row in range(rows) if is_wide
//% for pair, above in unmasked[f].items()
//% for other, bits in above
      "slli ${t}, ${sums[4 * row + other]}, ${bits}\n"
      "sub ${sums[4 * row + pair]}, ${sums[4 * row + pair]}, ${t}\n"
//% endfor
//% endfor
//% endfor
//% for sum in sums[:4 * rows]
      "${"sd" if is_wide else "sw"} ${sum}, ${(8 if is_wide else 4) * loop.index0} + %[sums]\n"
//% endfor
      : "+&r"(weights), "+&r"(inputs), [sums] "=m"(*(products_word(*)[${4 * rows}])sums)
      : [end] "m"(end)${', [mask] "m"(mask)' if is_wide}
      : "memory", "${t}", "${u}"${", "}
//%- for register in w + sums
"${register}"${", " if not loop.last}
//%- endfor
);
//% endmacro
<# Sums below 2^24 by floats, which are exact: fmadd.s is one instruction for mul and add, but weights and inputs are converted. #>
//% macro float_body(f, rows)
  __asm__ volatile(
//% for sum in range(4 * rows)
      "fmv.w.x f${sum}, zero\n"
//% endfor
      "1:\n"
//% for k in range(4)
//% for row in range(rows)
      "lh t${row}, ${2 * (4 * row + k)}(a1)\n"
//% endfor
${singles(f, k) | chomp}
//% for row in range(rows)
      "fcvt.s.w f${24 + row}, t${row}\n"
//% endfor
//% for j in range(4)
      "fcvt.s.w f${20 + j}, ${w[j]}\n"
//% endfor
//% for j in range(4)
//% for row in range(rows)
      "fmadd.s f${4 * row + j}, f${24 + row}, f${20 + j}, f${4 * row + j}\n"
//% endfor
//% endfor
//% endfor
      "addi a0, a0, ${{"w8": 32, "w4": 16}[f]}\n"
      "addi a1, a1, ${8 * rows}\n"
      "bne a0, %[end], 1b\n"
//% for sum in range(4 * rows)
      "fcvt.w.s ${w[loop.index0 % 4]}, f${sum}\n"
      "sw ${w[loop.index0 % 4]}, ${4 * sum}(%[sums])\n"
//% endfor
      : "+&r"(weights), "+&r"(inputs)
      : [end] "r"(end), [sums] "r"(sums)
      : "memory"${", "}
//%- for register in w
"${register}", ${""}
//%- endfor
//%- for row in range(rows)
"t${row}", ${""}
//%- endfor
//%- for register in range(24 + rows)
"f${register}"${", " if not loop.last}
//%- endfor
);
//% endmacro
//% set used = formats | map(attribute="name") | list
//% set most = [5, plan.max_rows] | min
//% for f, type, mask, offset in (("w8", "int8_t", "0x000000ff000000ffu", 128), ("w16", "int16_t", "0x0000ffff0000ffffu", 32768), ("w4", "int8_t", "0x0000000f0000000fu", 8)) if f in used or (f == "w8" and "w8a8" in used)
//% for rows in range(1, most + 1)

/* ${rows} rows times 8 outputs, or 4: sums [rows][4 words], with the offset. */
static inline __attribute__((always_inline)) void ${f}_${rows}(const int16_t *x, const ${type} *w, const ${type} *end, products_word *sums) {
  register const ${type} *weights __asm__("a0") = w;
  register const int16_t *inputs __asm__("a1") = x;
#if __riscv_xlen == 64
  const uint64_t mask = ${mask};
${body(f, rows, true) | chomp}
#else
${float_body(f, rows) | chomp if f == "w4" and rows > 1 else body(f, rows, false) | chomp}
#endif
}
//% endfor
//% if f == "w8" and "w8a8" in used and most > 1

#if __riscv_xlen == 32
//% for rows in range(2, most + 1)
/* The same of inputs from 0 to 255, at most 256 of them. */
static inline __attribute__((always_inline)) void w8a8_${rows}(const int16_t *x, const int8_t *w, const int8_t *end, products_word *sums) {
  register const int8_t *weights __asm__("a0") = w;
  register const int16_t *inputs __asm__("a1") = x;
${float_body(f, rows) | chomp}
}
//% endfor
#endif
//% endif
//% if f == "w4"

/* Adds a group's sums times scales to y [rows][16]. They are below 2^24, with the offset: floats, too, hold them. */
static inline void w4_add_group(const products_word *sums, int part, int rows, const int8_t *scales, const int32_t *row_sums, int groups, uint32_t *y) {
  for (int row = 0; row < rows; row++) {
    const uint32_t extra = ${offset}u * (uint32_t)row_sums[row * groups];
//% for pair in range(4)
    y[16 * row + 4 * part + ${pair}] += ((uint32_t)sums[4 * row + ${pair}] - extra) * (uint32_t)scales[4 * part + ${pair}];
//% endfor
#if __riscv_xlen == 64
//% for pair in range(4)
    y[16 * row + ${4 + pair}] += ((uint32_t)((sums[4 * row + ${pair}] - (uint64_t)(int32_t)sums[4 * row + ${pair}]) >> 32) - extra) * (uint32_t)scales[${4 + pair}];
//% endfor
#endif
  }
}

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times scales times weights. Row sums: of each group. */
VEC_PRODUCTS void w4_products(const int16_t *x, int rows, const int8_t *scales, const int8_t *w, int count, const int32_t *row_sums, uint32_t *y) {
  enum { GROUP = ${layers.group} };
  _Static_assert(15 * 32639 * GROUP < 1 << 24, "sums of a group are exact in floats");
  products_word sums[4 * ${most}];
  for (int i = 0; i < 16 * rows; i++) y[i] = 0;
  for (int group = 0; group < count / GROUP; group++) {
    const int16_t *inputs = x + group * GROUP * rows;
    for (int part = 0; part < 2 * PRODUCTS_PARTS; part++) {
      const int half = part / PRODUCTS_PARTS;
      const int8_t *weights = w + half * 4 * count + group * GROUP * 4 + part % PRODUCTS_PARTS * 4;
      switch (rows) {
//% for rows in range(1, most + 1)
        ${"case %d" | format(rows) if not loop.last else "default"}:
          w4_${rows}(inputs, weights, weights + 4 * GROUP, sums);
          break;
//% endfor
      }
      w4_add_group(sums, part % PRODUCTS_PARTS, rows, scales + 16 * group + 8 * half, row_sums + group, count / GROUP, y + 8 * half);
    }
  }
}
//% else
//% set by_floats = f == "w8" and "w8a8" in used and most > 1
//% if by_floats

#if __riscv_xlen == 64
//% endif

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times weights. */
VEC_PRODUCTS void ${f}_products(const int16_t *x, int rows, const ${type} *w, int count, const int32_t *row_sums, uint32_t *y) {
  products_word sums[4 * ${most}];
  for (int part = 0; part < 2 * PRODUCTS_PARTS; part++) {
    const int half = part / PRODUCTS_PARTS;
    const ${type} *weights = w + half * 8 * count + part % PRODUCTS_PARTS * 4;
    switch (rows) {
//% for rows in range(1, most + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
        ${f}_${rows}(x, weights, weights + 8 * count, sums);
        break;
//% endfor
    }
    for (int row = 0; row < rows; row++) {
      products_finish(sums + 4 * row, part % PRODUCTS_PARTS, ${2 if f == "w16" else 4}, ${offset}, row_sums[row], y + 16 * row + 8 * half);
    }
  }
}
//% if f == "w8" and "w8a8" in used
#define w8a8_products w8_products
//% endif
//% if by_floats
#else

/* Up to 5 rows of inputs from 0 to 255, likewise. */
VEC_PRODUCTS void w8a8_products(const int16_t *x, int rows, const int8_t *w, int count, const int32_t *row_sums, uint32_t *y) {
  enum { STRETCH = 256 };
  _Static_assert(255 * 255 * STRETCH < 1 << 24, "sums of a stretch are exact in floats");
  for (int part = 0; part < 2 * PRODUCTS_PARTS; part++) {
    const int half = part / PRODUCTS_PARTS;
    const int8_t *weights = w + half * 8 * count + part % PRODUCTS_PARTS * 4;
    products_word total[4 * ${most}];
    for (int first = 0; first < count; first += STRETCH) {
      const int last = count - first < STRETCH ? count : first + STRETCH;
      products_word sums[4 * ${most}];
      switch (rows) {
        case 1:
          w8_1(x + first, weights + 8 * first, weights + 8 * last, sums);
          break;
//% for rows in range(2, most + 1)
        ${"case %d" | format(rows) if not loop.last else "default"}:
          w8a8_${rows}(x + first * rows, weights + 8 * first, weights + 8 * last, sums);
          break;
//% endfor
      }
      for (int i = 0; i < 4 * rows; i++) total[i] = sums[i] + (first > 0 ? total[i] : 0);
    }
    for (int row = 0; row < rows; row++) {
      products_finish(total + 4 * row, part % PRODUCTS_PARTS, 4, ${offset}, row_sums[row], y + 16 * row + 8 * half);
    }
  }
}
#endif
//% endif
//% endif
//% endfor

#endif /* VOCOSC_PRODUCTS_RISCV_H */
