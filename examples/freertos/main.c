/*
 * A vocoder among FreeRTOS tasks, all memory static: one task brings log-mels, one decodes them, one plays the audio,
 * and queues lie between them. Prints the CRC-32 of the audio, as examples/bare_metal/main.c does.
 *
 * A stream belongs to one task. Its stack holds VOCOS_STACK_BYTES for the call, and what the task itself takes.
 *
 *   make -C examples/bare_metal BOARD=cortex_m7 MODEL=$PWD/generated/m7 UTTERANCE=$PWD/mel.f32 \
 *     PROGRAM="../freertos/main.c ../freertos/stand_in/kernel.c" FLAGS="-I ../freertos/stand_in" run
 *
 * The stand-in takes the place of FreeRTOS, which Debian does not have: the same calls, one task after the other.
 */
#include <stdint.h>

#include "FreeRTOS.h"
#include "console.h"
#include "crc32.h"
#include "queue.h"
#include "task.h"
#include "vocos.h"

extern const float utterance[]; /* [frames][VOCOS_MELS] */
extern const float utterance_end[];

enum { CHUNKS = 2, DEPTH = 2048 / sizeof(StackType_t) + 1024, DONE = -1 };

typedef struct {
  int frames; /* or DONE */
  float mel[VOCOS_MAX_FRAMES * VOCOS_MELS];
} mel_chunk;

typedef struct {
  int samples; /* or DONE */
  float audio[VOCOS_MAX_FRAMES * VOCOS_HOP > VOCOS_TAIL ? VOCOS_MAX_FRAMES *VOCOS_HOP : VOCOS_TAIL];
} audio_chunk;

static QueueHandle_t mels, audios;
static StaticQueue_t mels_queue, audios_queue;
static uint8_t mels_storage[CHUNKS * sizeof(mel_chunk)], audios_storage[CHUNKS * sizeof(audio_chunk)];
static StaticTask_t source_task, vocoder_task, player_task;
static StackType_t source_stack[DEPTH], vocoder_stack[DEPTH], player_stack[DEPTH];

/* In a product: a text-to-speech model, or a radio. */
static void bring_mels(void *unused) {
  static mel_chunk chunk;
  (void)unused;
  const int frames = (int)(utterance_end - utterance) / VOCOS_MELS;
  for (int first = 0; first < frames; first += chunk.frames) {
    chunk.frames = frames - first < VOCOS_MAX_FRAMES ? frames - first : VOCOS_MAX_FRAMES;
    for (int i = 0; i < chunk.frames * VOCOS_MELS; i++) chunk.mel[i] = utterance[first * VOCOS_MELS + i];
    xQueueSend(mels, &chunk, portMAX_DELAY);
  }
  chunk.frames = DONE;
  xQueueSend(mels, &chunk, portMAX_DELAY);
  vTaskDelete(NULL);
}

static void decode(void *unused) {
  static vocos_stream stream;
  static vocos_scratch scratch;
  static mel_chunk mel;
  static audio_chunk out;
  (void)unused;
  out.samples = vocos_init(&stream);
  while (out.samples >= 0) {
    xQueueReceive(mels, &mel, portMAX_DELAY);
    if (mel.frames == DONE) break;
    out.samples = vocos_decode(&stream, &scratch, mel.mel, mel.frames, out.audio);
    xQueueSend(audios, &out, portMAX_DELAY);
  }
#if VOCOS_LATENCY_LOOKAHEAD_FRAMES == 0
  out.samples = vocos_flush(&stream, out.audio);
  xQueueSend(audios, &out, portMAX_DELAY);
#endif
  out.samples = DONE;
  xQueueSend(audios, &out, portMAX_DELAY);
  vTaskDelete(NULL);
}

/* In a product: a DMA buffer, as in examples/bare_metal/audio_out.c. */
static void play(void *unused) {
  static audio_chunk chunk;
  uint32_t crc = 0;
  uint32_t samples = 0;
  (void)unused;
  for (;;) {
    xQueueReceive(audios, &chunk, portMAX_DELAY);
    if (chunk.samples == DONE) break;
    crc = crc32(crc, chunk.audio, chunk.samples);
    samples += (uint32_t)chunk.samples;
  }
  print_number(samples);
  print_text(" samples, crc32 ");
  print_hex(crc);
  print_text("\n");
  vTaskEndScheduler();
}

int main(void) {
  mels = xQueueCreateStatic(CHUNKS, sizeof(mel_chunk), mels_storage, &mels_queue);
  audios = xQueueCreateStatic(CHUNKS, sizeof(audio_chunk), audios_storage, &audios_queue);
  xTaskCreateStatic(bring_mels, "source", DEPTH, NULL, 1, source_stack, &source_task);
  xTaskCreateStatic(decode, "vocoder", DEPTH, NULL, 1, vocoder_stack, &vocoder_task);
  xTaskCreateStatic(play, "player", DEPTH, NULL, 2, player_stack, &player_task);
  vTaskStartScheduler();
  return 0;
}
