/*
 * AMX: products of many rows of bytes, by eight tiles of 16 rows of 64 bytes. The rest of a function of MANY_ROWS is the
 * instruction set's whose file this is part of. Tiles are set up and given back within one step of the network.
 */
#ifndef VOCOSC_PRODUCTS_AMX_H
#define VOCOSC_PRODUCTS_AMX_H

#include <immintrin.h>
#include <stdint.h>

#define AMX __attribute__((target("amx-tile,amx-int8")))
#define MANY_ROWS __attribute__((noinline)) AMX

/* What ldtilecfg reads: the bytes of a row, and the rows, of each tile. */
typedef struct {
  uint8_t palette, start_row, zeros[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} amx_shapes;

/* So many inputs of a row are in a tile: the most, up to 64, that `inputs` are a multiple of. They come in fours. */
static inline int amx_step(int inputs) { return inputs % 64 == 0 ? 64 : (inputs & -inputs); }

/* Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 weights: of a panel's fours of inputs, one below the other. */
AMX static inline void w8a8_many_begin(int inputs) {
  const uint16_t bytes = (uint16_t)amx_step(inputs);
  const uint8_t fours = (uint8_t)(bytes / 4);
  const amx_shapes shapes = {1, 0, {0}, {64, 64, 64, 64, bytes, bytes, 64, 64}, {16, 16, 16, 16, 16, 16, fours, fours}};
  __asm__ volatile("ldtilecfg %0" : : "m"(shapes));
}

/* Rows x0 and x1, 16 each and `stride` apart, times the panels w0 and w1. */
AMX static inline void w8a8_many_products(const uint8_t *x0, const uint8_t *x1, int stride, const int8_t *w0, const int8_t *w1, int inputs) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = 0; k < inputs; k += amx_step(inputs)) {
    _tile_loadd(4, x0 + k, stride);
    _tile_loadd(6, w0 + 16 * k, 64);
    _tile_loadd(7, w1 + 16 * k, 64);
    _tile_loadd(5, x1 + k, stride);
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
}

/* A tile's sums [16][16]: x0 times w0, x0 times w1, x1 times w0, x1 times w1. */
AMX static inline void w8a8_many_sums(int tile, float *sums) {
  switch (tile) {
    case 0:
      _tile_stored(0, sums, 64);
      break;
    case 1:
      _tile_stored(1, sums, 64);
      break;
    case 2:
      _tile_stored(2, sums, 64);
      break;
    default:
      _tile_stored(3, sums, 64);
  }
}

/* The thread's tiles are free again. */
AMX static inline void w8a8_many_end(void) { _tile_release(); }

#endif /* VOCOSC_PRODUCTS_AMX_H */
