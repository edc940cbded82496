#include "vocosc_tool_wav.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "vocosc.h"
#include "vocosc_tool_error.h"

enum { PCM = 1, IEEE_FLOAT = 3, EXTENSIBLE = 0xfffe };
enum { HEADER_BYTES = 44, SAMPLE_BYTES = 2, BLOCK_SAMPLES = 1024 };

/* Programs that write to a pipe put 0x7ffff000 or more where they cannot know the size. */
static const uint32_t unknown_size = 0x7ffff000;
static const uint32_t largest_size = 0xffffffff;

static uint32_t get_u16(const unsigned char *bytes) { return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8; }

static uint32_t get_u32(const unsigned char *bytes) { return get_u16(bytes) | get_u16(bytes + 2) << 16; }

static void put_u16(unsigned char *bytes, uint32_t value) {
  bytes[0] = (unsigned char)(value & 0xff);
  bytes[1] = (unsigned char)(value >> 8 & 0xff);
}

static void put_u32(unsigned char *bytes, uint32_t value) {
  put_u16(bytes, value & 0xffff);
  put_u16(bytes + 2, value >> 16);
}

/* Reads exactly `count` bytes of what the header promises. */
static bool read_exactly(wav_reader *reader, void *bytes, size_t count) {
  if (fread(bytes, 1, count, reader->file) == count) return true;
  if (ferror(reader->file)) return fail_errno(reader->path, "cannot read");
  return fail(reader->path, "is truncated: its header goes beyond its end (write it again)");
}

/* By reading, since the file may be a pipe. */
static bool skip(wav_reader *reader, uint64_t count) {
  unsigned char block[4096];
  while (count > 0) {
    const size_t part = count < sizeof block ? (size_t)count : sizeof block;
    if (!read_exactly(reader, block, part)) return false;
    count -= part;
  }
  return true;
}

/* Checks a format chunk of 16 to 40 bytes. */
static bool check_format(wav_reader *reader, const unsigned char *format, size_t bytes) {
  uint32_t kind = get_u16(format);
  const uint32_t channels = get_u16(format + 2);
  const uint32_t rate = get_u32(format + 4);
  const uint32_t bits = get_u16(format + 14);
  /* The extensible format names the kind in the first bytes of a long identifier. */
  if (kind == EXTENSIBLE && bytes >= 26) kind = get_u16(format + 24);
  if (kind == PCM && channels == 1 && rate == VOCOSC_SAMPLE_RATE && bits == 16) return true;

  char kind_text[16];
  snprintf(kind_text, sizeof kind_text, "format %" PRIu32, kind);
  char channels_text[32];
  snprintf(channels_text, sizeof channels_text, "%" PRIu32 " channels", channels);
  return fail(reader->path,
              "is %" PRIu32 "-bit %s, %s, %" PRIu32
              " Hz; expected 16-bit PCM, mono, %d Hz (sox %s -e signed-integer -b 16 "
              "-c 1 -r %d OUT.wav)",
              bits,
              kind == PCM          ? "PCM"
              : kind == IEEE_FLOAT ? "float"
                                   : kind_text,
              channels == 1   ? "mono"
              : channels == 2 ? "stereo"
                              : channels_text,
              rate, VOCOSC_SAMPLE_RATE, reader->path, VOCOSC_SAMPLE_RATE);
}

static bool read_format(wav_reader *reader, uint32_t size) {
  unsigned char format[40];
  if (size < 16) return fail(reader->path, "has a format chunk of %" PRIu32 " bytes (it is damaged)", size);
  const size_t part = size < sizeof format ? size : sizeof format;
  return read_exactly(reader, format, part) && check_format(reader, format, part) &&
         skip(reader, (uint64_t)size + size % 2 - part);
}

static bool is_unknown(uint32_t size) { return size >= unknown_size; }

/* Takes up the data chunk's size; a size of 0 means unknown if the whole file's size was not filled in either. */
static bool start_data(wav_reader *reader, uint32_t size, uint32_t riff_size) {
  reader->position = 0;
  if (is_unknown(size) || (size == 0 && (riff_size == 0 || is_unknown(riff_size)))) {
    reader->samples = -1;
    const int next = getc(reader->file);
    if (next == EOF) return fail(reader->path, "holds no samples");
    ungetc(next, reader->file);
    return true;
  }
  if (size == 0) return fail(reader->path, "holds no samples");
  if (size % SAMPLE_BYTES != 0) return fail(reader->path, "ends in the middle of a sample (it is damaged)");
  reader->samples = size / SAMPLE_BYTES;
  return true;
}

static bool read_header(wav_reader *reader) {
  unsigned char head[12];
  const size_t found = fread(head, 1, sizeof head, reader->file);
  if (ferror(reader->file)) return fail_errno(reader->path, "cannot read");
  if (found == 0) return fail(reader->path, "is empty");
  if (found < sizeof head || memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) {
    return fail(reader->path, "is not a WAV file (convert it: sox %s -e signed-integer -b 16 -c 1 -r %d OUT.wav)",
                reader->path, VOCOSC_SAMPLE_RATE);
  }
  const uint32_t riff_size = get_u32(head + 4);
  bool have_format = false;
  for (;;) {
    unsigned char chunk[8];
    if (!read_exactly(reader, chunk, sizeof chunk)) return false;
    const uint32_t size = get_u32(chunk + 4);
    if (memcmp(chunk, "fmt ", 4) == 0) {
      if (!read_format(reader, size)) return false;
      have_format = true;
    } else if (memcmp(chunk, "data", 4) == 0) {
      if (!have_format) return fail(reader->path, "has no format before its data (it is damaged)");
      return start_data(reader, size, riff_size);
    } else if (!skip(reader, (uint64_t)size + size % 2)) {
      return false;
    }
  }
}

bool wav_open(wav_reader *reader, const char *path) {
  *reader = (wav_reader){.path = path, .file = fopen(path, "rb"), .samples = 0, .position = 0};
  if (reader->file == NULL) return fail_errno(path, "cannot open");
  return read_header(reader);
}

static int read_block(wav_reader *reader, int16_t *samples, int count) {
  unsigned char bytes[BLOCK_SAMPLES * SAMPLE_BYTES];
  const size_t found = fread(bytes, 1, (size_t)count * SAMPLE_BYTES, reader->file);
  if (ferror(reader->file)) {
    fail_errno(reader->path, "cannot read");
    return -1;
  }
  const int complete = (int)(found / SAMPLE_BYTES);
  const bool short_of_promise = complete < count && reader->samples >= 0;
  reader->position += complete;
  if (short_of_promise) {
    fail(reader->path, "is truncated: %" PRId64 " samples of %" PRId64 " (write it again)", reader->position,
         reader->samples);
    return -1;
  }
  if (found % SAMPLE_BYTES != 0) {
    fail(reader->path, "ends in the middle of a sample (write it again)");
    return -1;
  }
  for (int i = 0; i < complete; i++) {
    const int value = (int)get_u16(bytes + i * SAMPLE_BYTES);
    samples[i] = (int16_t)(value < 0x8000 ? value : value - 0x10000);
  }
  return complete;
}

int wav_read(wav_reader *reader, int16_t *samples, int count) {
  if (reader->samples >= 0 && count > reader->samples - reader->position) {
    count = (int)(reader->samples - reader->position);
  }
  int done = 0;
  while (done < count) {
    const int part = count - done < BLOCK_SAMPLES ? count - done : BLOCK_SAMPLES;
    const int found = read_block(reader, samples + done, part);
    if (found < 0) return -1;
    done += found;
    if (found < part) break; /* the end */
  }
  return done;
}

void wav_close(wav_reader *reader) {
  if (reader->file != NULL) fclose(reader->file);
  reader->file = NULL;
}

static void make_header(int64_t samples, unsigned char header[HEADER_BYTES]) {
  const uint32_t data = samples < 0 ? largest_size : (uint32_t)(samples * SAMPLE_BYTES);
  memcpy(header, "RIFF", 4);
  put_u32(header + 4, samples < 0 ? largest_size : data + HEADER_BYTES - 8);
  memcpy(header + 8, "WAVEfmt ", 8);
  put_u32(header + 16, 16);
  put_u16(header + 20, PCM);
  put_u16(header + 22, 1);
  put_u32(header + 24, VOCOSC_SAMPLE_RATE);
  put_u32(header + 28, VOCOSC_SAMPLE_RATE * SAMPLE_BYTES);
  put_u16(header + 32, SAMPLE_BYTES);
  put_u16(header + 34, 16);
  memcpy(header + 36, "data", 4);
  put_u32(header + 40, data);
}

/* Stays below the sizes that read as unknown. */
static bool check_length(const wav_writer *writer, int64_t samples) {
  if (samples <= (int64_t)(unknown_size - HEADER_BYTES) / SAMPLE_BYTES) return true;
  return fail(writer->out.name, "would be longer than a WAV file can be (write .npy or -)");
}

bool wav_create(wav_writer *writer, const char *path, int64_t samples) {
  unsigned char header[HEADER_BYTES];
  writer->announced = samples;
  writer->samples = 0;
  if (!output_open(&writer->out, path)) return false;
  if (!check_length(writer, samples)) return false;
  make_header(samples, header);
  return output_write(&writer->out, header, sizeof header);
}

static int32_t to_int16(float sample) {
  const float scaled = sample * 32768.0f;
  if (scaled >= 32767.0f) return 32767;
  if (scaled <= -32768.0f) return -32768;
  return (int32_t)lrintf(scaled);
}

bool wav_write(wav_writer *writer, const float *samples, size_t count) {
  unsigned char bytes[BLOCK_SAMPLES * SAMPLE_BYTES];
  writer->samples += (int64_t)count;
  if (!check_length(writer, writer->samples)) return false;
  while (count > 0) {
    const size_t part = count < BLOCK_SAMPLES ? count : BLOCK_SAMPLES;
    for (size_t i = 0; i < part; i++) put_u16(bytes + i * SAMPLE_BYTES, (uint32_t)to_int16(samples[i]) & 0xffff);
    if (!output_write(&writer->out, bytes, part * SAMPLE_BYTES)) return false;
    samples += part;
    count -= part;
  }
  return true;
}

bool wav_finish(wav_writer *writer) {
  if (writer->samples != writer->announced && output_can_rewrite(&writer->out)) {
    unsigned char header[HEADER_BYTES];
    make_header(writer->samples, header);
    if (!output_rewrite(&writer->out, header, sizeof header)) return false;
  }
  return output_commit(&writer->out);
}
