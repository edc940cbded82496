/* A file in memory that a reader can open by its path. */
#ifndef FILE_H
#define FILE_H

#include <sys/mman.h>
#include <unistd.h>

#include "input.h"

/* Writes the input into a file without a name; fills `path`. Returns its descriptor, for close. */
static inline int open_file(const uint8_t *data, size_t size, char path[32]) {
  const int descriptor = memfd_create("input", 0);
  CHECK(descriptor >= 0);
  while (size > 0) {
    const ssize_t written = write(descriptor, data, size);
    CHECK(written > 0);
    data += written;
    size -= (size_t)written;
  }
  snprintf(path, 32, "/proc/self/fd/%d", descriptor);
  return descriptor;
}

#endif /* FILE_H */
