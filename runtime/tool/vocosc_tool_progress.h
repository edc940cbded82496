/* A line of progress on standard error, if that is a terminal, once a job has taken more than a second. */
#ifndef VOCOSC_TOOL_PROGRESS_H
#define VOCOSC_TOOL_PROGRESS_H

#include <stdint.h>

/* Monotonic time in milliseconds. */
double now_ms(void);

/* Says that `done` of `total` units are done; a negative total is unknown. Cheap enough to call for every chunk. */
void progress_show(int64_t done, int64_t total, const char *unit);

/* Removes the line. */
void progress_clear(void);

#endif /* VOCOSC_TOOL_PROGRESS_H */
