/*
 * A stand-in for Triton: the functions that the backend calls, and clients whose every sample is compared with what the
 * object gives alone. Sequences of different progress share executions, move to other sequences by replaying, end and
 * begin anew, in one instance and then in two at a time, each on a thread of its own. What the server owns is scribbled
 * over once it is released.
 *
 *   triton LIBRARY FRAMES ROUNDS    utterances of up to FRAMES frames, ROUNDS executions in each instance
 */
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "vocosc.h"
#include "vocosc_tritonbackend.h"

namespace {

constexpr int MOST_FRAMES = 256, BATCH = 6, CLIENTS = 24, UTTERANCES = 12, MOST_LOST = 12, MOST_STREAMS = 40;
constexpr int KEPT = RECEPTIVE_FIELD;

[[noreturn]] void fail(const std::string &text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::exit(1);
}

/* The largest block that a thread took from the heap while it was in the backend. */
thread_local size_t largest = 0;
thread_local bool is_inside = false;

std::mutex guard; /* of the metrics, by name */
std::map<std::string, double> metrics;
std::atomic<long> frames_sent;

void expect(const char *name, double value) {
  const std::lock_guard<std::mutex> lock(guard);
  if (metrics[name] != value) fail(name + (" is " + std::to_string(metrics[name])));
}

} /* namespace */

__attribute__((noinline)) void *operator new(size_t bytes) {
  if (is_inside && bytes > largest) largest = bytes;
  if (void *const found = std::malloc(bytes)) return found;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void *memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void *memory, size_t) noexcept { std::free(memory); }

struct TRITONSERVER_Error {
  TRITONSERVER_Error_Code code;
  std::string text;
};
struct TRITONSERVER_MetricFamily {
  std::string name;
};
struct TRITONSERVER_Metric {
  std::string name;
};
struct TRITONBACKEND_Model {
  void *state = nullptr;
};
struct TRITONBACKEND_ModelInstance {
  TRITONBACKEND_Model *model;
  void *state = nullptr;
};
struct TRITONBACKEND_Input {
  std::vector<float> mel;
  int64_t shape[3];
  size_t split; /* bytes in the first of two buffers */
};
struct TRITONBACKEND_Request {
  uint64_t sequence;
  uint32_t flags;
  bool is_int16;
  TRITONBACKEND_Input input;
  bool is_released = false;
  std::string failed; /* of the response */
  std::vector<unsigned char> audio;
  bool is_answered = false;
};
struct TRITONBACKEND_Output {
  TRITONBACKEND_Request *request;
};
struct TRITONBACKEND_Response {
  TRITONBACKEND_Request *request;
  TRITONBACKEND_Output output;
  std::vector<unsigned char> audio;
  int64_t samples = -1;
};

extern "C" {

#define STAND_IN __attribute__((visibility("default"))) TRITONSERVER_Error *

STAND_IN TRITONBACKEND_ApiVersion(uint32_t *major, uint32_t *minor) {
  *major = TRITONBACKEND_MAJOR, *minor = TRITONBACKEND_MINOR;
  return nullptr;
}
STAND_IN TRITONSERVER_ErrorNew(TRITONSERVER_Error_Code code, const char *text) {
  return new TRITONSERVER_Error{code, text};
}
void TRITONSERVER_ErrorDelete(TRITONSERVER_Error *error) { delete error; }
const char *TRITONSERVER_ErrorMessage(TRITONSERVER_Error *error) { return error->text.c_str(); }
STAND_IN TRITONSERVER_LogMessage(TRITONSERVER_LogLevel, const char *, int, const char *text) { fail(text); }
STAND_IN TRITONSERVER_MessageSerializeToJson(TRITONSERVER_Message *, const char **text, size_t *bytes) {
  static const std::string config =
      "{\"max_batch_size\":6,\"parameters\":{\"max_streams\":{\"string_value\":\"40\"}},"
      "\"sequence_batching\":{\"max_sequence_idle_microseconds\":3600000000}}";
  *text = config.c_str(), *bytes = config.size();
  return nullptr;
}
STAND_IN TRITONSERVER_MessageDelete(TRITONSERVER_Message *) { return nullptr; }
TRITONSERVER_Parameter *TRITONSERVER_ParameterNew(const char *, TRITONSERVER_ParameterType, const void *) {
  return nullptr;
}
void TRITONSERVER_ParameterDelete(TRITONSERVER_Parameter *) {}
STAND_IN TRITONSERVER_MetricFamilyNew(TRITONSERVER_MetricFamily **family, TRITONSERVER_MetricKind, const char *name,
                                      const char *) {
  *family = new TRITONSERVER_MetricFamily{name};
  return nullptr;
}
STAND_IN TRITONSERVER_MetricFamilyDelete(TRITONSERVER_MetricFamily *family) {
  delete family;
  return nullptr;
}
STAND_IN TRITONSERVER_MetricNew(TRITONSERVER_Metric **metric, TRITONSERVER_MetricFamily *family,
                                const TRITONSERVER_Parameter **, uint64_t) {
  *metric = new TRITONSERVER_Metric{family->name.substr(family->name.find('_') + 1)}; /* without the generator's name */
  return nullptr;
}
STAND_IN TRITONSERVER_MetricDelete(TRITONSERVER_Metric *metric) {
  delete metric;
  return nullptr;
}
STAND_IN TRITONSERVER_MetricIncrement(TRITONSERVER_Metric *metric, double value) {
  const std::lock_guard<std::mutex> lock(guard);
  metrics[metric->name] += value;
  return nullptr;
}

STAND_IN TRITONBACKEND_ModelName(TRITONBACKEND_Model *, const char **name) {
  *name = "model";
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelVersion(TRITONBACKEND_Model *, uint64_t *version) {
  *version = 1;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelConfig(TRITONBACKEND_Model *, uint32_t, TRITONSERVER_Message **config) {
  *config = nullptr;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelState(TRITONBACKEND_Model *model, void **state) {
  *state = model->state;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelSetState(TRITONBACKEND_Model *model, void *state) {
  model->state = state;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelInstanceModel(TRITONBACKEND_ModelInstance *instance, TRITONBACKEND_Model **model) {
  *model = instance->model;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelInstanceKind(TRITONBACKEND_ModelInstance *, TRITONSERVER_InstanceGroupKind *kind) {
  *kind = TRITONSERVER_InstanceGroupKind(1);
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelInstanceDeviceId(TRITONBACKEND_ModelInstance *, int32_t *device) {
  *device = 0;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelInstanceState(TRITONBACKEND_ModelInstance *instance, void **state) {
  *state = instance->state;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelInstanceSetState(TRITONBACKEND_ModelInstance *instance, void *state) {
  instance->state = state;
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelInstanceReportStatistics(TRITONBACKEND_ModelInstance *, TRITONBACKEND_Request *request,
                                                     bool, uint64_t, uint64_t, uint64_t, uint64_t) {
  if (request->is_released) fail("statistics of a request that is released");
  return nullptr;
}
STAND_IN TRITONBACKEND_ModelInstanceReportBatchStatistics(TRITONBACKEND_ModelInstance *, uint64_t, uint64_t, uint64_t,
                                                          uint64_t, uint64_t) {
  return nullptr;
}

STAND_IN TRITONBACKEND_RequestCorrelationId(TRITONBACKEND_Request *request, uint64_t *id) {
  *id = request->sequence;
  return nullptr;
}
STAND_IN TRITONBACKEND_RequestCorrelationIdString(TRITONBACKEND_Request *, const char **) {
  fail("a text was asked for");
}
STAND_IN TRITONBACKEND_RequestFlags(TRITONBACKEND_Request *request, uint32_t *flags) {
  *flags = request->flags;
  return nullptr;
}
STAND_IN TRITONBACKEND_RequestInput(TRITONBACKEND_Request *request, const char *, TRITONBACKEND_Input **input) {
  *input = &request->input;
  return nullptr;
}
STAND_IN TRITONBACKEND_RequestOutputCount(TRITONBACKEND_Request *, uint32_t *count) {
  *count = 1;
  return nullptr;
}
STAND_IN TRITONBACKEND_RequestOutputName(TRITONBACKEND_Request *request, uint32_t, const char **name) {
  *name = request->is_int16 ? "audio_int16" : "audio";
  return nullptr;
}
STAND_IN TRITONBACKEND_RequestRelease(TRITONBACKEND_Request *request, uint32_t) {
  if (request->is_released) fail("a request is released twice");
  request->is_released = true;
  std::fill(request->input.mel.begin(), request->input.mel.end(), 1e30f);
  request->sequence = 0;
  return nullptr;
}
STAND_IN TRITONBACKEND_InputProperties(TRITONBACKEND_Input *input, const char **, TRITONSERVER_DataType *type,
                                       const int64_t **shape, uint32_t *dims, uint64_t *bytes, uint32_t *buffers) {
  *type = TRITONSERVER_TYPE_FP32, *shape = input->shape, *dims = 3;
  *bytes = input->mel.size() * sizeof(float), *buffers = 2;
  return nullptr;
}
STAND_IN TRITONBACKEND_InputBuffer(TRITONBACKEND_Input *input, uint32_t index, const void **buffer, uint64_t *bytes,
                                   TRITONSERVER_MemoryType *memory, int64_t *) {
  const size_t all = input->mel.size() * sizeof(float);
  *buffer = reinterpret_cast<const unsigned char *>(input->mel.data()) + (index == 0 ? 0 : input->split);
  *bytes = index == 0 ? input->split : all - input->split, *memory = TRITONSERVER_MEMORY_CPU;
  return nullptr;
}
STAND_IN TRITONBACKEND_ResponseNew(TRITONBACKEND_Response **response, TRITONBACKEND_Request *request) {
  if (request->is_released) fail("a response to a request that is released");
  is_inside = false;
  *response = new TRITONBACKEND_Response{request, {request}, {}};
  is_inside = true;
  return nullptr;
}
STAND_IN TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response *response, TRITONBACKEND_Output **output, const char *,
                                      TRITONSERVER_DataType, const int64_t *shape, uint32_t dims) {
  if (dims != 2 || shape[0] != 1) fail("a shape that is not [1, samples]");
  *output = &response->output, response->samples = shape[1];
  return nullptr;
}
STAND_IN TRITONBACKEND_OutputBuffer(TRITONBACKEND_Output *output, void **buffer, uint64_t bytes,
                                    TRITONSERVER_MemoryType *memory, int64_t *) {
  is_inside = false;
  output->request->audio.assign(bytes + 1, 0xee);
  is_inside = true;
  *buffer = output->request->audio.data() + 1, *memory = TRITONSERVER_MEMORY_CPU; /* of no alignment */
  return nullptr;
}
STAND_IN TRITONBACKEND_ResponseSend(TRITONBACKEND_Response *response, uint32_t, TRITONSERVER_Error *error) {
  response->request->is_answered = true;
  if (error != nullptr) response->request->failed = error->text;
  delete response;
  return nullptr;
}

} /* extern "C" */

namespace {

template <typename Function>
Function *found(void *library, const char *name) {
  void *const address = dlsym(library, name);
  if (address == nullptr) fail(dlerror());
  return reinterpret_cast<Function *>(address);
}

int16_t to_int16(float sample) {
  const float scaled = sample * 32768.0f;
  return static_cast<int16_t>(std::lrint(scaled < 32767.0f ? scaled > -32768.0f ? scaled : -32768.0f : 32767.0f));
}

struct Utterance {
  std::vector<float> mel; /* [frames][VOCOSC_MELS] */
  int frames = 0;
  std::vector<float> audio; /* decoded alone */
  std::vector<int16_t> rounded;
};

/* Decodes an utterance alone, in chunks of the largest size. */
Utterance make_utterance(int frames, uint32_t seed) {
  Utterance made;
  made.mel.resize(static_cast<size_t>(frames * VOCOSC_MELS)), made.frames = frames;
  std::mt19937 random(seed);
  for (float &value : made.mel) value = static_cast<float>(static_cast<int>(random() % 8001) - 6000) / 1000.0f;
  auto stream = std::make_unique<vocosc_stream>();
  auto scratch = std::make_unique<vocosc_scratch>();
  made.audio.resize(static_cast<size_t>(frames * VOCOSC_HOP + VOCOSC_TAIL));
  if (vocosc_init(stream.get()) != VOCOSC_OK) fail("init");
  int samples = 0;
  for (int at = 0; at < frames; at += VOCOSC_MAX_FRAMES) {
    const int count = frames - at < VOCOSC_MAX_FRAMES ? frames - at : VOCOSC_MAX_FRAMES;
    samples += vocosc_decode(stream.get(), scratch.get(), made.mel.data() + at * VOCOSC_MELS, count,
                             made.audio.data() + samples);
  }
#if VOCOSC_LATENCY_LOOKAHEAD_FRAMES > 0
  samples += vocosc_flush(stream.get(), scratch.get(), made.audio.data() + samples);
#else
  samples += vocosc_flush(stream.get(), made.audio.data() + samples);
#endif
  made.audio.resize(static_cast<size_t>(samples));
  for (float sample : made.audio) made.rounded.push_back(to_int16(sample));
  return made;
}

struct Client {
  const Utterance *utterance = nullptr;
  uint64_t sequence = 0; /* 0: none is open */
  bool is_int16 = false;
  int at = 0;         /* frames sent */
  size_t samples = 0; /* received */
};

/* The audio of a request continues the client's, after what it has already. */
void compare(Client &client, const TRITONBACKEND_Request &request, size_t skipped) {
  if (!request.failed.empty()) fail(request.failed);
  const size_t size = client.is_int16 ? sizeof(int16_t) : sizeof(float);
  const size_t samples = request.audio.empty() ? 0 : (request.audio.size() - 1) / size;
  const Utterance &expected = *client.utterance;
  if (samples < skipped || client.samples + samples - skipped > expected.audio.size())
    fail("samples are missing, or too many");
  for (size_t i = skipped; i < samples; i++, client.samples++) {
    const unsigned char *const got = request.audio.data() + 1 + i * size;
    const size_t at = client.samples;
    const void *const right = client.is_int16 ? static_cast<const void *>(&expected.rounded[at])
                                              : static_cast<const void *>(&expected.audio[at]);
    if (std::memcmp(got, right, size) != 0) fail("sample " + std::to_string(client.samples) + " differs");
  }
}

using Execute = decltype(TRITONBACKEND_ModelInstanceExecute);

/* Executions of requests of random clients. Returns how many utterances were whole. */
int play(Execute *execute, TRITONBACKEND_ModelInstance *instance, const std::vector<Utterance> &utterances, int rounds,
         uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&random](int limit) { return static_cast<int>(random() % static_cast<uint32_t>(limit)); };
  std::vector<Client> clients(CLIENTS);
  uint64_t sequence = seed;
  int whole = 0, lost = 0;
  for (int round = 0; round < rounds; round++) {
    std::vector<std::unique_ptr<TRITONBACKEND_Request>> requests;
    std::vector<TRITONBACKEND_Request *> pointers;
    std::vector<std::pair<Client *, size_t>> senders; /* and how many samples they have already */
    const int count =
        1 + below(round % 16 == 0 ? CLIENTS : BATCH); /* the backend takes more than it has asked for, too */
    for (int first = below(CLIENTS), i = 0; i < count; i++) {
      Client &client = clients[static_cast<size_t>((first + i) % CLIENTS)];
      if (client.utterance == nullptr) {
        client = {&utterances[static_cast<size_t>(below(UTTERANCES))]};
        client.is_int16 = below(3) == 0;
      }
      const bool moves = client.sequence != 0 && below(16) == 0;
      if (moves) { /* with an END, whose audio nobody wants, or without a word */
        if (below(2) == 0 || ++lost > MOST_LOST) {
          auto end = std::make_unique<TRITONBACKEND_Request>();
          end->sequence = client.sequence, end->flags = TRITONSERVER_REQUEST_FLAG_SEQUENCE_END;
          end->input = {{}, {1, 0, VOCOSC_MELS}, 0};
          TRITONBACKEND_Request *pointer = end.get();
          if (execute(instance, &pointer, 1) != nullptr || !end->failed.empty()) fail("END");
        }
        client.sequence = 0;
      }
      const bool starts = client.sequence == 0;
      const int kept = starts ? client.at < KEPT ? client.at : KEPT : 0;
      int frames = 1 + below(below(8) == 0 ? MOST_FRAMES - KEPT : 9);
      if (frames > client.utterance->frames - client.at) frames = client.utterance->frames - client.at;
      const bool ends = client.at + frames == client.utterance->frames && (frames == 0 || below(2) == 0);
      if (frames == 0 && !ends) continue;
      auto request = std::make_unique<TRITONBACKEND_Request>();
      if (starts) client.sequence = sequence += 2;
      request->sequence = client.sequence, request->is_int16 = client.is_int16;
      request->flags =
          (starts ? TRITONSERVER_REQUEST_FLAG_SEQUENCE_START : 0) | (ends ? TRITONSERVER_REQUEST_FLAG_SEQUENCE_END : 0);
      const float *const mel = client.utterance->mel.data();
      request->input.mel.assign(mel + (client.at - kept) * VOCOSC_MELS, mel + (client.at + frames) * VOCOSC_MELS);
      request->input.shape[0] = 1, request->input.shape[1] = kept + frames, request->input.shape[2] = VOCOSC_MELS;
      request->input.split =
          static_cast<size_t>(below(static_cast<int>(request->input.mel.size() * sizeof(float)) + 1));
      senders.emplace_back(&client, starts ? client.samples - static_cast<size_t>((client.at - kept) * VOCOSC_HOP) : 0);
      client.at += frames;
      frames_sent += kept + frames;
      pointers.push_back(request.get());
      requests.push_back(std::move(request));
    }
    if (pointers.empty()) continue;
    is_inside = true;
    TRITONSERVER_Error *const error = execute(instance, pointers.data(), static_cast<uint32_t>(pointers.size()));
    is_inside = false;
    if (error != nullptr) fail(error->text);
    for (size_t i = 0; i < requests.size(); i++) {
      if (!requests[i]->is_released || !requests[i]->is_answered) fail("a request is left");
      Client &client = *senders[i].first;
      compare(client, *requests[i], senders[i].second);
      if ((requests[i]->flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_END) == 0) continue;
      if (client.samples != client.utterance->audio.size()) fail("an utterance is too short");
      client = {};
      whole++;
    }
  }
  if (largest > 8000) fail("a block of " + std::to_string(largest) + " bytes came from the heap");
  return whole;
}

} /* namespace */

int main(int, char **arguments) {
  void *const library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) fail(dlerror());
  const int most = std::atoi(arguments[2]), rounds = std::atoi(arguments[3]);
  std::vector<Utterance> utterances;
  for (int i = 0; i < UTTERANCES; i++)
    utterances.push_back(make_utterance(1 + i * (most - 1) / (UTTERANCES - 1), static_cast<uint32_t>(i)));

  TRITONBACKEND_Model model;
  if (found<decltype(TRITONBACKEND_Initialize)>(library, "TRITONBACKEND_Initialize")(nullptr) != nullptr)
    fail("version");
  found<decltype(TRITONBACKEND_ModelInitialize)>(library, "TRITONBACKEND_ModelInitialize")(&model);
  Execute *const execute = found<Execute>(library, "TRITONBACKEND_ModelInstanceExecute");
  int whole[3] = {};
  const auto work = [&](int number) {
    TRITONBACKEND_ModelInstance instance = {&model};
    is_inside = true;
    found<decltype(TRITONBACKEND_ModelInstanceInitialize)>(library, "TRITONBACKEND_ModelInstanceInitialize")(&instance);
    is_inside = false;
    if (number == 0) expect("slots", MOST_STREAMS);
    /* A thread whose arithmetic is not the usual one, and stays as it was. */
    std::fesetround(FE_UPWARD);
    whole[number] = play(execute, &instance, utterances, rounds, static_cast<uint32_t>(number + 1));
    if (std::fegetround() != FE_UPWARD) fail("the thread's rounding was changed");
    found<decltype(TRITONBACKEND_ModelInstanceFinalize)>(library, "TRITONBACKEND_ModelInstanceFinalize")(&instance);
  };
  work(0);
  std::thread other(work, 1), third(work, 2);
  other.join();
  third.join();
  for (const char *name : {"slots", "streams", "idle_streams", "refused_total"}) expect(name, 0.0);
  expect("frames_total", static_cast<double>(frames_sent));
  found<decltype(TRITONBACKEND_ModelFinalize)>(library, "TRITONBACKEND_ModelFinalize")(&model);
  std::printf("%d utterances are whole\n", whole[0] + whole[1] + whole[2]);
  return whole[0] > 0 && whole[1] > 0 && whole[2] > 0 ? 0 : 1;
}
