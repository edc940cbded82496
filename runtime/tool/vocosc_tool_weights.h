/* The weights of a build that does not have them in the object. */
#ifndef VOCOSC_TOOL_WEIGHTS_H
#define VOCOSC_TOOL_WEIGHTS_H

#include <stddef.h>

/*
 * Maps the file into memory, to be read only, for as long as the tool runs; null stands for vocosc_weights.bin beside
 * the tool. Returns null after an error, which it has reported.
 */
const void *weights_open(const char *path, size_t *bytes);

#endif /* VOCOSC_TOOL_WEIGHTS_H */
