/*
 * Products of int8 weights and rows of int16 by the DSP extension: up to 5 rows times a panel, as exact 32-bit sums.
 *
 * Up to 5 rows lie side by side, in fours of inputs: [inputs / 4][rows][4], so that one pointer and ldmia read them. A
 * panel's weights are [8][inputs / 4][2 outputs][4], each four in the order 0, 2, 1, 3: a word of them is unpacked by two
 * sxtb16, the second with its rotation, and meets two inputs at a time in smlad. GCC 12 spills sums when it makes this
 * from intrinsics.
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
//% macro add(sum, x, low, high)
      "smlad r${sum}, ${x[0]}, ${low}, r${sum}\n"
      "smlad r${sum}, ${x[1]}, ${high}, r${sum}\n"
//% endmacro
//% macro step(rows)
//% if rows >= 4
//% set x = ("r8", "r9", "r10", "r11")
      "ldr r12, [r0], #8\n"
${unpack("r7", "r12", "r12") | chomp}
//% for row in range(0, rows, 2)
//% if row + 1 < rows
      "ldmia r1!, {r8-r11}\n"
${add(2 + row, x[:2], "r7", "r12") | chomp}
${add(3 + row, x[2:], "r7", "r12") | chomp}
//% else
      "ldrd r8, r9, [r1], #8\n"
${add(2 + row, x[:2], "r7", "r12") | chomp}
//% endif
//% endfor
//% else
      "ldrd r8, r9, [r0], #8\n"
${unpack("r10", "r8", "r8") | chomp}
${unpack("r11", "r9", "r9") | chomp}
//% for row in range(rows)
      "ldrd r12, lr, [r1], #8\n"
${add(2 + 2 * row, ("r12", "lr"), "r10", "r8") | chomp}
${add(3 + 2 * row, ("r12", "lr"), "r11", "r9") | chomp}
//% endfor
//% endif
//% endmacro
//% for rows in range(1, [5, plan.max_rows] | min + 1)
//% set outputs = 1 if rows >= 4 else 2

/* ${rows} rows times ${outputs} output${"s" if outputs > 1}: y [rows][16]. The end of the inputs is kept in the FPU, for want of registers. */
static inline void w8_${rows}x${outputs}(const int16_t *x, const int8_t *w, int count, uint32_t *y) {
  register const int8_t *weights __asm__("r0") = w;
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
${step(rows) | chomp}
      "vmov r12, %[begin]\n"
      "cmp r0, r12\n"
      "bne 1b\n"
      "2: vmov r12, %[end]\n"
      "cmp r0, r12\n"
      "beq 4f\n"
      "3:\n"
//% for turn in range(8)
${step(rows) | chomp}
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
      : "cc", "memory"${", "}
//%- for register in range(2 + rows * outputs, 13)
"r${register}",${" "}
//%- endfor
"lr");
//% for row in range(rows)
//% for output in range(outputs)
  y[${16 * row + output}] = sum${row * outputs + output};
//% endfor
//% endfor
}
//% endfor

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times weights. */
VEC_PRODUCTS void w8_products(const int16_t *x, int rows, const int8_t *w, int count, uint32_t *y) {
  for (int output = 0; output < 16; output += 2) {
    switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
//% if rows >= 4
        w8_${rows}x1(x, w + output * count, count, y + output);
        w8_${rows}x1(x, w + output * count + 4, count, y + output + 1);
//% else
        w8_${rows}x2(x, w + output * count, count, y + output);
//% endif
        break;
//% endfor
    }
  }
}

#endif /* VOCOSC_PRODUCTS_DSP_H */
