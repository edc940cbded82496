/* The command line. */
#ifndef VOCOSC_TOOL_OPTIONS_H
#define VOCOSC_TOOL_OPTIONS_H

#include <stdbool.h>

#include "vocosc.h"
#include "vocosc_tool_gpu.h"

typedef struct {
  int chunk;
  int threads;
  int streams; /* streams * chunk is at most VOCOSC_MAX_FRAMES */
  vocosc_target target;
  gpu_way gpu; /* but for GPU_NONE, target is not used */
  int warmup;
  int runs;
  int frames; /* 0 if not given */
  const char *mel;
  const char *weights; /* null if not given */
  bool flush;
  bool json;
  bool help;
  const char *files[2];
} command_options;

/*
 * Reads the arguments of a command. `allowed` lists the options it takes, with a space around each; `files` is how
 * many file names it takes. Returns false after an error, which it has reported.
 */
bool options_parse(command_options *options, const char *command, const char *allowed, int files, int count,
                   char **arguments);

#endif /* VOCOSC_TOOL_OPTIONS_H */
