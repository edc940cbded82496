/* Log-mel in, chunk by chunk: a .npy file (frames x mels, float32), or raw float32 on standard input. */
#ifndef VOCOSC_TOOL_MEL_H
#define VOCOSC_TOOL_MEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vocosc.h"

typedef struct {
  const char *name;                             /* for messages */
  float *matrix;                                /* a whole file; null for standard input */
  int64_t frames;                               /* in the file; -1 for standard input */
  int64_t position;                             /* frames handed out */
  float chunk[VOCOSC_MAX_FRAMES * VOCOSC_MELS]; /* for standard input */
} mel_reader;

/*
 * Opens a path, or "-". A file is read and checked as a whole: no frame of a bad file is ever handed out. Returns
 * false after an error, which it has reported.
 */
bool mel_open(mel_reader *reader, const char *path);

/* Points *mel at the next frames, at most `frames`; returns how many, 0 at the end, or -1 after a reported error. */
int mel_read(mel_reader *reader, int frames, const float **mel);

void mel_close(mel_reader *reader);

#endif /* VOCOSC_TOOL_MEL_H */
