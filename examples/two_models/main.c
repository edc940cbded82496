/*
 * Two models in one program: two voices, mixed. Their names keep them apart; sizes, chunks and precisions may differ.
 *
 *   python3 -m compiler alto.ckpt -o generated/alto --name alto --chunk 5
 *   python3 -m compiler bass.ckpt -o generated/bass --name bass --chunk 2 --precision w8
 *   cc -O2 -Igenerated/alto -Igenerated/bass main.c generated/alto/libalto.a generated/bass/libbass.a -o two_models
 *   ./two_models alto.f32 bass.f32 >mix.f32
 *
 * Mel in and audio out are raw float32.
 */
#include <stdio.h>

#include "alto.h"
#include "bass.h"

_Static_assert(ALTO_HOP == BASS_HOP && ALTO_SAMPLE_RATE == BASS_SAMPLE_RATE, "voices that are mixed frame by frame");

static alto_stream alto;
static bass_stream bass;
/* A call's working memory holds nothing between calls: one piece, as large as the larger, serves both. */
static union {
  alto_scratch alto;
  bass_scratch bass;
} scratch;

int main(int count, char **arguments) {
  static float alto_mel[ALTO_MELS], bass_mel[BASS_MELS];
  static float mix[ALTO_HOP], audio[BASS_HOP];
  if (count != 3) return 2;
  FILE *alto_file = fopen(arguments[1], "rb");
  FILE *bass_file = fopen(arguments[2], "rb");
  if (alto_file == NULL || bass_file == NULL) return 1;
  if (alto_init(&alto) != ALTO_OK || bass_init(&bass) != BASS_OK) return 1;
  while (fread(alto_mel, sizeof alto_mel, 1, alto_file) == 1 && fread(bass_mel, sizeof bass_mel, 1, bass_file) == 1) {
    if (alto_decode(&alto, &scratch.alto, alto_mel, 1, mix) != ALTO_HOP) return 1;
    if (bass_decode(&bass, &scratch.bass, bass_mel, 1, audio) != BASS_HOP) return 1;
    for (int i = 0; i < ALTO_HOP; i++) mix[i] = 0.5f * mix[i] + 0.5f * audio[i];
    fwrite(mix, sizeof mix, 1, stdout);
  }
  fclose(alto_file);
  fclose(bass_file);
  return 0;
}
