#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "vocosc_tool.h"
#include "vocosc_tool_files.h"

enum { WAV_HEADER_BYTES = 44, NPY_HEADER_BYTES = 128, BLOCK_SAMPLES = 1024 };

file_format path_format(const char *path) {
  const size_t length = strlen(path);
  if (strcmp(path, "-") == 0) return FILE_FLOATS;
  if (length > 4 && strcasecmp(path + length - 4, ".wav") == 0) return FILE_WAV;
  return length > 4 && strcasecmp(path + length - 4, ".npy") == 0 ? FILE_NPY : FILE_OTHER;
}

static void put(unsigned char *to, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(value >> 8 * i & 0xff);
}

static size_t wav_header(int64_t samples, unsigned char *header) {
  const uint32_t data = samples < 0 ? UINT32_MAX : (uint32_t)(samples * WAV_SAMPLE_BYTES);
  memcpy(header, "RIFF", 4);
  put(header + 4, samples < 0 ? UINT32_MAX : data + WAV_HEADER_BYTES - 8, 4);
  memcpy(header + 8, "WAVEfmt ", 8);
  put(header + 16, 16, 4);
  put(header + 20, WAV_PCM, 2);
  put(header + 22, 1, 2);
  put(header + 24, VOCOSC_SAMPLE_RATE, 4);
  put(header + 28, VOCOSC_SAMPLE_RATE * WAV_SAMPLE_BYTES, 4);
  put(header + 32, WAV_SAMPLE_BYTES, 2);
  put(header + 34, 16, 2);
  memcpy(header + 36, "data", 4);
  put(header + 40, data, 4);
  return WAV_HEADER_BYTES;
}

static size_t npy_header(int64_t rows, size_t columns, unsigned char *header) {
  static const char magic[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, NPY_HEADER_BYTES - sizeof magic, 0};
  char second[24] = "";
  char text[NPY_HEADER_BYTES];
  if (columns > 0) snprintf(second, sizeof second, " %zu", columns);
  const int length =
      snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRId64 ",%s), }",
               rows < 0 ? 0 : rows, second);
  memset(header, ' ', NPY_HEADER_BYTES);
  memcpy(header, magic, sizeof magic);
  memcpy(header + sizeof magic, text, (size_t)length);
  header[NPY_HEADER_BYTES - 1] = '\n';
  return NPY_HEADER_BYTES;
}

/* Fills a header of fixed size, so that it can be written again once the rows are counted. Returns its bytes. */
static size_t make_header(const file_writer *writer, int64_t rows, unsigned char header[NPY_HEADER_BYTES]) {
  switch (writer->format) {
    case FILE_WAV:
      return wav_header(rows, header);
    case FILE_NPY:
      return npy_header(rows, writer->columns, header);
    default:
      return 0;
  }
}

/* WAV stays below the sizes that read as unknown, unless it is one of those, in a pipe that may never end. */
static bool check_length(const file_writer *writer, int64_t rows) {
  const int64_t most = (int64_t)(WAV_UNKNOWN_SIZE - WAV_HEADER_BYTES) / WAV_SAMPLE_BYTES;
  if (writer->format != FILE_WAV || rows <= most) return true;
  if (writer->announced < 0 && writer->out.partial == NULL) return true;
  return fail(writer->out.name, "would be longer than a WAV file can be (write .npy or -)");
}

bool writer_open(file_writer *writer, const char *path, file_format format, size_t columns, int64_t rows) {
  unsigned char header[NPY_HEADER_BYTES];
  writer->format = format;
  writer->columns = columns;
  writer->announced = rows;
  writer->rows = 0;
  if (!output_open(&writer->out, path) || !check_length(writer, rows)) return false;
  if (writer->format == FILE_NPY && rows < 0 && writer->out.partial == NULL) {
    return fail(path, "is a pipe, and the length for its .npy header is not known yet (write to a file, or to -)");
  }
  return output_write(&writer->out, header, make_header(writer, rows, header));
}

static int16_t to_int16(float sample) {
  const float scaled = sample * 32768.0f;
  return (int16_t)lrintf(scaled > 32767.0f ? 32767.0f : scaled < -32768.0f ? -32768.0f : scaled);
}

bool writer_write(file_writer *writer, const float *values, size_t rows) {
  writer->rows += (int64_t)rows;
  if (!check_length(writer, writer->rows)) return false;
  if (writer->format != FILE_WAV && writer->format != FILE_SHORTS) {
    const size_t columns = writer->columns == 0 ? 1 : writer->columns;
    return output_write(&writer->out, values, rows * columns * sizeof *values);
  }
  for (size_t first = 0; first < rows; first += BLOCK_SAMPLES) {
    int16_t samples[BLOCK_SAMPLES];
    const size_t count = rows - first < BLOCK_SAMPLES ? rows - first : BLOCK_SAMPLES;
    for (size_t i = 0; i < count; i++) samples[i] = to_int16(values[first + i]);
    if (!output_write(&writer->out, samples, count * WAV_SAMPLE_BYTES)) return false;
  }
  return true;
}

bool writer_close(file_writer *writer, bool ok) {
  unsigned char header[NPY_HEADER_BYTES];
  if (ok && writer->rows != writer->announced && writer->out.partial != NULL) {
    ok = output_rewrite(&writer->out, header, make_header(writer, writer->rows, header));
  }
  if (ok && output_commit(&writer->out)) return true;
  output_discard(&writer->out);
  return false;
}
