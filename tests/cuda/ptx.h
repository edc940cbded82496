/* What translated PTX (tests/ptx.py) needs beside the shim: memory by address, and arithmetic as PTX defines it. */
#ifndef VOCOSC_TESTS_PTX_H
#define VOCOSC_TESTS_PTX_H

#include <array>
#include <cstdlib>
#include <string>

#include "shim.h"

enum { PTX_SITES = 1 << 16 };
extern int shim_mutant;                           /* the site that is broken, from 1 on; 0: none */
extern "C" unsigned char shim_reached[PTX_SITES]; /* whether a site was, by any thread */

/* Whether a site is not the broken one. */
static inline bool ptx_as_it_is(int site) {
  shim_reached[site] = 1;
  return shim_mutant != site;
}

/* Another number for the same bits. */
template <typename to, typename from>
static inline to ptx_bits(from value) {
  to result;
  static_assert(sizeof result == sizeof value, "registers of one size");
  memcpy(&result, &value, sizeof result);
  return result;
}

static inline bool ptx_is_nan(float a) { return a != a; }
template <typename number>
static inline number ptx_min(number a, number b) {
  return a < b ? a : b;
}
template <typename number>
static inline number ptx_max(number a, number b) {
  return a > b ? a : b;
}
/* Of a number and what is none, the number; -0 is less than 0. */
static inline float ptx_min(float a, float b) {
  return ptx_is_nan(a) ? b : ptx_is_nan(b) ? a : a < b || (a == b && std::signbit(a)) ? a : b;
}
static inline float ptx_max(float a, float b) {
  return ptx_is_nan(a) ? b : ptx_is_nan(b) ? a : a > b || (a == b && std::signbit(b)) ? a : b;
}
template <typename number>
static inline number ptx_shl(number a, uint32_t count) {
  return count >= 8 * sizeof a ? 0 : (number)(a << count);
}
template <typename number>
static inline number ptx_shr(number a, uint32_t count) {
  const uint32_t most = 8 * sizeof a - 1;
  if (count > most) return a < 0 ? (number)(a >> most) : 0;
  return (number)(a >> count);
}

/* The lowest `count` bits of a in the place of those of b from `first` on. */
static inline uint32_t ptx_insert(uint32_t a, uint32_t b, uint32_t first, uint32_t count) {
  const uint32_t mask = ptx_shl(count >= 32 ? ~0u : (1u << count) - 1, first);
  return (ptx_shl(a, first) & mask) | (b & ~mask);
}

/* Four of the eight bytes of b and a, those that the selector's nibbles say; with a nibble's upper bit the sign of one.
 */
static inline uint32_t ptx_choose(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t both = a | (uint64_t)b << 32;
  uint32_t result = 0;
  for (int i = 0; i < 4; i++) {
    const uint32_t byte = (uint32_t)(both >> (selector >> 4 * i & 7) * 8) & 0xffu;
    result |= (selector >> 4 * i & 8 ? (byte & 0x80u ? 0xffu : 0u) : byte) << 8 * i;
  }
  return result;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Whether the memory that a kernel may touch is this; see shim.cpp. */
extern "C" void shim_check_access(uint64_t address, size_t bytes);

template <typename number, int COUNT>
static inline std::array<number, COUNT> ptx_load_parameter(uint64_t address) {
  std::array<number, COUNT> value;
  memcpy(value.data(), (const void *)address, sizeof value);
  return value;
}
template <typename number, int COUNT>
static inline std::array<number, COUNT> ptx_load_global(uint64_t address) {
  shim_check_access(address, sizeof(number) * COUNT);
  return ptx_load_parameter<number, COUNT>(address);
}
template <typename number, int COUNT>
static inline void ptx_store_global(uint64_t address, std::array<number, COUNT> value) {
  shim_check_access(address, sizeof value);
  memcpy((void *)address, value.data(), sizeof value);
}

/* Array n of shared memory is at n << 24 and has bytes() bytes; an access is to whole words of it. */
enum { PTX_ARRAYS = 64 };
static struct ptx_array *ptx_arrays[PTX_ARRAYS];
struct ptx_array {
  size_t (*bytes)();
  std::string name;
  shim_array array;
  ptx_array(int n, size_t (*size)()) : bytes(size), name("shared " + std::to_string(n)) {
    array.name = name.c_str();
    ptx_arrays[n] = this;
  }
};
static inline shim_array &ptx_shared(uint64_t address, size_t bytes) {
  ptx_array *found = address >> 24 < PTX_ARRAYS ? ptx_arrays[address >> 24] : nullptr;
  const size_t at = address & 0xffffff;
  if (found == nullptr) shim_misuse("out of bounds", "shared memory", (long)address);
  found->array.count = (long)(found->bytes() / 4);
  if (at + bytes > found->bytes()) shim_misuse("out of bounds", found->array.name, (long)at);
  if (at % bytes != 0) shim_misuse("not aligned", found->array.name, (long)at);
  return found->array;
}
template <typename number, int COUNT>
static inline std::array<number, COUNT> ptx_load_shared(uint64_t address) {
  static_assert(sizeof(number) == 4, "words");
  shim_array &array = ptx_shared(address, 4 * COUNT);
  std::array<number, COUNT> value;
  for (int i = 0; i < COUNT; i++) value[i] = ptx_bits<number>(array.get((long)(address & 0xffffff) / 4 + i));
  return value;
}
template <typename number, int COUNT>
static inline void ptx_store_shared(uint64_t address, std::array<number, COUNT> value) {
  static_assert(sizeof(number) == 4, "words");
  shim_array &array = ptx_shared(address, 4 * COUNT);
  for (int i = 0; i < COUNT; i++) array.set((long)(address & 0xffffff) / 4 + i, ptx_bits<float>(value[i]));
}

/* ---- what concerns other threads --------------------------------------------------------------------------------- */

static inline uint32_t ptx_shuffle(uint32_t value, uint32_t mask, uint32_t segment, uint32_t lanes) {
  if (segment != 31 || lanes != 0xffffffffu || mask > 31) shim_misuse("not of a whole warp", "shuffle", (long)mask);
  return ptx_bits<uint32_t>(shim_exchange(ptx_bits<float>(value), (int)mask));
}

/* A flag is published, or, if that is broken, only written. */
static inline void ptx_release_gpu(uint64_t flag, uint32_t value, bool is_release) {
  shim_check_access(flag, sizeof value);
  if (is_release) {
    shim_publish((uint32_t *)flag, value);
  } else {
    shim_write_flag((uint32_t *)flag, value);
  }
}
static inline void ptx_release_sys(uint64_t word, uint32_t value, bool is_release) {
  shim_check_access(word, sizeof value);
  shim_tell_host((uint32_t *)word, value, is_release);
}

/*
 * Relaxed accesses: every word for itself, at the scope of the GPU. With the host (sys) a word is the memory's own,
 * which another thread of the process may write at any time.
 */
template <int COUNT>
static inline std::array<uint32_t, COUNT> ptx_look_gpu(uint64_t address) {
  std::array<uint32_t, COUNT> value;
  shim_check_access(address, sizeof value);
  shim_look((const uint32_t *)address);
  for (int i = 0; i < COUNT; i++) value[i] = shim_value_of((const uint32_t *)address + i);
  return value;
}
template <int COUNT>
static inline std::array<uint32_t, COUNT> ptx_look_sys(uint64_t address) {
  static_assert(COUNT == 1, "a word");
  return {shim_look_at_host((const uint32_t *)address)};
}
static inline void ptx_show_gpu(uint64_t address, uint32_t value) {
  shim_check_access(address, sizeof value);
  shim_show_word((uint32_t *)address, value);
}
static inline void ptx_show_sys(uint64_t address, uint32_t value) {
  __atomic_store_n((uint32_t *)address, value, __ATOMIC_RELEASE);
}

/* Shared memory of another block of the cluster, the blocks that run together: its number is above the address. */
static inline uint32_t ptx_address_in(uint32_t address, uint32_t block) { return address | block << 27; }
static inline void ptx_store_cluster(uint64_t address, uint32_t value) {
  const uint64_t own = address & 0x7ffffff;
  shim_array &array = ptx_shared(own, sizeof value);
  const int place = shim_current.place;
  shim_current.place = (int)(address >> 27);
  shim_cell &cell = array.at((long)(own & 0xffffff) / 4);
  shim_current.place = place;
  cell.value = ptx_bits<float>(value);
  cell.written = UINT64_MAX; /* when is not looked into */
}

#endif /* VOCOSC_TESTS_PTX_H */
