#define _XOPEN_SOURCE 700 /* POSIX 2008 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vocosc_tool.h"

static const double first_after_ms = 1000.0;
static const double interval_ms = 200.0;

static bool started = false;
static bool visible = false;
static double next_ms = 0.0;

double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

void progress_show(int64_t done, int64_t total, const char *unit) {
  const double now = now_ms();
  if (!started) {
    started = true;
    next_ms = now + first_after_ms;
  }
  if (now < next_ms || !isatty(STDERR_FILENO)) return;
  next_ms = now + interval_ms;
  visible = true;
  if (total >= 0) {
    fprintf(stderr, "\r\033[K%lld of %lld %s", (long long)done, (long long)total, unit);
  } else {
    fprintf(stderr, "\r\033[K%lld %s", (long long)done, unit);
  }
  fflush(stderr);
}

void progress_clear(void) {
  if (visible) fputs("\r\033[K", stderr);
  visible = false;
}

/* What a terminal would take for more than text, such as a newline in a file's name, is shown as its number. */
static void put(const char *text) {
  for (const char *p = text; *p != '\0'; p++) {
    const unsigned char byte = (unsigned char)*p;
    if (byte < 0x20 || byte == 0x7f) {
      fprintf(stderr, "\\x%02x", byte);
    } else {
      fputc(byte, stderr);
    }
  }
}

bool fail(const char *subject, const char *format, ...) {
  char message[1024]; /* longer ones are cut off */
  progress_clear();
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  fputs(VOCOSC_NAME ": ", stderr);
  put(subject);
  fputs(": ", stderr);
  put(message);
  fputc('\n', stderr);
  return false;
}

bool fail_errno(const char *subject, const char *action) { return fail(subject, "%s: %s", action, strerror(errno)); }
