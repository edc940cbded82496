#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vocosc_tool.h"
#include "vocosc_tool_files.h"

/* Reports the first value that is not finite, if there is one. `first` is the number of the first frame. */
static bool check_finite(const char *name, const float *mel, int64_t first, int64_t frames) {
  for (int64_t i = 0; i < frames * VOCOSC_MELS; i++) {
    if (!isfinite(mel[i])) {
      return fail(name, "frame %" PRId64 ", bin %" PRId64 " is %s (expected log-mel, which is finite)",
                  first + i / VOCOSC_MELS, i % VOCOSC_MELS, isnan(mel[i]) ? "nan" : "infinite");
    }
  }
  return true;
}

bool mel_open(mel_reader *reader, const char *path) {
  reader->position = 0;
  if (strcmp(path, "-") == 0) {
    reader->name = "standard input";
    reader->matrix = NULL;
    reader->frames = -1;
    return true;
  }
  size_t frames;
  reader->name = path;
  if (!npy_read(path, VOCOSC_MELS, &reader->matrix, &frames)) return false;
  reader->frames = (int64_t)frames;
  return check_finite(path, reader->matrix, 0, reader->frames);
}

static int read_standard_input(mel_reader *reader, int frames) {
  const size_t frame_bytes = VOCOSC_MELS * sizeof(float);
  const size_t bytes = fread(reader->chunk, 1, (size_t)frames * frame_bytes, stdin);
  const int found = (int)(bytes / frame_bytes);
  bool ok = false;
  if (ferror(stdin)) {
    fail_errno(reader->name, "cannot read");
  } else if (bytes % frame_bytes != 0) {
    fail(reader->name, "ends in the middle of frame %" PRId64 ": %zu bytes of %zu (send whole frames of %d float32)",
         reader->position + found, bytes % frame_bytes, frame_bytes, VOCOSC_MELS);
  } else if (found == 0 && reader->position == 0) {
    fail(reader->name, "holds no frames");
  } else {
    ok = check_finite(reader->name, reader->chunk, reader->position, found);
  }
  return ok ? found : -1;
}

int mel_read(mel_reader *reader, int frames, const float **mel) {
  int found;
  if (reader->matrix == NULL) {
    found = read_standard_input(reader, frames);
    *mel = reader->chunk;
  } else {
    const int64_t left = reader->frames - reader->position;
    found = left < frames ? (int)left : frames;
    *mel = reader->matrix + reader->position * VOCOSC_MELS;
  }
  if (found > 0) reader->position += found;
  return found;
}

void mel_close(mel_reader *reader) {
  free(reader->matrix);
  reader->matrix = NULL;
}
