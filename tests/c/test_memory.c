/*
 * Nothing is touched beside what the caller gave: every array lies against a page that faults, once before and once
 * behind it; no alignment beyond a float's is needed, and less is refused; nothing is allocated, and the operating
 * system is never called.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "init.h"

enum { FRAMES = VOCOSC_MAX_FRAMES, SAMPLES = FRAMES * VOCOSC_HOP };

/* ---- allocations, counted (linked with --wrap) ---- */

static volatile int allocations; /* volatile: compilers take malloc for a function without effects */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size) {
  allocations++;
  return __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size) {
  allocations++;
  return __real_calloc(count, size);
}
void *__wrap_realloc(void *memory, size_t size) {
  allocations++;
  return __real_realloc(memory, size);
}
void __wrap_free(void *memory) {
  allocations++;
  __real_free(memory);
}

/* ---- arrays beside pages that fault ---- */

typedef struct {
  unsigned char *pages;
  size_t bytes; /* of all pages */
} region;

/* `bytes` of memory whose end, or whose beginning, is the edge of a page that must not be touched. */
static void *guarded(region *to, size_t bytes, int guard_behind) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  const size_t inside = (bytes + page - 1) / page * page;
  to->bytes = inside + 2 * page;
  to->pages = mmap(NULL, to->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(to->pages != MAP_FAILED);
  memset(to->pages, 0xa5, to->bytes);
  assert_int_equal(mprotect(to->pages, page, PROT_NONE), 0);
  assert_int_equal(mprotect(to->pages + page + inside, page, PROT_NONE), 0);
  return to->pages + page + (guard_behind ? inside - bytes : 0);
}

static float mel_values[FRAMES * VOCOSC_MELS];
static float audio_values[SAMPLES];

typedef struct {
  vocosc_stream *stream;
  vocosc_mel_stream *mel_stream;
  vocosc_scratch *scratch;
  float *mel;        /* [FRAMES][MELS] */
  float *audio;      /* [SAMPLES] */
  int16_t *pcm;      /* [SAMPLES] */
  float *tail;       /* [TAIL], none if that is 0 */
  int16_t *pcm_tail; /* [TAIL] */
} arrays;

/* Everything once, hashed: outputs and states. */
static uint64_t use(const arrays *a, vocosc_target target, int frames) {
  uint64_t hash = 14695981039346656037u;
  const int samples = frames * VOCOSC_HOP;
  assert_int_equal(vocosc_init_target(a->stream, target), VOCOSC_OK);
  assert_int_equal(vocosc_mel_init_target(a->mel_stream, target), VOCOSC_OK);
  for (int round = 0; round < 2; round++) {
    memcpy(a->mel, mel_values, sizeof(float) * (size_t)(frames * VOCOSC_MELS));
    assert_int_equal(vocosc_decode(a->stream, a->scratch, a->mel, frames, a->audio), samples);
    for (int i = 0; i < samples; i++) hash = hash_word(hash, bits_of(a->audio[i]));
    assert_int_equal(vocosc_decode_int16(a->stream, a->scratch, a->mel, frames, a->pcm), samples);
    for (int i = 0; i < samples; i++) hash = hash_word(hash, (uint16_t)a->pcm[i]);
  }
  const vocosc_stream *snapshot = a->stream;
  for (size_t i = 0; i < VOCOSC_STATE_FLOATS; i++) hash = hash_word(hash, bits_of(snapshot->values[i]));
  assert_int_equal(vocosc_flush(a->stream, a->tail), VOCOSC_TAIL);
  for (int i = 0; i < VOCOSC_TAIL; i++) hash = hash_word(hash, bits_of(a->tail[i]));
  assert_int_equal(vocosc_decode(a->stream, a->scratch, a->mel, frames, a->audio), samples);
  assert_int_equal(vocosc_flush_int16(a->stream, a->pcm_tail), VOCOSC_TAIL);
  for (int i = 0; i < VOCOSC_TAIL; i++) hash = hash_word(hash, (uint16_t)a->pcm_tail[i]);
  assert_int_equal(vocosc_reset(a->stream), VOCOSC_OK);
#if VOCOSC_HAS_SELFTEST
  assert_int_equal(vocosc_selftest(a->stream, a->scratch), VOCOSC_OK);
#endif

  memcpy(a->audio, audio_values, sizeof(float) * (size_t)samples);
  assert_int_equal(vocosc_mel(a->mel_stream, a->scratch, a->audio, samples, a->mel), frames);
  for (int i = 0; i < frames * VOCOSC_MELS; i++) hash = hash_word(hash, bits_of(a->mel[i]));
  for (int i = 0; i < samples; i++) a->pcm[i] = (int16_t)(audio_values[i] * 30000.0f);
  assert_int_equal(vocosc_mel_int16(a->mel_stream, a->scratch, a->pcm, samples, a->mel), frames);
  for (int i = 0; i < frames * VOCOSC_MELS; i++) hash = hash_word(hash, bits_of(a->mel[i]));
  assert_int_equal(vocosc_mel_int16(a->mel_stream, a->scratch, a->pcm, 1, a->mel), VOCOSC_HOP == 1);
  assert_int_equal(vocosc_mel_flush(a->mel_stream, a->scratch, a->mel), VOCOSC_HOP > 1);
  for (int i = 0; i < VOCOSC_MELS; i++) hash = hash_word(hash, bits_of(a->mel[i]));
  assert_int_equal(vocosc_mel_reset(a->mel_stream), VOCOSC_OK);
  return hash;
}

static uint64_t plain_hash(int frames) {
  static vocosc_stream stream;
  static vocosc_mel_stream mel_stream;
  static vocosc_scratch scratch;
  static float mel[FRAMES * VOCOSC_MELS], audio[SAMPLES], tail[VOCOSC_TAIL + 1];
  static int16_t pcm[SAMPLES], pcm_tail[VOCOSC_TAIL + 1];
  const arrays a = {&stream, &mel_stream, &scratch, mel, audio, pcm, tail, pcm_tail};
  return use(&a, VOCOSC_PORTABLE, frames);
}

static void test_nothing_beside_the_arrays_is_touched(void **state) {
  (void)state;
  static const int counts[] = {1, 3, FRAMES};
  for (int i = 0; i < 3; i++) {
    const int frames = counts[i] < FRAMES ? counts[i] : FRAMES;
    const uint64_t expected = plain_hash(frames);
    for (int target = VOCOSC_BEST; target <= VOCOSC_LAST_TARGET; target++) {
      for (int behind = 0; behind < 2; behind++) {
        region regions[8];
        const size_t samples = (size_t)(frames * VOCOSC_HOP);
        const size_t mel_bytes = sizeof(float) * (size_t)(frames * VOCOSC_MELS);
        const arrays a = {
            .stream = guarded(regions, sizeof(vocosc_stream), behind),
            .mel_stream = guarded(regions + 1, sizeof(vocosc_mel_stream), behind),
            .scratch = guarded(regions + 2, sizeof(vocosc_scratch), behind),
            .mel = guarded(regions + 3, mel_bytes, behind),
            .audio = guarded(regions + 4, sizeof(float) * samples, behind),
            .pcm = guarded(regions + 5, sizeof(int16_t) * samples, behind),
            .tail = guarded(regions + 6, sizeof(float) * VOCOSC_TAIL, behind),
            .pcm_tail = guarded(regions + 7, sizeof(int16_t) * VOCOSC_TAIL, behind),
        };
        if (vocosc_init_target(a.stream, (vocosc_target)target) == VOCOSC_OK) {
          const uint64_t found = use(&a, (vocosc_target)target, frames);
          check(found == expected, "%s, %d frames", vocosc_target_name(target), frames);
        }
        for (int k = 0; k < 8; k++) munmap(regions[k].pages, regions[k].bytes);
      }
    }
  }
}

/* Every offset of a float from a line of the cache. */
static void test_alignment_does_not_matter(void **state) {
  (void)state;
  static unsigned char memory[sizeof(vocosc_stream) + sizeof(vocosc_mel_stream) + sizeof(vocosc_scratch) +
                              sizeof(float) * (size_t)(FRAMES * VOCOSC_MELS + SAMPLES + VOCOSC_TAIL) +
                              sizeof(int16_t) * (size_t)(SAMPLES + VOCOSC_TAIL) + 1024] __attribute__((aligned(64)));
  const uint64_t expected = plain_hash(FRAMES);
  for (int target = VOCOSC_BEST; target <= VOCOSC_LAST_TARGET; target++) {
    for (size_t offset = 0; offset < 64; offset += 4) {
      unsigned char *p = memory + offset;
      arrays a;
      a.stream = (void *)p;
      p += sizeof(vocosc_stream);
      a.mel_stream = (void *)p;
      p += sizeof(vocosc_mel_stream);
      a.scratch = (void *)p;
      p += sizeof(vocosc_scratch);
      a.mel = (void *)p;
      p += sizeof mel_values;
      a.audio = (void *)p;
      p += sizeof audio_values;
      a.tail = (void *)p;
      p += sizeof(float) * VOCOSC_TAIL;
      a.pcm = (void *)p;
      p += sizeof(int16_t) * SAMPLES;
      a.pcm_tail = (void *)p;
      if (vocosc_init_target(a.stream, (vocosc_target)target) != VOCOSC_OK) continue;
      check(use(&a, (vocosc_target)target, FRAMES) == expected, "%s, offset %d", vocosc_target_name(target),
            (int)offset);
    }
  }
}

static void test_less_alignment_is_refused(void **state) {
  (void)state;
  static union {
    vocosc_stream stream;
    vocosc_mel_stream mel_stream;
    vocosc_scratch scratch;
    float mel[FRAMES * VOCOSC_MELS];
    float audio[SAMPLES];
    unsigned char bytes[8];
  } odd; /* its memory is never read or written */
  static vocosc_stream stream;
  static vocosc_mel_stream mel_stream;
  static vocosc_scratch scratch;
  static float mel[FRAMES * VOCOSC_MELS], audio[SAMPLES];
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  assert_int_equal(vocosc_mel_init(&mel_stream), VOCOSC_OK);
  for (int offset = 1; offset < 4; offset++) {
    void *p = odd.bytes + offset;
    int results[] = {
        vocosc_init(p),
        vocosc_reset(p),
        vocosc_decode(p, &scratch, mel, 1, audio),
        vocosc_decode(&stream, p, mel, 1, audio),
        vocosc_decode(&stream, &scratch, p, 1, audio),
        vocosc_decode(&stream, &scratch, mel, 1, p),
        vocosc_flush(p, audio),
        vocosc_flush(&stream, p),
        vocosc_mel_init(p),
        vocosc_mel_reset(p),
        vocosc_mel(p, &scratch, audio, 1, mel),
        vocosc_mel(&mel_stream, p, audio, 1, mel),
        vocosc_mel(&mel_stream, &scratch, p, 1, mel),
        vocosc_mel(&mel_stream, &scratch, audio, 1, p),
        vocosc_mel_flush(&mel_stream, &scratch, p),
        offset == 2 ? VOCOSC_BAD_ARGUMENT : vocosc_decode_int16(&stream, &scratch, mel, 1, p),
        offset == 2 ? VOCOSC_BAD_ARGUMENT : vocosc_flush_int16(&stream, p),
        offset == 2 ? VOCOSC_BAD_ARGUMENT : vocosc_mel_int16(&mel_stream, &scratch, p, 1, mel),
    };
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
      check(results[i] == VOCOSC_BAD_ARGUMENT, "offset %d, call %d: %d", offset, (int)i, results[i]);
    }
  }
}

/*
 * In a process that the kernel ends on any call but read, write and exit: no mmap, brk, clone or futex, whatever the
 * function that would make it is called.
 */
static void test_the_system_is_never_called(void **state) {
  (void)state;
  const uint64_t expected = plain_hash(FRAMES);
  for (int forbidden = 0; forbidden < 2; forbidden++) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(errno == EINVAL || errno == ENOSYS ? 77 : 1);
      if (forbidden) (void)syscall(SYS_brk, 0); /* the trap works */
      syscall(SYS_exit, plain_hash(FRAMES) == expected ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) skip(); /* under Valgrind, qemu and the sanitizers */
    if (forbidden) {
      assert_true(WIFSIGNALED(status));
    } else {
      check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the process ended with status %x", (unsigned)status);
    }
  }
}

static void test_nothing_is_allocated(void **state) {
  (void)state;
  allocations = 0;
  void *volatile memory = malloc(1);
  free(memory);
  assert_int_equal(allocations, 2); /* the count works */
  (void)plain_hash(FRAMES);
  assert_int_equal(allocations, 2);
}

static int set_up(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int i = 0; i < FRAMES * VOCOSC_MELS; i++) mel_values[i] = next_float(&seed, -9.0f, 1.0f);
  for (int i = 0; i < SAMPLES; i++) audio_values[i] = next_float(&seed, -1.0f, 1.0f);
  return 0;
}

/* With an argument only the first test, for Valgrind, which is slow. */
int main(int count, char **arguments) {
  (void)arguments;
  const struct CMUnitTest first[] = {cmocka_unit_test(test_nothing_beside_the_arrays_is_touched)};
  if (count > 1) return cmocka_run_group_tests(first, set_up, NULL);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_beside_the_arrays_is_touched),
      cmocka_unit_test(test_alignment_does_not_matter),
      cmocka_unit_test(test_less_alignment_is_refused),
      cmocka_unit_test(test_the_system_is_never_called),
      cmocka_unit_test(test_nothing_is_allocated),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
