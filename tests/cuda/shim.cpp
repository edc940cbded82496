/* Runs a kernel's blocks, one after the other, their threads as fibers. See shim.h. */
#include "shim.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <random>
#include <vector>

shim_thread shim_current;
uint64_t shim_epoch = 1;
uint64_t shim_block_epoch = 1;
size_t shim_launch_bytes = SIZE_MAX;

namespace {

typedef void kernel_function(const void *parameter);

enum { MAX_THREADS = 1024, LANES = 32, STACK_BYTES = 256 * 1024 };
enum state { READY, AT_BARRIER, AT_EXCHANGE, AT_WAIT, DONE };

struct fiber {
  state at;
  jmp_buf context;
  char *stack;
  float given[2]; /* of this shuffle and the one before */
  int masks[2];
  unsigned exchanges;
};

fiber fibers[MAX_THREADS];
jmp_buf scheduler;
ucontext_t scheduler_context;
kernel_function *kernel;
const void *kernel_parameter;
const char *kernel_name;
void (*before_wait)();
void (*after_wait)();

char message[512];
jmp_buf failure;

/* Ends the launch, from wherever in it, with a message. */
[[noreturn]] void fail(const char *array, long index, const char *what) {
  char place[64] = "";
  if (array != nullptr) snprintf(place, sizeof place, "%s[%ld]: ", array, index);
  snprintf(message, sizeof message, "%s: block %d, %d, thread %d: %s%s", kernel_name, shim_current.block_x,
           shim_current.block_y, shim_current.thread, place, what);
  _longjmp(failure, 1);
}
[[noreturn]] void fail(const char *what) { fail(nullptr, 0, what); }

void yield(state at) {
  fiber &self = fibers[shim_current.thread];
  self.at = at;
  if (_setjmp(self.context) == 0) _longjmp(scheduler, 1);
}

/* A fiber runs the same thread of every block. */
void run_fiber() {
  for (;;) {
    kernel(kernel_parameter);
    yield(DONE);
  }
}

/* Runs one thread until it stops somewhere. */
void resume(int thread) {
  fiber &f = fibers[thread];
  shim_current.thread = thread;
  if (_setjmp(scheduler) != 0) return;
  if (f.stack != nullptr) _longjmp(f.context, 1);
  void *stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) fail("no memory for stacks");
  f.stack = (char *)stack;
  ucontext_t start;
  getcontext(&start);
  start.uc_stack.ss_sp = f.stack;
  start.uc_stack.ss_size = STACK_BYTES;
  start.uc_link = &scheduler_context;
  makecontext(&start, run_fiber, 0);
  setcontext(&start);
}

/* Runs a warp until all of its lanes are at a barrier or done. */
void run_warp(int warp, const std::vector<int> &lanes) {
  for (;;) {
    int exchanging = 0;
    for (int lane : lanes) {
      const int thread = warp * LANES + lane;
      if (fibers[thread].at == READY) resume(thread);
      exchanging += fibers[thread].at == AT_EXCHANGE;
    }
    if (exchanging == 0) return;
    if (exchanging != LANES) fail("a shuffle that not all lanes of the warp reach");
    for (int lane : lanes) fibers[warp * LANES + lane].at = READY;
  }
}

void run_block(int threads, const std::vector<int> &warps, const std::vector<int> &lanes) {
  shim_block_epoch = ++shim_epoch;
  for (int i = 0; i < threads; i++) {
    fibers[i].at = READY;
    fibers[i].exchanges = 0;
  }
  if (before_wait != nullptr) before_wait();
  for (;;) {
    for (int warp : warps) run_warp(warp, lanes);
    const state at = fibers[0].at;
    for (int i = 0; i < threads; i++) {
      if (fibers[i].at != at) fail("a barrier that not all threads of the block reach");
    }
    if (at == DONE) return;
    if (at == AT_WAIT && after_wait != nullptr) after_wait();
    if (at == AT_BARRIER) shim_epoch++;
    for (int i = 0; i < threads; i++) fibers[i].at = READY;
  }
}

}  // namespace

void shim_barrier() { yield(AT_BARRIER); }

void shim_wait_for_previous() {
  if (after_wait != nullptr) yield(AT_WAIT);
}

float shim_exchange(float value, int mask) {
  fiber &self = fibers[shim_current.thread];
  const unsigned turn = self.exchanges++ % 2;
  self.given[turn] = value;
  self.masks[turn] = mask;
  yield(AT_EXCHANGE);
  const fiber &other = fibers[shim_current.thread ^ mask];
  if (other.masks[turn] != mask) fail("lanes of a warp disagree in their shuffle");
  return other.given[turn];
}

void shim_misuse(const char *what, const char *array, long index) { fail(array, index, what); }

/* The shared memory that the next launches give beside the kernels' own arrays. */
extern "C" void shim_set_shared_bytes(size_t bytes) { shim_launch_bytes = bytes; }

/*
 * Launches a kernel and runs it to its end; returns null, or what went wrong. `order` is that of blocks, warps and
 * lanes: 0 ascending, 1 descending, others are seeds of a shuffle. If there are hooks, they run before a block starts,
 * and when all of its threads wait for the kernel before.
 */
extern "C" const char *shim_try_launch(const char *name, kernel_function *function, const void *parameter, int grid_x,
                                       int grid_y, int threads, unsigned order, void (*at_start)(), void (*at_wait)()) {
  kernel = function;
  kernel_parameter = parameter;
  kernel_name = name;
  before_wait = at_start;
  after_wait = at_wait;
  if (_setjmp(failure) != 0) {
    for (fiber &f : fibers) f.stack = nullptr; /* given up, in the middle of the kernel: new ones next time */
    return message;
  }
  shim_current = {0, 0, 0, threads};
  if (threads > MAX_THREADS || threads % LANES != 0) fail("blocks are whole warps, of 1024 threads at most");
  std::mt19937 random(order);
  const auto sequence = [&](int count) {
    std::vector<int> items(count);
    for (int i = 0; i < count; i++) items[i] = order == 1 ? count - 1 - i : i;
    for (int i = count - 1; order > 1 && i > 0; i--) std::swap(items[i], items[random() % (i + 1)]);
    return items;
  };
  for (int block : sequence(grid_x * grid_y)) {
    shim_current = {0, block % grid_x, block / grid_x, threads};
    run_block(threads, sequence(threads / LANES), sequence(LANES));
  }
  return nullptr;
}

/* As shim_try_launch, but what goes wrong ends the process. */
extern "C" void shim_launch(const char *name, kernel_function *function, const void *parameter, int grid_x, int grid_y,
                            int threads, unsigned order, void (*at_start)(), void (*at_wait)()) {
  const char *error = shim_try_launch(name, function, parameter, grid_x, grid_y, threads, order, at_start, at_wait);
  if (error == nullptr) return;
  fprintf(stderr, "shim: %s\n", error);
  exit(9);
}
