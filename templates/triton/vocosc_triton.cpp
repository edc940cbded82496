/*
 * The model as a backend of Triton Inference Server, for many streams at once: a caller of the public interface, vocosc.h.
 *
 * A sequence of requests is a stream: START opens it, each request decodes its frames of `mel`, END flushes and closes it.
 * The server hands over at most one request of each sequence at a time, and as many sequences as wait: their frames are
 * decoded by calls of vocosc_decode_batch, wherever in their utterances they are. A request that is refused changes nothing,
 * but END closes the stream in any case.
 *
 * An instance opens at most `max_streams` streams (a parameter of the model's configuration), and closes those that were
 * idle for as long as the server lets a sequence be. So its memory is bounded, whatever clients do.
 *
 * What becomes audio lies in pages of the instance's own (Array): mel, audio, streams, scratch. The heap is the server's, too, and
 * not all releases of it leave alone what they have freed, which by then may be somebody else's.
 */
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cfenv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vocosc.h"
#if VOCOSC_HAS_CUDA
#include "vocosc_cuda.h"
#endif
#include "vocosc_tritonbackend.h"

namespace {

constexpr int MOST_FRAMES = @request_frames@; /* of a request: more would keep other streams waiting */
constexpr size_t MOST_STREAMS = 1000000; /* of an instance */
constexpr const char *INPUT = "mel";
constexpr const char *OUTPUT_FLOAT = "audio";
constexpr const char *OUTPUT_INT16 = "audio_int16";

using Clock = std::chrono::steady_clock;
using Error = TRITONSERVER_Error; /* null: none */

uint64_t nanoseconds() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count());
}

Error *error(TRITONSERVER_Error_Code code, const std::string &text) { return TRITONSERVER_ErrorNew(code, text.c_str()); }

/* For what cannot fail in a way that matters. */
void ignore(Error *found) {
  if (found != nullptr) TRITONSERVER_ErrorDelete(found);
}

void log(TRITONSERVER_LogLevel level, const std::string &text) {
  ignore(TRITONSERVER_LogMessage(level, "@generator@", __LINE__, text.c_str()));
}

/* An error is logged where there is nobody to give it to. */
void log_error(Error *found) {
  if (found == nullptr) return;
  log(TRITONSERVER_LOG_ERROR, TRITONSERVER_ErrorMessage(found));
  TRITONSERVER_ErrorDelete(found);
}

#define RETURN_IF_ERROR(call)              \
  do {                                     \
    Error *const found_ = (call);          \
    if (found_ != nullptr) return found_;  \
  } while (0)

/* ---- memory ---- */

/*
 * Zeros in pages that the heap never hands out, with a page on either side that nobody may touch. Each element begins a page if
 * `apart`, so that it can be given back alone; pages that are not used take no memory. Throws std::bad_alloc.
 */
template <typename T>
class Array {
  static_assert(std::is_trivially_copyable<T>::value, "its bytes come from the system as they are");

 public:
  explicit Array(size_t count, bool apart = false)
      : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))), stride_(apart ? in_pages(sizeof(T)) : sizeof(T)) {
    if (count > (SIZE_MAX - 4 * page_) / stride_) throw std::bad_alloc();
    bytes_ = in_pages(count * stride_) + 2 * page_;
    void *const found = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) throw std::bad_alloc();
    first_ = static_cast<unsigned char *>(found) + page_;
    if (mprotect(first_, bytes_ - 2 * page_, PROT_READ | PROT_WRITE) != 0) {
      (void)munmap(found, bytes_);
      throw std::bad_alloc();
    }
  }
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  ~Array() { (void)munmap(first_ - page_, bytes_); }

  T *at(size_t index) { return reinterpret_cast<T *>(first_ + index * stride_); }

  /* The element is zeros again, and takes no memory. */
  void give_back(size_t index) { (void)madvise(first_ + index * stride_, stride_, MADV_DONTNEED); }

 private:
  size_t in_pages(size_t bytes) const { return (bytes + page_ - 1) / page_ * page_; }

  const size_t page_, stride_;
  size_t bytes_ = 0;
  unsigned char *first_ = nullptr;
};

/*
 * As long as it lives, the thread's floating-point arithmetic is the usual one, on which the audio's bits depend (rounding to
 * nearest, denormals kept), whatever another backend has left there.
 */
class UsualArithmetic {
 public:
  UsualArithmetic() {
    (void)std::fegetenv(&before_);
    (void)std::fesetenv(FE_DFL_ENV);
  }
  UsualArithmetic(const UsualArithmetic &) = delete;
  UsualArithmetic &operator=(const UsualArithmetic &) = delete;
  ~UsualArithmetic() { (void)std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
};

/* ---- metrics ---- */

/* A number that the server publishes, labelled with the model. Without metrics in the server it does nothing. */
class Metric {
 public:
  Metric(TRITONSERVER_MetricKind kind, const char *name, const char *description, const std::string &model,
         const std::string &version) {
    if (Error *const failed = TRITONSERVER_MetricFamilyNew(&family_, kind, name, description)) {
      ignore(failed);
      family_ = nullptr;
      return;
    }
    TRITONSERVER_Parameter *const labels[] = {
        TRITONSERVER_ParameterNew("model", TRITONSERVER_PARAMETER_STRING, model.c_str()),
        TRITONSERVER_ParameterNew("version", TRITONSERVER_PARAMETER_STRING, version.c_str())};
    const TRITONSERVER_Parameter *given[] = {labels[0], labels[1]};
    if (Error *const failed = TRITONSERVER_MetricNew(&metric_, family_, given, 2)) {
      ignore(failed);
      metric_ = nullptr;
    }
    for (TRITONSERVER_Parameter *label : labels) TRITONSERVER_ParameterDelete(label);
  }
  Metric(const Metric &) = delete;
  Metric &operator=(const Metric &) = delete;
  ~Metric() {
    if (metric_ != nullptr) ignore(TRITONSERVER_MetricDelete(metric_));
    if (family_ != nullptr) ignore(TRITONSERVER_MetricFamilyDelete(family_));
  }

  void add(double value) {
    if (metric_ != nullptr && value != 0.0) ignore(TRITONSERVER_MetricIncrement(metric_, value));
  }

 private:
  TRITONSERVER_MetricFamily *family_ = nullptr;
  TRITONSERVER_Metric *metric_ = nullptr;
};

/* ---- the model ---- */

/* The first number behind a key of the configuration, which the server writes as JSON; keys are unique there. */
uint64_t number_of(const std::string &config, const char *key, uint64_t otherwise) {
  const size_t at = config.find('"' + std::string(key) + '"');
  const size_t digits = at == std::string::npos ? at : config.find_first_of("0123456789", at + std::strlen(key) + 2);
  return digits == std::string::npos ? otherwise : std::strtoull(config.c_str() + digits, nullptr, 10);
}

struct Model {
  Model(std::string given_name, const std::string &version, const std::string &config)
      : name(std::move(given_name)),
        most_streams(static_cast<size_t>(number_of(config, "max_streams", @max_streams@))),
        most_requests(std::max(static_cast<size_t>(number_of(config, "max_batch_size", @batch@)), size_t{1})),
        idle(number_of(config, "max_sequence_idle_microseconds", @idle_microseconds@)),
        slots(TRITONSERVER_METRIC_KIND_GAUGE, "@generator@_slots", "Streams that may be open", name, version),
        streams(TRITONSERVER_METRIC_KIND_GAUGE, "@generator@_streams", "Streams that are open", name, version),
        idle_streams(TRITONSERVER_METRIC_KIND_GAUGE, "@generator@_idle_streams",
                     "Streams that are open and without a request for a quarter of their idle time", name, version),
        frames(TRITONSERVER_METRIC_KIND_COUNTER, "@generator@_frames_total", "Frames decoded", name, version),
        calls(TRITONSERVER_METRIC_KIND_COUNTER, "@generator@_calls_total", "Calls that decoded them: frames a call are a batch",
              name, version),
        refused(TRITONSERVER_METRIC_KIND_COUNTER, "@generator@_refused_total", "Requests that got an error", name, version),
        expired(TRITONSERVER_METRIC_KIND_COUNTER, "@generator@_expired_total", "Streams closed because they were idle", name,
                version) {}

  const std::string name;
  const size_t most_streams;  /* of an instance */
  const size_t most_requests; /* of an execution */
  const std::chrono::microseconds idle;
  Metric slots, streams, idle_streams, frames, calls, refused, expired;
};

/* ---- what decodes ---- */

struct Job {
  size_t slot;
  const float *mel;
  float *audio;
};

/* Streams by the number of their slot. Counts are samples, negative ones a status. */
class Engine {
 public:
  Engine() = default;
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;
  virtual ~Engine() = default;
  virtual int open(size_t slot) = 0;
  virtual void close(size_t slot) = 0;
  virtual int samples(size_t slot, int frames) = 0; /* that decode would give */
  virtual int decode(const std::vector<Job> &jobs, int frames) = 0;
  virtual int flush(size_t slot, float *audio) = 0;
  virtual int most_jobs(int frames) const = 0; /* of a call */
  virtual const char *text(int status) const = 0;
};

class Cpu final : public Engine {
 public:
  explicit Cpu(size_t most_streams) : streams_(most_streams, true), scratch_(1), fresh_(1), batch_(VOCOSC_MAX_ROWS) {}

  /* Returns what is wrong with the object, if anything. */
  Error *start() {
    const UsualArithmetic usual;
    int status = vocosc_init(fresh_.at(0));
#if VOCOSC_HAS_SELFTEST
    if (status == VOCOSC_OK) status = vocosc_selftest(fresh_.at(0), scratch_.at(0));
#endif
    if (status != VOCOSC_OK) return error(TRITONSERVER_ERROR_INTERNAL, vocosc_status_text(status));
    return nullptr;
  }

  int open(size_t slot) override {
    *streams_.at(slot) = *fresh_.at(0);
    return VOCOSC_OK;
  }
  void close(size_t slot) override { streams_.give_back(slot); }

  int samples(size_t slot, int frames) override {
#if VOCOSC_COUNTS_FRAMES
    return vocosc_decode_samples(streams_.at(slot), frames);
#else
    (void)slot;
    return frames * VOCOSC_HOP;
#endif
  }

  int decode(const std::vector<Job> &jobs, int frames) override {
    size_t count = 0;
    for (const Job &job : jobs) *batch_.at(count++) = {streams_.at(job.slot), job.mel, job.audio};
    return vocosc_decode_batch(batch_.at(0), static_cast<int>(count), scratch_.at(0), frames, nullptr);
  }

  int flush(size_t slot, float *audio) override {
#if VOCOSC_LATENCY_LOOKAHEAD_FRAMES > 0
    return vocosc_flush(streams_.at(slot), scratch_.at(0), audio);
#else
    return vocosc_flush(streams_.at(slot), audio);
#endif
  }

  int most_jobs(int frames) const override { return VOCOSC_MAX_ROWS / frames; }
  const char *text(int status) const override { return vocosc_status_text(status); }

 private:
  Array<vocosc_stream> streams_;
  Array<vocosc_scratch> scratch_; /* one */
  Array<vocosc_stream> fresh_;    /* one */
  Array<vocosc_job> batch_;
};

#if VOCOSC_HAS_CUDA
class Gpu final : public Engine {
 public:
  ~Gpu() override {
    if (started_) {
      (void)vocosc_cuda_wait(&cuda_, nullptr);
      (void)vocosc_cuda_close(&cuda_);
    }
  }

  Error *start(size_t most_streams, int device) {
    slots_.resize(most_streams);
    vocosc_cuda_options options = {};
    options.flags = VOCOSC_CUDA_ALLOCATE;
    options.device = device;
    options.slots = static_cast<int>(most_streams);
    options.table = slots_.data();
    const int status = vocosc_cuda_init(&cuda_, &options);
    if (status != VOCOSC_OK) return error(TRITONSERVER_ERROR_UNAVAILABLE, vocosc_cuda_status_text(status));
    started_ = true;
    return nullptr;
  }

  int open(size_t slot) override { return vocosc_cuda_bind(&cuda_, static_cast<int>(slot), nullptr); }
  void close(size_t slot) override { (void)vocosc_cuda_release(&cuda_, static_cast<int>(slot)); }

  int samples(size_t slot, int frames) override {
#if VOCOSC_COUNTS_FRAMES
    return vocosc_cuda_samples(&cuda_, static_cast<int>(slot), frames);
#else
    (void)slot;
    return frames * VOCOSC_HOP;
#endif
  }


  int decode(const std::vector<Job> &jobs, int frames) override {
    chunks_.clear();
    for (const Job &job : jobs) chunks_.push_back({static_cast<int>(job.slot), job.mel, job.audio});
    return waited(vocosc_cuda_decode_host(&cuda_, chunks_.data(), static_cast<int>(chunks_.size()), frames, nullptr));
  }

  int flush(size_t slot, float *audio) override {
    const vocosc_cuda_chunk chunk = {static_cast<int>(slot), nullptr, audio};
    return waited(vocosc_cuda_flush_host(&cuda_, &chunk, 1, nullptr));
  }

  int most_jobs(int) const override { return VOCOSC_CUDA_BATCH; }
  const char *text(int status) const override { return vocosc_cuda_status_text(status); }

 private:
  int waited(int samples) {
    const int status = samples < 0 ? samples : vocosc_cuda_wait(&cuda_, nullptr);
    return status < 0 ? status : samples;
  }

  vocosc_cuda cuda_ = {};
  bool started_ = false;
  std::vector<vocosc_cuda_slot> slots_;
  std::vector<vocosc_cuda_chunk> chunks_;
};
#endif

/* ---- requests ---- */

/* As the object rounds: to nearest, ties to even, and clipped. */
int16_t to_int16(float sample) {
  const float scaled = sample * 32768.0f;
  return static_cast<int16_t>(std::nearbyint(scaled < 32767.0f ? scaled > -32768.0f ? scaled : -32768.0f : 32767.0f));
}

struct Stream {
  size_t slot;
  Clock::time_point used;
  bool in_call; /* a request of this execution has it */
};

using Streams = std::unordered_map<std::string, Stream>; /* by sequence */

/* A request on its way through an execution. */
struct Work {
  TRITONBACKEND_Request *request = nullptr;
  TRITONBACKEND_Response *response = nullptr;
  Error *failed = nullptr;
  std::string sequence;
  bool starts = false, ends = false;
  bool wants_float = false, wants_int16 = false;
  float *mel = nullptr;   /* [frames][VOCOSC_MELS], room for MOST_FRAMES */
  float *audio = nullptr; /* room for what they give, and for the end */
  int frames = 0, decoded = 0, samples = 0;
  Stream *stream = nullptr; /* null: the request has none, and must not touch any */
};

/* The sequence's number or text; not the same for 7 and "7". */
Error *read_sequence(Work &work) {
  uint64_t number = 0;
  if (Error *const is_text = TRITONBACKEND_RequestCorrelationId(work.request, &number)) {
    ignore(is_text);
    const char *text = nullptr;
    RETURN_IF_ERROR(TRITONBACKEND_RequestCorrelationIdString(work.request, &text));
    work.sequence = '"' + std::string(text) + '"';
    return nullptr;
  }
  work.sequence = std::to_string(number);
  return number != 0 ? nullptr : error(TRITONSERVER_ERROR_INVALID_ARG, "a request needs a sequence: a correlation ID");
}

Error *read_flags_and_outputs(Work &work) {
  uint32_t flags = 0, count = 0;
  RETURN_IF_ERROR(TRITONBACKEND_RequestFlags(work.request, &flags));
  work.starts = (flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_START) != 0;
  work.ends = (flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_END) != 0;
  RETURN_IF_ERROR(TRITONBACKEND_RequestOutputCount(work.request, &count));
  for (uint32_t i = 0; i < count; i++) {
    const char *name = nullptr;
    RETURN_IF_ERROR(TRITONBACKEND_RequestOutputName(work.request, i, &name));
    if (std::strcmp(name, OUTPUT_FLOAT) == 0) work.wants_float = true;
    if (std::strcmp(name, OUTPUT_INT16) == 0) work.wants_int16 = true;
  }
  return nullptr;
}

/* The server has checked that the shape is [1, frames, VOCOSC_MELS], and that all bytes are there. */
Error *read_mel(Work &work) {
  TRITONBACKEND_Input *input = nullptr;
  TRITONSERVER_DataType type = TRITONSERVER_TYPE_FP32;
  const int64_t *shape = nullptr;
  uint32_t dims = 0, buffers = 0;
  uint64_t bytes = 0;
  RETURN_IF_ERROR(TRITONBACKEND_RequestInput(work.request, INPUT, &input));
  RETURN_IF_ERROR(TRITONBACKEND_InputProperties(input, nullptr, &type, &shape, &dims, &bytes, &buffers));
  if (type != TRITONSERVER_TYPE_FP32 || dims != 3 || shape[0] != 1 || shape[2] != VOCOSC_MELS) {
    return error(TRITONSERVER_ERROR_INVALID_ARG,
                 "mel must be float32 [1, frames, " + std::to_string(VOCOSC_MELS) + "]");
  }
  const int64_t frames = shape[1];
  if (frames < (work.ends ? 0 : 1) || frames > MOST_FRAMES) {
    return error(TRITONSERVER_ERROR_INVALID_ARG, "mel has " + std::to_string(frames) + " frames: a request takes 1 to " +
                                                     std::to_string(MOST_FRAMES) + ", and with END 0, too");
  }
  work.frames = static_cast<int>(frames);
  const size_t values = static_cast<size_t>(frames) * VOCOSC_MELS;
  size_t at = 0;
  for (uint32_t i = 0; i < buffers; i++) {
    const void *part = nullptr;
    uint64_t part_bytes = 0;
    TRITONSERVER_MemoryType memory = TRITONSERVER_MEMORY_CPU;
    int64_t memory_id = 0;
    RETURN_IF_ERROR(TRITONBACKEND_InputBuffer(input, i, &part, &part_bytes, &memory, &memory_id));
    if (memory == TRITONSERVER_MEMORY_GPU) {
      return error(TRITONSERVER_ERROR_UNSUPPORTED, "mel lies in a GPU's memory: it is taken from the host's");
    }
    if (part_bytes > values * sizeof(float) - at) break;
    if (part_bytes > 0) std::memcpy(reinterpret_cast<unsigned char *>(work.mel) + at, part, part_bytes);
    at += part_bytes;
  }
  if (at != values * sizeof(float)) {
    return error(TRITONSERVER_ERROR_INVALID_ARG, "mel has " + std::to_string(bytes) + " bytes, not those of its shape");
  }
  for (size_t i = 0; i < values; i++) {
    if (!std::isfinite(work.mel[i])) {
      return error(TRITONSERVER_ERROR_INVALID_ARG, "mel is NaN or infinite in frame " + std::to_string(i / VOCOSC_MELS) +
                                                       ", band " + std::to_string(i % VOCOSC_MELS));
    }
  }
  return nullptr;
}

/* One output of a response: samples of type T. */
template <typename T, typename Convert>
Error *write_output(const char *name, TRITONSERVER_DataType type, const Work &work, Convert convert) {
  TRITONBACKEND_Output *output = nullptr;
  void *buffer = nullptr;
  TRITONSERVER_MemoryType memory = TRITONSERVER_MEMORY_CPU;
  int64_t memory_id = 0;
  const int64_t shape[] = {1, work.samples};
  const size_t samples = static_cast<size_t>(work.samples);
  RETURN_IF_ERROR(TRITONBACKEND_ResponseOutput(work.response, &output, name, type, shape, 2));
  RETURN_IF_ERROR(TRITONBACKEND_OutputBuffer(output, &buffer, samples * sizeof(T), &memory, &memory_id));
  if (memory == TRITONSERVER_MEMORY_GPU) {
    return error(TRITONSERVER_ERROR_UNSUPPORTED, "the audio is asked for in a GPU's memory: it comes in the host's");
  }
  for (size_t i = 0; i < samples; i++) {
    const T sample = convert(work.audio[i]);
    std::memcpy(static_cast<unsigned char *>(buffer) + i * sizeof(T), &sample, sizeof(T)); /* of any alignment */
  }
  return nullptr;
}

/* ---- an instance of the model: a thread of the server's, and its streams ---- */

class Instance {
 public:
  Instance(Model &model, std::unique_ptr<Engine> engine)
      : model_(model), engine_(std::move(engine)), mel_(model.most_requests, true), audio_(model.most_requests, true) {
    free_.reserve(model.most_streams);
    waiting_.reserve(model.most_requests);
    jobs_.reserve(model.most_requests);
    counts_.reserve(model.most_requests);
    for (size_t slot = model.most_streams; slot > 0; slot--) free_.push_back(slot - 1);
    model_.slots.add(static_cast<double>(model.most_streams));
  }
  Instance(const Instance &) = delete;
  Instance &operator=(const Instance &) = delete;
  ~Instance() {
    while (!streams_.empty()) close(streams_.begin());
    count_idle(0.0);
    model_.slots.add(-static_cast<double>(model_.most_streams));
  }

  /* The server sends most_requests at a time, at most. */
  void execute(TRITONBACKEND_ModelInstance *instance, TRITONBACKEND_Request **requests, size_t count) {
    const UsualArithmetic usual;
    for (; count > model_.most_requests; requests += model_.most_requests, count -= model_.most_requests) {
      execute_some(instance, requests, model_.most_requests);
    }
    execute_some(instance, requests, count);
  }

 private:
  void execute_some(TRITONBACKEND_ModelInstance *instance, TRITONBACKEND_Request **requests, size_t count) {
    const uint64_t start = nanoseconds();
    std::vector<Work> works(count);
    now_ = Clock::now();
    if (now_ >= next_sweep_) sweep();
    for (size_t i = 0; i < count; i++) {
      works[i].request = requests[i];
      works[i].mel = mel_.at(i)->values;
      works[i].audio = audio_.at(i)->values;
      works[i].failed = guarded([&] { return prepare(works[i]); });
    }
    const uint64_t compute_start = nanoseconds();
    Error *const failed = guarded([&] { return decode(works); });
    for (Work &work : works) {
      if (failed != nullptr && work.failed == nullptr && work.stream != nullptr) {
        work.failed = error(TRITONSERVER_ERROR_INTERNAL, TRITONSERVER_ErrorMessage(failed));
      }
      if (work.failed == nullptr && work.ends) work.failed = flush(work);
    }
    ignore(failed);
    const uint64_t compute_end = nanoseconds();
    now_ = Clock::now();
    for (Work &work : works) {
      model_.frames.add(work.decoded);
      log_error(TRITONBACKEND_ResponseNew(&work.response, work.request));
      if (work.failed == nullptr && work.response != nullptr) work.failed = write(work);
      if (work.failed != nullptr) model_.refused.add(1.0);
      settle(work);
    }
    const uint64_t end = nanoseconds();
    for (Work &work : works) {
      ignore(TRITONBACKEND_ModelInstanceReportStatistics(instance, work.request, work.failed == nullptr, start,
                                                         compute_start, compute_end, end));
      /* In this order: once a client has its answer it may go, and the server forgets the request, released or not. */
      log_error(TRITONBACKEND_RequestRelease(work.request, TRITONSERVER_REQUEST_RELEASE_ALL));
      if (work.response != nullptr) {
        log_error(TRITONBACKEND_ResponseSend(work.response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, work.failed));
      }
      ignore(work.failed);
    }
    ignore(TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, count, start, compute_start, compute_end, end));
  }

  /* No exception goes to the server. */
  template <typename Function>
  static Error *guarded(Function function) {
    try {
      return function();
    } catch (const std::bad_alloc &) {
      return error(TRITONSERVER_ERROR_UNAVAILABLE, "no memory");
    }
  }

  /* Reads a request and finds, or opens, its stream. */
  Error *prepare(Work &work) {
    RETURN_IF_ERROR(read_sequence(work));
    RETURN_IF_ERROR(read_flags_and_outputs(work));
    auto found = streams_.find(work.sequence);
    if (found != streams_.end() && work.starts) {
      if (!is_idle(found->second)) {
        work.ends = false; /* not this request's to close */
        return refusal(TRITONSERVER_ERROR_ALREADY_EXISTS, work,
                       "has started already: END it first, or take another correlation ID");
      }
      drop(found);
      found = streams_.end();
    }
    if (found != streams_.end() && found->second.in_call) {
      work.ends = false;
      return refusal(TRITONSERVER_ERROR_ALREADY_EXISTS, work, "has another request in this batch");
    }
    if (found == streams_.end() && !work.starts) {
      return refusal(TRITONSERVER_ERROR_NOT_FOUND, work,
                     "is not open: it did not start here, has ended, or was idle for too long; START one, with the last "
                     "@replay_frames@ frames to go on where it was");
    }
    RETURN_IF_ERROR(read_mel(work));
    if (found == streams_.end()) RETURN_IF_ERROR(open(work, found));
    work.stream = &found->second;
    work.stream->in_call = true;
    return nullptr;
  }

  Error *open(const Work &work, Streams::iterator &opened) {
    if (free_.empty()) sweep();
    if (free_.empty()) {
      return refusal(TRITONSERVER_ERROR_UNAVAILABLE, work,
                     "finds " + std::to_string(model_.most_streams) +
                         " streams open, as many as there may be (max_streams): try another server, or later");
    }
    const size_t slot = free_.back();
    const int status = engine_->open(slot);
    if (status < 0) return refusal(TRITONSERVER_ERROR_INTERNAL, work, engine_->text(status));
    opened = streams_.emplace(work.sequence, Stream{slot, now_, false}).first;
    free_.pop_back();
    model_.streams.add(1.0);
    return nullptr;
  }

  /* Decodes all frames of all requests that have a stream: as many of each at a time as the one with the fewest has left. */
  Error *decode(std::vector<Work> &works) {
    for (;;) {
      int frames = VOCOSC_MAX_FRAMES;
      waiting_.clear();
      for (Work &work : works) {
        if (work.stream == nullptr || work.decoded == work.frames) continue;
        waiting_.push_back(&work);
        if (work.frames - work.decoded < frames) frames = work.frames - work.decoded;
      }
      if (waiting_.empty()) return nullptr;
      const size_t most = static_cast<size_t>(engine_->most_jobs(frames));
      for (size_t first = 0; first < waiting_.size(); first += most) {
        const size_t end = first + most < waiting_.size() ? first + most : waiting_.size();
        jobs_.clear();
        counts_.clear();
        for (size_t i = first; i < end; i++) {
          Work &work = *waiting_[i];
          const size_t slot = work.stream->slot;
          counts_.push_back(engine_->samples(slot, frames));
          jobs_.push_back({slot, work.mel + static_cast<size_t>(work.decoded) * VOCOSC_MELS,
                           work.audio + work.samples});
        }
        const int status = engine_->decode(jobs_, frames);
        if (status < 0) return error(TRITONSERVER_ERROR_INTERNAL, engine_->text(status));
        for (size_t i = first; i < end; i++) {
          waiting_[i]->decoded += frames;
          waiting_[i]->samples += counts_[i - first];
        }
        model_.calls.add(1.0);
      }
    }
  }

  Error *flush(Work &work) {
    const int count = engine_->flush(work.stream->slot, work.audio + work.samples);
    if (count < 0) return refusal(TRITONSERVER_ERROR_INTERNAL, work, engine_->text(count));
    work.samples += count;
    return nullptr;
  }

  static Error *write(const Work &work) {
    if (work.wants_float) {
      RETURN_IF_ERROR(write_output<float>(OUTPUT_FLOAT, TRITONSERVER_TYPE_FP32, work, [](float x) { return x; }));
    }
    if (work.wants_int16) {
      RETURN_IF_ERROR(write_output<int16_t>(OUTPUT_INT16, TRITONSERVER_TYPE_INT16, work, to_int16));
    }
    return nullptr;
  }

  /* What a request leaves of its stream: nothing after its end, nor after it has failed in the middle. */
  void settle(const Work &work) {
    const auto found = streams_.find(work.sequence);
    if (found == streams_.end()) return;
    if (work.ends || (work.stream != nullptr && work.failed != nullptr)) {
      close(found);
    } else if (work.stream != nullptr) {
      found->second.used = now_;
      found->second.in_call = false;
    }
  }

  bool is_idle(const Stream &stream) const { return !stream.in_call && now_ - stream.used > model_.idle; }

  /* Closes all streams that the server has given up. It looks at them from the last request's arrival on, we from its end. */
  void sweep() {
    double idle = 0.0;
    for (auto stream = streams_.begin(); stream != streams_.end();) {
      const auto next = std::next(stream);
      if (is_idle(stream->second)) {
        drop(stream);
      } else if (now_ - stream->second.used > model_.idle / 4) {
        idle++;
      }
      stream = next;
    }
    count_idle(idle);
    next_sweep_ = now_ + model_.idle / 4;
  }

  void count_idle(double idle) {
    model_.idle_streams.add(idle - counted_idle_);
    counted_idle_ = idle;
  }

  void drop(Streams::iterator stream) {
    model_.expired.add(1.0);
    close(stream);
  }

  void close(Streams::iterator stream) {
    engine_->close(stream->second.slot);
    free_.push_back(stream->second.slot);
    streams_.erase(stream);
    model_.streams.add(-1.0);
  }

  Error *refusal(TRITONSERVER_Error_Code code, const Work &work, const std::string &text) const {
    return error(code, "sequence " + work.sequence + " of model '" + model_.name + "' " + text);
  }

  struct Mel {
    float values[MOST_FRAMES * VOCOSC_MELS];
  };
  struct Audio {
    float values[MOST_FRAMES * VOCOSC_HOP + VOCOSC_TAIL];
  };

  Model &model_;
  std::unique_ptr<Engine> engine_;
  Array<Mel> mel_; /* of each request of an execution, as the next */
  Array<Audio> audio_;
  Streams streams_;
  std::vector<size_t> free_; /* slots */
  Clock::time_point now_ = {}, next_sweep_ = {};
  double counted_idle_ = 0.0;
  std::vector<Work *> waiting_; /* of decode, as the next two */
  std::vector<Job> jobs_;
  std::vector<int> counts_;
};

/* ---- what the server calls, with all exceptions caught ---- */

template <typename Function>
Error *called(Function function) {
  try {
    return function();
  } catch (const std::exception &thrown) {
    return error(TRITONSERVER_ERROR_UNAVAILABLE, thrown.what());
  }
}

Error *make_model(TRITONBACKEND_Model *model) {
  const char *name = nullptr;
  uint64_t version = 0;
  TRITONSERVER_Message *message = nullptr;
  const char *text = nullptr;
  size_t bytes = 0;
  RETURN_IF_ERROR(TRITONBACKEND_ModelName(model, &name));
  RETURN_IF_ERROR(TRITONBACKEND_ModelVersion(model, &version));
  RETURN_IF_ERROR(TRITONBACKEND_ModelConfig(model, 1, &message));
  RETURN_IF_ERROR(TRITONSERVER_MessageSerializeToJson(message, &text, &bytes));
  auto made = std::make_unique<Model>(name, std::to_string(version), std::string(text, bytes));
  ignore(TRITONSERVER_MessageDelete(message));
  if (made->most_streams < 1 || made->most_streams > MOST_STREAMS) {
    return error(TRITONSERVER_ERROR_INVALID_ARG,
                 "max_streams: an instance has 1 to " + std::to_string(MOST_STREAMS) + " streams");
  }
  RETURN_IF_ERROR(TRITONBACKEND_ModelSetState(model, made.get()));
  (void)made.release(); /* ModelFinalize has it */
  return nullptr;
}

Error *make_instance(TRITONBACKEND_ModelInstance *instance) {
  TRITONBACKEND_Model *triton_model = nullptr;
  void *state = nullptr;
  RETURN_IF_ERROR(TRITONBACKEND_ModelInstanceModel(instance, &triton_model));
  RETURN_IF_ERROR(TRITONBACKEND_ModelState(triton_model, &state));
  Model &model = *static_cast<Model *>(state);
  TRITONSERVER_InstanceGroupKind kind = {};
  int32_t device = 0;
  RETURN_IF_ERROR(TRITONBACKEND_ModelInstanceKind(instance, &kind));
  RETURN_IF_ERROR(TRITONBACKEND_ModelInstanceDeviceId(instance, &device));
  std::unique_ptr<Engine> engine;
  if (kind == TRITONSERVER_INSTANCEGROUPKIND_GPU) {
#if VOCOSC_HAS_CUDA
    auto gpu = std::make_unique<Gpu>();
    RETURN_IF_ERROR(gpu->start(model.most_streams, device));
    engine = std::move(gpu);
#else
    return error(TRITONSERVER_ERROR_UNSUPPORTED, "KIND_GPU: the model was compiled without --target cuda");
#endif
  } else {
    auto cpu = std::make_unique<Cpu>(model.most_streams);
    RETURN_IF_ERROR(cpu->start());
    engine = std::move(cpu);
  }
  auto made = std::make_unique<Instance>(model, std::move(engine));
  RETURN_IF_ERROR(TRITONBACKEND_ModelInstanceSetState(instance, made.get()));
  (void)made.release(); /* ModelInstanceFinalize has it */
  return nullptr;
}

} /* namespace */

extern "C" {

TRITONSERVER_Error *TRITONBACKEND_Initialize(TRITONBACKEND_Backend *) {
  uint32_t major = 0, minor = 0;
  RETURN_IF_ERROR(TRITONBACKEND_ApiVersion(&major, &minor));
  if (major == TRITONBACKEND_MAJOR && minor >= TRITONBACKEND_MINOR) return nullptr;
  return called([&] {
    return error(TRITONSERVER_ERROR_UNSUPPORTED,
                 "the server's interface for backends is " + std::to_string(major) + "." + std::to_string(minor) +
                     ", this backend takes " + std::to_string(TRITONBACKEND_MAJOR) + "." +
                     std::to_string(TRITONBACKEND_MINOR) + " or a later " + std::to_string(TRITONBACKEND_MAJOR) + ".x");
  });
}

TRITONSERVER_Error *TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model *model) {
  return called([&] { return make_model(model); });
}

TRITONSERVER_Error *TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model *model) {
  void *state = nullptr;
  RETURN_IF_ERROR(TRITONBACKEND_ModelState(model, &state));
  delete static_cast<Model *>(state);
  return nullptr;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance *instance) {
  return called([&] { return make_instance(instance); });
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance *instance) {
  void *state = nullptr;
  RETURN_IF_ERROR(TRITONBACKEND_ModelInstanceState(instance, &state));
  delete static_cast<Instance *>(state);
  return nullptr;
}

/* Null in any case: the requests are answered and released here. */
TRITONSERVER_Error *TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance *instance,
                                                       TRITONBACKEND_Request **requests, uint32_t count) {
  void *state = nullptr;
  RETURN_IF_ERROR(TRITONBACKEND_ModelInstanceState(instance, &state));
  return called([&] {
    static_cast<Instance *>(state)->execute(instance, requests, count);
    return static_cast<TRITONSERVER_Error *>(nullptr);
  });
}

} /* extern "C" */
