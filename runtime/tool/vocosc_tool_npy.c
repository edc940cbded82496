#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vocosc_tool.h"
#include "vocosc_tool_files.h"

/* Format 1.0: magic and version (8 bytes), length of the text (2 bytes), text. Format 2.0: the length has 4 bytes. */
enum { MAGIC_BYTES = 8, MAX_TEXT_BYTES = 65535, MAX_DIMENSIONS = 8 };

static bool truncated(const char *path, size_t found, const char *unit, size_t expected) {
  return fail(path, "is truncated: %zu %s of %zu (write it again)", found, unit, expected);
}

/* Reads the header's text, a Python dictionary such as {'descr': '<f4', 'fortran_order': False, 'shape': (162, 80), }.
 */
static bool read_text(const char *path, FILE *file, char text[MAX_TEXT_BYTES + 1]) {
  unsigned char head[MAGIC_BYTES + 4];
  const size_t found = fread(head, 1, MAGIC_BYTES + 2, file);
  if (ferror(file)) return fail_errno(path, "cannot read");
  if (found == 0) return fail(path, "is empty");
  if (found < 6 || memcmp(head, "\x93NUMPY", 6) != 0) {
    return fail(path, "is not a .npy file (write it with numpy.save)");
  }
  if (found < MAGIC_BYTES + 2) return truncated(path, found, "bytes of the header", MAGIC_BYTES + 2);
  size_t length = (size_t)head[8] | (size_t)head[9] << 8;
  if (head[6] == 2) {
    const size_t rest = fread(head + MAGIC_BYTES + 2, 1, 2, file);
    if (rest < 2) return truncated(path, MAGIC_BYTES + 2 + rest, "bytes of the header", MAGIC_BYTES + 4);
    length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
  } else if (head[6] != 1) {
    return fail(path, "is .npy format %d.%d (1.0 or 2.0 is needed: write it with numpy.save)", head[6], head[7]);
  }
  if (length > MAX_TEXT_BYTES) return fail(path, "has a .npy header of %zu bytes (it is damaged)", length);
  const size_t read = fread(text, 1, length, file);
  if (read < length) return truncated(path, read, "bytes of the header", length);
  text[length] = '\0';
  return true;
}

static const char *skip_spaces(const char *text) {
  while (isspace((unsigned char)*text)) text++;
  return text;
}

/* The text behind `'key':`, or null. */
static const char *find_value(const char *text, const char *key) {
  const char *at = strstr(text, key);
  if (at == NULL) return NULL;
  at = skip_spaces(at + strlen(key));
  return *at == ':' ? skip_spaces(at + 1) : NULL;
}

static const char *dtype_name(const char *code) {
  static const char *const names[][2] = {{"<f8", "float64"}, {"<f2", "float16"},  {"<i2", "int16"},
                                         {"<i4", "int32"},   {"<i8", "int64"},    {"|u1", "uint8"},
                                         {"|i1", "int8"},    {"<c8", "complex64"}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(code, names[i][0]) == 0) return names[i][1];
  }
  return code;
}

static bool check_dtype(const char *path, const char *value) {
  char code[16] = "unknown";
  const char quote = *value;
  if (quote == '\'' || quote == '"') {
    const size_t length = strcspn(value + 1, "'\"");
    if (length < sizeof code) {
      memcpy(code, value + 1, length);
      code[length] = '\0';
    }
  } else if (quote == '[') {
    strcpy(code, "a structure");
  }
  for (const char *c = code; *c != '\0'; c++) {
    if (!isprint((unsigned char)*c)) strcpy(code, "unknown");
  }
  if (strcmp(code, "<f4") == 0) return true;
  return fail(path, "has dtype %s, expected float32 (convert it with astype('<f4'))", dtype_name(code));
}

/* Reads (a, b, ...) into sizes; returns how many there are, or -1. */
static int parse_shape(const char *text, uint64_t sizes[MAX_DIMENSIONS]) {
  if (*text != '(') return -1;
  text = skip_spaces(text + 1);
  int count = 0;
  while (*text != ')') {
    if (!isdigit((unsigned char)*text) || count == MAX_DIMENSIONS) return -1;
    char *end;
    errno = 0;
    sizes[count++] = strtoull(text, &end, 10);
    if (errno != 0) return -1;
    text = skip_spaces(end);
    if (*text == ',') {
      text = skip_spaces(text + 1);
    } else if (*text != ')') {
      return -1;
    }
  }
  return count;
}

static bool check_shape(const char *path, const char *value, size_t columns, size_t *rows) {
  uint64_t sizes[MAX_DIMENSIONS];
  const int dimensions = parse_shape(value, sizes);
  if (dimensions < 0) return fail(path, "has a .npy header without a valid shape (it is damaged)");
  if (dimensions != 2) {
    return fail(path, "has %d dimension%s, expected 2: (frames, %zu)", dimensions, dimensions == 1 ? "" : "s", columns);
  }
  if (sizes[1] != columns) {
    return fail(path, "has %" PRIu64 " bins per frame, expected %zu: the shape is (%" PRIu64 ", %" PRIu64 ")%s",
                sizes[1], columns, sizes[0], sizes[1], sizes[0] == columns ? " (transpose it)" : "");
  }
  if (sizes[0] == 0) return fail(path, "holds no frames");
  if (sizes[0] > SIZE_MAX / sizeof(float) / columns) return fail(path, "has a shape too large for memory");
  *rows = (size_t)sizes[0];
  return true;
}

static bool check_header(const char *path, const char *text, size_t columns, size_t *rows) {
  const char *descr = find_value(text, "'descr'");
  const char *order = find_value(text, "'fortran_order'");
  const char *shape = find_value(text, "'shape'");
  if (descr == NULL || order == NULL || shape == NULL) {
    return fail(path, "has a .npy header without descr, fortran_order or shape (it is damaged)");
  }
  if (!check_dtype(path, descr)) return false;
  if (strncmp(order, "False", 5) != 0) {
    return fail(path, "is in Fortran order, expected C order (convert it with numpy.ascontiguousarray)");
  }
  return check_shape(path, shape, columns, rows);
}

/* Memory grows with what is really there, not with what the header claims. */
static bool read_values(const char *path, FILE *file, size_t count, float **values) {
  size_t capacity = 0;
  size_t found = 0;
  float *read = NULL;
  while (found < count) {
    if (found == capacity) {
      capacity = capacity == 0 ? 65536 : capacity * 2;
      if (capacity > count) capacity = count;
      float *larger = realloc(read, capacity * sizeof *read);
      if (larger == NULL) {
        free(read);
        return fail_errno(path, "cannot read");
      }
      read = larger;
    }
    const size_t got = fread(read + found, sizeof *read, capacity - found, file);
    found += got;
    if (got == 0) {
      const bool broken = ferror(file) != 0;
      free(read);
      return broken ? fail_errno(path, "cannot read") : truncated(path, found, "values", count);
    }
  }
  *values = read;
  return true;
}

bool npy_read(const char *path, size_t columns, float **values, size_t *rows) {
  static char text[MAX_TEXT_BYTES + 1];
  *values = NULL;
  *rows = 0;
  FILE *file = fopen(path, "rb");
  if (file == NULL) return fail_errno(path, "cannot open");
  const bool ok = read_text(path, file, text) && check_header(path, text, columns, rows) &&
                  read_values(path, file, *rows * columns, values);
  fclose(file);
  return ok;
}
