#include "vocosc_tool_audio.h"

#include <string.h>
#include <strings.h>

#include "vocosc_tool_error.h"

bool has_extension(const char *path, const char *extension) {
  const size_t length = strlen(path);
  const size_t part = strlen(extension);
  return length > part && strcasecmp(path + length - part, extension) == 0;
}

bool audio_path_ok(const char *path) {
  if (strcmp(path, "-") == 0 || has_extension(path, ".wav") || has_extension(path, ".npy")) return true;
  return fail(path, "is no kind of audio output (give a name in .wav or .npy, or - for raw float32)");
}

bool audio_open(audio_writer *writer, const char *path, int64_t samples) {
  if (has_extension(path, ".wav")) {
    writer->format = AUDIO_WAV;
    return wav_create(&writer->to.wav, path, samples);
  }
  if (has_extension(path, ".npy")) {
    writer->format = AUDIO_NPY;
    return npy_open(&writer->to.npy, path, 0, samples);
  }
  writer->format = AUDIO_RAW;
  return output_open(&writer->to.raw, path);
}

bool audio_write(audio_writer *writer, const float *samples, size_t count) {
  switch (writer->format) {
    case AUDIO_WAV:
      return wav_write(&writer->to.wav, samples, count);
    case AUDIO_NPY:
      return npy_write(&writer->to.npy, samples, count);
    case AUDIO_RAW:
      break;
  }
  return output_write(&writer->to.raw, samples, count * sizeof *samples);
}

bool audio_close(audio_writer *writer) {
  switch (writer->format) {
    case AUDIO_WAV:
      return wav_finish(&writer->to.wav);
    case AUDIO_NPY:
      return npy_close(&writer->to.npy);
    case AUDIO_RAW:
      break;
  }
  return output_commit(&writer->to.raw);
}

void audio_discard(audio_writer *writer) {
  switch (writer->format) {
    case AUDIO_WAV:
      output_discard(&writer->to.wav.out);
      return;
    case AUDIO_NPY:
      output_discard(&writer->to.npy.out);
      return;
    case AUDIO_RAW:
      output_discard(&writer->to.raw);
      return;
  }
}
