/*
 * Times every tile that bench/tiles.py asks for: variants.h lists them, with the sizes of their tables. Compiled once
 * per instruction set, with the sources that the compiler emits for it.
 *
 * A tile goes over one table after the other, so that its weights come from memory, as they do in a small chunk, or
 * over the same few panels again and again, as many rows do in a large one. All variants take turns, round after round,
 * so that all see the same state of the machine; the medians are printed, GFLOP/s each, in the order of variants.h.
 */
#define _POSIX_C_SOURCE 200112L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tiles_network.c"

enum { ROUNDS = 15, MEMORY_BYTES = 64 << 20, MOST_ROWS = 16, MOST_COLUMNS = 256 };

static _Alignas(64) unsigned char memory[MEMORY_BYTES];
static _Alignas(64) float x[MOST_ROWS * (HIDDEN_PADDED + DIM_PADDED + TAPS * MELS + 64)];
static _Alignas(64) float y[MOST_ROWS * (HIDDEN_STRIDE + SPECTRUM_STRIDE) + MOST_COLUMNS];
static float row_scales[MOST_ROWS];

/* Goes over the memory's first `panels` panels, in whole tiles; returns how many these are. */
typedef size_t pass(size_t panels, int ahead);

#define PASS(product, rows, columns, type, header, panel, ...)                                   \
  static size_t product##_##rows##_##columns(size_t panels, int ahead) {                         \
    const size_t tile = (columns + 15) / 16;                                                     \
    const type *w = (const type *)memory;                                                        \
    for (size_t i = 0; i < panels / tile; i++) {                                                 \
      for (int lane = 0; lane < (columns < 16 ? 16 : 1); lane += columns) {                      \
        product##_##rows##x##columns(__VA_ARGS__(const float *) w + lane, w + header, y, ahead); \
      }                                                                                          \
      w += tile * panel;                                                                         \
    }                                                                                            \
    return panels / tile * tile;                                                                 \
  }
#define VARIANT(product, rows, columns, type, header, panel, ...) \
  PASS(product, rows, columns, type, header, panel, __VA_ARGS__)
#include "variants.h"
#undef VARIANT

typedef struct {
  pass *run;
  double multiply_adds; /* of a panel */
  size_t panel_bytes;
  double gflops[ROUNDS];
} variant;

#define VARIANT(product, rows, columns, type, header, panel, ...) \
  {product##_##rows##_##columns, 16.0 * rows * INPUTS_##product, sizeof(type) * panel, {0}},
static variant variants[] = {
#include "variants.h"
};

static double seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare_doubles(const void *a, const void *b) {
  const double p = *(const double *)a;
  const double q = *(const double *)b;
  return (p > q) - (p < q);
}

/* tiles AHEAD BYTES: weights fetched this far ahead, from this much memory. */
int main(int count, char **arguments) {
  if (count != 3) return 2;
  const int ahead = atoi(arguments[1]);
  const size_t bytes = (size_t)atol(arguments[2]);
  if (bytes > MEMORY_BYTES / 2) return 2; /* the other half may be fetched, but not used */
  /* Small numbers in every format: no denormals, no infinities. */
  for (size_t i = 0; i < MEMORY_BYTES; i++) memory[i] = i % 4 == 3 ? 0x3c : (unsigned char)(i % 4 == 1 ? 0x2c : i % 7);
  for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)(i % 7) * 0.01f - 0.03f;
  for (int row = 0; row < MOST_ROWS; row++) row_scales[row] = 1e-6f;
  for (int round = -1; round < ROUNDS; round++) {
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
      variant *v = variants + i;
      size_t panels = 0;
      const size_t repetitions = (size_t)(4 << 20) / bytes + 1;
      memset(y, 0, sizeof y); /* the residual adds up */
      const double start = seconds();
      for (size_t repetition = 0; repetition < repetitions; repetition++) {
        panels += v->run(bytes / v->panel_bytes, ahead);
      }
      const double time = seconds() - start;
      if (round >= 0) v->gflops[round] = 2e-9 * v->multiply_adds * (double)panels / time;
    }
  }
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
    qsort(variants[i].gflops, ROUNDS, sizeof(double), compare_doubles);
    printf("%.1f\n", variants[i].gflops[ROUNDS / 2]);
  }
  return 0;
}
