/*
 * A vocoder among Zephyr threads, all memory static: one thread brings log-mels, one decodes them, one plays the audio,
 * and message queues lie between them. Prints the CRC-32 of the audio, as examples/bare_metal/main.c does.
 *
 * A stream belongs to one thread. Its stack holds VOCOS_STACK_BYTES for the call, and what the thread itself takes. The
 * FPU's registers are every thread's own: CONFIG_FPU_SHARING in prj.conf.
 *
 * The model is a module: python3 -m compiler.manifests DIR, and ZEPHYR_EXTRA_MODULES=DIR. Zephyr itself was not run:
 * stand_in/ has as much of its interface as this program uses, for a Cortex-M.
 *
 *   make -C examples/bare_metal BOARD=cortex_m7 MODEL=$PWD/generated/m7 UTTERANCE=$PWD/mel.f32 \
 *     PROGRAM="../zephyr/main.c ../zephyr/stand_in/kernel.c ../freertos/stand_in/kernel.c" \
 *     FLAGS="-I ../zephyr/stand_in -I ../freertos/stand_in" run
 */
#include <stdint.h>
#include <zephyr/kernel.h>

#include "crc32.h"
#include "vocos.h"

extern const float utterance[]; /* [frames][VOCOS_MELS] */
extern const float utterance_end[];

enum { CHUNKS = 2, STACK = 2048 + 4096, PRIORITY = 5, DONE = -1 };

typedef struct {
  int frames; /* or DONE */
  float mel[VOCOS_MAX_FRAMES * VOCOS_MELS];
} mel_chunk;

typedef struct {
  int samples; /* or DONE */
  float audio[VOCOS_MAX_FRAMES * VOCOS_HOP > VOCOS_TAIL ? VOCOS_MAX_FRAMES *VOCOS_HOP : VOCOS_TAIL];
} audio_chunk;

K_MSGQ_DEFINE(mels, sizeof(mel_chunk), CHUNKS, 4);
K_MSGQ_DEFINE(audios, sizeof(audio_chunk), CHUNKS, 4);
K_THREAD_STACK_DEFINE(source_stack, STACK);
K_THREAD_STACK_DEFINE(vocoder_stack, STACK);
K_THREAD_STACK_DEFINE(player_stack, STACK);
static struct k_thread source_thread, vocoder_thread, player_thread;

/* In a product: a text-to-speech model, or a radio. */
static void bring_mels(void *a, void *b, void *c) {
  static mel_chunk chunk;
  (void)a, (void)b, (void)c;
  const int frames = (int)(utterance_end - utterance) / VOCOS_MELS;
  for (int first = 0; first < frames; first += chunk.frames) {
    chunk.frames = frames - first < VOCOS_MAX_FRAMES ? frames - first : VOCOS_MAX_FRAMES;
    for (int i = 0; i < chunk.frames * VOCOS_MELS; i++) chunk.mel[i] = utterance[first * VOCOS_MELS + i];
    k_msgq_put(&mels, &chunk, K_FOREVER);
  }
  chunk.frames = DONE;
  k_msgq_put(&mels, &chunk, K_FOREVER);
}

static void decode(void *a, void *b, void *c) {
  static vocos_stream stream;
  static vocos_scratch scratch;
  static mel_chunk mel;
  static audio_chunk out;
  (void)a, (void)b, (void)c;
  out.samples = vocos_init(&stream);
  while (out.samples >= 0) {
    k_msgq_get(&mels, &mel, K_FOREVER);
    if (mel.frames == DONE) break;
    out.samples = vocos_decode(&stream, &scratch, mel.mel, mel.frames, out.audio);
    k_msgq_put(&audios, &out, K_FOREVER);
  }
#if VOCOS_LATENCY_LOOKAHEAD_FRAMES == 0
  out.samples = vocos_flush(&stream, out.audio);
  k_msgq_put(&audios, &out, K_FOREVER);
#endif
  out.samples = DONE;
  k_msgq_put(&audios, &out, K_FOREVER);
}

/* In a product: an I2S driver's buffers. */
static void play(void *a, void *b, void *c) {
  static audio_chunk chunk;
  uint32_t crc = 0;
  uint32_t samples = 0;
  (void)a, (void)b, (void)c;
  for (;;) {
    k_msgq_get(&audios, &chunk, K_FOREVER);
    if (chunk.samples == DONE) break;
    crc = crc32(crc, chunk.audio, chunk.samples);
    samples += (uint32_t)chunk.samples;
  }
  printk("%u samples, crc32 %08x\n", (unsigned)samples, (unsigned)crc);
}

int main(void) {
  k_thread_create(&source_thread, source_stack, K_THREAD_STACK_SIZEOF(source_stack), bring_mels, NULL, NULL, NULL,
                  PRIORITY, 0, K_NO_WAIT);
  k_thread_create(&vocoder_thread, vocoder_stack, K_THREAD_STACK_SIZEOF(vocoder_stack), decode, NULL, NULL, NULL,
                  PRIORITY, 0, K_NO_WAIT);
  k_thread_create(&player_thread, player_stack, K_THREAD_STACK_SIZEOF(player_stack), play, NULL, NULL, NULL,
                  PRIORITY - 1, 0, K_NO_WAIT);
  k_thread_join(&player_thread, K_FOREVER);
  return 0;
}
