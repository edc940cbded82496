/*
 * Matrix products for ${isa.text}: y [rows][outputs] = bias + x [rows][inputs] times weights, then finish_...()
 * does what the layer does to y.
 *
//% if precision == "f32"
 * Weights come in panels of 16 outputs: [panel][1 + inputs][16], the bias first.
//% else
 * Weights come in panels of 16 outputs: 16 biases and 16 scales in float, then [inputs][16] halves; y = scale * (bias +
 * sum), with scales that are powers of two.
//% endif
//% if precision == "w8a8"
 * In the blocks, weights are int8 and come in fours of inputs, [inputs / 4][16][4], after 16 biases, 16 scales and 16 sums
 * of an output's weights in int32; x is bytes, with a scale and a zero a row, and y = bias + row scale * scale * (sum -
 * zero * sum of weights), where all in brackets are exact 32-bit integers.
//% endif
//% if precision == "w8"
 * In the blocks, weights are int8 and come in pairs of inputs, [inputs / 2][16][2]; x is int16, with a scale a row, and
 * y = bias + row scale * scale * sum, where the sum is an exact 32-bit integer: x is kept so small that no sum of these
 * weights can overflow (EXPAND_LIMIT, CONTRACT_LIMIT). A step takes ${isa.int8_inputs} inputs.
//% endif
 *
 * A tile computes a few rows times a few panels with every accumulator in a register of its own, so that a weight is
 * loaded once for all rows. NAME_RxC is the tile of R rows and C outputs. Tiles are as many panels wide as keep the
 * fused multiply-adds busy with few rows. They stay functions: inlined, the constants of finish_...() would take
 * registers from the accumulators.
 *
 * Weights are fetched `ahead` of their use: in a tile of several panels up to the end of each, and from the `turn` on
 * those of the tile after it. The turn is taken without a branch, which would cost accumulators their registers. Weights
 * that no cache keeps from chunk to chunk are fetched further ahead, and into the second-level cache only.
 */
#ifndef VOCOSC_TILES_${isa.name | upper}_H
#define VOCOSC_TILES_${isa.name | upper}_H

#include "vocosc_model.h"
#include "vocosc_vector.h"

//% set dot_inputs = 4 if precision == "w8a8" else isa.int8_inputs
//% if is_int8
_Static_assert(VEC_DOT_INPUTS == ${dot_inputs}, "compile as vocosc.mk does");

//% endif
#define TILE static __attribute__((noinline))

enum {
  TILE_ROWS = ${isa.max_rows},
  BLOCK_PANELS = ${isa.block_panels},
  FETCH_LEVEL = ${fetch.level}, /* of the cache that they are fetched into */
};
//% for product in products
//% set header = "w" if product.weight_type == "float" else "(const float *)w"
//% set inputs = dot_inputs if product.is_int8 else 1
//% set NAME = product.name | upper

/* ${product.text} */
enum {
  ${NAME}_INPUTS = ${product.padded_inputs},
  ${NAME}_INPUT_STRIDE = ${product.x_stride}, /* from one row of x to the next */
  ${NAME}_OUTPUT_STRIDE = ${product.y_stride}, /* from one row of y to the next */
  ${NAME}_HEADER = ${product.header}, /* elements of a panel in front of its weights */
  ${NAME}_PANEL = ${product.panel}, /* elements from one panel to the next */
  ${NAME}_PANEL_FLOATS = ${product.panel // product.float_elements}, /* the same, counted in floats */
};
//% for tile in isa.tiles
//% for vectors in tile.widths(product.weights)
//% set columns = vectors * isa.lanes

/* ${product.text}: ${tile.rows} x ${columns} */
TILE void ${product.name}_${tile.rows}x${columns}(const ${product.x_type} *x, ${"const row_scale *row_scales, " if product.is_int8 else ""}const float *header, const ${product.weight_type} *w, float *y,
${" " * ("TILE void _x(" | length + product.name | length + ("%d%d" % (tile.rows, columns)) | length)}int ahead) {
//% if product.is_int8
//% for row in range(tile.rows)
//% for v in range(vectors)
  vec_sum sum${row}_${v} = vec_sum_zero();
//% endfor
//% endfor
//% else
//% for v in range(vectors)
  const vec bias${v} = vec_load(header${product | header_offset(v * isa.lanes)});
//% endfor
//% for row in range(tile.rows)
//% for v in range(vectors)
  vec sum${row}_${v} = bias${v};
//% endfor
//% endfor
//% endif
//% set panels = [columns // 16, 1] | max
//% if panels > 1
  const ${product.weight_type} *fetch = w + ahead;
  const int turn = ${NAME}_INPUTS - ahead / PANEL;
//% endif
  UNROLL_4
  for (int k = 0; k < ${NAME}_INPUTS; ${"k += %d" % inputs if inputs > 1 else "k++"}) {
//% if panels == 1
    VEC_PREFETCH(w + ahead, FETCH_LEVEL);
//% endif
//% for panel in range(panels) if panels > 1
    VEC_PREFETCH(fetch${product | weight_offset(panel * 16)}, FETCH_LEVEL);
//% endfor
//% macro input(row)
//% if product.is_int8
    const vec_inputs x${row} = vec_load_inputs(x${product | row_offset(row, "INPUT_STRIDE")} + k);
//% else
    const vec x${row} = vec_set(x[k${product | row_offset(row, "INPUT_STRIDE")}]);
//% endif
//% endmacro
//% macro weight(v)
    const ${"vec_int8" if product.is_int8 else "vec"} w${v} = ${product.load}(w${product | weight_offset(v * isa.lanes)});
//% endmacro
//% macro accumulate(row, v)
//% if product.is_int8
    sum${row}_${v} = vec_dot(sum${row}_${v}, w${v}, x${row});
//% else
    sum${row}_${v} = vec_fma(x${row}, w${v}, sum${row}_${v});
//% endif
//% endmacro
//% if tile.rows < vectors
//% for row in range(tile.rows)
${input(row) | chomp}
//% endfor
//% for v in range(vectors)
${weight(v) | chomp}
//% for row in range(tile.rows)
${accumulate(row, v) | chomp}
//% endfor
//% endfor
//% else
//% for v in range(vectors)
${weight(v) | chomp}
//% endfor
//% for row in range(tile.rows)
${input(row) | chomp}
//% for v in range(vectors)
${accumulate(row, v) | chomp}
//% endfor
//% endfor
//% endif
    w += ${PANEL * inputs};
//% if panels > 1
    fetch += ${PANEL * inputs} + (-(int)(k == turn) & (${panels - 1} * ${NAME}_PANEL));
//% endif
  }
//% if product.is_int8
//% for v in range(vectors)
  const vec bias${v} = vec_load(header${product | header_offset(v * isa.lanes)});
//% endfor
//% endif
//% if product.weight_type != "float"
//% for v in range(vectors)
  const vec scale${v} = vec_load(header${product | header_offset(v * isa.lanes, 16)});
//% endfor
//% endif
//% if product.has_bytes
//% for v in range(vectors)
  const vec_bits weight_sum${v} = vec_to_bits(vec_load(header${product | header_offset(v * isa.lanes, 32)}));
//% endfor
//% endif
//% for row in range(tile.rows)
//% if product.is_int8
  const vec row_scale${row} = vec_set(row_scales[${row}].scale);
//% endif
//% if product.has_bytes
  const vec_bits zero${row} = vec_bits_set((uint32_t)row_scales[${row}].zero);
//% endif
//% for v in range(vectors)
//% set y = "y" ~ (product | row_offset(row, "OUTPUT_STRIDE", v * isa.lanes))
//% if product.is_int8
//% set total = "vec_sum_total(sum%d_%d)" % (row, v)
//% set total = "vec_bits_sub(%s, vec_bits_mul(zero%d, weight_sum%d))" % (total, row, v) if product.has_bytes else total
  finish_${product.name}(${y}, vec_fma(vec_from_int(${total}), vec_mul(row_scale${row}, scale${v}), bias${v}));
//% elif product.weight_type == "uint16_t"
  finish_${product.name}(${y}, vec_mul(sum${row}_${v}, scale${v}));
//% else
  finish_${product.name}(${y}, sum${row}_${v});
//% endif
//% endfor
//% endfor
}
//% endfor
//% endfor
//% set scales = "row_scales, " if product.is_int8 else ""
//% set scales_parameter = "const row_scale *row_scales, " if product.is_int8 else ""

/* ${product.text}: a tile's rows times `panels` panels. An `ahead` of 0 stands for what suits the tile. */
static void ${product.name}_rows(const ${product.x_type} *x, ${scales_parameter}const ${product.weight_type} *w, float *y, int rows, int panels, int ahead) {
  switch (rows) {
//% for tile in isa.tiles
    ${"case %d" | format(tile.rows) if not loop.last else "default"}:
//% for vectors in tile.widths(product.weights)
//% set columns = vectors * isa.lanes
//% if columns >= 16
      for (; panels >= ${columns // 16}; panels -= ${columns // 16}) {
        ${product.name}_${tile.rows}x${columns}(x, ${scales}${header}, w + ${NAME}_HEADER, y, ahead != 0 ? ahead : ${fetch.weights(columns // 16)});
        w += ${"%d * " % (columns // 16) if columns > 16}${NAME}_PANEL;
        y += ${columns};
      }
//% else
      for (; panels > 0; panels--) {
        for (int lane = 0; lane < PANEL; lane += ${columns}) {
          ${product.name}_${tile.rows}x${columns}(x, ${scales}${header} + lane, w + ${NAME}_HEADER + ${"%d * " % product.neighbours if product.is_int8 else ""}lane, y + lane, ahead != 0 ? ahead : ${fetch.weights(1)});
        }
        w += ${NAME}_PANEL;
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
 * equal as can be, block by block: a block stays in the second-level cache for all tiles, and the first tile fetches the
 * next one.
 */
static void ${product.name}(const ${product.x_type} *x, ${scales_parameter}const ${product.weight_type} *weights, float *y, int rows, int first, int last) {
  const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const int block_panels = tiles > 1 ? BLOCK_PANELS : last - first;
  for (int panel = first; panel < last; panel += block_panels) {
    const int panels = last - panel < block_panels ? last - panel : block_panels;
    const ${product.weight_type} *w = weights + panel * ${NAME}_PANEL;
    for (int tile = 0; tile < tiles; tile++) {
      const int row = rows * tile / tiles;
      const int count = rows * (tile + 1) / tiles - row;
      const int ahead = tiles > 1 && tile == 0 ? BLOCK_PANELS * ${NAME}_PANEL : 0;
      float *to = y + row * ${NAME}_OUTPUT_STRIDE + panel * PANEL;
      ${product.name}_rows(x + row * ${NAME}_INPUT_STRIDE, ${"row_scales + row, " if product.is_int8 else ""}w, to, count, panels, ahead);
    }
  }
}
//% endfor

#endif /* VOCOSC_TILES_${isa.name | upper}_H */
