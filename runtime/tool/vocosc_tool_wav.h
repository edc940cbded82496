/* WAV files of 16-bit mono PCM at the model's sample rate. */
#ifndef VOCOSC_TOOL_WAV_H
#define VOCOSC_TOOL_WAV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vocosc_tool_output.h"

typedef struct {
  const char *path;
  FILE *file;
  int64_t samples; /* in the file; -1 if its header was written before the length was known */
  int64_t position;
} wav_reader;

/*
 * Opens a file of at least one sample. Any other format than 16-bit mono PCM at the model's rate is an error. These
 * return false, or a negative count, after an error, which they have reported.
 */
bool wav_open(wav_reader *reader, const char *path);

/* Reads up to `count` samples; fewer only at the end. */
int wav_read(wav_reader *reader, int16_t *samples, int count);

/* Does nothing if the reader is not open. */
void wav_close(wav_reader *reader);

typedef struct {
  output out;
  int64_t announced;
  int64_t samples;
} wav_writer;

/*
 * Writes 16-bit mono PCM. `samples` says how many will come; -1 is unknown, and then the header is put right in the
 * end, or, in a pipe, stays at the largest size, as is the custom. After an error, discard the output.
 */
bool wav_create(wav_writer *writer, const char *path, int64_t samples);

/* Full scale of the floats is +-1; they are rounded to nearest and clipped. */
bool wav_write(wav_writer *writer, const float *samples, size_t count);
bool wav_finish(wav_writer *writer);

#endif /* VOCOSC_TOOL_WAV_H */
