/* Results on standard output: lines of `key value`, aligned, or one JSON object with the same keys. */
#ifndef VOCOSC_TOOL_REPORT_H
#define VOCOSC_TOOL_REPORT_H

#include <stdbool.h>

void report_begin(bool json);
void report_text(const char *key, const char *value);
void report_count(const char *key, long long value);
void report_number(const char *key, double value);

/* A list of numbers, given as text: "5,10". */
void report_numbers(const char *key, const char *list);

/* A list of words. */
void report_words(const char *key, const char *const *words, int count);

/* Returns false if it could not all be written, which it has reported. */
bool report_end(void);

#endif /* VOCOSC_TOOL_REPORT_H */
