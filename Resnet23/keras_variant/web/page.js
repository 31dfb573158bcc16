// The page: a picture goes in, the most probable classes come out.

import { NETWORKS } from "./networks.js";
import { resize } from "./resize.js";

const TOP = 5; // classes shown
const element = (id) => document.getElementById(id);
const about = await (await fetch("page.json")).json();
const { image_size: size, resize: rule } = about.preprocessing;
const loaded = new Map(); // library -> the promise of its network
let current = null; // the picture that is shown, a Blob
let turn = 0; // of the pictures and libraries that were chosen; only the last one's answer is shown

async function network(library) {
  if (!loaded.has(library)) loaded.set(library, NETWORKS[library](size));
  try {
    return await loaded.get(library);
  } catch (error) {
    loaded.delete(library); // so that the next picture tries again
    throw error;
  }
}

// The pixels of an image file, upright and on white, as the project's own reader gives them.
async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

async function classify() {
  const mine = ++turn;
  const library = new FormData(element("choices")).get("library");
  element("status").textContent = "Looking …";
  element("results").replaceChildren();
  try {
    const pixels = resize(await decode(current), size, rule);
    showPixels(pixels);
    const run = await network(library);
    const start = performance.now();
    const probabilities = await run(pixels);
    if (mine === turn) showAnswer(probabilities, performance.now() - start);
  } catch (error) {
    if (mine === turn) element("status").textContent = `This did not work: ${error.message}`;
  }
}

function showPixels(pixels) {
  const canvas = element("seen");
  const rgba = new Uint8ClampedArray(size * size * 4).fill(255);
  pixels.forEach((value, index) => (rgba[4 * Math.floor(index / 3) + (index % 3)] = value));
  canvas.getContext("2d").putImageData(new ImageData(rgba, size, size), 0, 0);
}

function showAnswer(probabilities, milliseconds) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  element("status").textContent = `${about.classes[order[0]]}, found in ${milliseconds.toFixed(0)} ms`;
  element("results").replaceChildren(...order.slice(0, TOP).map((k) => line(about.classes[k], probabilities[k])));
}

function line(name, probability) {
  const item = document.createElement("li");
  const bar = document.createElement("meter");
  bar.value = probability;
  const [label, percent] = [name, `${(100 * probability).toFixed(1)} %`].map((text) => {
    const span = document.createElement("span");
    span.textContent = text;
    return span;
  });
  item.append(label, bar, percent);
  return item;
}

function example({ file, label }) {
  const button = document.createElement("button");
  const picture = document.createElement("img");
  picture.src = file;
  picture.alt = label;
  button.type = "button";
  button.title = label;
  button.append(picture);
  button.addEventListener("click", async () => look(await (await fetch(file)).blob()));
  return button;
}

function look(blob) {
  current = blob;
  return classify();
}

element("seen").width = element("seen").height = size;
element("title").textContent = `Which of ${about.classes.length} classes?`;
element("model").textContent = `${about.model.name}, images of ${size} x ${size} pixels`;
element("examples").append(...about.examples.map(example));
element("tfjs").hidden = !about.libraries.includes("tfjs");
element("file").addEventListener("change", (event) => event.target.files.length && look(event.target.files[0]));
element("choices").addEventListener("change", () => current && classify());
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
});
element("status").textContent = "Choose a picture, or drop one anywhere on this page.";
