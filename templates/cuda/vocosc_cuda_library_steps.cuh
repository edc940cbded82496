/*
 * With --link libs the products can be cuBLAS's and the inverse transforms cuFFT's, with these kernels before and behind
 * them. Most have a row a thread block. A product adds to its output, where the kernel before it has left the bias.
 */
#ifndef VOCOSC_CUDA_LIBRARY_STEPS_CUH
#define VOCOSC_CUDA_LIBRARY_STEPS_CUH

#include "vocosc_cuda_steps.cuh"
#include "vocosc_cuda_synthesis.cuh"

enum { LIBRARY_THREADS = ${device.library_threads} };

static bool has_row(const device_call &call) { return block_index() < call.count * call.frames; }
static float *row_of(const device_memory &memory, size_t area, int stride) {
  return scratch(memory, area) + (size_t)block_index() * stride;
}
static void fill_row(float *row, const float *values, int count) {
  for (int i = thread_index(); i < count; i += LIBRARY_THREADS) row[i] = values[i];
}

/* What the embedding sees of each frame. */
KERNEL(LIBRARY_THREADS) vocosc_windows(PARAMETER(vocosc_cuda_call) call) {
  const device_memory &memory = call.memory;
  if (block_index() == 0) leave_copy<LIBRARY_THREADS>(call);
  if (!has_row(call)) return;
  const int job = block_index() / call.frames;
  const int frame = block_index() % call.frames;
  const float *history = slot(memory, call, job) + SLOT_MEL_HISTORY;
  const float *mels = (const float *)call.jobs[job].mel;
  float *row = row_of(memory, SCRATCH_WINDOWS, TAPS * MELS);
  for (int i = thread_index(); i < TAPS * MELS; i += LIBRARY_THREADS) {
    row[i] = clean(mel_frame(mels, history, frame + i / MELS - CONTEXT)[i % MELS]);
  }
  fill_row(row_of(memory, SCRATCH_EMBEDDED, DIM_STRIDE), table(memory, TABLE_EMBED_BIAS), DIM);
}

static void norm_row(const device_memory &memory, size_t area) {
  SHARED_FLOATS(normalised, ROWS_FLOATS);
  normalise(chain_block<LIBRARY_THREADS>{memory, call_of(memory)}, row_of(memory, area, DIM_STRIDE), normalised, 1);
  barrier();
  float *row = row_of(memory, SCRATCH_NORMALISED, DIM_STRIDE);
  for (int c = thread_index(); c < DIM; c += LIBRARY_THREADS) row[c] = normalised[c];
}

/* The convolution of x, a channel a thread block's column, as in `start`. */
template <typename block>
static void convolve_rows(const block &part, size_t conv, int history_offset) {
  SHARED_FLOATS(window, START_WINDOW_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const int row = thread_index() / start_shard::WIDTH;
  const int column = thread_index() % start_shard::WIDTH;
  const int channel = part.shard() * start_shard::WIDTH + column;
  channel_taps taps = {};
  if (channel < DIM) taps.load(table(memory, conv), channel);
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= call.count) break;
    float *history = slot(memory, call, job) + SLOT_HISTORY + history_offset;
    load_window<start_shard::WIDTH>(part, window, history);
    for (int frame = 0; frame < call.frames; frame += ROWS) {
      const int rows = least(ROWS, call.frames - frame);
      const size_t first = (size_t)(job * call.frames + frame) * DIM_STRIDE;
      float *x = scratch(memory, SCRATCH_RESIDUAL) + first;
      const float value = row < rows && channel < DIM ? x[row * DIM_STRIDE + channel] : 0.0f;
      convolve<start_shard::WIDTH>(part, taps, window, value, column, row, rows, frame + ROWS >= call.frames, x,
                                   scratch(memory, SCRATCH_CONVOLVED) + first, history);
    }
  }
}
//% for i in range(config.num_layers)
KERNEL(LIBRARY_THREADS) vocosc_norm_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  norm_row(memory, SCRATCH_CONVOLVED);
  fill_row(row_of(memory, SCRATCH_HIDDEN, HIDDEN_STRIDE), table(memory, TABLE_EXPAND_${i}_BIAS), ${config.hidden});
}
KERNEL(LIBRARY_THREADS) vocosc_gelu_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  float *hidden = row_of(memory, SCRATCH_HIDDEN, HIDDEN_STRIDE);
  float *x = row_of(memory, SCRATCH_RESIDUAL, DIM_STRIDE);
  for (int c = thread_index(); c < ${config.hidden}; c += LIBRARY_THREADS) hidden[c] = vec_gelu(hidden[c]);
  for (int c = thread_index(); c < DIM; c += LIBRARY_THREADS) x[c] += table(memory, TABLE_CONTRACT_${i}_BIAS)[c];
}
//% if i > 0
KERNEL(start_shard::THREADS) vocosc_convolve_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  convolve_rows(chain_block<start_shard::THREADS>{memory, call_of(memory)}, TABLE_CONV_${i}, ${i} * CONTEXT * DIM);
}
//% endif
//% endfor
KERNEL(LIBRARY_THREADS) vocosc_last_norm(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  norm_row(memory, SCRATCH_RESIDUAL);
  fill_row(row_of(memory, SCRATCH_HEAD, 2 * BINS), table(memory, TABLE_HEAD_BIAS), 2 * BINS);
}

/* The imaginary parts of the first bin and, if there is one, of that in the middle are none. */
KERNEL(LIBRARY_THREADS) vocosc_spectrum(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  const float *head = row_of(memory, SCRATCH_HEAD, 2 * BINS);
  float *to = row_of(memory, SCRATCH_COMPLEX, 2 * BINS);
  for (int bin = thread_index(); bin < BINS; bin += LIBRARY_THREADS) {
    const float size = vec_min(vec_exp(head[bin]), MAX_MAGNITUDE);
    float sine, cosine;
    vec_sincos(head[BINS + bin], &sine, &cosine);
    to[2 * bin] = size * cosine;
    to[2 * bin + 1] = bin == 0 || 2 * bin == N_FFT ? 0.0f : size * sine;
  }
}

KERNEL(LIBRARY_THREADS) vocosc_overlap(PARAMETER(vocosc_cuda_memory) memory) {
  const device_call &call = call_of(memory);
  const int job = block_index();
  if (job >= call.count) return;
  const float *samples = scratch(memory, SCRATCH_SAMPLES) + (size_t)job * call.frames * N_FFT;
  overlap_add<LIBRARY_THREADS, N_FFT>(samples, call.frames, table(memory, TABLE_SYNTHESIS_WINDOW),
                                      slot(memory, call, job) + SLOT_OVERLAP, (float *)call.jobs[job].audio);
}

#endif /* VOCOSC_CUDA_LIBRARY_STEPS_CUH */
