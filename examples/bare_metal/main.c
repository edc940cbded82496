/*
 * Decodes an utterance that is baked into the image, on every instruction set of the object, and prints the CRC-32 of
 * the audio. It is the same on every machine.
 */
#include "console.h"
#include "crc32.h"
#include "vocos.h"

extern const float utterance[]; /* [frames][VOCOS_MELS] */
extern const float utterance_end[];

/* All memory there is: plain structs and arrays. */
static vocos_stream stream;
static vocos_scratch scratch;
static float audio[VOCOS_MAX_FRAMES * VOCOS_HOP];
static float tail[VOCOS_TAIL];

/* Decodes the utterance and its tail; returns the number of samples or a negative status. */
static int decode(uint32_t *crc) {
  const int frames = (int)(utterance_end - utterance) / VOCOS_MELS;
  int samples = 0;
  for (int first = 0; first < frames; first += VOCOS_MAX_FRAMES) {
    const int chunk = frames - first < VOCOS_MAX_FRAMES ? frames - first : VOCOS_MAX_FRAMES;
    const int count = vocos_decode(&stream, &scratch, utterance + first * VOCOS_MELS, chunk, audio);
    if (count < 0) return count;
    *crc = crc32(*crc, audio, count);
    samples += count;
  }
#if VOCOS_LATENCY_LOOKAHEAD_FRAMES > 0
  const int count = vocos_flush(&stream, &scratch, tail);
#else
  const int count = vocos_flush(&stream, tail);
#endif
  if (count < 0) return count;
  *crc = crc32(*crc, tail, count);
  return samples + count;
}

int main(void) {
  for (int target = VOCOS_PORTABLE; target <= VOCOS_LAST_TARGET; target++) {
    if (vocos_init_target(&stream, (vocos_target)target) != VOCOS_OK) continue; /* not in this build or CPU */
    uint32_t crc = 0;
    const int samples = decode(&crc);
    print_text(vocos_target_name(target));
    if (samples < 0) {
      print_text(": ");
      print_text(vocos_status_text(samples));
      print_text("\n");
      return 1;
    }
    print_text(": ");
    print_number((uint32_t)samples);
    print_text(" samples, crc32 ");
    print_hex(crc);
    print_text("\n");
  }
  return 0;
}
