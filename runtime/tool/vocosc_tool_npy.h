/* NumPy's .npy files of little-endian float32: matrices in, matrices and vectors out. */
#ifndef VOCOSC_TOOL_NPY_H
#define VOCOSC_TOOL_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vocosc_tool_output.h"

/*
 * Reads a C-ordered float32 matrix (rows x columns) that must have the given number of columns and at least one row;
 * the caller frees *values. Returns false after an error, which it has reported; *values is null then.
 */
bool npy_read(const char *path, size_t columns, float **values, size_t *rows);

typedef struct {
  output out;
  size_t columns; /* 0 for a vector */
  int64_t announced;
  int64_t rows;
} npy_writer;

/*
 * Writes a matrix of `columns`, or a vector if that is 0, row by row. `rows` says how many will come; -1 is unknown,
 * and then the header is put right in the end. All return false after an error, which they have reported; then
 * discard the output.
 */
bool npy_open(npy_writer *writer, const char *path, size_t columns, int64_t rows);
bool npy_write(npy_writer *writer, const float *values, size_t rows);
bool npy_close(npy_writer *writer);

#endif /* VOCOSC_TOOL_NPY_H */
