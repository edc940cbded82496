/*
 * The network on a GPU: a chunk is ${device.launches | length} kernels, one after the other. See compiler/cuda_steps.py for the operations
 * that each fuses.
 *
 *   embed      mel -> embedding                       contract   hidden -> x, and the next block's convolution
 *   start      norm -> x, the first convolution       head       norm, magnitude and phase -> spectrum
 *   expand     norm, up projection, GELU -> hidden    synthesis  inverse FFT, window, overlap-add -> audio
 *
 * A chunk of a few frames is bound by latency and by the bytes of the weights: all of its multiply-adds take a large
 * chip some 2 us (5 frames of 13.4 M; 132 multiprocessors do 128 each a cycle), so tensor cores would bring nothing.
 * Hence plain fused multiply-adds, few kernels, and every weight read once per chunk:
 *
 * - A matrix product is cut into about ${device.products.contract.shards} shards of outputs, one per thread block. A lane holds 8 inputs' weights
 *   of up to ${device.products.values() | map(attribute="columns") | max} outputs in registers and uses them for all frames, ${device.rows} at a time, of all streams of its tile. It loads
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
 * The same steps also stand in one kernel, vocosc_chunk: one thread block per multiprocessor for the whole call, and flags
 * in memory between the steps in place of launches. Both ways give the same bits.
 */
#include "vocosc_cuda_steps.cuh"
#include "vocosc_cuda_synthesis.cuh"
//% if device.library_steps
#include "vocosc_cuda_library_steps.cuh"
//% endif

//% set convs = device.steps | selectattr("conv") | map(attribute="name") | list
//% macro call(step, tables="", histories="", number="")
//% set product = ["TABLE_%s%s" % (step.name | upper, tables)] if step.products else []
//% set norm = ["TABLE_%s" % step.norm.name | upper] if step.norm else []
//% set CONV = (step.conv.name | upper) if step.conv else ""
//% set conv = ["TABLE_%s%s" % (CONV, tables), "SLOT_%s%s" % (CONV, histories), number or convs.index(step.name)] if step.conv else ["0, 0, CONVS"] if step.kernel == "contract" else []
${step.kernel}(${(["part", "arena"] + product + norm + conv) | join(", ")});
//%- endmacro
//% if device.gathers_call
/* The first kernel leaves the call for the others, whose parameters never change: as many jobs as a parameter holds. */
KERNEL(${device.launches[0].block}) vocosc_call(PARAMETER(vocosc_cuda_parameter) call) { leave_copy<${device.launches[0].block}>(call); }
//% else
/* The first kernel also leaves a copy of the call for the others, whose parameters never change. */
//% endif
//% for step in device.steps
//% set threads = step.kernel ~ "_shard::THREADS"
KERNEL(${threads}) vocosc_${step.name}(PARAMETER(${"first_parameter" if loop.first else "vocosc_cuda_memory"}) given) {
  ${"SHARED_FLOATS_OF_LAUNCH" if step.kernel == "synthesis" else "SHARED_FLOATS"}(arena, ${step.kernel | upper}_FLOATS);
//% if loop.first and not device.gathers_call
  if (block_index() == 0 && tile_index() == 0) leave_copy<${threads}>(given);
//% endif
  const chain_block<${threads}> part = {memory_of(given), call_of(given)};
  ${call(step)}
}
//% endfor

/*
 * All steps. A block may have no shard of a step, and then does not wait for the one before; it has done its part all
 * the same. Steps that repeat are a loop: its code is fetched once. The synthesis is the last blocks', which have the
 * fewest other shards.
 */
template <typename block>
static void all_steps(block &part, shared_floats arena) {
//% for kernel in device.steps | map(attribute="kernel") | unique
  static_assert(${kernel | upper}_FLOATS <= SINGLE_FLOATS, "");
//% endfor
//% set layers = namespace(before=0)
#define EVERY_SHARD(shard, skipped) \
  for (part.begin_step(skipped); part.turn < shard::SHARDS; part.turn += block_count())
//% for run, period in device.loops
//% set count = (run | length) // period
//% if count == 1
//% if device.tuning.data
  part.layer = ${layers.before};
//% endif
//% if run[0].kernel == "contract"
//% set layers.before = layers.before + 1
//% endif
  EVERY_SHARD(${run[0].kernel}_shard, ${"VOCOSC_CUDA_BATCH" if loop.last else 0}) ${call(run[0])}
//% if not loop.last
  part.done(${(run[0].kernel in ("start", "contract")) | lower});
//% endif
//% else
#pragma unroll 1
  for (int layer = 0; layer < ${count}; layer++) {
    enum { LAYER_BYTES = TABLE_${run[period].name | upper} - TABLE_${run[0].name | upper} };
//% for step in run[period:]
//% set first, nth = run[loop.index0 % period], loop.index0 // period + 1
    static_assert(TABLE_${first.name | upper} + ${nth} * LAYER_BYTES == TABLE_${step.name | upper}, "layers are alike");
//% if step.conv
    static_assert(TABLE_${first.conv.name | upper} + ${nth} * LAYER_BYTES == TABLE_${step.conv.name | upper}, "layers are alike");
    static_assert(SLOT_${first.conv.name | upper} + ${nth} * LEFT * DIM == SLOT_${step.conv.name | upper}, "layers are alike");
//% endif
//% endfor
    const size_t tables = (size_t)layer * LAYER_BYTES;
//% if device.tuning.data
    part.layer = ${layers.before} + layer;
//% endif
//% for step in run[:period]
    EVERY_SHARD(${step.kernel}_shard, 0) {
      ${call(step, " + tables", " + layer * LEFT * DIM", "layer + %d" % convs.index(step.name) if step.conv else "")}
    }
    part.done(${(step.kernel in ("start", "contract")) | lower});
//% endfor
  }
//% set layers.before = layers.before + count
//% endif
//% endfor
  part.end();
#undef EVERY_SHARD
}

KERNEL(SINGLE_THREADS) vocosc_chunk(PARAMETER(first_parameter) first) {
  const device_memory &memory = memory_of(first);
  SHARED_FLOATS_OF_LAUNCH(arena, SINGLE_FLOATS);
  uint32_t *flags = (uint32_t *)scratch(memory, SCRATCH_FLAGS);
  single_block<false> part = {memory, call_of(first), flags, flags[block_index()], arena, false};
  all_steps(part, arena);
}
//% if device.resident

/*
 * The same for as many calls as come, the first of which, the parameter, is of nothing: then each block takes its shards'
 * weights into shared memory. Calls come through a mailbox in the host's memory, whose address is the parameter's mel. The
 * last block, which has no shard but the synthesis, takes them from there and leaves a copy, answers, and waits for the
 * next; a call of less than no jobs ends it.
 */
KERNEL(SINGLE_THREADS) vocosc_resident(PARAMETER(vocosc_cuda_call) first) {
  SHARED_FLOATS_OF_LAUNCH(arena, RESIDENT_FLOATS);
  const device_memory &memory = first.memory;
  device_mailbox *mailbox = (device_mailbox *)first.jobs[0].mel;
  const bool is_last = block_index() == block_count() - 1;
  uint32_t *flags = (uint32_t *)scratch(memory, SCRATCH_FLAGS);
  uint32_t steps = flags[block_index()];
  device_call call = first;
  while (call.count >= 0) {
    const shared_floats held = slice(arena, HELD_START, RESIDENT_FLOATS - HELD_START);
    single_block<true> part = {memory, call, flags, steps, held, call.number == first.number};
    all_steps(part, arena);
    if (is_last) {
//% if device.tuning.data
      part.wait_for_all(false);
//% endif
      if (thread_index() == 0) { /* the synthesis has waited for all blocks, and has had a barrier behind the audio */
        tell_host(&mailbox->answered, call.number);
        while (look_at_host(&mailbox->call.number) != call.number + 1) rest();
        acquire_from_host();
      }
      barrier();
      enum { WORDS = (sizeof(device_call) + sizeof mailbox->mel) / 4 };
      const uint32_t *words = (const uint32_t *)mailbox;
      for (int i = thread_index(); i < WORDS; i += SINGLE_THREADS) ((uint32_t *)memory.scratch)[i] = words[i];
    }
    part.show_done(false);
    part.wait_for_all(true);
    steps = part.steps;
    call = call_of(memory);
  }
}
//% endif

/* The overlap's tail, which nothing will be added to any more. The slot stays as it is: the host resets it. */
KERNEL(${device.flush.block}) vocosc_flush(PARAMETER(vocosc_cuda_parameter) call) {
  if (block_index() >= call.count) return;
  const float *overlap = slot(call.memory, call.jobs[block_index()]) + SLOT_OVERLAP;
  float *audio = (float *)call.jobs[block_index()].audio;
//% if plan.counts_frames
  const int end = call.jobs[block_index()].end;
  const int first = end * HOP < TRIM ? TRIM - end * HOP : 0;
  for (int i = first + thread_index(); i < OVERLAP - TRIM; i += ${device.flush.block}) {
//% if plan.is_divided
    audio[i - first] = overlap[i] / envelope_at(table(call.memory, TABLE_SYNTHESIS_WINDOW), end * HOP + i, end);
//% else
    audio[i - first] = overlap[i];
//% endif
  }
//% else
  for (int i = thread_index(); i < OVERLAP; i += ${device.flush.block}) audio[i] = overlap[i];
//% endif
}
