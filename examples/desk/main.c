/* 16 kHz 16-bit mono from stdin to log-mel and back to stdout, a frame of 20 ms at a time. */
#include <stdio.h>

#include "vocos.h"

static vocos_mel_stream analysis; /* the state: plain structs, yours, no allocation anywhere */
static vocos_stream synthesis;
static vocos_scratch scratch; /* working memory of a call, shared by both */

int main(void) {
  static int16_t audio[VOCOS_HOP];
  static int16_t tail[VOCOS_TAIL];
  static float mel[VOCOS_MELS];
  if (vocos_mel_init(&analysis) != VOCOS_OK || vocos_init(&synthesis) != VOCOS_OK) return 1;
  while (fread(audio, sizeof *audio, VOCOS_HOP, stdin) == VOCOS_HOP) {
    const int frames = vocos_mel_int16(&analysis, &scratch, audio, VOCOS_HOP, mel);
    const int samples = vocos_decode_int16(&synthesis, &scratch, mel, frames, audio);
    if (samples < 0) return 1; /* vocos_status_text(samples) says why */
    fwrite(audio, sizeof *audio, (size_t)samples, stdout);
  }
  fwrite(tail, sizeof *tail, (size_t)vocos_flush_int16(&synthesis, tail), stdout);
  return 0;
}
