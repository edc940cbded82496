/* The GPU as the tool uses it: one stream in slot 0, host memory in and out. In a build without GPU code: an error. */
#ifndef VOCOSC_TOOL_GPU_H
#define VOCOSC_TOOL_GPU_H

#include <stdbool.h>

#include "vocosc.h"

/* The ways of a GPU, and no GPU. The names are values of --target. */
typedef enum { GPU_NONE, GPU_GRAPH, GPU_SINGLE_KERNEL, GPU_LIBRARIES, GPU_WAYS } gpu_way;

/* For all ways but GPU_NONE. */
const char *gpu_way_name(gpu_way way);

/* These return false, or a negative count, after an error, which they have reported. */
bool gpu_start(gpu_way way);
bool gpu_run(const float *mel, int frames, float *audio);
bool gpu_reset(void);
int gpu_flush(float *tail);

void gpu_stop(void);

/* Adds to the report of `info` what GPU code this build has and what GPU there is; in a build without it, nothing. */
void gpu_report(void);

#endif /* VOCOSC_TOOL_GPU_H */
