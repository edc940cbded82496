/*
 * The matrix products' tiles against OpenBLAS, on one instruction set: every number of rows, every share of the panels.
 * What a layer does to a finished sum is left out here: it is stored, or, for the residual, added.
 */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "vocosc_model.h"
#include "vocosc_vector.h"

#define VOCOSC_EPILOGUES_H /* in place of that header */
static inline void epilogue_store(float *y, vec sum) { vec_store(y, sum); }
static inline void epilogue_gelu(float *y, vec sum) { vec_store(y, sum); }
static inline void epilogue_add(float *y, vec sum) { vec_store(y, vec_add(vec_load(y), sum)); }
static inline void epilogue_exp(float *y, vec sum) { vec_store(y, sum); }
static inline void epilogue_polar(float *y, vec sum) { vec_store(y + BINS_PADDED, sum); }

#pragma GCC diagnostic ignored "-Wunused-function" /* of the shares among workers */
#include TILES

enum { MAX_ROWS = 16 };

typedef void product(const float *x, const float *weights, float *y, int rows, int first, int last);

static float *random_floats(size_t count, uint64_t seed) {
  float *values = malloc(count * sizeof *values);
  assert_non_null(values);
  for (size_t i = 0; i < count; i++) values[i] = next_float(&seed, -1.0f, 1.0f);
  return values;
}

/* `y_offset` is where the product writes, `kept` what the output starts from: 0 where it is overwritten. */
static void compare(product *function, int inputs, int panels, int x_stride, int y_stride, int y_offset, float kept) {
  const int outputs = panels * PANEL;
  float *packed = random_floats((size_t)panels * (size_t)(1 + inputs) * PANEL, 1);
  float *plain = malloc((size_t)(1 + inputs) * (size_t)outputs * sizeof *plain); /* [1 + inputs][outputs] */
  float *x = random_floats((size_t)MAX_ROWS * (size_t)x_stride + (size_t)inputs, 2);
  const size_t y_floats = (size_t)MAX_ROWS * (size_t)y_stride + (size_t)(y_offset + outputs);
  float *y = malloc(y_floats * sizeof *y);
  float *expected = malloc((size_t)MAX_ROWS * (size_t)outputs * sizeof *expected);
  float *dense = malloc((size_t)MAX_ROWS * (size_t)inputs * sizeof *dense); /* BLAS takes no rows that overlap */
  assert_true(plain != NULL && y != NULL && expected != NULL && dense != NULL);
  for (int row = 0; row < MAX_ROWS; row++) memcpy(dense + row * inputs, x + row * x_stride, (size_t)inputs * sizeof *x);
  for (int panel = 0; panel < panels; panel++) {
    for (int i = 0; i <= inputs; i++) {
      const float *from = packed + (panel * (1 + inputs) + i) * PANEL;
      memcpy(plain + i * outputs + panel * PANEL, from, PANEL * sizeof *plain);
    }
  }
  for (int rows = 1; rows <= MAX_ROWS; rows++) {
    for (int row = 0; row < rows; row++) memcpy(expected + row * outputs, plain, (size_t)outputs * sizeof *expected);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, outputs, inputs, 1.0f, dense, inputs, plain + outputs,
                outputs, 1.0f, expected, outputs);
    /* Whole, and split in two, as two workers would have it. */
    const int cuts[] = {0, 1, panels / 2, panels - 1};
    for (int i = 0; i < (rows < 7 ? 4 : 1); i++) {
      const int cut = cuts[i];
      for (size_t k = 0; k < y_floats; k++) y[k] = kept;
      if (cut > 0) function(x, packed, y, rows, 0, cut);
      function(x, packed, y, rows, cut, panels);
      for (int row = 0; row < rows; row++) {
        for (int o = 0; o < outputs; o++) {
          const float found = y[y_offset + row * y_stride + o] - kept;
          const float wanted = expected[row * outputs + o];
          const float bound = 1e-6f * sqrtf((float)inputs) * (1.0f + fabsf(wanted)) + 1e-6f;
          check(fabsf(found - wanted) <= bound, "%d rows, cut at panel %d: row %d, output %d is %g, not %g", rows, cut,
                row, o, (double)found, (double)wanted);
        }
      }
      const float *after = y + y_offset + (rows - 1) * y_stride + outputs;
      for (const float *p = after; p < y + y_floats; p++) assert_true(*p == kept); /* nothing written beyond */
    }
  }
  free(packed);
  free(plain);
  free(x);
  free(y);
  free(expected);
  free(dense);
}

static void test_embed(void **state) {
  (void)state;
  compare(embed_panels, TAPS * MELS, EMBED_PANELS, MELS, DIM_STRIDE, 0, 0.0f); /* rows of its input overlap */
}
static void test_expand(void **state) {
  (void)state;
  compare(expand_panels, DIM, EXPAND_PANELS, DIM_STRIDE, HIDDEN_STRIDE, 0, 0.0f);
}
static void test_contract(void **state) {
  (void)state;
  compare(contract_panels, CONTRACT_INPUTS, CONTRACT_PANELS, HIDDEN_STRIDE, DIM_STRIDE, 0, 0.5f);
}
static void test_magnitude(void **state) {
  (void)state;
  compare(magnitude_panels, DIM, MAGNITUDE_PANELS, DIM_STRIDE, SPECTRUM_STRIDE, 0, 0.0f);
}
static void test_phase(void **state) {
  (void)state;
  compare(phase_panels, DIM, MAGNITUDE_PANELS, DIM_STRIDE, SPECTRUM_STRIDE, BINS_PADDED, 0.0f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_embed),     cmocka_unit_test(test_expand), cmocka_unit_test(test_contract),
      cmocka_unit_test(test_magnitude), cmocka_unit_test(test_phase),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
