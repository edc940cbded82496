/*
 * Matrix products for ${isa.text}: y [rows][outputs] = bias + x [rows][inputs] times weights, then finish_...()
 * does what the layer does to y.
 *
//% if precision == "f16"
 * Weights come in panels of 16 outputs: 16 biases and 16 scales in float, then [inputs][16] halves; y = scale * (bias +
 * sum).
//% else
 * Weights come in panels of 16 outputs: [panel][1 + inputs][16], the bias first.
//% endif
 *
 * A tile computes a few rows times a few panels with every accumulator in a register of its own, so that a weight is
 * loaded once for all rows. NAME_RxC is the tile of R rows and C outputs. Tiles are as many panels wide as keep the
 * fused multiply-adds busy with few rows. They stay functions: inlined, the constants of finish_...() would take
 * registers from the accumulators.
 */
#ifndef VOCOSC_TILES_${isa.name | upper}_H
#define VOCOSC_TILES_${isa.name | upper}_H

#include "vocosc_model.h"
#include "vocosc_vector.h"

#define TILE static __attribute__((noinline))

enum {
  TILE_ROWS = ${isa.max_rows},
  BLOCK_PANELS = ${isa.block_panels},
  NEAR_FLOATS = ${isa.near_floats}, /* how far ahead of its use a weight is fetched if it is used once */
};
//% for product in products
//% set header = "w" if product.precision == "f32" else "(const float *)w"
//% for tile in isa.tiles
//% for vectors in tile.vectors
//% set columns = vectors * isa.lanes

/* ${product.text}: ${tile.rows} x ${columns} */
TILE void ${product.name}_${tile.rows}x${columns}(const float *x, const float *header, const weight *w, float *y, int ahead) {
//% for v in range(vectors)
  const vec bias${v} = vec_load(header${product | header_offset(v * isa.lanes)});
//% endfor
//% for row in range(tile.rows)
//% for v in range(vectors)
  vec sum${row}_${v} = bias${v};
//% endfor
//% endfor
  UNROLL_4
  for (int k = 0; k < ${product.inputs}; k++) {
//% for panel in range([columns // 16, 1] | max)
    VEC_PREFETCH(w${product | weight_offset(panel * 16)} + ahead);
//% endfor
//% if tile.rows < vectors
//% for row in range(tile.rows)
    const vec x${row} = vec_set(x[${("%d + " % (product.x_stride * row)) if row else ""}k]);
//% endfor
//% for v in range(vectors)
    const vec w${v} = ${product.load}(w${product | weight_offset(v * isa.lanes)});
//% for row in range(tile.rows)
    sum${row}_${v} = vec_fma(x${row}, w${v}, sum${row}_${v});
//% endfor
//% endfor
//% else
//% for v in range(vectors)
    const vec w${v} = ${product.load}(w${product | weight_offset(v * isa.lanes)});
//% endfor
//% for row in range(tile.rows)
    const vec x${row} = vec_set(x[${("%d + " % (product.x_stride * row)) if row else ""}k]);
//% for v in range(vectors)
    sum${row}_${v} = vec_fma(x${row}, w${v}, sum${row}_${v});
//% endfor
//% endfor
//% endif
    w += PANEL;
  }
//% if product.precision == "f16"
//% for v in range(vectors)
  const vec scale${v} = vec_load(header${product | header_offset(v * isa.lanes, 16)});
//% endfor
//% endif
//% for row in range(tile.rows)
//% for v in range(vectors)
//% set sum = "sum%d_%d" | format(row, v) if product.precision == "f32" else "vec_mul(sum%d_%d, scale%d)" | format(row, v, v)
  finish_${product.name}(${("y + %d" % (product.y_stride * row + v * isa.lanes)) if row + v else "y"}, ${sum});
//% endfor
//% endfor
}
//% endfor
//% endfor

/* ${product.text}: a tile's rows times `panels` panels. */
static void ${product.name}_rows(const float *x, const weight *w, float *y, int rows, int panels, int ahead) {
  switch (rows) {
//% for tile in isa.tiles
    ${"case %d" | format(tile.rows) if not loop.last else "default"}:
//% for vectors in tile.vectors
//% set columns = vectors * isa.lanes
//% if columns >= 16
      for (; panels >= ${columns // 16}; panels -= ${columns // 16}) {
        ${product.name}_${tile.rows}x${columns}(x, ${header}, w + ${product.header}, y, ahead);
        w += ${columns // 16 * product.panel};
        y += ${columns};
      }
//% else
      for (; panels > 0; panels--) {
        for (int lane = 0; lane < PANEL; lane += ${columns}) {
          ${product.name}_${tile.rows}x${columns}(x, ${header} + lane, w + ${product.header} + lane, y + lane, ahead);
        }
        w += ${product.panel};
        y += PANEL;
      }
//% endif
//% endfor
      break;
//% endfor
  }
}

/*
 * ${product.text}: `rows` frames, panels first .. last - 1.
 *
 * Up to TILE_ROWS frames pass over all panels in one go, each weight fetched a little ahead. More do so in tiles as
 * equal as can be, block by block: a block stays in the cache for all tiles, and the next one is fetched meanwhile.
 */
static void ${product.name}(const float *x, const weight *weights, float *y, int rows, int first, int last) {
  const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const int block_panels = tiles > 1 ? BLOCK_PANELS : last - first;
  const int ahead = tiles > 1 ? BLOCK_PANELS * ${product.panel} : NEAR_FLOATS;
  for (int panel = first; panel < last; panel += block_panels) {
    const int panels = last - panel < block_panels ? last - panel : block_panels;
    const weight *w = weights + panel * ${product.panel};
    for (int tile = 0; tile < tiles; tile++) {
      const int row = rows * tile / tiles;
      const int next = rows * (tile + 1) / tiles;
      ${product.name}_rows(x + row * ${product.x_stride}, w, y + row * ${product.y_stride} + panel * PANEL, next - row, panels,
      ${" " * (product.name | length)}      ahead);
    }
  }
}
//% endfor

#endif /* VOCOSC_TILES_${isa.name | upper}_H */
