#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vocosc_tool.h"
#include "vocosc_tool_decoder.h"

/* The path of the file beside this program; empty if the system does not say where that is. */
static const char *beside_the_tool(void) {
  static const char name[] = "vocosc_weights.bin";
  static char path[PATH_MAX + sizeof name];
  const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
  if (length < 0) return name;
  path[length] = '\0';
  const char *slash = strrchr(path, '/');
  memcpy(path + (slash == NULL ? 0 : slash + 1 - path), name, sizeof name);
  return path;
}

const void *weights_open(const char *path, size_t *bytes) {
  if (path == NULL) path = beside_the_tool();
  const int file = open(path, O_RDONLY);
  struct stat status;
  void *weights = MAP_FAILED;
  if (file >= 0 && fstat(file, &status) == 0) {
    *bytes = (size_t)status.st_size;
    weights = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, file, 0);
  }
  if (weights == MAP_FAILED) {
    fail_errno(path, "cannot map the weights (--weights FILE names another file)");
    weights = NULL;
  }
  if (file >= 0) close(file);
  return weights;
}
