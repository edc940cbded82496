/*
 * The vector math against libm in double precision, on one instruction set: the errors that vocosc_vector_math.h
 * states. Prints the largest errors found, and a hash of a million results: the same on every instruction set.
 */
#include <math.h>

#include "check.h"
#include "vocosc_vector_math.h"

#ifndef COUNT
#define COUNT (1 << 20)
#endif

static float inputs[COUNT];
static float outputs[COUNT];
static float more_outputs[COUNT]; /* the cosines */

/* Linear from low to high, but for the first quarter, which is random bit patterns within the range. */
static void fill(float low, float high) {
  uint64_t seed = 1;
  for (int i = 0; i < COUNT; i++) {
    inputs[i] = (float)(low + ((double)high - low) * i / (COUNT - 1));
    if (i < COUNT / 4) {
      const float value = from_bits(next_bits(&seed));
      if (value >= low && value <= high) inputs[i] = value;
    }
  }
}

static void run(vec function(vec)) {
  for (int i = 0; i < COUNT; i += VEC_LANES) vec_store(outputs + i, function(vec_load(inputs + i)));
}

static void run_sincos(void) {
  for (int i = 0; i < COUNT; i += VEC_LANES) {
    vec sine, cosine;
    vec_sincos(vec_load(inputs + i), &sine, &cosine);
    vec_store(outputs + i, sine);
    vec_store(more_outputs + i, cosine);
  }
}

static void print_hash(const char *name) {
  uint64_t hash = 14695981039346656037u;
  for (int i = 0; i < COUNT; i++) hash = hash_word(hash, bits_of(outputs[i]));
  printf("hash %s %016llx\n", name, (unsigned long long)hash);
}

static float one(vec function(vec), float x) {
  float lanes[VEC_LANES];
  vec_store(lanes, function(vec_set(x)));
  return lanes[0];
}

/* The error of `found` in units of the last place of a float near `exact`. */
static double ulps(float found, double exact) {
  int exponent;
  (void)frexp(exact, &exponent);
  return fabs((double)found - exact) / ldexp(1.0, exponent - 24);
}

static vec exp_of(vec x) { return vec_exp(x); }
static vec log_of(vec x) { return vec_log(x); }
static vec gelu_of(vec x) { return vec_gelu(x); }
static vec sine_of(vec x) {
  vec sine, cosine;
  vec_sincos(x, &sine, &cosine);
  return sine;
}
static vec cosine_of(vec x) {
  vec sine, cosine;
  vec_sincos(x, &sine, &cosine);
  return cosine;
}

static void test_exp(void **state) {
  (void)state;
  double worst = 0.0;
  fill(-87.0f, 87.0f);
  run(exp_of);
  print_hash("exp");
  for (int i = 0; i < COUNT; i++) {
    const double error = ulps(outputs[i], exp((double)inputs[i]));
    worst = fmax(worst, error);
    check(error <= 1.0, "exp(%a) = %a: %.2f ulp", (double)inputs[i], (double)outputs[i], error);
  }
  printf("error exp %.4f ulp\n", worst);
  for (int i = COUNT / 4 + 1; i < COUNT; i++) {
    check(outputs[i] >= outputs[i - 1], "exp falls at %a", (double)inputs[i]);
  }
}

static void test_exp_is_clamped(void **state) {
  (void)state;
  const float most = one(exp_of, 87.0f), least = one(exp_of, -87.0f);
  assert_true(isnormal(most) && isnormal(least));
  const float high[] = {87.5f, 1e3f, 1e30f, INFINITY, NAN, -NAN};
  const float low[] = {-87.5f, -1e3f, -1e30f, -INFINITY};
  for (size_t i = 0; i < sizeof high / sizeof *high; i++)
    assert_int_equal(bits_of(one(exp_of, high[i])), bits_of(most));
  for (size_t i = 0; i < sizeof low / sizeof *low; i++) assert_int_equal(bits_of(one(exp_of, low[i])), bits_of(least));
  assert_true(one(exp_of, 0.0f) == 1.0f && one(exp_of, -0.0f) == 1.0f);
}

static void test_log(void **state) {
  (void)state;
  double worst = 0.0, worst_near_1 = 0.0;
  const float ranges[][2] = {{0x1p-126f, 1e-5f}, {1e-5f, 1.0f}, {0.7f, 1.42f}, {1.0f, 1e4f}, {1e4f, 3.4e38f}};
  for (size_t range = 0; range < sizeof ranges / sizeof *ranges; range++) {
    fill(ranges[range][0], ranges[range][1]);
    run(log_of);
    if (range == 1) print_hash("log");
    for (int i = 0; i < COUNT; i++) {
      const double exact = log((double)inputs[i]);
      const int near_1 = inputs[i] > 0.7f && inputs[i] < 1.42f;
      const double error = near_1 ? fabs(outputs[i] - exact) : ulps(outputs[i], exact);
      *(near_1 ? &worst_near_1 : &worst) = fmax(near_1 ? worst_near_1 : worst, error);
      check(error <= (near_1 ? 1e-7 : 1.0), "log(%a) = %a: error %g", (double)inputs[i], (double)outputs[i], error);
    }
  }
  printf("error log %.4f ulp, near 1 %.3g\n", worst, worst_near_1);
  assert_true(one(log_of, 1.0f) == 0.0f);
}

static void test_sincos(void **state) {
  (void)state;
  const float ranges[] = {4.0f, 400.0f, 1e5f};
  double worst = 0.0;
  for (size_t range = 0; range < 3; range++) {
    fill(-ranges[range], ranges[range]);
    run_sincos();
    if (range == 2) print_hash("sin");
    for (int i = 0; i < COUNT; i++) {
      const double error =
          fmax(fabs(outputs[i] - sin((double)inputs[i])), fabs(more_outputs[i] - cos((double)inputs[i])));
      worst = fmax(worst, error);
      check(error <= 1.2e-7, "sincos(%a) = %a, %a: error %g", (double)inputs[i], (double)outputs[i],
            (double)more_outputs[i], error);
    }
  }
  printf("error sincos %.4g\n", worst);
  memcpy(outputs, more_outputs, sizeof outputs);
  print_hash("cos");
}

static void test_sincos_is_bounded(void **state) {
  (void)state;
  fill(-3.4e38f, 3.4e38f);
  inputs[0] = INFINITY;
  inputs[1] = -INFINITY;
  inputs[2] = NAN;
  for (int i = 3; i < COUNT / 2; i++) inputs[i] = next_float(&(uint64_t){(uint64_t)i}, -1e6f, 1e6f);
  run_sincos();
  for (int i = 0; i < COUNT; i++) {
    check(fabsf(outputs[i]) <= 1.0f && fabsf(more_outputs[i]) <= 1.0f, "sincos(%a) = %a, %a", (double)inputs[i],
          (double)outputs[i], (double)more_outputs[i]);
  }
  assert_int_equal(bits_of(one(sine_of, NAN)), bits_of(one(sine_of, 1e6f)));
  assert_int_equal(bits_of(one(cosine_of, NAN)), bits_of(one(cosine_of, 1e6f)));
  assert_int_equal(bits_of(one(cosine_of, INFINITY)), bits_of(one(cosine_of, 1e6f)));
  assert_true(one(sine_of, 0.0f) == 0.0f && one(cosine_of, 0.0f) == 1.0f);
}

static void test_gelu(void **state) {
  (void)state;
  const float ranges[] = {1e-30f, 1e-3f, 6.0f, 100.0f, 1e30f};
  double worst = 0.0;
  for (size_t range = 0; range < sizeof ranges / sizeof *ranges; range++) {
    fill(-ranges[range], ranges[range]);
    run(gelu_of);
    if (range == 2) print_hash("gelu");
    for (int i = 0; i < COUNT; i++) {
      const double x = (double)inputs[i];
      const double error = fabs(outputs[i] - 0.5 * x * erfc(-x * M_SQRT1_2)) / fmax(1.0, fabs(x));
      worst = fmax(worst, error);
      check(error <= 3e-7, "gelu(%a) = %a: error %g", x, (double)outputs[i], error);
    }
  }
  printf("error gelu %.4g max(1, |x|)\n", worst);
  assert_true(one(gelu_of, 0.0f) == 0.0f);
}

/* A product and a sum that make trouble: any bits, close to cancelling, subnormal, close to overflow. */
static void hard_case(uint64_t *seed, float *a, float *b, float *c) {
  *a = from_bits(next_bits(seed));
  *b = from_bits(next_bits(seed));
  *c = from_bits(next_bits(seed));
  switch (next_bits(seed) >> 29) {
    case 0: /* c cancels the product but for some bits */
      *c = -(float)((double)*a * (double)*b);
      *c = from_bits(bits_of(*c) + (next_bits(seed) >> 29));
      break;
    case 1: /* around the least float */
      *a = from_bits((bits_of(*a) & 0x80ffffffu) | 0x20000000u);
      *b = from_bits((bits_of(*b) & 0x80ffffffu) | 0x1f000000u);
      *c = from_bits(bits_of(*c) & 0x80ffffffu);
      break;
    case 2: /* values of everyday size: halfway cases are common when c has few bits */
      *a = from_bits((bits_of(*a) & 0x87fff000u) | 0x38000000u);
      *b = from_bits((bits_of(*b) & 0x87fff000u) | 0x38000000u);
      *c = from_bits((bits_of(*c) & 0x87ff0000u) | 0x38000000u);
      break;
    case 3: /* c and half of its last place, less a hair: who rounds to double first rounds up */
      *c = from_bits(0x3f800001u | next_bits(seed) >> 9);
      *b = 0x1p-14f / (float)(1u << (next_bits(seed) >> 29));
      *a = 1.0f + *b;
      *b = (1.0f - *b) * 0x1p-24f;
      break;
    default:
      break;
  }
}

static void test_fma(void **state) {
  (void)state;
  uint64_t seed = 2;
  for (int i = 0; i < 4 * COUNT; i++) {
    float a, b, c;
    hard_case(&seed, &a, &b, &c);
    const float found = fma_float(a, b, c), exact = fmaf(a, b, c);
    check((isnan(found) && isnan(exact)) || bits_of(found) == bits_of(exact), "fma(%a, %a, %a) = %a, not %a", (double)a,
          (double)b, (double)c, (double)found, (double)exact);
  }
}

/* The vectors' own operations do in every lane what the scalar ones do. */
static void test_lanes(void **state) {
  (void)state;
  uint64_t seed = 3;
  for (int i = 0; i < COUNT / 16; i++) {
    float a[VEC_LANES], b[VEC_LANES], c[VEC_LANES], found[7][VEC_LANES];
    for (int lane = 0; lane < VEC_LANES; lane++) hard_case(&seed, a + lane, b + lane, c + lane);
    vec_store(found[0], vec_fma(vec_load(a), vec_load(b), vec_load(c)));
    vec_store(found[1], vec_add(vec_load(a), vec_load(b)));
    vec_store(found[2], vec_mul(vec_load(a), vec_load(b)));
    vec_store(found[3], vec_div(vec_load(a), vec_load(b)));
    vec_store(found[4], vec_min(vec_load(a), vec_load(b)));
    vec_store(found[5], vec_max(vec_load(a), vec_load(b)));
    float positive[VEC_LANES]; /* as all sums of squares are: without an FPU there are no other roots */
    for (int lane = 0; lane < VEC_LANES; lane++) positive[lane] = fabsf(a[lane]);
    vec_store(found[6], vec_sqrt(vec_load(positive)));
    for (int lane = 0; lane < VEC_LANES; lane++) {
      const float x = a[lane], y = b[lane];
      const float exact[] = {fmaf(x, y, c[lane]),  x + y, x * y, x / y, x < y ? x : y, x > y ? x : y,
                             sqrtf(positive[lane])};
      for (int k = 0; k < 7; k++) {
        const float value = found[k][lane];
        check((isnan(value) && isnan(exact[k])) || bits_of(value) == bits_of(exact[k]),
              "operation %d of %a, %a, %a: %a, not %a", k, (double)x, (double)y, (double)c[lane], (double)value,
              (double)exact[k]);
      }
    }
  }
}

static void test_panel_sum(void **state) {
  (void)state;
  uint64_t seed = 4;
  for (int i = 0; i < 10000; i++) {
    float lanes[PANEL];
    vec vectors[PANEL_VECTORS];
    for (int lane = 0; lane < PANEL; lane++) lanes[lane] = next_float(&seed, -1.0f, 1.0f);
    for (int v = 0; v < PANEL_VECTORS; v++) vectors[v] = vec_load(lanes + v * VEC_LANES);
    float tree[PANEL];
    memcpy(tree, lanes, sizeof tree);
    for (int half = 8; half > 0; half /= 2) {
      for (int lane = 0; lane < half; lane++) tree[lane] = tree[lane] + tree[lane + half];
    }
    assert_int_equal(bits_of(panel_sum(vectors)), bits_of(tree[0]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exp),
      cmocka_unit_test(test_exp_is_clamped),
      cmocka_unit_test(test_log),
      cmocka_unit_test(test_sincos),
      cmocka_unit_test(test_sincos_is_bounded),
      cmocka_unit_test(test_gelu),
      cmocka_unit_test(test_fma),
      cmocka_unit_test(test_lanes),
      cmocka_unit_test(test_panel_sum),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
