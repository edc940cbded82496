/* A decoding stream with the memory and the threads, or the GPU, that it works with. */
#ifndef VOCOSC_TOOL_DECODER_H
#define VOCOSC_TOOL_DECODER_H

#include <stdbool.h>
#include <stddef.h>

#include "vocosc.h"
#include "vocosc_team_pthread.h"
#include "vocosc_tool.h"

/* The last of all targets. Not every number up to it is one. */
enum { LAST_TARGET = VOCOSC_${(all_isas | sort(attribute="number") | last).name | upper} };

typedef struct {
  vocosc_team_pthread team; /* with more than one thread */
  _Alignas(64) vocosc_scratch scratch;
  vocosc_stream stream;
  int threads;
  bool on_gpu; /* then the rest is not used */
} tool_decoder;

/*
 * As vocosc_init, vocosc_decode, vocosc_reset and vocosc_flush. They return false, or a negative count, after an error,
 * which they have reported. Of the options start takes target, threads and, if the weights are not in the object, their
 * file: null is the one beside the tool.
 */
bool decoder_start(tool_decoder *decoder, const command_options *options);
int decoder_run(tool_decoder *decoder, const float *mel, int frames, float *audio);
bool decoder_reset(tool_decoder *decoder);
int decoder_flush(tool_decoder *decoder, float *tail);

/* As decoder_run and decoder_flush, for streams of the caller's, which take the place of the decoder's own. */
int decoder_run_batch(tool_decoder *decoder, const vocosc_job *jobs, int count, int frames);
int decoder_flush_stream(tool_decoder *decoder, vocosc_stream *stream, float *tail);

void decoder_stop(tool_decoder *decoder);

/* The name of what a decoder with these options decodes with. */
const char *decoder_target(const command_options *options);

/* Whether this CPU and this build have the target, and the operating system grants it. */
bool target_available(vocosc_target target);

/* The target that VOCOSC_BEST stands for here. */
vocosc_target best_target(void);

/*
 * Maps a file of weights into memory, to be read only, for as long as the tool runs; null stands for vocosc_weights.bin
 * beside the tool. Returns null after an error, which it has reported.
 */
const void *weights_open(const char *path, size_t *bytes);

/* The name of a way that is not GPU_NONE. */
const char *gpu_way_name(gpu_way way);

/*
 * The GPU: one stream in slot 0, host memory in and out. A build without GPU code (VOCOSC_HAS_CUDA is 0) has none of
 * these. They return false, or a negative count, after an error, which they have reported.
 */
bool gpu_start(gpu_way way);
int gpu_run(const float *mel, int frames, float *audio); /* frames 0: a flush */
bool gpu_reset(void);
void gpu_stop(void);

/* Adds to the report of `info` what GPU code this build has and what GPU there is. */
void gpu_report(void);

#endif /* VOCOSC_TOOL_DECODER_H */
