/* Runs a kernel's blocks, one after the other or, if they wait for each other, in turns, their threads as fibers. */
#include "shim.h"

#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <random>
#include <unordered_map>
#include <vector>

shim_thread shim_current;
uint64_t shim_epoch = 1;
uint64_t shim_block_epoch = 1;
size_t shim_launch_bytes = SIZE_MAX;
int shim_mutant = 0; /* see ptx.h */
extern "C" {
unsigned char shim_reached[1 << 16];
}

namespace {

typedef void kernel_function(const void *parameter);

enum { MAX_THREADS = 1024, MAX_BLOCKS = 160, LANES = 32, STACK_BYTES = 256 * 1024 };
enum { MOST_LOOKS = 16, MOST_IDLE = 1000 }; /* of a thread in a turn, with nothing new to see; turns of that kind */
enum state { READY, AT_BARRIER, AT_EXCHANGE, AT_WAIT, AT_FLAG, AT_HOST, AT_REST, DONE };

struct fiber {
  state at;
  jmp_buf context;
  char *stack;
  float given[2]; /* of this shuffle and the one before */
  int masks[2];
  unsigned exchanges;
  const uint32_t *flag; /* that it waits for, until it is at least a value; null: for anything new */
  uint32_t value;
  uint64_t seen; /* how much was there to see when it looked for the first time, and how often it looked since */
  int looks;
  shim_request asked;                   /* of the host */
  std::vector<const uint32_t *> looked; /* flags, since its last fence */
  uint32_t clusters;                    /* barriers of the cluster that it arrived at */
};

fiber all_fibers[MAX_BLOCKS][MAX_THREADS];
fiber *fibers = all_fibers[0]; /* of the block that runs */
jmp_buf scheduler;
ucontext_t scheduler_context;
kernel_function *kernel;
const void *kernel_parameter;
const char *kernel_name;
uint64_t resumed;      /* how often some thread ran on */
uint64_t latest_epoch; /* of all blocks that ran together */
void (*before_wait)();
void (*after_wait)();
int (*host)(int request);
bool is_anyone_at_rest;
bool pauses; /* whether who publishes goes on in the block's next turn: others may see just what came before */

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

/* Runs one thread until it stops, or asks the host. */
void resume_once(int thread) {
  fiber &f = fibers[thread];
  shim_current.thread = thread;
  resumed++;
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

/* Runs one thread until it stops somewhere. */
void resume(int thread) {
  do {
    resume_once(thread);
    if (fibers[thread].at == AT_HOST && host(fibers[thread].asked) != 0) fail("the host gives up");
  } while (fibers[thread].at == AT_HOST);
}

/* ---- shared memory of the GPU: see shim.h ---- */

struct region {
  uint16_t *words; /* halves are the least that kernels write */
  size_t count;
};
/* The shared memory as somebody sees it, and for each word the time it was written. */
struct view {
  std::vector<uint16_t> words;
  std::vector<uint64_t> times;
};
struct published_flag {
  uint32_t value;
  view seen; /* by the block, when it set the flag */
};
struct span {
  uint64_t first, end;
};
std::vector<span> allowed;
std::vector<region> regions;
view views[MAX_BLOCKS];
std::unordered_map<const uint32_t *, published_flag> published;
uint64_t write_time;
uint64_t publications; /* how often something was shown to other blocks */
uint32_t arrivals;     /* of threads at barriers of the cluster */
bool is_forced;        /* nobody gets on: who looks looks once more */

/* Notes what the block that runs has written. */
void collect_writes() {
  view &own = views[shim_current.place];
  size_t at = 0;
  for (const region &r : regions) {
    for (size_t i = 0; i < r.count; i++, at++) {
      if (r.words[i] == own.words[at]) continue;
      own.words[at] = r.words[i];
      own.times[at] = ++write_time;
    }
  }
}

/* Lets the block that runs see its view. */
void show(const view &own) {
  const uint16_t *from = own.words.data();
  for (const region &r : regions) {
    memcpy(r.words, from, r.count * sizeof *from);
    from += r.count;
  }
}

/* Adds to a view what another has that is newer. */
void merge(view &to, const view &from) {
  for (size_t i = 0; i < to.words.size(); i++) {
    if (from.times[i] <= to.times[i]) continue;
    to.words[i] = from.words[i];
    to.times[i] = from.times[i];
  }
}

/* All blocks' views begin with what is there. */
void start_views(int blocks) {
  view initial;
  for (const region &r : regions) initial.words.insert(initial.words.end(), r.words, r.words + r.count);
  initial.times.resize(initial.words.size());
  write_time = 0;
  arrivals = 0;
  published.clear();
  for (int i = 0; i < blocks; i++) views[i] = initial;
}

/* The block that runs sees what came before a flag. */
void see(const uint32_t *flag) {
  const auto found = published.find(flag);
  if (found == published.end() || found->second.seen.words.empty()) return;
  collect_writes();
  merge(views[shim_current.place], found->second.seen);
  show(views[shim_current.place]);
}

/* Whether what the fiber waits for is there. */
bool is_reached(fiber &f, bool looks_again) {
  if (f.flag == nullptr) return publications != f.seen || looks_again;
  if ((int32_t)(shim_value_of(f.flag) - f.value) < 0) return false;
  f.looked.push_back(f.flag);
  return true;
}

/* ---- blocks ---- */

/* Runs a warp until all of its lanes are at a barrier or done, or some wait for a flag, the others perhaps for them. */
void run_warp(int warp, const std::vector<int> &lanes) {
  for (;;) {
    int exchanging = 0, waiting = 0;
    for (int lane : lanes) {
      const int thread = warp * LANES + lane;
      if (fibers[thread].at == READY) resume(thread);
      exchanging += fibers[thread].at == AT_EXCHANGE;
      waiting += fibers[thread].at == AT_FLAG || fibers[thread].at == AT_REST;
    }
    if (exchanging == 0 || (waiting > 0 && exchanging + waiting == LANES)) return;
    if (exchanging != LANES) fail("a shuffle that not all lanes of the warp reach");
    for (int lane : lanes) fibers[warp * LANES + lane].at = READY;
  }
}

void start_block(int threads) {
  shim_block_epoch = ++shim_epoch;
  for (int i = 0; i < threads; i++) {
    fibers[i].at = READY;
    fibers[i].exchanges = 0;
    fibers[i].clusters = 0;
    fibers[i].looks = 0;
    fibers[i].looked.clear();
  }
  if (before_wait != nullptr) before_wait();
}

/* Runs a block until it is done, and returns true, or until some of its threads wait for other blocks. */
bool run_block(int threads, const std::vector<int> &warps, const std::vector<int> &lanes) {
  bool looks_again = is_forced;
  for (;;) {
    for (int warp : warps) run_warp(warp, lanes);
    int waiting = 0;
    int reached = 0;
    for (int i = 0; i < threads; i++) {
      if (fibers[i].at == AT_REST) {
        is_anyone_at_rest = true;
        waiting++;
        continue;
      }
      if (fibers[i].at != AT_FLAG) continue;
      if (is_reached(fibers[i], looks_again)) {
        fibers[i].at = READY;
        reached++;
      } else {
        waiting++;
      }
    }
    looks_again = false;
    if (reached > 0) continue;
    if (waiting > 0) return false;
    const state at = fibers[0].at;
    for (int i = 0; i < threads; i++) {
      if (fibers[i].at != at) fail("a barrier that not all threads of the block reach");
    }
    if (at == DONE) return true;
    if (at == AT_WAIT && after_wait != nullptr) after_wait();
    if (at == AT_BARRIER) shim_epoch++;
    for (int i = 0; i < threads; i++) fibers[i].at = READY;
  }
}

/* Runs blocks together, in turns. A turn in which none gets on is a deadlock. */
void run_together(int blocks, int threads, const std::vector<int> &order, const std::vector<int> &warps,
                  const std::vector<int> &lanes) {
  std::vector<uint64_t> starts, epochs;
  if (blocks > MAX_BLOCKS) fail("too many blocks to run together");
  start_views(blocks);
  for (int i = 0; i < blocks; i++) {
    fibers = all_fibers[i];
    start_block(threads);
    starts.push_back(shim_block_epoch);
    epochs.push_back(shim_epoch);
  }
  int idle = 0;
  is_forced = false;
  for (std::vector<int> left = order; !left.empty();) {
    std::vector<int> waiting;
    const uint64_t before = resumed, shown = publications;
    is_anyone_at_rest = false;
    for (int block : left) {
      shim_current = {0, block, 0, threads, blocks, block};
      shim_block_epoch = starts[(size_t)block];
      shim_epoch = epochs[(size_t)block];
      fibers = all_fibers[block];
      for (int i = 0; i < threads; i++) {
        if (fibers[i].at == AT_REST) fibers[i].at = READY;
      }
      show(views[block]);
      if (!run_block(threads, warps, lanes)) waiting.push_back(block);
      collect_writes();
      epochs[(size_t)block] = shim_epoch;
      latest_epoch = std::max(latest_epoch, shim_epoch);
    }
    if (is_anyone_at_rest) sched_yield();
    idle = shown == publications && !is_anyone_at_rest ? idle + 1 : 0;
    if ((resumed == before && is_forced) || idle > MOST_IDLE) fail("a deadlock: all blocks wait for what nobody shows");
    is_forced = resumed == before;
    left = waiting;
  }
  for (int i = 1; i < blocks; i++) merge(views[0], views[i]);
  show(views[0]);
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

void shim_publish(uint32_t *flag, uint32_t value) {
  *flag = value;
  collect_writes();
  published[flag] = {value, views[shim_current.place]};
  publications++;
  if (pauses) yield(AT_REST);
}

void shim_wait_until(const uint32_t *flag, uint32_t value) {
  fiber &self = fibers[shim_current.thread];
  self.flag = flag;
  self.value = value;
  yield(AT_FLAG);
}

void shim_write_flag(uint32_t *flag, uint32_t value) {
  *flag = value;
  publications++;
}

void shim_show_word(uint32_t *word, uint32_t value) {
  *word = value;
  published[word] = {value, {}};
  publications++;
}

uint32_t shim_value_of(const uint32_t *word) {
  const auto found = published.find(word);
  return found != published.end() ? found->second.value : *word;
}

void shim_look(const uint32_t *word) {
  fiber &self = fibers[shim_current.thread];
  if (self.seen == publications && ++self.looks >= MOST_LOOKS) {
    self.flag = nullptr;
    yield(AT_FLAG);
    self.looks = 0;
  }
  if (self.seen != publications) self.looks = 0;
  self.seen = publications;
  const auto found = published.find(word);
  const bool is_flag = found != published.end() && !found->second.seen.words.empty();
  if (is_flag && (self.looked.empty() || self.looked.back() != word)) self.looked.push_back(word);
}

void shim_fence() {
  std::vector<const uint32_t *> &looked = fibers[shim_current.thread].looked;
  for (const uint32_t *flag : looked) see(flag);
  looked.clear();
}

static void ask_host(shim_request request) {
  fibers[shim_current.thread].asked = request;
  yield(AT_HOST);
}

uint32_t shim_look_at_host(const uint32_t *word) {
  if (host != nullptr) ask_host(SHIM_LOOK);
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

void shim_fence_of_host() {
  shim_fence();
  if (host != nullptr) ask_host(SHIM_FENCE);
}

void shim_tell_host(uint32_t *word, uint32_t value, int is_release) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
  if (host != nullptr) ask_host(is_release ? SHIM_TELL : SHIM_TELL_UNORDERED);
}

void shim_rest() {
  if (host == nullptr) yield(AT_REST);
}

void shim_cluster_arrive() {
  arrivals++;
  fibers[shim_current.thread].clusters++;
  publications++;
}

void shim_cluster_wait() {
  const uint32_t all = (uint32_t)(shim_current.threads * shim_current.blocks);
  shim_epoch++;
  shim_wait_until(&arrivals, fibers[shim_current.thread].clusters * all);
}

void shim_misuse(const char *what, const char *array, long index) { fail(array, index, what); }

/* The shared memory that the next launches give beside the kernels' own arrays. */
extern "C" void shim_set_shared_bytes(size_t bytes) { shim_launch_bytes = bytes; }

/* The memory, in whole words, that the next cooperative kernels share; each call adds some, null forgets all. */
extern "C" void shim_share(void *memory, size_t bytes) {
  if (memory == nullptr) regions.clear();
  if (memory != nullptr) regions.push_back({(uint16_t *)memory, bytes / sizeof(uint16_t)});
}

/* The host that the next kernels talk with, which gets a shim_request, and ends it by 1; null: another thread. */
extern "C" void shim_set_host(int (*function)(int request)) { host = function; }

/* The site that is broken in translated PTX, from 1 on; 0: none. */
extern "C" void shim_set_mutant(int site) { shim_mutant = site; }

/* Memory that kernels may touch, where they check it (shim_check_access); null forgets all, and allows everything. */
extern "C" void shim_allow(const void *memory, size_t bytes) {
  if (memory == nullptr) allowed.clear();
  if (memory != nullptr) allowed.push_back({(uint64_t)memory, (uint64_t)memory + bytes});
}

extern "C" void shim_check_access(uint64_t address, size_t bytes) {
  if (address % bytes != 0) fail("global memory", (long)address, "not aligned");
  for (const span &found : allowed) {
    if (address >= found.first && address + bytes <= found.end) return;
  }
  if (!allowed.empty()) fail("global memory", (long)address, "out of bounds");
}

/*
 * Launches a kernel and runs it to its end; returns null, or what went wrong. `order` is that of blocks, warps and
 * lanes: 0 ascending, 1 descending, others are seeds of a shuffle. If there are hooks, they run before a block starts,
 * and when all of its threads wait for the kernel before. The blocks of a cooperative kernel run together.
 */
extern "C" const char *shim_try_launch(const char *name, kernel_function *function, const void *parameter, int grid_x,
                                       int grid_y, int threads, unsigned order, int is_cooperative, void (*at_start)(),
                                       void (*at_wait)()) {
  kernel = function;
  kernel_parameter = parameter;
  kernel_name = name;
  before_wait = at_start;
  after_wait = at_wait;
  if (_setjmp(failure) != 0) {
    for (fiber *f = all_fibers[0]; f < all_fibers[MAX_BLOCKS]; f++)
      f->stack = nullptr; /* given up: new ones next time */
    return message;
  }
  shim_current = {0, 0, 0, threads, grid_x, 0};
  shim_epoch = std::max(shim_epoch, latest_epoch);
  if (threads > MAX_THREADS || threads % LANES != 0) fail("blocks are whole warps, of 1024 threads at most");
  std::mt19937 random(order);
  const auto sequence = [&](int count) {
    std::vector<int> items(count);
    for (int i = 0; i < count; i++) items[i] = order == 1 ? count - 1 - i : i;
    for (int i = count - 1; order > 1 && i > 0; i--) std::swap(items[i], items[random() % (i + 1)]);
    return items;
  };
  pauses = is_cooperative && order == 1;
  if (is_cooperative) {
    run_together(grid_x, threads, sequence(grid_x), sequence(threads / LANES), sequence(LANES));
    return nullptr;
  }
  fibers = all_fibers[0];
  start_views(1);
  for (int block : sequence(grid_x * grid_y)) {
    shim_current = {0, block % grid_x, block / grid_x, threads, grid_x, 0};
    start_block(threads);
    if (!run_block(threads, sequence(threads / LANES), sequence(LANES))) fail("waits for a block that may never run");
  }
  return nullptr;
}

/* As shim_try_launch, but what goes wrong ends the process. */
extern "C" void shim_launch(const char *name, kernel_function *function, const void *parameter, int grid_x, int grid_y,
                            int threads, unsigned order, int is_cooperative) {
  const char *error =
      shim_try_launch(name, function, parameter, grid_x, grid_y, threads, order, is_cooperative, nullptr, nullptr);
  if (error == nullptr) return;
  fprintf(stderr, "shim: %s\n", error);
  exit(9);
}
