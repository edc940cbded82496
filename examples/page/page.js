// The page: the recordings, the model in each precision, and what connects them. It asks nothing of a server: what it needs
// stands in its own HTML, put there by build.py.

const element = (id) => document.getElementById(id);
const text = (id) => element(id).textContent;
const milliseconds = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(1)) + " ms";

/** A part of the page's data, in base64, as bytes. */
const bytes = async (id) => (await fetch("data:application/octet-stream;base64," + text(id))).arrayBuffer();

const page = JSON.parse(text("page-data")); // precisions, chunks, recordings

/* ---- the model ---- */

/** NAME.js of a precision, as a module to import, here and in the worklet; a file's page has no blobs for worklets. */
const urlOf = (precision) => "data:text/javascript," + encodeURIComponent(text(precision + "-js"));

const voices = new Map();

/** The model in a precision: its module's exports, and what load gives. */
function voice(precision) {
  if (!voices.has(precision)) {
    voices.set(precision, (async () => {
      const { info, load, hasRelaxedSimd } = await import(urlOf(precision));
      const wasm = await bytes(precision + (hasRelaxedSimd() ? "-relaxed" : "-wasm"));
      return { info, model: await load({ wasm, weights: await bytes(precision + "-weights") }) };
    })());
  }
  return voices.get(precision);
}

/* ---- what plays ---- */

let audio; // the graph, once something was to be heard
let source; // what plays: { node, stop }
let running; // the vocoder that is heard: { node, fade, precision, chunk }
let making = Promise.resolve(); // of vocoders, one after the other
let total = 0; // chunks

const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

async function graph() {
  if (audio === undefined) {
    const { info } = await voice(chosen("precision"));
    // 40 ms: other programs may take the processor for a while
    const context = new AudioContext({ sampleRate: info.sampleRate, latencyHint: 0.04 });
    const [input, wet, dry] = [0, 1, 2].map(() => new GainNode(context));
    const late = new DelayNode(context, { maxDelayTime: 2 });
    const analyser = new AnalyserNode(context, { fftSize: 512, smoothingTimeConstant: 0, minDecibels: -95, maxDecibels: -25 });
    input.connect(late).connect(dry).connect(analyser);
    wet.connect(analyser).connect(context.destination);
    audio = { context, input, wet, dry, late, analyser, registered: new Set() };
    hear();
    requestAnimationFrame(draw);
    setInterval(figures, 1000);
  }
  await audio.context.resume();
  return audio;
}

/** Which of the two is heard. */
function hear() {
  if (audio === undefined) return;
  const vocoder = chosen("heard") === "vocoder";
  audio.wet.gain.setTargetAtTime(vocoder ? 1 : 0, audio.context.currentTime, 0.01);
  audio.dry.gain.setTargetAtTime(vocoder ? 0 : 1, audio.context.currentTime, 0.01);
}

/** Lets the vocoder that was chosen take the place of the one that runs, which is faded out once the new one is warm. */
function change() {
  making = making.then(async () => {
    const { context, input, wet, late, registered } = await graph();
    const precision = chosen("precision");
    const chunk = Number(chosen("chunk"));
    if (running?.precision === precision && running.chunk === chunk) return;
    const { info, model } = await voice(precision);
    if (!registered.has(precision)) await context.audioWorklet.addModule(urlOf(precision));
    registered.add(precision);
    const { module, weights } = model;
    const options = { outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit" };
    const node = new AudioWorkletNode(context, info.name, { ...options, processorOptions: { module, weights, chunk } });
    node.onprocessorerror = () => say("The vocoder stopped with an error.", true);
    node.port.onmessage = ({ data }) => {
      total += data.chunks;
      element("chunks").textContent = total.toLocaleString("en");
    };
    const fade = new GainNode(context, { gain: running ? 0 : 1 });
    input.connect(node).connect(fade).connect(wet);
    const before = running;
    running = { node, fade, precision, chunk, info };
    if (before) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      const now = context.currentTime;
      fade.gain.linearRampToValueAtTime(0, now);
      fade.gain.linearRampToValueAtTime(1, now + 0.05);
      before.fade.gain.setValueAtTime(1, now);
      before.fade.gain.linearRampToValueAtTime(0, now + 0.05);
      setTimeout(() => {
        input.disconnect(before.node);
        before.fade.disconnect();
      }, 200);
    }
    const delay = (chunk * info.hop + info.latencySamples) / info.sampleRate;
    late.delayTime.value = delay;
    element("latency").textContent = milliseconds(1000 * (delay + context.baseLatency));
    element("target").textContent = model.target === "wasm_relaxed" ? "fused" : "emulated";
  }).catch((error) => say(String(error.message ?? error), true));
  return making;
}

function stop() {
  source?.stop();
  source = undefined;
  for (const button of element("sources").children) button.setAttribute("aria-pressed", "false");
  element("spectrogram").setAttribute("aria-label", "Spectrogram of what is heard. Nothing is playing.");
}

function started(what, node, end) {
  stop();
  node.connect(audio.input);
  source = { stop: () => (end(), node.disconnect(audio.input)) };
  say("Playing: " + what + ".");
  element("spectrogram").setAttribute("aria-label", "Spectrogram of what is heard: " + what + ".");
}

/** Plays a recording's bytes. */
async function play(what, recording) {
  const { context } = await graph();
  let buffer;
  try {
    buffer = await context.decodeAudioData(recording);
  } catch {
    say(what + ": this browser can read no audio in it.", true);
    return;
  }
  await change();
  const node = new AudioBufferSourceNode(context, { buffer, loop: element("repeat").checked });
  started(what, node, () => ((node.onended = null), node.stop()));
  node.onended = () => {
    stop();
    say("That was: " + what + ".");
  };
  source.node = node;
  node.start();
}

async function microphone() {
  const { context } = await graph();
  const exactly = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  let heard;
  try {
    heard = await navigator.mediaDevices.getUserMedia({ audio: exactly });
  } catch (error) {
    say("The microphone: " + (error.name === "NotAllowedError" ? "this page may not use it." : error.message), true);
    return;
  }
  await change();
  started("the microphone; with loudspeakers, mind the feedback", new MediaStreamAudioSourceNode(context, { mediaStream: heard }), () => {
    for (const track of heard.getTracks()) track.stop();
  });
}

/* ---- what is shown ---- */

function say(what, bad = false) {
  element("status").textContent = what;
  element("status").classList.toggle("bad", bad);
}

/** Once a second, as far as something plays. The audio thread has no clock that would tell: the page's thread tries a few. */
async function figures() {
  if (!source || !running) return;
  const { node, precision, chunk, info } = running;
  node.port.postMessage("figures");
  const { playbackStats } = audio.context; // of newer browsers
  if (playbackStats) element("underruns").textContent = playbackStats.underrunEvents;
  const [taken] = await time(precision, chunk, 5);
  element("milliseconds").textContent = milliseconds(taken);
  element("factor").textContent = ((taken * info.sampleRate) / (1000 * chunk * info.hop)).toFixed(3);
}

/* From night to fire, as 256 colours. */
const COLOURS = Array.from({ length: 256 }, (_, i) => {
  const x = i / 255;
  const [r, g, b] = [1.35 * x ** 0.9 + 0.04, 1.15 * x ** 2.2 + 0.03, 0.13 + 1.2 * x * (1 - x) ** 0.8 + 0.6 * x ** 6];
  return [r, g, b].map((value) => Math.round(255 * Math.min(1, value)));
});
let column;
let drawn = 0;
const paper = element("spectrogram").getContext("2d", { alpha: false, willReadFrequently: true });
paper.fillStyle = `rgb(${COLOURS[0]})`;
paper.fillRect(0, 0, paper.canvas.width, paper.canvas.height);

function draw(now) {
  requestAnimationFrame(draw);
  if (!source || now - drawn < 15) return;
  drawn = now;
  const { canvas } = paper;
  const bins = new Uint8Array(audio.analyser.frequencyBinCount);
  audio.analyser.getByteFrequencyData(bins);
  column ??= paper.createImageData(2, canvas.height);
  for (let y = 0; y < canvas.height; y++) {
    const colour = COLOURS[bins[Math.round(((canvas.height - 1 - y) / (canvas.height - 1)) * (bins.length - 1))]];
    for (const x of [0, 1]) column.data.set([...colour, 255], 4 * (2 * y + x));
  }
  paper.drawImage(canvas, -2, 0);
  paper.putImageData(column, canvas.width - 2, 0);
}

/** The time of a chunk: [the mean of the typical five, the slowest]. A page's clock tells tenths of milliseconds. */
async function time(precision, chunk, fives = 20) {
  const { info, model } = await voice(precision);
  const stream = model.stream();
  const mel = Float32Array.from({ length: chunk * info.mels }, (_, i) => -5 + 3 * Math.sin(i));
  const means = [];
  let slowest = 0;
  for (let five = -2; five < fives; five++) {
    const start = performance.now();
    let before = start;
    for (let i = 0; i < 5; i++) {
      stream.frames.set(mel);
      stream.run(chunk);
      const now = performance.now();
      if (five >= 0) slowest = Math.max(slowest, now - before);
      before = now;
    }
    if (five >= 0) means.push((before - start) / 5);
    await new Promise((resolve) => setTimeout(resolve)); // the page stays alive
  }
  stream.free();
  return [means.sort((a, b) => a - b)[means.length >> 1], slowest];
}

async function measure() {
  element("measure").disabled = true;
  for (const row of element("times").tBodies[0].rows) {
    for (const [i, chunk] of page.chunks.entries()) {
      const [median, slowest] = await time(row.dataset.precision, chunk);
      row.cells[i + 1].textContent = median.toFixed(2) + " / " + slowest.toFixed(1);
    }
  }
  element("measure").disabled = false;
}

/** The golden utterance, in each precision. */
async function golden() {
  for (const row of element("golden").tBodies[0].rows) {
    const { hash, expected } = (await voice(row.dataset.precision)).model.golden();
    row.cells[1].textContent = expected;
    row.cells[2].textContent = hash;
    row.cells[3].textContent = hash === expected ? "✓ the same" : "✗ different";
    row.cells[3].className = hash === expected ? "same" : "other";
  }
}

/* ---- the controls ---- */

function button(label, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  made.setAttribute("aria-pressed", "false");
  made.onclick = async () => {
    if (made.getAttribute("aria-pressed") === "true") {
      stop();
      say("Stopped.");
      return;
    }
    await act();
    if (source) made.setAttribute("aria-pressed", "true");
  };
  element("sources").append(made);
}

function choices(name, values, checked, label) {
  for (const value of values) {
    const made = document.createElement("label");
    made.innerHTML = `<input type="radio" name="${name}" value="${value}"><span>${label(value)}</span>`;
    made.firstChild.checked = value === checked;
    made.firstChild.onchange = () => (running ? change() : undefined);
    element(name).append(made);
  }
}

function rows(table, cells) {
  for (const precision of page.precisions) {
    const row = element(table).tBodies[0].insertRow();
    row.dataset.precision = precision;
    row.innerHTML = `<th scope="row">${precision}</th>` + "<td>–</td>".repeat(cells);
  }
}

for (const { id, title } of page.recordings) button(title, async () => play(title, await bytes(id)));
button("Microphone", microphone);
choices("precision", page.precisions, page.precisions[0], (value) => value);
choices("chunk", page.chunks, page.chunks.at(1), (value) => value);
for (const input of element("heard").querySelectorAll("input")) input.onchange = hear;
element("repeat").onchange = ({ target }) => {
  if (source?.node) source.node.loop = target.checked;
};
element("file").onchange = ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) file.arrayBuffer().then((recording) => play(file.name, recording));
};
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragged");
});
addEventListener("dragleave", () => document.body.classList.remove("dragged"));
addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragged");
  const [file] = event.dataTransfer.files;
  if (file) play(file.name, await file.arrayBuffer());
});
element("times").tHead.innerHTML =
  '<tr><th scope="col">weights</th>' + page.chunks.map((chunk) => `<th scope="col">${chunk} frame${chunk > 1 ? "s" : ""}</th>`).join("") + "</tr>";
rows("times", page.chunks.length);
rows("golden", 3);
element("measure").onclick = measure;
voice(page.precisions[0]).then(({ info }) => {
  element("pitch").textContent = `0 to ${info.sampleRate / 2000} kHz, lowest at the bottom`;
  element("past").textContent = "earlier ⟶ now";
  element("about").textContent =
    `${page.about}: ${info.mels} mels, a frame each ${(1000 * info.hop) / info.sampleRate} ms, ${info.sampleRate} Hz. ` +
    `Checkpoint ${info.checkpointSha256}.`;
});
golden().catch((error) => say(String(error.message ?? error), true));

/* What the tests ask. */
globalThis.vocoder = { page, bytes, urlOf, voice, time, state: () => ({ running: running && { precision: running.precision, chunk: running.chunk }, total, audio }) };
