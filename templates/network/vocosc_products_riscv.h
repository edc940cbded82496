/*
 * Products of int8 weights and rows of int16 on scalar RISC-V: up to 5 rows times a panel, as exact 32-bit sums.
 *
 * With registers of 64 bits a multiplication makes two products: a word of 8 outputs' weights, each plus 128, is masked
 * into four pairs of bytes 32 bits apart, so that an input times a pair is two products side by side, and so are their
 * sums. What 128 is too much is the row's sum, 128 times, which is taken off in the end; only then is the lower sum, which
 * fits 32 bits, known with its sign, and with it what the upper one has borrowed or been carried.
 *
 * Up to 5 rows lie side by side, in fours of inputs: [inputs / 4][rows][4]. A panel's weights are [2][inputs][8 outputs].
 */
#ifndef VOCOSC_PRODUCTS_RISCV_H
#define VOCOSC_PRODUCTS_RISCV_H

#include <stdint.h>

/* The sums of rows that lie side by side. */
static inline void w8_row_sums(const int16_t *x, int rows, int count, int32_t *sums) {
  for (int row = 0; row < rows; row++) {
    int32_t sum = 0;
    for (int k = 0; k < count; k += 4) {
      const int16_t *four = x + k * rows + 4 * row;
      sum += four[0] + four[1] + four[2] + four[3];
    }
    sums[row] = sum;
  }
}
//% for rows in range(1, [5, plan.max_rows] | min + 1)

#if __riscv_xlen == 64
/* ${rows} rows times 8 outputs: y [rows][16]. */
static inline void w8_${rows}x8(const int16_t *x, const int8_t *w, int count, const int32_t *row_sums, uint32_t *y) {
  const uint64_t lowest = 0x000000ff000000ffu;
  const uint64_t offset = 0x8080808080808080u;
//% for row in range(rows)
//% for pair in range(4)
  uint64_t sum${row}_${pair} = 0;
//% endfor
//% endfor
  const int8_t *const end = w + 8 * count;
  do {
//% for k in range(4)
    {
      uint64_t word;
      __builtin_memcpy(&word, __builtin_assume_aligned(w + ${8 * k}, 8), sizeof word);
      word ^= offset;
//% for pair in range(4)
      const uint64_t w${pair} = word${" >> %d" % (8 * pair) if pair} & lowest;
//% endfor
//% for row in range(rows)
      const uint64_t x${row} = (uint64_t)(int64_t)x[${4 * row + k}];
//% for pair in range(4)
      sum${row}_${pair} += x${row} * w${pair};
//% endfor
//% endfor
    }
//% endfor
    w += 32;
    x += ${4 * rows};
  } while (w != end);
//% for row in range(rows)
  const uint32_t extra${row} = 128u * (uint32_t)row_sums[${row}];
//% for pair in range(4)
  const int32_t low${row}_${pair} = (int32_t)((uint32_t)sum${row}_${pair} - extra${row});
  y[${16 * row + pair}] = (uint32_t)low${row}_${pair};
  y[${16 * row + pair + 4}] = (uint32_t)((sum${row}_${pair} - (uint64_t)(low${row}_${pair} + 128 * (int64_t)row_sums[${row}])) >> 32) - extra${row};
//% endfor
//% endfor
}
#else
//% set together = 4 if rows <= 3 else 2
/* ${rows} rows times 8 outputs, ${together} at a time: y [rows][16]. */
static inline void w8_${rows}x8(const int16_t *x, const int8_t *w, int count, const int32_t *row_sums, uint32_t *y) {
  (void)row_sums;
  for (int output = 0; output < 8; output += ${together}) {
//% for row in range(rows)
//% for o in range(together)
    int32_t sum${row}_${o} = 0;
//% endfor
//% endfor
    const int8_t *at = w + output;
    const int16_t *from = x;
    const int8_t *const end = at + 8 * count;
    do {
//% for k in range(4)
      {
//% for o in range(together)
        const int32_t w${o} = at[${8 * k + o}];
//% endfor
//% for row in range(rows)
        const int32_t x${row} = from[${4 * row + k}];
//% for o in range(together)
        sum${row}_${o} += x${row} * w${o};
//% endfor
//% endfor
      }
//% endfor
      at += 32;
      from += ${4 * rows};
    } while (at != end);
//% for row in range(rows)
//% for o in range(together)
    y[${16 * row + o} + output] = (uint32_t)sum${row}_${o};
//% endfor
//% endfor
  }
}
#endif
//% endfor

/* Up to 5 rows, side by side, times a panel: y [rows][16] = x times weights. */
static __attribute__((noinline)) void w8_products(const int16_t *x, int rows, const int8_t *w, int count, const int32_t *row_sums, uint32_t *y) {
  for (int output = 0; output < 16; output += 8) {
    switch (rows) {
//% for rows in range(1, [5, plan.max_rows] | min + 1)
      ${"case %d" | format(rows) if not loop.last else "default"}:
        w8_${rows}x8(x, w + output * count, count, row_sums, y + output);
        break;
//% endfor
    }
  }
}

#endif /* VOCOSC_PRODUCTS_RISCV_H */
