/* The CRC-32 of zlib and PNG. */
#ifndef CRC32_H
#define CRC32_H

#include <stdint.h>

/* Continues a checksum over the bytes of some values; `crc` is 0 to begin with. */
static inline uint32_t crc32(uint32_t crc, const float *values, int count) {
  const unsigned char *bytes = (const unsigned char *)values;
  crc = ~crc;
  for (int i = 0; i < count * (int)sizeof *values; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

#endif /* CRC32_H */
