/* Audio out: a WAV file, a .npy file or raw float32 on standard output, as the path says. */
#ifndef VOCOSC_TOOL_AUDIO_H
#define VOCOSC_TOOL_AUDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vocosc_tool_npy.h"
#include "vocosc_tool_output.h"
#include "vocosc_tool_wav.h"

/* Whether the path ends so, in whatever case. */
bool has_extension(const char *path, const char *extension);

/* Whether audio can be written to such a path; if not, reports it and returns false. */
bool audio_path_ok(const char *path);

typedef struct {
  enum { AUDIO_RAW, AUDIO_WAV, AUDIO_NPY } format;
  union {
    output raw;
    wav_writer wav;
    npy_writer npy;
  } to;
} audio_writer;

/*
 * `samples` says how many will come, or -1. All return false after an error, which they have reported; then call
 * audio_discard, which leaves nothing half-written.
 */
bool audio_open(audio_writer *writer, const char *path, int64_t samples);
bool audio_write(audio_writer *writer, const float *samples, size_t count);
bool audio_close(audio_writer *writer);
void audio_discard(audio_writer *writer);

#endif /* VOCOSC_TOOL_AUDIO_H */
