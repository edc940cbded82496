/** What vocosc.js exports, for TypeScript. */

/** The model's sizes, and what it is. Full scale is +-1; mel is [frames][mels], row-major. */
export declare const info: Readonly<{
  name: "vocosc";
  precision: string;
  sampleRate: number;
  /** Values of a frame. */
  mels: number;
  /** Samples of a frame. */
  hop: number;
  /** Of a call. */
  maxFrames: number;
  /** Samples that flush gives, at most. */
  tail: number;
  /** Frames that melFlush gives, at most. */
  melTail: number;
  /** Look-ahead and overlap. */
  latencySamples: number;
  hasMel: boolean;
  /** What the mel is. */
  melText: string;
  /** Else the weights are in vocosc_weights.bin. */
  baked: boolean;
  checkpointSha256: string;
}>;

/** Bytes, or where they are. */
export type Source = string | URL | ArrayBuffer | Uint8Array;

/** Whether this engine takes vocosc_relaxed.wasm. */
export declare function hasRelaxedSimd(): boolean;

/** The model, by default of the files beside vocosc.js. Rejects what is not there, and what is not WebAssembly. */
export declare function load(options?: { wasm?: Source; weights?: Source }): Promise<Model>;

/** An instance of the module, with the memory of all its streams. */
export declare class Model {
  /** Of a compiled module, for where one cannot wait for load. weights: bytes, unless they are baked. */
  constructor(module: WebAssembly.Module, weights?: ArrayBuffer | Uint8Array, instance?: WebAssembly.Instance);
  readonly module: WebAssembly.Module;
  readonly weights: ArrayBuffer | Uint8Array | undefined;
  /** The instruction set that streams run on. */
  readonly target: "wasm" | "wasm_relaxed";
  get memory(): WebAssembly.Memory;
  /** A stream at the beginning of an utterance. */
  stream(): Stream;
  /** The hash of the self-test's audio, and what it must be. */
  golden(): { hash: string; expected: string };
}

/** The state of one utterance in each direction; made by Model.stream. All methods throw on a bad input. */
export declare class Stream {
  private constructor();
  /** Log-mel to the audio that it completes, [samples]: any number of frames, [frames][mels]. */
  decode(mel: Float32Array): Float32Array;
  /** The rest of the utterance's audio; the stream begins anew. */
  flush(): Float32Array;
  /** Audio to the log-mel frames that it completes, [frames][mels]: any number of samples. */
  mel(audio: Float32Array): Float32Array;
  /** The last frames of the audio; the analysis begins anew. */
  melFlush(): Float32Array;
  /** Both directions back to the beginning. */
  reset(): void;
  /** Another stream in this one's state. */
  copy(): Stream;
  /** Gives the memory back: this stream is of no use any more. */
  free(): void;

  /** What run decodes and analyse finds: [maxFrames][mels] in the module's memory, good until the next stream is made. */
  get frames(): Float32Array;
  /** What run and runFlush have decoded, likewise. */
  get samples(): Float32Array;
  /** What analyse takes, likewise: [maxFrames * hop]. */
  get recorded(): Float32Array;
  /** Decodes the first 1 to maxFrames of `frames`; returns how many of `samples` are their audio. */
  run(frames: number): number;
  /** The end of an utterance: how many of `samples` are the rest of its audio. */
  runFlush(): number;
  /** Takes the first samples of `recorded`; returns how many of `frames` they complete. */
  analyse(samples: number): number;
  /** The end of the recording, likewise. */
  analyseFlush(): number;
}
