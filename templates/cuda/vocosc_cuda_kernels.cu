/*
 * The network on a GPU: a chunk is ${device.launches | length} kernels, one after the other. See vocosc_network.c for the steps.
 *
 *   embed       mel -> embedding                      contract_I  hidden -> x, and the next block's convolution
 *   start       norm -> x, the first convolution      head        norm, magnitude and phase -> spectrum
 *   expand_I    norm, first layer, GELU -> hidden     synthesis   inverse FFT, window, overlap-add -> audio
 *
 * A chunk of a few frames is bound by latency and by the bytes of the weights: all of its multiply-adds take a large
 * chip some 2 us (5 frames of 13.4 M; 132 multiprocessors do 128 each a cycle), so tensor cores would bring nothing.
 * Hence plain fused multiply-adds, few kernels, and every weight read once a chunk:
 *
 * - A matrix product is cut into about ${device.shards} shards of outputs, one a thread block. A lane holds 8 inputs' weights
 *   of up to 4 outputs in registers and uses them for all frames, ${device.rows} at a time, of all streams of its tile. It loads
 *   them before it waits for the kernel before: that one's last microsecond hides the memory's latency.
 * - The 32 lanes of a warp, and the warps that share an output, take different inputs; shuffles and then shared memory
 *   add up their sums in a fixed order. So the audio does not depend on timing, nor on the number of streams; it
 *   differs from the CPU's by rounding only, since the CPU adds in another order.
 * - Depthwise convolutions want one channel of all frames, norms all channels of one frame. So the block that finishes
 *   a channel of x convolves it for the next layer, and every block of that layer norms the rows for itself.
 *
 * Activations are float rows in scratch, [jobs * frames][channels]; weights are ${device.weights_text}, sums float32.
 * There are no atomics, and blocks of one kernel of the chain never talk to each other.
 *
 * The same steps also stand in one kernel, vocosc_chunk: a thread block a multiprocessor for the whole call, and flags
 * in memory between the steps in place of launches. Both ways give the same bits.
 */
#include "vocosc_cuda_steps.cuh"
#include "vocosc_cuda_synthesis.cuh"
//% if device.library_steps
#include "vocosc_cuda_library_steps.cuh"
//% endif

/* The first: it also leaves a copy of the call for the others, whose parameters never change. */
KERNEL(embed_shard::THREADS) vocosc_embed(PARAMETER(vocosc_cuda_call) call) {
  SHARED_FLOATS(arena, EMBED_FLOATS);
  if (block_index() == 0 && tile_index() == 0) leave_copy<embed_shard::THREADS>(call);
  embed(chain_block<embed_shard::THREADS>{call.memory, call}, arena);
}
KERNEL(start_shard::THREADS) vocosc_start(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, START_FLOATS);
  start(chain_block<start_shard::THREADS>{memory, call_of(memory)}, arena);
}
//% for i in range(config.num_layers)
//% set is_last = i + 1 == config.num_layers
KERNEL(expand_shard::THREADS) vocosc_expand_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, EXPAND_FLOATS);
  expand(chain_block<expand_shard::THREADS>{memory, call_of(memory)}, arena, TABLE_EXPAND_${i},
         TABLE_EXPAND_${i}_WEIGHTS);
}
KERNEL(contract_shard::THREADS) vocosc_contract_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, CONTRACT_FLOATS);
  contract(chain_block<contract_shard::THREADS>{memory, call_of(memory)}, arena, TABLE_CONTRACT_${i},
//% if is_last
           TABLE_CONTRACT_${i}_WEIGHTS, false, 0, 0);
//% else
           TABLE_CONTRACT_${i}_WEIGHTS, true, TABLE_CONV_${i + 1}, ${i + 1} * CONTEXT * DIM);
//% endif
}
//% endfor
KERNEL(head_shard::THREADS) vocosc_head(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, HEAD_FLOATS);
  head(chain_block<head_shard::THREADS>{memory, call_of(memory)}, arena);
}
KERNEL(${device.synthesis_threads}) vocosc_synthesis(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS_OF_LAUNCH(arena, ARENA_FLOATS);
  synthesis(chain_block<${device.synthesis_threads}>{memory, call_of(memory)}, arena);
}

/*
 * All steps. A block may have no shard of a step, and then does not wait for the one before; it has done its part all
 * the same. The layers are a loop: its code is fetched once.
 */
KERNEL(SINGLE_THREADS) vocosc_chunk(PARAMETER(vocosc_cuda_call) call) {
  static_assert(EMBED_FLOATS <= SINGLE_FLOATS && START_FLOATS <= SINGLE_FLOATS && EXPAND_FLOATS <= SINGLE_FLOATS, "");
  static_assert(CONTRACT_FLOATS <= SINGLE_FLOATS && HEAD_FLOATS <= SINGLE_FLOATS && ARENA_FLOATS <= SINGLE_FLOATS, "");
//% set last = config.num_layers - 1
  enum { LAYERS = ${config.num_layers}, LAYER_BYTES = ${device.layer_bytes} };
  static_assert(TABLE_CONTRACT_0_WEIGHTS + ${last} * LAYER_BYTES == TABLE_CONTRACT_${last}_WEIGHTS, "layers are alike");
  SHARED_FLOATS_OF_LAUNCH(arena, SINGLE_FLOATS);
  uint32_t *flags = (uint32_t *)scratch(call.memory, SCRATCH_FLAGS);
  single_block part = {call.memory, call, flags, flags[block_index()], 0};
#define EVERY_SHARD(count) for (part.turn = block_index(); part.turn < (count); part.turn += block_count())
  EVERY_SHARD(${device.products.embed.shards}) embed(part, arena);
  part.done();
  EVERY_SHARD(${device.start.shards + 1}) start(part, arena);
  part.done();
#pragma unroll 1
  for (int layer = 0; layer < LAYERS; layer++) {
    const size_t tables = (size_t)layer * LAYER_BYTES;
    EVERY_SHARD(${device.products.expand.shards}) {
      expand(part, arena, TABLE_EXPAND_0 + tables, TABLE_EXPAND_0_WEIGHTS + tables);
    }
    part.done();
    EVERY_SHARD(${device.products.contract.shards}) {
      contract(part, arena, TABLE_CONTRACT_0 + tables, TABLE_CONTRACT_0_WEIGHTS + tables, layer + 1 < LAYERS,
               TABLE_CONV_0 + tables + LAYER_BYTES, (layer + 1) * CONTEXT * DIM);
    }
    part.done();
  }
  EVERY_SHARD(${device.products.head.shards}) head(part, arena);
  part.done();
  EVERY_SHARD(VOCOSC_CUDA_BATCH) synthesis(part, arena);
#undef EVERY_SHARD
}

/* The overlap's tail, which nothing will be added to any more. The slot stays as it is: the host resets it. */
KERNEL(${device.flush_threads}) vocosc_flush(PARAMETER(vocosc_cuda_call) call) {
  if (block_index() >= call.count) return;
  const float *overlap = slot(call.memory, call, block_index()) + SLOT_OVERLAP;
  float *audio = (float *)call.jobs[block_index()].audio;
  for (int i = thread_index(); i < OVERLAP; i += ${device.flush_threads}) audio[i] = overlap[i];
}
