/* The GPU as the tool uses it: one stream in slot 0, host memory in and out. In a build without GPU code: an error. */
#ifndef VOCOSC_TOOL_GPU_H
#define VOCOSC_TOOL_GPU_H

#include <stdbool.h>

#include "vocosc.h"

/* These return false, or a negative count, after an error, which they have reported. */
bool gpu_start(void);
bool gpu_run(const float *mel, int frames, float *audio);
bool gpu_reset(void);
int gpu_flush(float *tail);

void gpu_stop(void);

/* Adds to the report of `info` what GPU code this build has and what GPU there is; in a build without it, nothing. */
void gpu_report(void);

#endif /* VOCOSC_TOOL_GPU_H */
