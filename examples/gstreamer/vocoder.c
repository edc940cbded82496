/*
 * A GStreamer element, `vocos`: audio in, through the model, audio out. Mono, float, at the model's rate: audioconvert
 * and audioresample bring other formats there. The property `chunk` is the number of frames of a call.
 */
#include <gst/audio/audio.h>
#include <gst/gst.h>
#include <string.h>

#include "vocos.h"

#define PACKAGE "vocos"
#define FORMAT "audio/x-raw, format = (string) " GST_AUDIO_NE(F32) ", layout = (string) interleaved, channels = (int) 1"
#define CAPS FORMAT ", rate = (int) " G_STRINGIFY(VOCOS_SAMPLE_RATE)

/* Instances of GObject are smaller than 64 KB. */
typedef struct {
  float heard[VOCOS_MAX_FRAMES * VOCOS_HOP]; /* the chunk that is gathered */
  vocos_mel_stream analysis;
  vocos_stream synthesis;
  vocos_scratch scratch;
} Memory;

typedef struct {
  GstElement element;
  GstPad *sink, *source;
  int chunk;    /* the property: it holds from the next chunk on */
  int samples;  /* of the chunk that is gathered, so far */
  guint64 said; /* samples since the start */
  Memory *memory;
} Vocoder;

typedef struct {
  GstElementClass parent;
} VocoderClass;

GType vocoder_get_type(void);
G_DEFINE_TYPE(Vocoder, vocoder, GST_TYPE_ELEMENT)

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(CAPS));
static GstStaticPadTemplate source_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(CAPS));

static GstFlowReturn fail(Vocoder *vocoder, int status) {
  GST_ELEMENT_ERROR(vocoder, STREAM, DECODE, ("%s", vocos_status_text(status)), (NULL));
  return GST_FLOW_ERROR;
}

/* Hands a buffer of so many samples on; it is the owner's no more. */
static GstFlowReturn push(Vocoder *vocoder, GstBuffer *buffer, int samples) {
  if (samples == 0) {
    gst_buffer_unref(buffer);
    return GST_FLOW_OK;
  }
  gst_buffer_set_size(buffer, (gssize)(sizeof(float) * (gsize)samples));
  const guint64 end = vocoder->said + (guint64)samples;
  GST_BUFFER_PTS(buffer) = gst_util_uint64_scale(vocoder->said, GST_SECOND, VOCOS_SAMPLE_RATE);
  GST_BUFFER_DURATION(buffer) = gst_util_uint64_scale(end, GST_SECOND, VOCOS_SAMPLE_RATE) - GST_BUFFER_PTS(buffer);
  GST_BUFFER_OFFSET(buffer) = vocoder->said;
  GST_BUFFER_OFFSET_END(buffer) = end;
  vocoder->said = end;
  return gst_pad_push(vocoder->source, buffer);
}

/* Decodes frames straight into a buffer, and hands it on. */
static GstFlowReturn decode(Vocoder *vocoder, const float *mel, int frames) {
  if (frames == 0) return GST_FLOW_OK;
  GstMapInfo map;
  GstBuffer *buffer = gst_buffer_new_allocate(NULL, sizeof(float) * (gsize)(frames * VOCOS_HOP), NULL);
  gst_buffer_map(buffer, &map, GST_MAP_WRITE);
  const int samples =
      vocos_decode(&vocoder->memory->synthesis, &vocoder->memory->scratch, mel, frames, (float *)(void *)map.data);
  gst_buffer_unmap(buffer, &map);
  if (samples >= 0) return push(vocoder, buffer, samples);
  gst_buffer_unref(buffer);
  return fail(vocoder, samples);
}

/* What was gathered. */
static GstFlowReturn run(Vocoder *vocoder) {
  float mel[VOCOS_MAX_FRAMES * VOCOS_MELS];
  const int frames =
      vocos_mel(&vocoder->memory->analysis, &vocoder->memory->scratch, vocoder->memory->heard, vocoder->samples, mel);
  vocoder->samples = 0;
  return frames < 0 ? fail(vocoder, frames) : decode(vocoder, mel, frames);
}

static GstFlowReturn chain(GstPad *pad, GstObject *parent, GstBuffer *buffer) {
  (void)pad;
  Vocoder *vocoder = (Vocoder *)parent;
  GstFlowReturn flow = GST_FLOW_OK;
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return GST_FLOW_ERROR;
  const gsize count = map.size / sizeof(float);
  for (gsize at = 0; at < count && flow == GST_FLOW_OK;) {
    const int wanted = vocoder->chunk * VOCOS_HOP - vocoder->samples;
    const gsize left = count - at;
    const int taken = wanted > 0 ? (int)MIN((gsize)wanted, left) : 0;
    memcpy(vocoder->memory->heard + vocoder->samples, map.data + sizeof(float) * at, sizeof(float) * (gsize)taken);
    vocoder->samples += taken;
    at += (gsize)taken;
    if (taken >= wanted) flow = run(vocoder);
  }
  gst_buffer_unmap(buffer, &map);
  gst_buffer_unref(buffer);
  return flow;
}

/* The end of an utterance: the frames that were begun, and the rest of the audio. */
static GstFlowReturn finish(Vocoder *vocoder) {
  float mel[(VOCOS_MEL_TAIL + 1) * VOCOS_MELS];
  GstFlowReturn flow = run(vocoder);
  const int frames = vocos_mel_flush(&vocoder->memory->analysis, &vocoder->memory->scratch, mel);
  if (frames < 0) return fail(vocoder, frames);
  for (int at = 0; at < frames && flow == GST_FLOW_OK; at += VOCOS_MAX_FRAMES) {
    flow = decode(vocoder, mel + at * VOCOS_MELS, MIN(frames - at, VOCOS_MAX_FRAMES));
  }
  if (flow != GST_FLOW_OK) return flow;
  GstMapInfo map;
  GstBuffer *buffer = gst_buffer_new_allocate(NULL, sizeof(float) * (VOCOS_TAIL + 1), NULL);
  gst_buffer_map(buffer, &map, GST_MAP_WRITE);
#if VOCOS_LATENCY_LOOKAHEAD_FRAMES > 0
  const int samples = vocos_flush(&vocoder->memory->synthesis, &vocoder->memory->scratch, (float *)(void *)map.data);
#else
  const int samples = vocos_flush(&vocoder->memory->synthesis, (float *)(void *)map.data);
#endif
  gst_buffer_unmap(buffer, &map);
  return push(vocoder, buffer, samples);
}

static void reset(Vocoder *vocoder) {
  vocoder->samples = 0;
  vocoder->said = 0;
  vocos_init(&vocoder->memory->synthesis);
  vocos_mel_init(&vocoder->memory->analysis);
}

static gboolean sink_event(GstPad *pad, GstObject *parent, GstEvent *event) {
  Vocoder *vocoder = (Vocoder *)parent;
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_EOS:
      finish(vocoder);
      break;
    case GST_EVENT_FLUSH_STOP:
    case GST_EVENT_STREAM_START:
      reset(vocoder);
      break;
    default:
      break;
  }
  return gst_pad_event_default(pad, parent, event);
}

/* The latency: what comes before us, and a chunk, and what the model lags by. */
static gboolean source_query(GstPad *pad, GstObject *parent, GstQuery *query) {
  Vocoder *vocoder = (Vocoder *)parent;
  if (GST_QUERY_TYPE(query) != GST_QUERY_LATENCY) return gst_pad_query_default(pad, parent, query);
  if (!gst_pad_peer_query(vocoder->sink, query)) return FALSE;
  gboolean live;
  GstClockTime least, most;
  gst_query_parse_latency(query, &live, &least, &most);
  const guint64 samples = (guint64)vocoder->chunk * VOCOS_HOP + VOCOS_LATENCY_SAMPLES;
  const GstClockTime own = gst_util_uint64_scale(samples, GST_SECOND, VOCOS_SAMPLE_RATE);
  gst_query_set_latency(query, live, least + own, GST_CLOCK_TIME_IS_VALID(most) ? most + own : most);
  return TRUE;
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *specification) {
  (void)id, (void)specification;
  ((Vocoder *)object)->chunk = g_value_get_int(value);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *specification) {
  (void)id, (void)specification;
  g_value_set_int(value, ((Vocoder *)object)->chunk);
}

static void finalize(GObject *object) {
  g_free(((Vocoder *)object)->memory);
  G_OBJECT_CLASS(vocoder_parent_class)->finalize(object);
}

static void vocoder_init(Vocoder *vocoder) {
  vocoder->memory = g_new0(Memory, 1);
  vocoder->chunk = 1;
  vocoder->sink = gst_pad_new_from_static_template(&sink_template, "sink");
  gst_pad_set_chain_function(vocoder->sink, chain);
  gst_pad_set_event_function(vocoder->sink, sink_event);
  GST_PAD_SET_PROXY_CAPS(vocoder->sink);
  gst_element_add_pad((GstElement *)vocoder, vocoder->sink);
  vocoder->source = gst_pad_new_from_static_template(&source_template, "src");
  gst_pad_set_query_function(vocoder->source, source_query);
  GST_PAD_SET_PROXY_CAPS(vocoder->source);
  gst_element_add_pad((GstElement *)vocoder, vocoder->source);
  reset(vocoder);
}

static void vocoder_class_init(VocoderClass *class) {
  GObjectClass *object = (GObjectClass *)class;
  GstElementClass *element = (GstElementClass *)class;
  object->set_property = set_property;
  object->get_property = get_property;
  object->finalize = finalize;
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;
  g_object_class_install_property(
      object, 1, g_param_spec_int("chunk", "Chunk", "Frames of a call", 1, VOCOS_MAX_FRAMES, 1, flags));
  gst_element_class_set_static_metadata(element, "Vocoder", "Filter/Effect/Audio", "Audio through a compiled vocoder",
                                        "vocosc");
  gst_element_class_add_static_pad_template(element, &sink_template);
  gst_element_class_add_static_pad_template(element, &source_template);
}

static gboolean start(GstPlugin *plugin) {
  return gst_element_register(plugin, "vocos", GST_RANK_NONE, vocoder_get_type());
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, vocos, "A compiled vocoder", start, "1.0", "MIT/X11", PACKAGE,
                  "vocosc")
