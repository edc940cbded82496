/* Mel files (.npy), as `vocosc decode` takes them: refused, or read as a whole, finite, and decoded. */
#include <math.h>

#include "file.h"
#include "vocosc_tool_files.h"

static vocosc_stream stream;
static vocosc_scratch scratch;
static float audio[VOCOSC_MAX_FRAMES * VOCOSC_HOP];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static mel_reader in;
  char path[32];
  const int descriptor = open_file(data, size, path);
  const bool ok = mel_open(&in, path);
  if (ok) {
    CHECK(in.frames > 0 && (size_t)in.frames * VOCOSC_MELS * sizeof(float) < size);
    CHECK(vocosc_init(&stream) == VOCOSC_OK);
    const float *mel;
    int64_t total = 0;
    int frames;
    while ((frames = mel_read(&in, VOCOSC_MAX_FRAMES, &mel)) > 0) {
      total += frames;
      CHECK(vocosc_decode(&stream, &scratch, mel, frames, audio) == frames * VOCOSC_HOP);
      for (int i = 0; i < frames * VOCOSC_HOP; i++) CHECK(isfinite(audio[i]));
    }
    CHECK(frames == 0 && total == in.frames);
  }
  mel_close(&in);
  close(descriptor);
  return 0;
}
