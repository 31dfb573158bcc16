"""The page that classifies images in the browser: its resizing in Node.js, and all of it in headless Chromium."""

import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue

import numpy as np
import pytest
from PIL import Image

from Resnet23.arrays import read_features
from Resnet23.errors import InputError
from Resnet23.exporting.choices import calibration_images
from Resnet23.files import sha256_file
from Resnet23.images import encode_png, load_image, resize_image
from Resnet23.keras_variant import page
from Resnet23.keras_variant.export import take_samples
from Resnet23.keras_variant.exporting.formats import FORMATS, write_checked
from Resnet23.keras_variant.exporting.source import Source
from Resnet23.keras_variant.exporting.tfjs import find_library
from Resnet23.keras_variant.page import PAGE_FILES, WEB
from Resnet23.keras_variant.saved import load_classifier
from Resnet23.outputs import KERAS

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
SECONDS = 240
PHOTO = "photo.png"

RESIZE = """
import { readFileSync } from "node:fs";
import { resize } from %(module)s;
const cases = JSON.parse(readFileSync("cases.json"));
console.log(JSON.stringify(cases.map(({ image, size, rule }) => [...resize(image, size, rule)])));
"""


def photo(height: int, width: int) -> np.ndarray:
    """Colours that change softly and at hard edges, (height, width, 3) uint8."""
    generator = np.random.default_rng(height * width)
    coarse = generator.integers(0, 256, (max(height // 9, 1), max(width // 9, 1), 3), np.uint8)
    image = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    image[: height // 3, width // 2 :] = generator.choice([0, 255], 3)
    return image


def as_image_data(image: np.ndarray) -> dict:
    """An image (H, W, 3) as the browser's ImageData."""
    opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    return {"width": image.shape[1], "height": image.shape[0], "data": opaque.ravel().tolist()}


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize("rule", ["crop", "pad", "stretch"])
def test_the_page_resizes_as_pillow_does(rule, tmp_path):
    images = [photo(*size) for size in [(32, 32), (40, 50), (33, 32), (150, 101), (20, 17), (8, 100), (64, 5)]]
    cases = [{"image": as_image_data(image), "size": 32, "rule": rule} for image in images]
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    program = RESIZE % {"module": json.dumps(str(WEB / "resize.js"))}
    command = ["node", "--input-type=module", "-e", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    for image, found in zip(images, json.loads(result.stdout), strict=True):
        expected = resize_image(Image.fromarray(image), 32, rule)
        differences = np.abs(np.reshape(found, (32, 32, 3)) - expected.astype(float))
        assert differences.max() <= 1, f"one level of 255, {image.shape}"
        assert (differences > 0).mean() < 0.02


def test_the_page_loads_nothing_from_elsewhere():
    for name in PAGE_FILES:
        assert "//" not in (WEB / name).read_text(encoding="utf-8").replace("// ", "").replace("//\n", ""), name


def test_a_page_without_a_model_or_its_libraries_is_refused(keras_project, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(keras_project)
    with pytest.raises(InputError, match=r"model\.onnx: no such file; `make export-keras` writes it"):
        page.main(tmp_path, tmp_path / "page")
    write_model(tmp_path, "onnx")
    monkeypatch.setenv("NODE_PATH", str(tmp_path))
    with pytest.raises(InputError, match="onnxruntime-web is in no folder of NODE_PATH; run `make export-tfjs` or"):
        page.main(tmp_path, tmp_path / "page")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_page_with_an_earlier_model_is_refused(keras_project, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    shutil.copytree(keras_project / "data", tmp_path / "data")
    shutil.copytree(keras_project / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "files", "onnx")
    KERAS.checkpoint.write_bytes(b"trained again")
    with pytest.raises(InputError, match=r"model\.onnx: not of models/keras/model\.keras .*; `make export-keras`"):
        page.main(tmp_path / "files", tmp_path / "page")
    KERAS.checkpoint.unlink()
    with pytest.raises(InputError, match=r"models/keras/model\.keras: no such file; `make train-keras` writes it"):
        page.main(tmp_path / "files", tmp_path / "page")


def write_model(folder: Path, name: str) -> Source:
    """Write the classifier of the current project in a format."""
    source = Source(load_classifier(), sha256_file(KERAS.checkpoint), calibration_images(read_features()))
    write_checked(FORMATS[name], source, folder / FORMATS[name].file, lambda temporary: None)
    return source


# ----------------------------------------------------------------------------------------------------------------------
# A page around the page: it uses it as a person would, and tells this process what it saw.

DRIVER = """
const page = () => document.querySelector("iframe").contentDocument;
const find = (selector) => page().querySelector(selector);

async function until(holds) {
  for (let waited = 0; waited < 2000; waited++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited too long for ${holds}; the page says ${find("#status")?.textContent}`);
}

async function answer(act) {
  find("#status").textContent = "";
  act();
  await until(() => /found in|did not work/.test(find("#status").textContent));
  const lines = [...page().querySelectorAll("#results li")];
  return { status: find("#status").textContent, top: lines.map((line) => line.firstChild.textContent) };
}

async function choosePhoto() {
  const file = new File([await (await fetch("photo.png")).blob()], "photo.png", { type: "image/png" });
  const files = new DataTransfer();
  files.items.add(file);
  find("#file").files = files.files;
  const said = await answer(() => find("#file").dispatchEvent(new Event("change")));
  const { width, height } = find("#seen");
  return { ...said, seen: [...find("#seen").getContext("2d").getImageData(0, 0, width, height).data] };
}

async function useLibrary(library, cases) {
  find(`input[value=${library}]`).checked = true;
  const example = page().querySelector("#examples button");
  const refused = await answer(() => example.click());
  const answered = await answer(() => example.click());
  const { NETWORKS } = await import("./networks.js");
  const run = await NETWORKS[library](cases.size);
  const probabilities = [];
  for (const pixels of cases.pixels) probabilities.push([...(await run(new Float32Array(pixels)))]);
  return { refused, example: answered, photo: await choosePhoto(), probabilities };
}

async function main() {
  await until(() => page()?.querySelectorAll("#examples button").length);
  const cases = await (await fetch("cases.json")).json();
  const choices = [...page().querySelectorAll("#choices label")].filter((label) => label.checkVisibility());
  const said = {};
  for (const choice of choices) {
    const library = choice.querySelector("input").value;
    said[library] = await useLibrary(library, cases);
  }
  return said;
}

const said = await main().catch((error) => ({ error: String(error.stack) }));
await fetch("said", { method: "POST", body: JSON.stringify(said) });
"""


class Listener(SimpleHTTPRequestHandler):
    """Serves a folder, but each of the `refused` files only when asked again, and keeps what is posted to it."""

    said: Queue
    refused: set[str]

    def do_GET(self) -> None:
        if self.path in self.refused:
            self.refused.remove(self.path)
            self.send_error(503)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.said.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_) -> None:
        """Say nothing."""


def see(folder: Path, profile: Path) -> dict:
    """Open driver.html of a folder in headless Chromium, which reaches no other server, and hear what it says."""
    handler = type("Handler", (Listener,), {"said": Queue(), "refused": {"/model.onnx", "/tfjs/model.json"}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}", rules]
    url = f"http://127.0.0.1:{server.server_port}/driver.html"
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen([CHROMIUM, *options, url], stdout=log, stderr=log)
        try:
            return json.loads(handler.said.get(timeout=SECONDS))
        except Empty:
            pytest.fail(
                f"Chromium said nothing in {SECONDS} s: {(profile.parent / 'chromium.log').read_text()[-2000:]}"
            )
        finally:
            process.terminate()
            process.wait(30)
            server.shutdown()
            server.server_close()


@pytest.fixture(params=["onnx", "onnx and tfjs"])
def formats(request: pytest.FixtureRequest) -> list[str]:
    """What a page can have. Skips where there is no browser, or something that `make test-browser` installs."""
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    names = request.param.split(" and ")
    try:
        for name in names:
            FORMATS[name].require()
        for library in page.VENDORED:
            find_library(library)
    except InputError as error:
        pytest.skip(str(error))
    return names


@pytest.mark.slow
def test_the_page_classifies_as_keras_does(formats, keras_project, tmp_path, monkeypatch):
    monkeypatch.chdir(keras_project)
    files, folder = tmp_path / "files", tmp_path / "page"
    for name in formats:
        source = write_model(files, name)
    page.main(files, folder)
    features = read_features()
    samples = take_samples(source.classifier, features, 10)
    cases = {"size": features.image_size, "pixels": [image.ravel().tolist() for image in samples.images]}
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    (folder / PHOTO).write_bytes(encode_png(photo(60, 41)))
    (folder / "driver.js").write_text(DRIVER, encoding="utf-8")
    frame = '<!doctype html><iframe src="index.html"></iframe><script type="module" src="driver.js"></script>'
    (folder / "driver.html").write_text(frame, encoding="utf-8")
    said = see(folder, tmp_path / "profile")
    assert "error" not in said, said["error"]
    assert list(said) == formats
    expected = load_image(folder / PHOTO, features.image_size, features.resize)
    first = features.classes[samples.probabilities[0].argmax()]  # the first example is the first test image
    for answers in said.values():
        assert np.allclose(answers["probabilities"], samples.probabilities, atol=1e-4)
        assert answers["refused"]["status"].startswith("This did not work: ")
        assert answers["example"]["status"].startswith(f"{first}, found in")
        assert len(answers["example"]["top"]) == 5
        seen = np.reshape(answers["photo"]["seen"], (*expected.shape[:2], 4))[..., :3]
        assert np.abs(seen - expected.astype(int)).max() <= 1
        assert answers["photo"]["top"] == said["onnx"]["photo"]["top"]
