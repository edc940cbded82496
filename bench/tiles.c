/*
 * Times every tile that bench/tiles.py asks for: variants.h lists them. Compiled once per instruction set, with the
 * sources that the compiler emits for it, which say all else: sizes, strides and the types of a tile's arguments.
 *
 * A tile goes over one table after the other, so that its weights come from memory, as they do in a small chunk, or
 * over the same few panels again and again, as many rows do in a large one. All variants take turns, round after round,
 * so that all see the same state of the machine; the medians are printed, GFLOP/s each, in the order of variants.h.
 */
#define _POSIX_C_SOURCE 200112L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tiles_network.h"
#include TILES

enum { ROUNDS = 15, MEMORY_BYTES = 64 << 20 };

static _Alignas(64) unsigned char memory[MEMORY_BYTES]; /* panels of weights, in any format */
static _Alignas(64) float x[TILE_ROWS * (HIDDEN_STRIDE + DIM_STRIDE + TAPS * MELS)];
static _Alignas(64) float y[TILE_ROWS * (HIDDEN_STRIDE + SPECTRUM_STRIDE)];

/* The kinds of tile, told apart by their arguments. Each is called on a panel, from output `lane` of it on. */
typedef void float_tile(const float *, const float *header, const float *w, float *, int ahead);
typedef void half_tile(const float *, const float *header, const uint16_t *w, float *, int ahead);

static void call_float(float_tile *tile, const void *panel, int header, int lane, int ahead) {
  const float *w = panel;
  tile(x, w + lane, w + header + lane, y, ahead);
}

static void call_half(half_tile *tile, const void *panel, int header, int lane, int ahead) {
  const uint16_t *w = panel;
  tile(x, (const float *)panel + lane, w + header + lane, y, ahead);
}

#ifdef INTEGER_ROW
static _Alignas(64) INTEGER_ROW quantised_x[TILE_ROWS * QUANTISED_STRIDE];
static INTEGER_SCALE row_scales[TILE_ROWS];

typedef void integer_tile(const INTEGER_ROW *, const INTEGER_SCALE *, const float *header, const int8_t *w, float *,
                          int ahead);

static void call_integer(integer_tile *tile, const void *panel, int header, int lane, int ahead) {
  const int8_t *w = panel;
  tile(quantised_x, row_scales, (const float *)panel + lane, w + header + INTEGER_NEIGHBOURS * lane, y, ahead);
}
#define INTEGER_CALL , integer_tile * : call_integer
#else
#define INTEGER_CALL
#endif

/* A tile of any other type does not compile. */
#define CALL(tile) _Generic((tile), float_tile * : call_float, half_tile * : call_half INTEGER_CALL)

/* Goes over the memory's first `panels` panels, in whole tiles; returns how many these are. */
typedef size_t pass(size_t panels, int ahead);

#define VARIANT(product, PRODUCT, rows, columns)                                                                  \
  static size_t product##_##rows##_##columns(size_t panels, int ahead) {                                          \
    const size_t width = columns < PANEL ? 1 : columns / PANEL;                                                   \
    size_t panel = 0;                                                                                             \
    for (; panel + width <= panels; panel += width) {                                                             \
      for (int lane = 0; lane < (columns < PANEL ? PANEL : 1); lane += columns) {                                 \
        CALL(product##_##rows##x##columns)                                                                        \
        (product##_##rows##x##columns, memory + panel * sizeof(float) * PRODUCT##_PANEL_FLOATS, PRODUCT##_HEADER, \
         lane, ahead);                                                                                            \
      }                                                                                                           \
    }                                                                                                             \
    return panel;                                                                                                 \
  }
#include "variants.h"
#undef VARIANT

typedef struct {
  pass *run;
  double multiply_adds; /* of a panel */
  size_t panel_bytes;
  double gflops[ROUNDS];
} variant;

#define VARIANT(product, PRODUCT, rows, columns) \
  {product##_##rows##_##columns, (double)rows * PANEL * PRODUCT##_INPUTS, sizeof(float) * PRODUCT##_PANEL_FLOATS, {0}},
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

/* Small numbers in every format: no denormals, no infinities. */
static void fill(void) {
  for (size_t i = 0; i < MEMORY_BYTES; i++) memory[i] = i % 4 == 3 ? 0x3c : (unsigned char)(i % 4 == 1 ? 0x2c : i % 7);
  for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)(i % 7) * 0.01f - 0.03f;
#ifdef INTEGER_ROW
  for (size_t i = 0; i < sizeof quantised_x / sizeof *quantised_x; i++) quantised_x[i] = (INTEGER_ROW)(i % 7);
  for (int row = 0; row < TILE_ROWS; row++) row_scales[row].scale = 1e-6f;
#endif
}

/* tiles AHEAD BYTES TIMES: weights fetched this far ahead, from this much memory, so many times a round. */
int main(int count, char **arguments) {
  if (count != 4) return 2;
  const int ahead = atoi(arguments[1]);
  const size_t bytes = (size_t)atol(arguments[2]);
  const int times = atoi(arguments[3]);
  if (bytes > MEMORY_BYTES / 2) return 2; /* the other half may be fetched, but not used */
  fill();
  for (int round = -1; round < ROUNDS; round++) {
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
      variant *v = variants + i;
      size_t panels = 0;
      memset(y, 0, sizeof y); /* the residual adds up */
      const double start = seconds();
      for (int time = 0; time < times; time++) panels += v->run(bytes / v->panel_bytes, ahead);
      const double time = seconds() - start;
      if (round >= 0) v->gflops[round] = 2e-9 * v->multiply_adds * (double)panels / time;
    }
  }
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
    qsort(variants[i].gflops, ROUNDS, sizeof(double), compare_doubles);
    printf("%.4g\n", variants[i].gflops[ROUNDS / 2]);
  }
  return 0;
}
