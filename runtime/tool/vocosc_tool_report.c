#include <stdio.h>

#include "vocosc_tool.h"

static bool as_json = false;
static bool first = true;

static void begin_value(const char *key) {
  if (as_json) {
    printf("%s\n  \"%s\": ", first ? "" : ",", key);
  } else {
    printf("%-29s ", key);
  }
  first = false;
}

static void end_value(void) {
  if (!as_json) putchar('\n');
}

void report_begin(bool json) {
  as_json = json;
  first = true;
  if (as_json) putchar('{');
}

void report_text(const char *key, const char *value) {
  begin_value(key);
  printf(as_json ? "\"%s\"" : "%s", value);
  end_value();
}

void report_count(const char *key, long long value) {
  begin_value(key);
  printf("%lld", value);
  end_value();
}

void report_number(const char *key, double value) {
  begin_value(key);
  printf("%.6f", value);
  end_value();
}

void report_numbers(const char *key, const char *list) {
  begin_value(key);
  printf(as_json ? "[%s]" : "%s", list);
  end_value();
}

void report_words(const char *key, const char *const *words, int count) {
  begin_value(key);
  if (as_json) putchar('[');
  for (int i = 0; i < count; i++) {
    printf("%s", i == 0 ? "" : as_json ? ", " : " ");
    printf(as_json ? "\"%s\"" : "%s", words[i]);
  }
  if (as_json) putchar(']');
  end_value();
}

bool report_end(void) {
  if (as_json) printf("\n}\n");
  if (fflush(stdout) != 0 || ferror(stdout)) return fail_errno("standard output", "cannot write");
  return true;
}
