// What the machine can do at most: multiply-adds a second, in float and in integers, and bytes read a second.
//
//     limits THREADS BYTES...
//
// prints one JSON object, figures of all threads together: {"threads": T, "fma_gflops": {ISA: fused multiply-adds in
// float, two operations each}, "int16_gops": {ISA: products of int16, summed in int32, likewise}, "int8_gops": {ISA: of
// bytes}, "read_gbytes": {BYTES: each thread reading its own part of a buffer of that size, over and over}}. The best
// of many short measurements: a limit is what nothing exceeds, whatever else the machine does meanwhile.

#define _DEFAULT_SOURCE

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { max_threads = 64, repetitions = 60, accumulators = 14, integer_sums = 12, alignment = 64 };
enum { rounds = 400000 };  // of a loop over all accumulators

static const double read_bytes_per_repetition = 1.2e8;

// 14 chains hide the latency of a multiply-add (4 cycles, 2 a cycle: 8 chains would do), and with the two operands fill
// the 16 registers of AVX2. Each is named, for compilers keep no arrays in registers, and starts elsewhere, or they
// would be computed once for all.
#define FMA_LOOP(vector)                                                                                \
  vector a0 = x, a1 = x + 1, a2 = x + 2, a3 = x + 3, a4 = x + 4, a5 = x + 5, a6 = x + 6;                \
  vector b0 = y, b1 = y + 1, b2 = y + 2, b3 = y + 3, b4 = y + 4, b5 = y + 5, b6 = y + 6;                \
  for (int i = 0; i < rounds; i++) {                                                                    \
    a0 = a0 * x + y, a1 = a1 * x + y, a2 = a2 * x + y, a3 = a3 * x + y;                                 \
    a4 = a4 * x + y, a5 = a5 * x + y, a6 = a6 * x + y;                                                  \
    b0 = b0 * x + y, b1 = b1 * x + y, b2 = b2 * x + y, b3 = b3 * x + y;                                 \
    b4 = b4 * x + y, b5 = b5 * x + y, b6 = b6 * x + y;                                                  \
  }                                                                                                     \
  vector sum = ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + b0)) + ((b1 + b2) + (b3 + b4)) + (b5 + b6); \
  float lanes[sizeof(vector) / sizeof(float)], total = 0;                                               \
  memcpy(lanes, &sum, sizeof sum);                                                                      \
  for (size_t lane = 0; lane < sizeof lanes / sizeof *lanes; lane++) total += lanes[lane];              \
  return total;

// Sums all vectors, from both halves at once: two streams keep more of the memory busy than one, and prefetching adds
// nothing to that. Eight sums, so that loads are all that it waits for.
#define READ_LOOP(vector)                                                                  \
  const size_t half = bytes / sizeof(vector) / 2;                                          \
  const vector *p = memory, *q = p + half;                                                 \
  vector s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;          \
  for (size_t i = 0; i + 4 <= half; i += 4) {                                              \
    s0 += p[i], s1 += p[i + 1], s2 += p[i + 2], s3 += p[i + 3];                            \
    s4 += q[i], s5 += q[i + 1], s6 += q[i + 2], s7 += q[i + 3];                            \
  }                                                                                        \
  vector sum = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));                          \
  uint32_t lanes[sizeof(vector) / sizeof(uint32_t)], total = 0;                            \
  memcpy(lanes, &sum, sizeof sum);                                                         \
  for (size_t lane = 0; lane < sizeof lanes / sizeof *lanes; lane++) total += lanes[lane]; \
  return total;

typedef struct Isa {
  const char *name;
  int floats;  // in a vector
  float (*multiply_add)(float scale, float shift);
  uint32_t (*read)(const void *memory, size_t bytes);
} Isa;

#define DEFINE_ISA(name, bytes_in_vector)                                                                             \
  typedef float FloatVector_##name __attribute__((vector_size(bytes_in_vector)));                                     \
  typedef uint32_t WordVector_##name __attribute__((vector_size(bytes_in_vector)));                                   \
  ISA_ATTRIBUTE_##name static float multiply_add_##name(float scale, float shift) {                                   \
    FloatVector_##name x = scale - (FloatVector_##name){0}, y = shift - (FloatVector_##name){0};                      \
    FMA_LOOP(FloatVector_##name)                                                                                      \
  }                                                                                                                   \
  ISA_ATTRIBUTE_##name static uint32_t read_##name(const void *memory, size_t bytes) { READ_LOOP(WordVector_##name) } \
  static const Isa name = {#name, bytes_in_vector / 4, multiply_add_##name, read_##name};

#if defined __x86_64__
#define ISA_ATTRIBUTE_sse2
#define ISA_ATTRIBUTE_avx2 __attribute__((target("avx2,fma")))
#define ISA_ATTRIBUTE_avx512 __attribute__((target("avx512f")))
DEFINE_ISA(sse2, 16)
DEFINE_ISA(avx2, 32)
DEFINE_ISA(avx512, 64)

static int find_isas(const Isa **isas) {
  __builtin_cpu_init();
  int count = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas[count++] = &avx2;
  if (__builtin_cpu_supports("avx512f")) isas[count++] = &avx512;
  if (count == 0) isas[count++] = &sse2;
  return count;
}
#else
#define ISA_ATTRIBUTE_native
DEFINE_ISA(native, 16)

static int find_isas(const Isa **isas) {
  isas[0] = &native;
  return 1;
}
#endif

// Products of integers: an instruction, or two, that multiply pairs (int16) or fours (bytes) and add them to sums in
// int32. By inline assembly, as compilers would take a product of constants out of the loop and copy the sums of VNNI.
typedef struct Product {
  const char *isa;
  int products;  // of one step
  int32_t (*multiply_add)(void);
} Product;

#define DEFINE_PRODUCT(name, isa, features, bytes_in_vector, products, STEP)                                        \
  __attribute__((target(features))) static int32_t multiply_add_##name(void) {                                      \
    typedef int32_t IntegerVector __attribute__((vector_size(bytes_in_vector)));                                    \
    IntegerVector x = {0}, s0 = x, s1 = x, s2 = x, s3 = x, s4 = x, s5 = x;                                          \
    IntegerVector s6 = x, s7 = x, s8 = x, s9 = x, s10 = x, s11 = x;                                                 \
    for (int i = 0; i < rounds; i++) {                                                                              \
      STEP(s0) STEP(s1) STEP(s2) STEP(s3) STEP(s4) STEP(s5) STEP(s6) STEP(s7) STEP(s8) STEP(s9) STEP(s10) STEP(s11) \
    }                                                                                                               \
    IntegerVector sum = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)) + ((s8 + s9) + (s10 + s11));              \
    return sum[0];                                                                                                  \
  }                                                                                                                 \
  static const Product name = {isa, products, multiply_add_##name};

#if defined __x86_64__
#define VPMADDWD(sum)                                                                            \
  {                                                                                              \
    IntegerVector t;                                                                             \
    __asm__ volatile("vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(t) : "x"(x)); \
  }
#define VPDPWSSD(sum) __asm__ volatile("%{vex%} vpdpwssd %1, %1, %0" : "+x"(sum) : "x"(x));
#define VPDPBUSD(sum) __asm__ volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum) : "x"(x));
#define VPDPWSSD_512(sum) __asm__ volatile("vpdpwssd %1, %1, %0" : "+v"(sum) : "v"(x));
#define VPDPBUSD_512(sum) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(x));
DEFINE_PRODUCT(int16_avx2, "avx2", "avx2", 32, 16, VPMADDWD)
DEFINE_PRODUCT(int16_avx_vnni, "avx_vnni", "avx2", 32, 16, VPDPWSSD)
DEFINE_PRODUCT(int16_avx512_vnni, "avx512_vnni", "avx512f", 64, 32, VPDPWSSD_512)
DEFINE_PRODUCT(int8_avx_vnni, "avx_vnni", "avx2", 32, 32, VPDPBUSD)
DEFINE_PRODUCT(int8_avx512_vnni, "avx512_vnni", "avx512f", 64, 64, VPDPBUSD_512)

// 16 rows of 64 bytes times 16 columns, over and over: four tiles of sums hide the latency (52 cycles, 16 a product).
// It takes a row a cycle: so a step of the others is a row here.
__attribute__((target("amx-tile,amx-int8"))) static int32_t multiply_add_int8_amx(void) {
  static const struct {
    uint8_t palette, start_row, zeros[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } shapes = {1, 0, {0}, {64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16}};
  __asm__ volatile("ldtilecfg %0" : : "m"(shapes));  // it zeroes them
  for (int i = 0; i < rounds * integer_sums / 64; i++) {
    _tile_dpbusd(0, 4, 5);
    _tile_dpbusd(1, 4, 5);
    _tile_dpbusd(2, 4, 5);
    _tile_dpbusd(3, 4, 5);
  }
  int32_t sums[16][16];
  _tile_stored(0, sums, 64);
  _tile_release();
  return sums[0][0];
}
static const Product int8_amx = {"amx_int8", 64 * 16, multiply_add_int8_amx};

// Linux gives the tiles to a process that asks for them.
static bool has_amx_int8(void) {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  enum { request = 0x1023, tile_data = 18, amx_int8 = 1 << 25 };
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & amx_int8) == 0) return false;
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
}

// GCC 12 cannot ask a CPU for AVX-VNNI.
static bool has_avx_vnni(void) {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & bit_AVXVNNI) != 0;
}

// AVX2 alone has no exact sum of products of bytes: they are widened, and are products of int16 then.
static int find_int16(const Product **products) {
  int count = 0;
  if (__builtin_cpu_supports("avx2")) products[count++] = &int16_avx2;
  if (__builtin_cpu_supports("avx2") && has_avx_vnni()) products[count++] = &int16_avx_vnni;
  if (__builtin_cpu_supports("avx512vnni")) products[count++] = &int16_avx512_vnni;
  return count;
}

static int find_int8(const Product **products) {
  int count = 0;
  if (__builtin_cpu_supports("avx2")) products[count++] = &int16_avx2;
  if (__builtin_cpu_supports("avx2") && has_avx_vnni()) products[count++] = &int8_avx_vnni;
  if (__builtin_cpu_supports("avx512vnni")) products[count++] = &int8_avx512_vnni;
  if (has_amx_int8()) products[count++] = &int8_amx;
  return count;
}
#else
static int find_int16(const Product **products) {
  (void)products;
  return 0;
}
static int find_int8(const Product **products) {
  (void)products;
  return 0;
}
#endif

// One measurement, in which all threads do the same at the same time.
typedef struct Team {
  pthread_barrier_t barrier;
  const Isa *isa;
  const Product *product;  // NULL: floats
  unsigned char *memory;   // NULL: multiply-adds
  size_t bytes;            // of one thread's part
  int passes;              // over that part, in one repetition
  float scale, shift;      // come from outside, so that no compiler can know the result
} Team;

typedef struct Member {
  Team *team;
  int number;
  double best_s;
  double sum;  // of all that was computed: used, so that it is computed
} Member;

static double now_s(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *work(void *argument) {
  Member *member = argument;
  Team *team = member->team;
  for (int i = 0; i < repetitions; i++) {
    pthread_barrier_wait(&team->barrier);
    double start = now_s();
    if (team->product != NULL) {
      member->sum += team->product->multiply_add();
    } else if (team->memory == NULL) {
      member->sum += (double)team->isa->multiply_add(team->scale, team->shift);
    } else {
      for (int pass = 0; pass < team->passes; pass++) {
        member->sum += (double)team->isa->read(team->memory + (size_t)member->number * team->bytes, team->bytes);
      }
    }
    // The time of the slowest: the second barrier is passed when all are done.
    pthread_barrier_wait(&team->barrier);
    double seconds = now_s() - start;
    if (i == 0 || seconds < member->best_s) member->best_s = seconds;
  }
  return NULL;
}

static void fail(const char *what) {
  fprintf(stderr, "limits: %s\n", what);
  exit(1);
}

// Seconds of the best repetition, of `threads` threads.
static double measure(Team *team, int threads, double *sum) {
  Member members[max_threads];
  pthread_t handles[max_threads];
  if (pthread_barrier_init(&team->barrier, NULL, (unsigned)threads) != 0) fail("no barrier");
  for (int i = 0; i < threads; i++) {
    members[i] = (Member){.team = team, .number = i};
    if (pthread_create(&handles[i], NULL, work, &members[i]) != 0) fail("no thread");
  }
  double best_s = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(handles[i], NULL);
    *sum += members[i].sum;
    // One that woke late from the first barrier saw less than the whole.
    if (members[i].best_s > best_s) best_s = members[i].best_s;
  }
  pthread_barrier_destroy(&team->barrier);
  return best_s;
}

// Prints the team's peaks in products of integers, in 10^9 operations a second.
static void print_products(const char *key, const Product **products, int count, Team *team, int threads, double *sum) {
  printf("}, \"%s\": {", key);
  for (int i = 0; i < count; i++) {
    team->product = products[i];
    double operations = 2.0 * integer_sums * rounds * products[i]->products * threads;
    printf("%s\"%s\": %.2f", i > 0 ? ", " : "", products[i]->isa, 1e-9 * operations / measure(team, threads, sum));
  }
  team->product = NULL;
}

int main(int count, char **arguments) {
  int threads = count > 1 ? atoi(arguments[1]) : 0;
  if (threads < 1 || threads > max_threads) fail("usage: limits THREADS BYTES..., with 1 to 64 threads");
  const Isa *isas[2];
  int isa_count = find_isas(isas);
  double sum = 0;
  // A scale below 1 keeps the sums finite; no denormals come up.
  Team team = {.scale = 0.999F - 1e-6F * (float)count, .shift = 0.5F};

  printf("{\"threads\": %d, \"fma_gflops\": {", threads);
  for (int i = 0; i < isa_count; i++) {
    team.isa = isas[i];
    double operations = 2.0 * accumulators * rounds * isas[i]->floats * threads;
    printf("%s\"%s\": %.2f", i > 0 ? ", " : "", isas[i]->name, 1e-9 * operations / measure(&team, threads, &sum));
  }
  const Product *products[4];
  print_products("int16_gops", products, find_int16(products), &team, threads, &sum);
  print_products("int8_gops", products, find_int8(products), &team, threads, &sum);
  printf("}, \"read_gbytes\": {");
  for (int i = 2; i < count; i++) {
    size_t bytes = (size_t)strtoull(arguments[i], NULL, 10);
    size_t unit = 8 * alignment;  // one turn of the loop
    team.bytes = (bytes / (size_t)threads + unit - 1) / unit * unit;
    if (bytes == 0 || bytes > ((size_t)1 << 36)) fail("BYTES is to be from 1 to 2^36");
    size_t whole = team.bytes * (size_t)threads;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, whole) != 0) fail("no memory");
    memset(memory, 1, whole);
    team.memory = memory;
    team.passes = 1 + (int)(read_bytes_per_repetition / (double)whole);
    double best_gbytes = 0;
    for (int isa = 0; isa < isa_count; isa++) {
      team.isa = isas[isa];
      double gbytes = 1e-9 * (double)whole * team.passes / measure(&team, threads, &sum);
      if (gbytes > best_gbytes) best_gbytes = gbytes;
    }
    printf("%s\"%zu\": %.2f", i > 2 ? ", " : "", bytes, best_gbytes);
    free(memory);
  }
  printf("}}\n");
  return sum == 0.5 ? 2 : 0;  // never 2: but no compiler knows that
}
