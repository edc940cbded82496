#include <inttypes.h>
#include <string.h>

#include "vocosc_tool.h"
#include "vocosc_tool_files.h"

static uint32_t get_u16(const unsigned char *bytes) { return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8; }

static uint32_t get_u32(const unsigned char *bytes) { return get_u16(bytes) | get_u16(bytes + 2) << 16; }

/* Reads `count` bytes, or as many as there are. */
static size_t read_bytes(wav_reader *reader, void *bytes, size_t count) {
  const size_t from_head = count < reader->head_bytes ? count : reader->head_bytes;
  memcpy(bytes, reader->head, from_head);
  memmove(reader->head, reader->head + from_head, reader->head_bytes - from_head);
  reader->head_bytes -= from_head;
  return from_head + fread((char *)bytes + from_head, 1, count - from_head, reader->file);
}

/* Reads exactly `count` bytes of what the header promises. */
static bool read_exactly(wav_reader *reader, void *bytes, size_t count) {
  if (read_bytes(reader, bytes, count) == count) return true;
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
  /* The extensible format names the kind in the first two bytes of an identifier whose others are always these. */
  static const unsigned char rest[14] = {0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71};
  if (kind == WAV_EXTENSIBLE && bytes >= 40 && memcmp(format + 26, rest, sizeof rest) == 0) kind = get_u16(format + 24);
  if (kind == WAV_PCM && channels == 1 && rate == VOCOSC_SAMPLE_RATE && bits == 16) return true;

  char kind_text[16];
  snprintf(kind_text, sizeof kind_text, "format %" PRIu32, kind);
  char channels_text[32];
  snprintf(channels_text, sizeof channels_text, "%" PRIu32 " channels", channels);
  return fail(reader->path,
              "is %" PRIu32 "-bit %s, %s, %" PRIu32
              " Hz; expected 16-bit PCM, mono, %d Hz (sox %s -e signed-integer -b 16 "
              "-c 1 -r %d OUT.wav)",
              bits,
              kind == WAV_PCM     ? "PCM"
              : kind == WAV_FLOAT ? "float"
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

static bool is_unknown(uint32_t size) { return size >= WAV_UNKNOWN_SIZE; }

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
  if (size % WAV_SAMPLE_BYTES != 0) return fail(reader->path, "ends in the middle of a sample (it is damaged)");
  reader->samples = size / WAV_SAMPLE_BYTES;
  return true;
}

static bool read_header(wav_reader *reader) {
  unsigned char head[12];
  const size_t found = read_bytes(reader, head, sizeof head);
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

/* Standard input: its first bytes tell what it is, unless that is known. */
static bool open_standard_input(wav_reader *reader, file_format raw) {
  reader->path = "standard input";
  reader->file = stdin;
  reader->head_bytes = fread(reader->head, 1, sizeof reader->head, stdin);
  if (ferror(stdin)) return fail_errno(reader->path, "cannot read");
  if (reader->head_bytes == 0) return fail(reader->path, "holds no samples");
  const bool is_wav = raw == FILE_OTHER && memcmp(reader->head, "RIFF", sizeof reader->head) == 0;
  if (is_wav) return read_header(reader);
  reader->format = raw == FILE_OTHER ? FILE_SHORTS : raw;
  reader->samples = -1;
  return true;
}

bool wav_open(wav_reader *reader, const char *path, file_format raw) {
  *reader = (wav_reader){.path = path, .format = FILE_WAV};
  if (strcmp(path, "-") == 0) return open_standard_input(reader, raw);
  reader->file = fopen(path, "rb");
  if (reader->file == NULL) return fail_errno(path, "cannot open");
  return read_header(reader);
}

int wav_read(wav_reader *reader, void *samples, int count) {
  const size_t sample_bytes = reader->format == FILE_FLOATS ? sizeof(float) : WAV_SAMPLE_BYTES;
  const int64_t left = reader->samples - reader->position;
  if (reader->samples >= 0 && count > left) count = (int)left;
  const size_t bytes = read_bytes(reader, samples, (size_t)count * sample_bytes);
  const int found = (int)(bytes / sample_bytes);
  reader->position += found;
  if (ferror(reader->file)) {
    fail_errno(reader->path, "cannot read");
  } else if (found < count && reader->samples >= 0) {
    fail(reader->path, "is truncated: %" PRId64 " samples of %" PRId64 " (write it again)", reader->position,
         reader->samples);
  } else if (bytes % sample_bytes != 0) {
    fail(reader->path, "ends in the middle of a sample (write it again)");
  } else {
    return found;
  }
  return -1;
}

void wav_close(wav_reader *reader) {
  if (reader->file != NULL && reader->file != stdin) fclose(reader->file);
  reader->file = NULL;
}
