//% macro parameters(product)
const ${product.format.row_type} *x, ${"const %s_row_scale *row_scales, " % product.format.name if product.format.is_integer}
//%- endmacro
/*
 * Matrix products for ${isa.text}: y [rows][outputs] = bias + x [rows][inputs] times weights, then the epilogue
 * (vocosc_epilogues.h) on the way to y.
//% for format in formats
 *
${format.text | comment}
//% endfor
 *
 * A tile computes a few rows times a few panels with every accumulator in a register of its own, so that a weight is
 * loaded once for all rows. NAME_RxC is the tile of R rows and C outputs. Tiles are as many panels wide as keep the
 * fused multiply-adds busy with few rows. They stay functions: inlined, the constants of the epilogue would take
 * registers from the accumulators.
 *
 * Weights are prefetched `ahead` of their use: in a tile of several panels up to the end of each, and from the `turn` on
 * those of the tile after it. The turn is taken without a branch, which would cost accumulators their registers. Weights
 * that no cache keeps from chunk to chunk are prefetched further ahead, and into the second-level cache only.
 */
#ifndef VOCOSC_TILES_${isa.name | upper}_H
#define VOCOSC_TILES_${isa.name | upper}_H

#include "vocosc_chunk.h"
#include "vocosc_epilogues.h"
//% for format in formats
#include "vocosc_format_${format.name}.h"
//% endfor
#include "vocosc_model.h"
//% for header in (more.headers if more else [])
#include "vocosc_${header}.h"
//% endfor
#include "vocosc_vector.h"

#define TILE static __attribute__((noinline))

enum {
  TILE_ROWS = ${isa.max_rows},
  BLOCK_PANELS = ${isa.block_panels},
  FETCH_LEVEL = ${fetch.level}, /* of the cache that they are prefetched into */
};
//% for product in plan.kernels
//% set format = product.format
//% set f = format.name
//% set F = f | upper
//% set header = "w" if format.weight_type == "float" else "(const float *)w"
//% set NAME = product.name | upper
//% set text = "%s, %d -> %d" | format(product.name, product.inputs, product.outputs)

/* ${text} */
enum {
  ${NAME}_INPUTS = ${format.padded_inputs(product.inputs)},
  ${NAME}_PANELS = ${product.panels},
  ${NAME}_INPUT_STRIDE = ${product.x_stride}, /* from one row of x to the next */
  ${NAME}_OUTPUT_STRIDE = ${product.y_stride}, /* from one row of y to the next */
  ${NAME}_HEADER = ${format.header}, /* elements of a panel in front of its weights${" and the groups' scales" if format.group} */
//% if format.group
  ${NAME}_SCALES = ${format.scales(product.inputs)}, /* elements of them */
//% endif
  ${NAME}_PANEL = ${format.panel(product.inputs)}, /* elements from one panel to the next */
  ${NAME}_PANEL_FLOATS = ${format.panel(product.inputs) * format.weight_bytes // 4}, /* the same, counted in floats */
};
//% set own = isa.order(f)
//% set loaded = isa.vectors_loaded(f)
//% for tile in isa.tiles if not own
//% for vectors in tile.widths(format) if product.fits(vectors * isa.lanes)
//% set columns = vectors * isa.lanes
//% set panels = [columns // PANEL, 1] | max

/* ${text}: ${tile.rows} x ${columns} */
TILE void ${product.name}_${tile.rows}x${columns}(${parameters(product)}const float *header, ${"const %s *scales, " % format.weight_type if format.group}const ${format.weight_type} *w, float *y, int ahead) {
//% for row in range(tile.rows)
//% for v in range(vectors)
  ${f}_sum sum${row}_${v} = ${f}_begin(header${product | header_offset(v * isa.lanes)});
//% endfor
//% endfor
//% if panels > 1
  const ${format.weight_type} *fetch = w + ahead;
  const int turn = ${NAME}_INPUTS - ${"%d * " % format.packed if format.packed > 1}ahead / PANEL;
//% endif
//% if format.group
  for (int k = 0; k < ${NAME}_INPUTS;) {
//% for v in range(vectors)
    const ${f}_scales scales${v} = ${f}_load_scales(scales${product | scale_offset(v * isa.lanes)});
//% endfor
//% for row in range(tile.rows)
//% for v in range(vectors)
    ${f}_group group${row}_${v} = ${f}_open();
//% endfor
//% endfor
    UNROLL_NONE
    for (const int end = k + ${F}_GROUP; k < end; k += ${F}_STEP) {
//% else
  UNROLL_4
  for (int k = 0; k < ${NAME}_INPUTS; k += ${F}_STEP) {
//% endif
//% if panels == 1
    VEC_PREFETCH(w + ahead, FETCH_LEVEL);
//% endif
//% for panel in range(panels) if panels > 1
    VEC_PREFETCH(fetch${product | weight_offset(panel * PANEL)}, FETCH_LEVEL);
//% endfor
//% if format.group
//% for v in range(vectors)
//% if v % loaded
    const ${f}_packed packed${v} = ${f}_next(packed${v - 1});
//% else
    const ${f}_packed packed${v} = ${f}_load_packed(w${product | weight_offset(v * isa.lanes)});
//% endif
//% endfor
    UNROLL_4
    for (int part = 0; part < ${F}_PARTS; part++) {
//% endif
//% macro inputs(row)
    const ${f}_inputs x${row} = ${f}_load_inputs(x${product | row_offset(row, "INPUT_STRIDE")} + k${", part" if format.group});
//% endmacro
//% macro weights(v)
//% if format.group
    const ${f}_weights w${v} = ${f}_unpack(packed${v}, part);
//% elif v % loaded
    const ${f}_weights w${v} = ${f}_next(w${v - 1});
//% else
    const ${f}_weights w${v} = ${f}_load${"_small" if product.name in small_halves}_weights${"_of_%d" % vectors if vectors < loaded}(w${product | weight_offset(v * isa.lanes)});
//% endif
//% endmacro
//% macro accumulate(row, v)
//% set sum = "group" if format.group else "sum"
    ${sum}${row}_${v} = ${f}_accumulate(${sum}${row}_${v}, w${v}, x${row});
//% endmacro
//% if tile.rows < vectors
//% for row in range(tile.rows)
${inputs(row) | chomp}
//% endfor
//% for v in range(vectors)
${weights(v) | chomp}
//% for row in range(tile.rows)
${accumulate(row, v) | chomp}
//% endfor
//% endfor
//% else
//% for v in range(vectors)
${weights(v) | chomp}
//% endfor
//% for row in range(tile.rows)
${inputs(row) | chomp}
//% for v in range(vectors)
${accumulate(row, v) | chomp}
//% endfor
//% endfor
//% endif
//% set step = "PANEL * %s_STEP%s" % (F, " / %d" % format.packed if format.packed > 1 else "")
//% if format.group
    }
//% endif
    w += ${step};
//% if panels > 1
    fetch += ${step} + (-(int)(k == turn) & (${panels - 1} * ${NAME}_PANEL));
//% endif
  }
//% if format.group
//% for row in range(tile.rows)
//% for v in range(vectors)
    sum${row}_${v} = ${f}_close(sum${row}_${v}, group${row}_${v}, scales${v});
//% endfor
//% endfor
    scales += PANEL;
  }
//% endif
//% if format.header_rows > 1
//% for v in range(vectors)
  const ${f}_outputs outputs${v} = ${f}_load_outputs(header${product | header_offset(v * isa.lanes)});
//% endfor
//% endif
//% set outputs = ", outputs%d" if format.header_rows > 1 else "%.0s"
//% for row in range(tile.rows)
//% if format.is_integer
  const ${f}_row_scale row${row} = row_scales[${row}];
//% endif
//% for v in range(vectors)
  epilogue_${product.epilogue}${"_enlarged" if product.name in enlarged}(y${product | row_offset(row, "OUTPUT_STRIDE", v * isa.lanes)}, ${f}_finish(sum${row}_${v}${outputs | format(v)}${", row%d" % row if format.is_integer}));
//% endfor
//% endfor
}
//% endfor
//% endfor
//% set row_scales = "row_scales, " if format.is_integer else ""
//% set weights = "w + %s_HEADER%s" % (NAME, " + %s_SCALES" % NAME if format.group else "")
//% set scales = "w + %s_HEADER" % NAME if format.group else ""
//% if own

/* ${text}: up to TILE_ROWS rows times `panels` panels. */
static void ${product.name}_rows(${parameters(product)}const ${format.weight_type} *w, float *y, int rows, int panels, int ahead) {
  (void)ahead;
//% if isa.row_sums and format.is_integer
//% set stretch = format.group or format.padded_inputs(product.inputs)
  int32_t row_sums[TILE_ROWS${" * %d" % (format.padded_inputs(product.inputs) // stretch) if format.group}];
  w8_row_sums(x, rows, ${NAME}_INPUTS, ${stretch}, row_sums);
//% endif
  for (; panels > 0; panels--) {
    const float *header = ${header};
    ${"vec_bits" if format.is_integer else "vec"} sums[TILE_ROWS * PANEL];
//% if format.is_integer
    ${f}_products(x, rows, ${scales ~ ", " if scales}${weights}, ${NAME}_INPUTS, ${"row_sums, " if isa.row_sums}sums);
//% else
    ${f}${"_vector" if product.name in by_vectors}${"_small" if product.name in small_halves}_products(x, ${NAME}_INPUT_STRIDE, rows, header, w + ${NAME}_HEADER, ${NAME}_INPUTS, sums);
//% endif
    for (int row = 0; row < rows; row++) {
      float *to = y + row * ${NAME}_OUTPUT_STRIDE;
//% if product.name in gelu_by_vectors
      gelu_panel(sums + row * PANEL, header, vec_to_bits(row_scales[row].scale), to);
//% else
      for (int v = 0; v < PANEL; v++) {
        epilogue_${product.epilogue}${"_enlarged" if product.name in enlarged}(to + v, ${f}_finish(sums[row * PANEL + v]${", %s_load_outputs(header + v)" % f if format.header_rows > 1}${", row_scales[row]" if format.is_integer}));
      }
//% endif
    }
    w += ${NAME}_PANEL;
    y += PANEL;
  }
}
//% else

/* ${text}: a tile's rows times `panels` panels. An `ahead` of 0 stands for what suits the tile. */
static void ${product.name}_rows(${parameters(product)}const ${format.weight_type} *w, float *y, int rows, int panels, int ahead) {
  switch (rows) {
//% for tile in isa.tiles
    ${"case %d" | format(tile.rows) if not loop.last else "default"}:
//% for vectors in tile.widths(format) if product.fits(vectors * isa.lanes)
//% set columns = vectors * isa.lanes
//% if columns >= PANEL
      for (; panels >= ${columns // PANEL}; panels -= ${columns // PANEL}) {
        ${product.name}_${tile.rows}x${columns}(x, ${row_scales}${header}, ${scales ~ ", " if scales}${weights}, y, ahead != 0 ? ahead : ${fetch.weights(columns // PANEL)});
        w += ${"%d * " % (columns // PANEL) if columns > PANEL}${NAME}_PANEL;
        y += ${columns};
      }
//% else
      for (; panels > 0; panels--) {
        for (int lane = 0; lane < PANEL; lane += ${columns}) {
          ${product.name}_${tile.rows}x${columns}(x, ${row_scales}${header} + lane, ${scales ~ " + lane, " if scales}${weights} + ${"%d * " % format.neighbours if format.neighbours > 1}lane, y + lane, ahead != 0 ? ahead : ${fetch.weights(1)});
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
//% endif
//% set many = more.many_rows if more and more.many_rows.format == f
//% if many

/*
 * ${text}: `rows` frames, ${many.rows} or more, panels first .. last - 1, by tiles of ${many.rows} rows and a panel, four at a time: the two of
 * the upper rows, and the two below them. The last rows' tiles reach back over rows that are done, and a last panel
 * without a neighbour is its own.
 */
static MANY_ROWS void ${product.name}_many(${parameters(product)}const ${format.weight_type} *weights, float *y, int rows, int first, int last) {
  enum { HEIGHT = ${many.rows} };
  _Alignas(64) float sums[HEIGHT * PANEL];
  ${f}_many_begin(${NAME}_INPUTS);
  for (int panel = first; panel < last; panel += 2) {
    const ${format.weight_type} *w = weights + panel * ${NAME}_PANEL;
    const int next = last - panel > 1 ? ${NAME}_PANEL : 0;
    for (int row = 0; row < rows; row += 2 * HEIGHT) {
      const int upper = row < rows - HEIGHT ? row : rows - HEIGHT;
      const int lower = row + HEIGHT < rows - HEIGHT ? row + HEIGHT : rows - HEIGHT;
      ${f}_many_products(x + upper * ${NAME}_INPUT_STRIDE, x + lower * ${NAME}_INPUT_STRIDE, ${NAME}_INPUT_STRIDE, w + ${NAME}_HEADER, w + next + ${NAME}_HEADER, ${NAME}_INPUTS);
      for (int tile = 0; tile < 4; tile++) {
        const int begin = tile < 2 ? upper : lower;
        const int column = tile % 2;
        if (column > 0 && next == 0) continue;
        ${f}_many_sums(tile, sums);
        const ${f}_outputs outputs = ${f}_load_outputs((const float *)(w + column * next));
        for (int i = tile < 2 ? row : row + HEIGHT; i < begin + HEIGHT; i++) {
          const vec_bits sum = vec_to_bits(vec_load(sums + (i - begin) * PANEL));
          epilogue_${product.epilogue}(y + i * ${NAME}_OUTPUT_STRIDE + (panel + column) * PANEL, ${f}_finish(sum, outputs, row_scales[i]));
        }
      }
    }
  }
  ${f}_many_end();
}
//% endif

/*
 * ${text}: `rows` frames, panels first .. last - 1.
 *
 * Up to TILE_ROWS frames pass over all panels in one go, each weight prefetched a little ahead. More do so in tiles as
 * equal as can be, block by block: a block stays in the second-level cache for all tiles, and the first tile prefetches
 * the next one.
 */
static void ${product.name}_panels(${parameters(product)}const ${format.weight_type} *weights, float *y, int rows, int first, int last) {
  const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const int block_panels = tiles > 1 ? BLOCK_PANELS : last - first;
  for (int panel = first; panel < last; panel += block_panels) {
    const int panels = last - panel < block_panels ? last - panel : block_panels;
    const ${format.weight_type} *w = weights + panel * ${NAME}_PANEL;
    for (int tile = 0; tile < tiles; tile++) {
      const int row = rows * tile / tiles;
      const int count = rows * (tile + 1) / tiles - row;
      const int ahead = tiles > 1 && tile == 0 ? BLOCK_PANELS * ${NAME}_PANEL : 0;
      float *to = y + row * ${NAME}_OUTPUT_STRIDE + panel * PANEL;
      ${product.name}_rows(x + row * ${NAME}_INPUT_STRIDE, ${"row_scales + row, " if format.is_integer}w, to, count, panels, ahead);
    }
  }
}

/* ${text}: this worker's outputs of all rows${", which overlap: windows of the mel" if product.is_conv}. */
STEP void ${product.name}(const chunk *c, ${parameters(product)}const ${format.weight_type} *weights, float *y) {
  const int first = first_of(c, ${NAME}_PANELS);
  const int last = last_of(c, ${NAME}_PANELS);
//% if product.is_conv
  for (int job = 0; job < c->count; job++) {
    const float *windows = x + job * (LEFT + c->frames) * ${NAME}_INPUT_STRIDE;
    ${product.name}_panels(windows, weights, y + job * c->frames * ${NAME}_OUTPUT_STRIDE, c->frames, first, last);
  }
//% else
//% if many
  const int is_many = c->rows >= ${many.rows} && c->jobs->stream->target == VOCOSC_${more.name | upper};
  if (is_many) ${product.name}_many(x, ${row_scales}weights, y, c->rows, first, last);
  if (!is_many) ${product.name}_panels(x, ${row_scales}weights, y, c->rows, first, last);
//% else
  ${product.name}_panels(x, ${row_scales}weights, y, c->rows, first, last);
//% endif
//% endif
  barrier(c);
}
//% endfor

#endif /* VOCOSC_TILES_${isa.name | upper}_H */
