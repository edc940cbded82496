/* WAV files, as `vocosc mel` takes them: refused, or as many samples as the header says, and a finite log-mel. */
#include <math.h>

#include "file.h"
#include "vocosc.h"
#include "vocosc_tool_files.h"

static vocosc_mel_stream stream;
static vocosc_scratch scratch;
static int16_t samples[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
static float mel[VOCOSC_MAX_FRAMES * VOCOSC_MELS];

static void analyse(wav_reader *in) {
  const int most = (int)(sizeof samples / sizeof *samples);
  int64_t total = 0;
  int count;
  CHECK(vocosc_mel_init(&stream) == VOCOSC_OK);
  while ((count = wav_read(in, samples, most)) > 0) {
    CHECK(count <= most);
    const int frames = vocosc_mel_int16(&stream, &scratch, samples, count, mel);
    CHECK(frames >= 0);
    for (int i = 0; i < frames * VOCOSC_MELS; i++) CHECK(isfinite(mel[i]));
    total += count;
  }
  if (count == 0) CHECK(in->samples < 0 ? total > 0 : total == in->samples);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  wav_reader in;
  char path[32];
  const int descriptor = open_file(data, size, path);
  if (wav_open(&in, path, FILE_OTHER)) {
    CHECK(in.samples != 0);
    analyse(&in);
  }
  wav_close(&in);
  close(descriptor);
  return 0;
}
