/*
 * Products of integer weights and rows of int16 by the DSP extension: up to 5 rows times a panel, as exact 32-bit sums.
 *
 * Up to 5 rows lie side by side, in fours of inputs: [inputs / 4][rows][4], so that one pointer and ldmia read them. What
 * meets two inputs at a time in smlad is two weights as int16. GCC 12 spills sums when it makes this from intrinsics. A
 * panel's weights are [8][inputs / step][2 outputs][step]:
 *
 *   w8    four in the order 0, 2, 1, 3: a word of them is unpacked by two sxtb16, the second with its rotation
 *   w16   four
 *   w4    eight, of which a word has 0, 2, 1, 3 in the lower halves of its bytes and 4, 6, 5, 7 in the upper ones. A mask
 *         makes bytes of them that are 16 times as large. After each group its sums are shifted, multiplied by the group's
 *         scales and added to those of all groups, which wait in the FPU.
 */
#ifndef VOCOSC_PRODUCTS_DSP_H
#define VOCOSC_PRODUCTS_DSP_H

#include <stdint.h>

#include "vocosc_vector_fpu.h"

<# The sums stand in r2 and the registers after it; r0 points to weights, r1 to inputs. #>
//% macro unpack(low, high, word)
      "sxtb16 ${low}, ${word}\n"
      "sxtb16 ${high}, ${word}, ror #8\n"
//% endmacro
//% macro add(sum, x, w, multiply)
      "${multiply} r${sum}, ${x[0]}, ${w[0]}${", r%d" % sum if multiply == "smlad"}\n"
      "smlad r${sum}, ${x[1]}, ${w[1]}, r${sum}\n"
//% endmacro
<# Four inputs' weights of one output, as pairs in r7 and r12. lr is w4's mask. #>
//% macro load_one(f, part)
//% if f == "w8"
      "ldr r12, [r0], #8\n"
${unpack("r7", "r12", "r12") | chomp}
//% elif f == "w16"
      "ldrd r7, r12, [r0], #16\n"
//% elif part == 0
      "ldr r12, [r0]\n"
      "and r12, lr, r12, lsl #4\n"
${unpack("r7", "r12", "r12") | chomp}
//% else
      "ldr r12, [r0], #8\n"
      "and r12, r12, lr\n"
${unpack("r7", "r12", "r12") | chomp}
//% endif
//% endmacro
<# Of two outputs, as pairs in r8 and r9, and r10 and r11. #>
//% macro load_two(f, part)
//% if f == "w16"
      "ldmia r0!, {r8-r11}\n"
//% else
      "ldrd r8, r10, [r0]${", #8" if f == "w8" or part == 1}\n"
//% for word in ("r8", "r10") if f == "w4"
//% if part == 0
      "lsl ${word}, ${word}, #4\n"
//% endif
      "and ${word}, ${word}, #0xf0f0f0f0\n"
//% endfor
      "sxtb16 r9, r8, ror #8\n"
      "sxtb16 r8, r8\n"
      "sxtb16 r11, r10, ror #8\n"
      "sxtb16 r10, r10\n"
//% endif
//% endmacro
<# Four inputs: of w4 those of the lower or of the upper halves. #>
//% macro step(f, rows, part=0, multiply="smlad")
//% if rows >= 4
//% set x = ("r8", "r9", "r10", "r11")
${load_one(f, part) | chomp}
//% for row in range(0, rows, 2)
//% if row + 1 < rows
      "ldmia r1!, {r8-r11}\n"
${add(2 + row, x[:2], ("r7", "r12"), multiply) | chomp}
${add(3 + row, x[2:], ("r7", "r12"), multiply) | chomp}
//% else
      "ldrd r8, r9, [r1], #8\n"
${add(2 + row, x[:2], ("r7", "r12"), multiply) | chomp}
//% endif
//% endfor
//% else
${load_two(f, part) | chomp}
//% for row in range(rows)
      "ldrd r12, lr, [r1], #8\n"
${add(2 + 2 * row, ("r12", "lr"), ("r8", "r9"), multiply) | chomp}
${add(3 + 2 * row, ("r12", "lr"), ("r10", "r11"), multiply) | chomp}
//% endfor
//% endif
//% endmacro
//% macro clobbers(first)
//%- for register in range(first, 13)
"r${register}",${" "}
//%- endfor
"lr"
//%- endmacro
//% set used = formats | map(attribute="name") | list
//% for f, type in (("w8", "int8_t"), ("w16", "int16_t")) if f in used or (f == "w8" and "w8a8" in used)
//% for rows in range(1, [5, plan.max_rows] | min + 1)
//% set outputs = 1 if rows >= 4 else 2

/* ${rows} rows times ${outputs} output${"s" if outputs > 1}: y [rows][16]. The end of the inputs is kept in the FPU, for want of registers. */
static inline void ${f}_${rows}x${outputs}(const int16_t *x, const ${type} *w, int count, uint32_t *y) {
  register const ${type} *weights __asm__("r0") = w;
  register const int16_t *inputs __asm__("r1") = x;
//% for sum in range(rows * outputs)
  register uint32_t sum${sum} __asm__("r${2 + sum}") = 0;
//% endfor
  /* A turn takes 32 inputs, and what is left over goes first. */
  const vec end = vec_from_bits((uint32_t)(uintptr_t)(w + 2 * count));
  const vec begin = vec_from_bits((uint32_t)(uintptr_t)(w + 2 * (count % 32)));
  __asm__ volatile(
      "vmov r12, %[begin]\n"
      "cmp r0, r12\n"
      "beq 2f\n"
      "1:\n"
${step(f, rows) | chomp}
      "vmov r12, %[begin]\n"
      "cmp r0, r12\n"
      "bne 1b\n"
      "2: vmov r12, %[end]\n"
      "cmp r0, r12\n"
      "beq 4f\n"
      "3:\n"
//% for turn in range(8)
${step(f, rows) | chomp}
//% endfor
      "vmov r12, %[end]\n"
      "cmp r0, r12\n"
      "bne 3b\n"
      "4:\n"
      : "+&r"(weights), "+&r"(inputs)${", "}
//%- for sum in range(rows * outputs)
"+&r"(sum${sum})${", " if not loop.last}
//%- endfor

      : [begin] "t"(begin), [end] "t"(end)
      : "cc", "memory", ${clobbers(2 + rows * outputs)});
//% for row in range(rows)
//% for output in range(outputs)
  y[${16 * row + output}] = sum${row * outputs + output};
//% endfor
//% endfor
}
//% endfor

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times weights. */
VEC_PRODUCTS void ${f}_products(const int16_t *x, int rows, const ${type} *w, int count, uint32_t *y) {
  for (int output = 0; output < 16; output += 2) {
    switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
//% if rows >= 4
        ${f}_${rows}x1(x, w + output * count, count, y + output);
        ${f}_${rows}x1(x, w + output * count + 4, count, y + output + 1);
//% else
        ${f}_${rows}x2(x, w + output * count, count, y + output);
//% endif
        break;
//% endfor
    }
  }
}
//% endfor
//% if "w4" in used
//% for rows in range(1, [5, plan.max_rows] | min + 1)
//% set outputs = 1 if rows >= 4 else 2

/* ${rows} rows times ${outputs} output${"s" if outputs > 1}: y [rows][16]. A group's scales are 16 bytes after those of the one before it. */
static inline void w4_${rows}x${outputs}(const int16_t *x, const int8_t *scales, const int8_t *w, int count, uint32_t *y) {
  register const int8_t *weights __asm__("r0") = w;
  register const int16_t *inputs __asm__("r1") = x;
  const vec end = vec_from_bits((uint32_t)(uintptr_t)(w + count));
  vec at = vec_from_bits((uint32_t)(uintptr_t)scales);
//% for sum in range(rows * outputs)
  vec sum${sum} = 0.0f;
//% endfor
  __asm__ volatile(
//% if rows >= 4
      "mov lr, #0xf0f0f0f0\n"
//% endif
      "1:\n"
//% for turn in range(8)
${step("w4", rows, turn % 2, "smuad" if turn == 0 else "smlad") | chomp}
//% endfor
      "vmov r12, %[at]\n"
//% if outputs == 2
      "ldrsb r11, [r12, #1]\n"
//% endif
      "ldrsb r10, [r12], #16\n"
      "vmov %[at], r12\n"
//% for sum in range(rows * outputs)
      "vmov r8, %[sum${sum}]\n"
      "asr r${2 + sum}, r${2 + sum}, #4\n"
      "mla r8, r${2 + sum}, r${10 + sum % outputs}, r8\n"
      "vmov %[sum${sum}], r8\n"
//% endfor
      "vmov r12, %[end]\n"
      "cmp r0, r12\n"
      "bne 1b\n"
      : "+&r"(weights), "+&r"(inputs), [at] "+&t"(at)${", "}
//%- for sum in range(rows * outputs)
[sum${sum}] "+&t"(sum${sum})${", " if not loop.last}
//%- endfor

      : [end] "t"(end)
      : "cc", "memory", ${clobbers(2)});
//% for row in range(rows)
//% for output in range(outputs)
  y[${16 * row + output}] = vec_to_bits(sum${row * outputs + output});
//% endfor
//% endfor
}
//% endfor

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times scales times weights. */
VEC_PRODUCTS void w4_products(const int16_t *x, int rows, const int8_t *scales, const int8_t *w, int count, uint32_t *y) {
  for (int output = 0; output < 16; output += 2, w += count) {
    switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
//% if rows >= 4
        w4_${rows}x1(x, scales + output, w, count, y + output);
        w4_${rows}x1(x, scales + output + 1, w + 4, count, y + output + 1);
//% else
        w4_${rows}x2(x, scales + output, w, count, y + output);
//% endif
        break;
//% endfor
    }
  }
}
//% endif

#endif /* VOCOSC_PRODUCTS_DSP_H */
