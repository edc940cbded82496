/*
 * An output that is whole or not there: a file is written beside its final name, as `PATH.partial-PID`, and takes
 * that name once all of it is written. Standard output ("-"), pipes and devices are written directly.
 */
#ifndef VOCOSC_TOOL_OUTPUT_H
#define VOCOSC_TOOL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  const char *name; /* for messages */
  char *path;       /* where the file goes, links followed; null if written directly */
  char *partial;    /* where it is written; null if written directly */
  int descriptor;
} output;

/* Makes writing to a closed pipe or beyond a size limit an error, and lets a signal remove a partial file. */
void output_setup(void);

/* All return false after an error, which they have reported. After any of them failed, call output_discard. */
bool output_open(output *out, const char *path);
bool output_write(output *out, const void *bytes, size_t count);
bool output_commit(output *out);

/* Whether what was written can still be changed. */
bool output_can_rewrite(const output *out);

/* Writes over the output's first bytes; nothing may be written after. */
bool output_rewrite(output *out, const void *bytes, size_t count);

/* Gives up: removes what was written. Does nothing to an output that is not open. */
void output_discard(output *out);

#endif /* VOCOSC_TOOL_OUTPUT_H */
