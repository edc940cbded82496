#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vocosc_tool.h"

bool fail(const char *subject, const char *format, ...) {
  progress_clear();
  fprintf(stderr, VOCOSC_NAME ": %s: ", subject);
  va_list values;
  va_start(values, format);
  vfprintf(stderr, format, values);
  va_end(values);
  fputc('\n', stderr);
  return false;
}

bool fail_errno(const char *subject, const char *action) { return fail(subject, "%s: %s", action, strerror(errno)); }
