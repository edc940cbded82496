/* What decides how a chunk is best handed from step to step on a GPU: one kernel a question. See gpu_micro.c. */
#include "vocosc_cuda_machine.h"

struct micro {
  uint32_t *words;
  uint64_t count; /* of words */
  uint32_t rounds;
  uint32_t unused;
};

enum {
  THREADS = 256,
  READERS = 1024,
  ROW = 2560,
  CLUSTER = 8
}; /* ROW: five frames of 512 channels, which all blocks want to see */

/* An empty step of a chain; words[0] counts them. */
KERNEL(128) micro_edge(PARAMETER(micro) m) {
  wait_for_previous();
  start_next();
  if (block_index() == 0 && thread_index() == 0) m.words[0]++;
}

/* As the single kernel hands over: every block publishes, and waits for all. */
KERNEL(THREADS) micro_flags(PARAMETER(micro) m) {
  for (uint32_t round = 1; round <= m.rounds; round++) {
    barrier();
    if (thread_index() == THREADS - 1) publish(m.words + block_index(), round);
    for (int i = thread_index(); i < block_count(); i += THREADS) wait_until(m.words + i, round);
    if (thread_index() < block_count()) acquire();
    barrier();
  }
}

static __forceinline__ bool is_there(uint32_t seen, uint32_t round) { return (int32_t)(seen - round) >= 0; }

/* Each word says itself that it is there: a block writes its share of a row, and looks at all of the row until it is.
 */
KERNEL(THREADS) micro_data(PARAMETER(micro) m) {
  const int share = (ROW + block_count() - 1) / block_count();
  for (uint32_t round = 1; round <= m.rounds; round++) {
    const int own = block_index() * share + thread_index();
    if (thread_index() < share && own < ROW) show_word(m.words + own, round);
    for (int i = 4 * thread_index(); i < ROW; i += 4 * THREADS) {
      uint4 seen;
      do {
        seen = look_at_words(m.words + i);
      } while (
          !(is_there(seen.x, round) && is_there(seen.y, round) && is_there(seen.z, round) && is_there(seen.w, round)));
    }
    barrier();
  }
}

/* The same within a cluster: every block writes its share into the shared memory of all, and the cluster has a barrier.
 */
KERNEL(THREADS) micro_cluster(PARAMETER(micro) m) {
#if __CUDA_ARCH__ >= 900
  __shared__ uint32_t row[ROW];
  const int share = ROW / CLUSTER;
  uint32_t sum = 0;
  for (uint32_t round = 1; round <= m.rounds; round++) {
    for (int i = thread_index(); i < share * CLUSTER; i += THREADS) {
      const int at = block_index() % CLUSTER * share + i % share;
      uint32_t to;
      asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                   : "=r"(to)
                   : "r"((uint32_t)__cvta_generic_to_shared(row + at)), "r"(i / share));
      asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(to), "r"(round) : "memory");
    }
    asm volatile("barrier.cluster.arrive;" ::: "memory");
    asm volatile("barrier.cluster.wait;" ::: "memory");
    sum += row[(thread_index() * 7 + (int)round) % ROW];
    asm volatile("barrier.cluster.arrive;" ::: "memory");
    asm volatile("barrier.cluster.wait;" ::: "memory");
  }
  if (thread_index() == 0) m.words[block_index()] = sum;
#endif
}

/* Reads `count` words `rounds` times, some of them in each block. */
KERNEL(READERS) micro_read(PARAMETER(micro) m) {
  const int stride = block_count() * READERS;
  uint32_t bits = 0;
  for (uint32_t round = 0; round < m.rounds; round++) {
#pragma unroll 4
    for (uint64_t i = block_index() * READERS + thread_index(); i < m.count / 4; i += stride) {
      const uint4 words = load_words(m.words + 4 * i);
      bits ^= words.x ^ words.y ^ words.z ^ words.w;
    }
  }
  if (bits == 0x12345678u) m.words[0] = bits;
}

/* Answers the host: words[0] is what it rings, words[32] what it hears. Both are in its memory. */
KERNEL(32) micro_doorbell(PARAMETER(micro) m) {
  if (thread_index() > 0) return;
  for (uint32_t round = 1; round <= m.rounds; round++) {
    uint32_t seen;
    do {
      asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(seen) : "l"(m.words) : "memory");
    } while (seen != round);
    asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(m.words + 32), "r"(round) : "memory");
  }
}
