// What a compiled model makes of inputs in files, through NAME.js: node decode.mjs LOADER WASM WEIGHTS|- FOLDER
import { readFileSync, writeFileSync } from "node:fs";

const [loader, wasm, weights, folder] = process.argv.slice(2);
const { load, info } = await import(loader);
const floats = (name) => new Float32Array(new Uint8Array(readFileSync(folder + "/" + name)).buffer);
const write = (name, ...parts) => writeFileSync(folder + "/" + name, Buffer.concat(parts.map((part) => Buffer.from(part.buffer))));
const failure = (make) => {
  try {
    make();
  } catch (error) {
    return error.constructor.name + ": " + error.message;
  }
  return "none";
};

const model = await load({ wasm: readFileSync(wasm), weights: weights === "-" ? undefined : readFileSync(weights) });
const mel = floats("mel");
const stream = model.stream();
write("whole", stream.decode(mel), stream.flush());

// In pieces of 1, 2, 3, ... frames, with another stream in between, and one that goes on from the middle
const parts = [];
const other = model.stream();
let copy;
let rest = [];
for (let at = 0, frames = 1; at < mel.length; at += frames * info.mels, frames = (frames % 7) + 1) {
  if (frames === 5 && copy === undefined) {
    copy = stream.copy();
    rest = [copy.decode(mel.subarray(at)), copy.flush()];
    write("first", ...parts);
  }
  const piece = mel.subarray(at, at + frames * info.mels);
  parts.push(stream.decode(piece));
  other.decode(piece.map((value) => value / 2));
}
write("pieces", ...parts, stream.flush());
write("copied", floats("first"), ...rest);
other.reset();
write("reset", other.decode(mel), other.flush());
other.free();

const audio = floats("audio");
if (info.hasMel) write("mels", stream.mel(audio.subarray(0, 7)), stream.mel(audio.subarray(7)), stream.melFlush());

const said = {
  info,
  target: model.target,
  golden: model.golden(),
  errors: {
    shape: failure(() => stream.decode(new Float32Array(info.mels + 1))),
    type: failure(() => stream.decode([1, 2, 3])),
    input: failure(() => stream.decode(new Float32Array(info.mels).fill(NaN))),
    count: failure(() => stream.run(info.maxFrames + 1)),
  },
};
console.log(JSON.stringify(said));
