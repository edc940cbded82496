//% from "network/fft_steps.h" import column, constants, from_halves, twiddles with context
/* The last step of a chunk: inverse FFTs in shared memory, window, overlap-add. */
#ifndef VOCOSC_CUDA_SYNTHESIS_CUH
#define VOCOSC_CUDA_SYNTHESIS_CUH

#include "vocosc_cuda_block.cuh"

enum {
  FFT_LENGTH = ${fft.complex_length}, /* complex buffers are [2][FFT_LENGTH]: real parts, then imaginary parts */
  FFT_FRAMES = ${device.fft_frames}, /* frames that are transformed at a time */

  /* Shared memory, offsets in floats: the tables as they lie in the weights, the overlap, two buffers. */
  TABLES_START = TABLE_TWIDDLE_COSINES,
  ARENA_OVERLAP = ${device.synthesis_table_floats},
  ARENA_BUFFERS = ARENA_OVERLAP + ${device.synthesis_overlap_floats},
  SYNTHESIS_FLOATS = ${device.synthesis_shared_bytes // 4},
};
${constants() | chomp}

//% if plan.is_divided
/* The windows' squares, added up where a sample of the sum lies, of the utterance's first `frames` frames. */
template <typename pointer>
static float envelope_at(pointer window, int sample, int frames) {
  float sum = 0.0f;
  for (int frame = least(sample / HOP, frames - 1); frame >= 0 && sample - frame * HOP < N_FFT; frame--) {
    const float value = window[sample - frame * HOP];
    sum += value * value;
  }
  return sum;
}

//% endif
/* Where the samples of a job go that are complete. */
struct output {
  float *audio;
  int start; /* the utterance's frame that the call's first one is; if less than 0, those before 0 are none */

  int first_frame() const { return start < 0 ? -start : 0; }
  template <typename pointer>
  void put(int at, float sum, pointer window, pointer envelope) const {
    (void)window, (void)envelope;
//% if plan.counts_frames
    const int sample = start * HOP + at; /* of the sum */
    const int first = start > 0 ? start * HOP : 0;
    if (sample < TRIM) return;
//% if plan.is_divided
    sum /= sample < (COVER - 1) * HOP ? envelope_at(window, sample, sample / HOP + 1) : envelope[sample % HOP];
//% endif
    audio[sample - (first > TRIM ? first : TRIM)] = sum;
//% else
    audio[at] = sum;
//% endif
  }
};
static output output_of(const device_job &job) { return {(float *)job.audio, ${"job.seen - LOOKAHEAD" if plan.counts_frames else "0"}}; }

/* The sum of the overlap and of `count` windowed frames from `first` on, STRIDE apart: what is complete goes out, the rest becomes the overlap. */
template <int THREADS, int STRIDE, typename samples_pointer, typename pointer, typename overlap_pointer>
static void overlap_add(samples_pointer samples, int first, int count, pointer window, pointer envelope, overlap_pointer overlap, const output &to) {
  const int complete = count * HOP;
  /* A thread has all positions that are `complete` apart: it alone reads and writes their places in the overlap. */
  for (int start = thread_index(); start < complete; start += THREADS) {
    for (int i = start; i < complete + OVERLAP; i += complete) {
      float sum = i < OVERLAP ? overlap[i] : 0.0f;
      for (int frame = 0; frame < count; frame++) {
        const int at = i - frame * HOP;
        if (at >= 0 && at < N_FFT) sum = fma_float(samples[frame * STRIDE + at], window[at], sum);
      }
      if (i < complete) {
        to.put(first * HOP + i, sum, window, envelope);
      } else {
        overlap[i - complete] = sum;
      }
    }
  }
}

struct synthesis_shard {
  static constexpr int SHARDS = VOCOSC_CUDA_BATCH, THREADS = ${device.synthesis_threads};
};

/* One stream per shard: the inverse FFTs of its frames side by side, then their overlap-add. */
template <typename block>
static void synthesis(const block &part, shared_floats arena) {
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const shared_floats overlap = arena + ARENA_OVERLAP;
  const shared_floats first_buffer = arena + ARENA_BUFFERS;
  const shared_floats second_buffer = first_buffer + FFT_FRAMES * 2 * FFT_LENGTH;
  const shared_floats window = arena + (TABLE_SYNTHESIS_WINDOW - TABLES_START) / 4;
  const shared_floats envelope = ${"arena + (TABLE_ENVELOPE - TABLES_START) / 4" if plan.is_divided else "window"};
//% set has_twiddles = fft.passes | map(attribute="groups") | max > 1
//% for name in (["half_cosines", "half_sines"] if fft.is_even else []) + (["twiddle_cosines", "twiddle_sines"] if has_twiddles else [])
  const shared_floats ${name} = arena + (TABLE_${name | upper} - TABLES_START) / 4;
//% endfor
  const int thread = part.thread;
  const int job = VOCOSC_CUDA_BATCH > 1 ? part.shard() : 0; /* a call that is in registers is not looked up */
  const int frames = call.frames;
  const bool is_used = job < call.count;
  /* No other step writes tables and overlap: they may be read before the wait. */
  for (int i = 4 * thread; i < ARENA_OVERLAP; i += 4 * block::THREADS) {
    store_floats(arena + i, load_floats(table(memory, TABLES_START) + i));
  }
  float *kept = is_used ? slot(memory, call.jobs[job]) + SLOT_OVERLAP : nullptr;
  const output out = is_used ? output_of(call.jobs[job]) : output{};
  for (int i = thread; is_used && i < OVERLAP; i += block::THREADS) overlap[i] = kept[i];
  barrier();
  part.wait();
  if (!is_used) return;
  for (int frame = out.first_frame(); frame < frames; frame += FFT_FRAMES) {
    const int count = least(FFT_FRAMES, frames - frame);
    const float *spectrum = spectrum_rows(part) + (size_t)(job * frames + frame) * 2 * BINS_STRIDE;
    shared_floats to = first_buffer;
    shared_floats from = second_buffer;
//% if fft.is_even
    /* First all loads, of a bin and its mirror image: so they are under way together. */
    enum { SHARE = (FFT_FRAMES * FFT_LENGTH + block::THREADS - 1) / block::THREADS };
    float bins[SHARE][4];
    take<4 * SHARE, uint32_t>(part, bins[0], [&](int j) -> source {
      const int i = least(thread + j / 4 * block::THREADS, count * FFT_LENGTH - 1);
      const float *from = spectrum + i / FFT_LENGTH * 2 * BINS_STRIDE + j % 4 / 2 * BINS_STRIDE;
      return {from + (j % 2 == 0 ? i % FFT_LENGTH : FFT_LENGTH - i % FFT_LENGTH), 1};
    });
#pragma unroll
    for (int share = 0; share < SHARE; share++) {
      const int i = thread + share * block::THREADS;
      const int k = i % FFT_LENGTH;
      const shared_floats work = to + i / FFT_LENGTH * 2 * FFT_LENGTH;
      const float low_r = bins[share][0];
      const float high_r = bins[share][1];
      const float low_i = bins[share][2];
      const float high_i = bins[share][3];
      if (i >= count * FFT_LENGTH) break;
      if (k == 0) {
        work[0] = low_r + high_r;
        work[FFT_LENGTH] = low_r - high_r;
        continue;
      }
${from_halves("") | chomp | indent(2, first=True)}
    }
//% else
    for (int i = thread; i < count * BINS; i += block::THREADS) {
      const float *re = spectrum + i / BINS * 2 * BINS_STRIDE;
      const float *im = re + BINS_STRIDE;
      const int k = i % BINS;
      const shared_floats work = to + i / BINS * 2 * FFT_LENGTH;
      float bin[2];
      take<2, uint32_t>(part, bin, [&](int j) -> source { return {j == 0 ? re + k : im + k, 1}; });
      work[k] = bin[0];
      work[FFT_LENGTH + k] = k == 0 ? 0.0f : bin[1];
      if (k > 0) {
        work[FFT_LENGTH - k] = bin[0];
        work[2 * FFT_LENGTH - k] = -bin[1];
      }
    }
//% endif
    barrier();
//% for step in fft.passes
//% set butterflies = step.groups * step.columns

    /* Pass ${loop.index}, radix ${step.radix}: groups ${step.groups}, columns ${step.columns}. */
    from = ${"first" if loop.index is odd else "second"}_buffer;
    to = ${"second" if loop.index is odd else "first"}_buffer;
    for (int i = thread; i < count * ${butterflies}; i += block::THREADS) {
      const int buffer = i / ${butterflies} * 2 * FFT_LENGTH;
      const int group = i % ${butterflies} / ${step.columns};
      const int column = i % ${step.columns};
      const shared_floats in = from + buffer + ${step.columns} * group + column;
//% if loop.last and fft.is_even
      const shared_floats out = to + buffer + 2 * column;
//% else
      const shared_floats out = to + buffer + ${step.columns * step.radix} * group + column;
//% endif
//% if step.groups > 1
${twiddles(step, "", "") | chomp | indent(2, first=True)}
//% endif
${column(step, "", loop.last) | chomp | indent(2, first=True)}
    }
    barrier();
//% endfor

    overlap_add<block::THREADS, 2 * FFT_LENGTH>(to, frame, count, window, envelope, overlap, out);
    barrier();
  }
  for (int i = thread; i < OVERLAP; i += block::THREADS) kept[i] = overlap[i];
}

#endif /* VOCOSC_CUDA_SYNTHESIS_CUH */
