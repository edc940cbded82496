/* Two models in one program, each with its own prefix: decodes a file of mel with each. Chunks take turns. */
#include <stdio.h>

#include "odd.h"
#include "small.h"

static small_stream stream_small;
static small_scratch scratch_small;
static odd_stream stream_odd;
static odd_scratch scratch_odd;

int main(int count, char **arguments) {
  if (count != 5) return 1;
  FILE *mel_small = fopen(arguments[1], "rb"), *audio_small = fopen(arguments[2], "wb");
  FILE *mel_odd = fopen(arguments[3], "rb"), *audio_odd = fopen(arguments[4], "wb");
  if (!mel_small || !audio_small || !mel_odd || !audio_odd) return 1;
  if (small_init(&stream_small) != SMALL_OK || odd_init(&stream_odd) != ODD_OK) return 1;
  for (int more = 1; more;) {
    static float mel[ODD_MELS + SMALL_MELS], audio[ODD_HOP + SMALL_HOP];
    more = 0;
    if (fread(mel, sizeof(float), SMALL_MELS, mel_small) == SMALL_MELS) {
      if (small_decode(&stream_small, &scratch_small, mel, 1, audio) != SMALL_HOP) return 1;
      if (fwrite(audio, sizeof(float), SMALL_HOP, audio_small) != SMALL_HOP) return 1;
      more = 1;
    }
    if (fread(mel, sizeof(float), ODD_MELS, mel_odd) == ODD_MELS) {
      if (odd_decode(&stream_odd, &scratch_odd, mel, 1, audio) != ODD_HOP) return 1;
      if (fwrite(audio, sizeof(float), ODD_HOP, audio_odd) != ODD_HOP) return 1;
      more = 1;
    }
  }
  return fclose(audio_small) + fclose(audio_odd);
}
