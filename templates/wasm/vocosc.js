/*
 * The model in a browser or in Node.js: vocosc.wasm, or vocosc_relaxed.wasm where the engine knows relaxed SIMD.
 *
 *   import { load } from "./vocosc.js";
 *   const stream = (await load()).stream();
 *   const audio = stream.decode(mel);   // Float32Array [frames * mels] in, samples out; any number of frames
 *   const rest = stream.flush();
 *
 * The same file is the module of an AudioWorklet, and registers a processor there: see the end.
 */

/** The model's sizes, and what it is. Full scale is +-1; mel is [frames][mels], row-major. */
export const info = Object.freeze({
  name: "vocosc",
  precision: "${options.precision}",
  sampleRate: ${config.sample_rate},
  mels: ${config.n_mels}, // values of a frame
  hop: ${config.hop_length}, // samples of a frame
  maxFrames: ${plan.max_frames}, // of a call
  tail: ${plan.tail}, // samples that flush gives, at most
  melTail: ${framing.tail}, // frames that melFlush gives, at most
  latencySamples: ${plan.lookahead * config.hop_length + plan.overlap_floats}, // look-ahead and overlap
  hasMel: ${"true" if config.mel else "false"},
  melText: "${mel_text}", // what the mel is
  baked: ${"true" if options.baked else "false"}, // else the weights are in vocosc_weights.bin
  checkpointSha256: "${sha256}",
});

const GOLDEN_HASH = "${"%016x" | format(weights.golden_hash)}"; // FNV-1a of the words of what golden() decodes
const GOLDEN_FRAMES = ${golden_frames};
const GOLDEN_MEL = [
${golden_mel | js_numbers}
];

/* A function of one relaxed multiply-add. */
const RELAXED = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0,
  65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11,
);

/** Whether this engine takes vocosc_relaxed.wasm. Whether its multiply-adds are fused, that module tries for itself. */
export function hasRelaxedSimd() {
  return WebAssembly.validate(RELAXED);
}

/**
 * The model. What it is made of, an ArrayBuffer, a typed array or a URL each, is by default what lies beside this file.
 * wasm: vocosc.wasm or vocosc_relaxed.wasm; weights: vocosc_weights.bin, of a model compiled with --weights blob.
 */
export async function load({ wasm, weights } = {}) {
  const file = hasRelaxedSimd() ? "vocosc_relaxed.wasm" : "vocosc.wasm";
  const module = await WebAssembly.compile(await bytesOf(wasm ?? new URL(file, import.meta.url)));
  const baked = info.baked ? undefined : await bytesOf(weights ?? new URL("vocosc_weights.bin", import.meta.url));
  return new Model(module, baked, await WebAssembly.instantiate(module));
}

async function bytesOf(source) {
  if (typeof source !== "string" && !(source instanceof URL)) return source;
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:" && globalThis.process?.versions?.node) {
    return (await import("node:fs/promises")).readFile(url);
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error("vocosc: " + url + ": " + response.status + " " + response.statusText);
  return response.arrayBuffer();
}

/** An instance of the module, with the memory of all its streams. */
export class Model {
  #functions;
  #end; // of the memory in use
  #scratch;
  #weights = 0;
  #weightsBytes = 0;
  #free = []; // memory of streams that were freed

  /** Of a compiled module, for where one cannot wait for load: an AudioWorklet. weights: bytes, unless they are baked. */
  constructor(module, weights, instance = new WebAssembly.Instance(module)) {
    this.module = module;
    this.weights = weights;
    this.#functions = instance.exports;
    this.#end = instance.exports.__heap_base.value;
    this.#scratch = this._allocate(instance.exports.vocosc_scratch_bytes());
    if (!info.baked) {
      const bytes = weights instanceof ArrayBuffer ? new Uint8Array(weights) : weights;
      this.#weights = this._allocate(bytes.length);
      this.#weightsBytes = bytes.length;
      new Uint8Array(this.memory.buffer, this.#weights, bytes.length).set(bytes);
    }
    const probe = this.stream();
    /** The instruction set that streams run on: "wasm_relaxed", or "wasm", which emulates fused multiply-adds. */
    this.target = this._text(instance.exports.vocosc_target_name(probe._target()));
    probe.free();
  }

  get memory() {
    return this.#functions.memory;
  }

  /** A stream at the beginning of an utterance. */
  stream() {
    return new Stream(this, this.#functions, this.#scratch, this.#free.pop() ?? this._allocate(Stream.bytes(this.#functions)));
  }

  /** Decodes the built-in mel of the self-test: the hash of its audio, and what the compiler says that it must be. */
  golden() {
    const stream = this.stream();
    const mel = Float32Array.from({ length: GOLDEN_FRAMES * info.mels }, (_, i) => GOLDEN_MEL[i % info.mels]);
    let hash = 14695981039346656037n;
    for (const audio of [stream.decode(mel), stream.flush()]) {
      for (const word of new Uint32Array(audio.buffer)) hash = BigInt.asUintN(64, (hash ^ BigInt(word)) * 1099511628211n);
    }
    stream.free();
    return { hash: hash.toString(16).padStart(16, "0"), expected: GOLDEN_HASH };
  }

  /** Where so many bytes of memory begin, which last as long as the model. */
  _allocate(bytes) {
    const at = Math.ceil(this.#end / 64) * 64;
    this.#end = at + bytes;
    const more = this.#end - this.memory.buffer.byteLength;
    if (more > 0) this.memory.grow(Math.ceil(more / 65536));
    return at;
  }

  _release(at) {
    this.#free.push(at);
  }

  _init(stream) {
//% if options.baked
    return this.#functions.vocosc_init(stream);
//% else
    return this.#functions.vocosc_init_weights(stream, 0, this.#weights, this.#weightsBytes);
//% endif
  }

  _text(pointer) {
    const bytes = new Uint8Array(this.memory.buffer, pointer);
    return String.fromCharCode(...bytes.subarray(0, bytes.indexOf(0)));
  }
}

/**
 * The state of one utterance in each direction, mel to audio and audio to mel, and its arrays in the module's memory.
 *
 * decode, flush, mel and melFlush take and give arrays of the caller's. Below them are run and analyse, which neither copy
 * nor allocate: they work on the arrays `frames`, `samples` and `recorded`, which stay good until the next stream is made.
 */
export class Stream {
  #model;
  #functions;
  #scratch;
  #state; // where each part begins
  #melState;
  #frames;
  #samples;
  #recorded;
  #views = {};

  static bytes(functions) {
    const frames = Math.max(info.maxFrames, info.melTail) * info.mels;
    const samples = Math.max(info.maxFrames * info.hop, info.tail) + info.maxFrames * info.hop;
    return functions.vocosc_stream_bytes() + functions.vocosc_mel_stream_bytes() + 4 * (frames + samples);
  }

  constructor(model, functions, scratch, at) {
    this.#model = model;
    this.#functions = functions;
    this.#scratch = scratch;
    this.#state = at;
    this.#melState = at + functions.vocosc_stream_bytes();
    this.#frames = this.#melState + functions.vocosc_mel_stream_bytes();
    this.#samples = this.#frames + 4 * Math.max(info.maxFrames, info.melTail) * info.mels;
    this.#recorded = this.#samples + 4 * Math.max(info.maxFrames * info.hop, info.tail);
    this.#check(model._init(this.#state));
    if (info.hasMel) this.#check(functions.vocosc_mel_init(this.#melState));
  }

  /** Log-mel, [maxFrames][mels]: what run decodes, what analyse has found. */
  get frames() {
    return this.#view("frames", this.#frames, Math.max(info.maxFrames, info.melTail) * info.mels);
  }

  /** What run has decoded: [maxFrames * hop]. */
  get samples() {
    return this.#view("samples", this.#samples, Math.max(info.maxFrames * info.hop, info.tail));
  }

  /** Audio for analyse: [maxFrames * hop]. */
  get recorded() {
    return this.#view("recorded", this.#recorded, info.maxFrames * info.hop);
  }

  /** Decodes the first 1 to maxFrames of `frames`; returns how many of `samples` are their audio. */
  run(frames) {
    return this.#check(this.#functions.vocosc_decode(this.#state, this.#scratch, this.#frames, frames, this.#samples));
  }

  /** The end of an utterance: returns how many of `samples` are the rest of its audio. The stream begins anew. */
  runFlush() {
    return this.#check(this.#functions.vocosc_flush(this.#state, ${"this.#scratch, " if plan.lookahead}this.#samples));
  }

  /** Takes the first samples of `recorded`, maxFrames * hop at most; returns how many of `frames` they complete. */
  analyse(samples) {
    return this.#check(this.#functions.vocosc_mel(this.#melState, this.#scratch, this.#recorded, samples, this.#frames));
  }

  /** The end of the recording, likewise. */
  analyseFlush() {
    return this.#check(this.#functions.vocosc_mel_flush(this.#melState, this.#scratch, this.#frames));
  }

  /** Log-mel, [frames][mels], to the audio that it completes. */
  decode(mel) {
    if (!(mel instanceof Float32Array)) throw new TypeError("vocosc: decode takes a Float32Array");
    if (mel.length % info.mels !== 0) {
      throw new RangeError("vocosc: mel has " + mel.length + " values, which is no multiple of " + info.mels + " a frame");
    }
    return gather(mel, info.maxFrames * info.mels, (part) => {
      this.frames.set(part);
      return this.samples.subarray(0, this.run(part.length / info.mels));
    });
  }

  /** The rest of the utterance's audio; the stream begins anew. */
  flush() {
    return this.samples.slice(0, this.runFlush());
  }

  /** Audio to the log-mel frames, [frames][mels], that it completes: any number of samples. */
  mel(audio) {
    if (!(audio instanceof Float32Array)) throw new TypeError("vocosc: mel takes a Float32Array");
    return gather(audio, info.maxFrames * info.hop, (part) => {
      this.recorded.set(part);
      return this.frames.subarray(0, this.analyse(part.length) * info.mels);
    });
  }

  /** The last frames of the audio; the analysis begins anew. */
  melFlush() {
    return this.frames.slice(0, this.analyseFlush() * info.mels);
  }

  /** Both directions back to the beginning. */
  reset() {
    this.#check(this.#functions.vocosc_reset(this.#state));
    if (info.hasMel) this.#check(this.#functions.vocosc_mel_reset(this.#melState));
  }

  /** Another stream in this one's state: both go on from here. */
  copy() {
    const other = this.#model.stream();
    const bytes = new Uint8Array(this.#model.memory.buffer);
    bytes.copyWithin(other.#state, this.#state, this.#frames);
    return other;
  }

  /** Gives the memory back, for the model's next stream. This one is of no use any more. */
  free() {
    this.#model._release(this.#state);
    this.#state = this.#melState = 0;
  }

  _target() {
    return new Uint32Array(this.#model.memory.buffer, this.#state, 2)[1];
  }

  /* Kept until the memory grows and moves. */
  #view(name, at, length) {
    const buffer = this.#model.memory.buffer;
    if (this.#views[name]?.buffer !== buffer) this.#views[name] = new Float32Array(buffer, at, length);
    return this.#views[name];
  }

  #check(count) {
    if (count < 0) throw new Error("vocosc: " + this.#model._text(this.#functions.vocosc_status_text(count)));
    return count;
  }
}

/* What a function makes of an array's parts, one after the other, in an array of its own. */
function gather(array, most, make) {
  const parts = [];
  let length = 0;
  for (let at = 0; at < array.length; at += most) {
    const part = make(array.subarray(at, at + most)).slice();
    parts.push(part);
    length += part.length;
  }
  const whole = new Float32Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/*
 * The processor "vocosc" of an AudioWorklet: mono in, analysed, decoded, and out again.
 *
 *   const context = new AudioContext({ sampleRate: info.sampleRate });
 *   await context.audioWorklet.addModule("./vocosc.js");
 *   const { module, weights } = await load();
 *   const node = new AudioWorkletNode(context, "vocosc", { processorOptions: { module, weights, chunk: 1 } });
 *
 * With `from: "mel"` it has no input, and takes log-mel, Float32Arrays [frames][mels], as messages. Once it has decoded a
 * first chunk, the audio thread copies nothing but each sample once, into the output, and allocates nothing, but for messages.
 * The message "figures" is answered by how many chunks were decoded since the last time, and how often mel was wanted and there
 * was none.
 */
if (globalThis.registerProcessor) {
  class Processor extends AudioWorkletProcessor {
    constructor({ processorOptions }) {
      super();
      const { module, weights, chunk = 1, from = "audio" } = processorOptions;
      if (!(chunk >= 1 && chunk <= info.maxFrames)) throw new RangeError("vocosc: chunk: 1 to " + info.maxFrames + " frames");
      this.stream = new Model(module, weights).stream();
      this.frames = this.stream.frames;
      this.samples = this.stream.samples;
      this.recorded = this.stream.recorded;
      this.length = chunk * info.hop; // samples of a chunk
      this.at = 0; // of them, that have been heard and said
      this.begin = this.end = 0; // the samples of it that were decoded: the others are silence
      this.fromMel = from === "mel";
      this.queue = []; // of mel
      this.first = 0; // value of the queue's first array that is still to come
      this.waiting = false;
      this.figures = { chunks: 0, missing: 0 };
      this.port.onmessage = ({ data }) => this.answer(data);
      this.run(0); // what is compiled late is compiled now
    }

    answer(data) {
      if (data === "figures") {
        this.port.postMessage(this.figures);
        this.figures.chunks = this.figures.missing = 0;
      } else if (data instanceof Float32Array) {
        this.queue.push(data);
      }
    }

    process(inputs, outputs) {
      const input = inputs[0]?.[0];
      const output = outputs[0][0];
      const { samples, recorded, length } = this;
      for (let i = 0; i < output.length; i++) {
        if (this.at === length) this.run(length);
        output[i] = this.at >= this.begin && this.at < this.end ? samples[this.at - this.begin] : 0;
        recorded[this.at] = input === undefined ? 0 : input[i];
        this.at++;
      }
      return true;
    }

    /* A chunk: what was heard, or is queued, decoded into `samples`. */
    run(length) {
      const wanted = length / info.hop;
      const frames = this.fromMel ? this.take(wanted) : this.stream.analyse(length);
      const count = frames > 0 ? this.stream.run(frames) : 0;
      /* At the beginning of an utterance a model that looks ahead gives less; at its end there is less mel. */
      this.begin = this.fromMel && frames < wanted ? 0 : this.length - count;
      this.end = this.begin + count;
      this.at = 0;
      if (length > 0) this.figures.chunks++;
    }

    /* Moves up to so many frames from the queue to `frames`; returns how many. */
    take(wanted) {
      let found = 0;
      while (found < wanted && this.queue.length > 0) {
        const mel = this.queue[0];
        const values = Math.min((wanted - found) * info.mels, mel.length - this.first);
        for (let i = 0; i < values; i++) this.frames[found * info.mels + i] = mel[this.first + i];
        found += values / info.mels;
        this.first += values;
        if (this.first >= mel.length) {
          this.queue.shift();
          this.first = 0;
        }
      }
      if (found < wanted) this.figures.missing++;
      return found;
    }
  }
  registerProcessor("vocosc", Processor);
}
