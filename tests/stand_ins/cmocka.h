/*
 * In place of cmocka where a cross compiler has none: as much of it as the tests use. The first failure ends the
 * program.
 */
#ifndef CMOCKA_H
#define CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
  const char *name;
  void (*function)(void **state);
};

#define cmocka_unit_test(function) \
  { #function, function }
#define cmocka_run_group_tests(tests, set_up, tear_down) \
  stand_in_run(tests, sizeof(tests) / sizeof *(tests), set_up, tear_down)

#define print_error(...) fprintf(stderr, __VA_ARGS__)
#define print_message(...) printf(__VA_ARGS__)
#define skip() return
#define fail_msg(...)                               \
  do {                                              \
    fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
    fprintf(stderr, __VA_ARGS__);                   \
    fprintf(stderr, "\n");                          \
    exit(1);                                        \
  } while (0)

#define assert_true(condition)                            \
  do {                                                    \
    if (!(condition)) fail_msg("not so: %s", #condition); \
  } while (0)
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_string_equal(a, b) assert_true(strcmp(a, b) == 0)
#define assert_string_not_equal(a, b) assert_true(strcmp(a, b) != 0)
#define assert_memory_equal(a, b, size) assert_true(memcmp(a, b, size) == 0)
#define assert_int_equal(a, b)                                                         \
  do {                                                                                 \
    const long long found = (long long)(a), wanted = (long long)(b);                   \
    if (found != wanted) fail_msg("%s is %lld, not %s = %lld", #a, found, #b, wanted); \
  } while (0)

static inline int stand_in_run(const struct CMUnitTest *tests, size_t count, int (*set_up)(void **state),
                               int (*tear_down)(void **state)) {
  void *state = NULL;
  if (set_up != NULL && set_up(&state) != 0) return 1;
  for (size_t i = 0; i < count; i++) {
    printf("%s\n", tests[i].name);
    tests[i].function(&state);
  }
  return tear_down != NULL ? tear_down(&state) : 0;
}

#endif /* CMOCKA_H */
