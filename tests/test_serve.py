"""The page that classifies images: its answers, its warning, its table, and what it refuses."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_results import write_results
from served_page import free_port, served_page
from small_checkpoint import CLASSES, small_checkpoint
from small_project import REPOSITORY

from Resnet23 import serve
from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE
from Resnet23.errors import InputError
from Resnet23.images import encode_png
from Resnet23.modeling.checkpoint import Checkpoint, Decision, save_checkpoint
from Resnet23.modeling.inference import Classifier, predict_files
from Resnet23.modeling.prediction_table import labels_row, table_row
from Resnet23.predictions import Predictions, write_predictions
from Resnet23.webapp import answers, novelty
from Resnet23.webapp.answers import Answerer, Upload
from Resnet23.webapp.batch import summarize, table_cells, write_csv
from Resnet23.webapp.facts import describe
from Resnet23.webapp.markup import answer_html, bars_of, evidence_html, header_html, table_html, warning_html
from Resnet23.webapp.novelty import choose_rule, energy_score, largest_probability
from Resnet23.webapp.server import require_port, serving

CPU = torch.device("cpu")
SECONDS = 180  # for a server to start on a busy machine


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Upload]:
    """Five images of different colours, and in their midst a text file with the name of an image."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(5):
        pixels = generator.integers(0, 60, (20, 24, 3)) + generator.integers(0, 196, 3)
        (folder / f"{number}.png").write_bytes(encode_png(pixels.astype(np.uint8)))
    (folder / "2a.png").write_text("no image", encoding="utf-8")
    return [Upload(path, f"<b>{path.name}") for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    """A network of four classes without a project."""
    with chdir(tmp_path_factory.mktemp("nowhere")):
        return Answerer(small_checkpoint(), CPU)


def with_labels() -> Checkpoint:
    """The same network, answering with any number of labels."""
    return replace(small_checkpoint(), task="multilabel", decision=Decision(thresholds=[0.1, 0.9, 0.5, 0.5]))


# ----------------------------------------------------------------------------------------------------------------------
# Answers


@pytest.mark.parametrize("checkpoint", [small_checkpoint(), with_labels()], ids=["classes", "labels"])
def test_the_answers_are_those_of_the_prediction_table(checkpoint, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answerer = Answerer(checkpoint, CPU)
    rows = list(answerer.rows(photos))
    row_of = labels_row if checkpoint.task == "multilabel" else table_row
    predictions = predict_files(answerer.classifier, [photo.path for photo in photos])
    expected = [row_of(each, CLASSES, answerer.classifier.thresholds) for each in predictions]
    for row, theirs, photo in zip(rows, expected, photos, strict=True):
        unfamiliar = row.pop("unfamiliar")
        assert row == theirs | {"file": photo.name}
        assert (unfamiliar is None) == bool(row["error"]) == (photo.path.name == "2a.png")
    assert rows[3]["error"] == "not an image; expected one of JPEG, PNG, WEBP, BMP, TIFF"


def test_many_threads_get_what_one_gets(answerer, photos):
    expected = [list(answerer.rows([photo])) for photo in photos]
    maps = [answerer.explain(photos[0]).heat for _ in range(2)]
    assert np.array_equal(*maps)
    with ThreadPoolExecutor(4) as pool:
        explained = [pool.submit(answerer.explain, photos[0]) for _ in range(4)]
        answered = [pool.submit(lambda photo: list(answerer.rows([photo])), photo) for photo in photos * 3]
        assert [each.result() for each in answered] == expected * 3
        assert all(np.allclose(each.result().heat, maps[0], atol=1e-5) for each in explained)


def test_the_evidence_is_for_the_answer(answerer, photos):
    pytest.importorskip("captum")
    (row,) = answerer.rows([photos[0]])
    evidence = answerer.explain(photos[0])
    assert evidence.seen.shape == (16, 16, 3) and evidence.heat.shape == (16, 16)
    assert evidence.caption == f"for {row['class']}"
    assert evidence.method.startswith(("Grad-CAM", "occlusion"))
    assert evidence_html(evidence).count("<img ") == 2
    with pytest.raises(InputError, match="not an image"):
        answerer.explain(next(photo for photo in photos if photo.path.name == "2a.png"))


def test_without_captum_the_page_names_the_extra(photos, tmp_path, monkeypatch):
    def is_missing() -> None:
        raise InputError('install "Resnet23[explain]"')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(answers, "import_captum", is_missing)
    evidence = Answerer(small_checkpoint(), CPU).explain(photos[0])
    assert evidence.heat is None
    html = evidence_html(evidence)
    assert html.count("<img ") == 1 and "Resnet23[explain]" in html


def test_a_single_class_is_answered_by_yes_or_no(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    four = small_checkpoint()
    weights = {key: value[:1] if key.startswith("classifier.") else value for key, value in four.state_dict.items()}
    single = replace(four, task="multilabel", classes=["cat"], state_dict=weights, decision=Decision([0.5]))
    answerer = Answerer(single, CPU)
    rows = [row for row in answerer.rows(photos) if not row["error"]]
    assert {row["class"] for row in rows} <= {"cat", "not cat"}
    pytest.importorskip("captum")
    side = {"cat": "for cat", "not cat": "against cat"}[rows[0]["class"]]
    assert answerer.explain(photos[0]).caption == side


# ----------------------------------------------------------------------------------------------------------------------
# The warning


def test_scores_as_published():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    by_hand = np.log(np.exp(logits.numpy()).sum(axis=1))
    assert energy_score("multiclass", logits) == pytest.approx(by_hand)
    by_label = np.log(1 + np.exp(logits.numpy())).sum(axis=1)
    assert energy_score("multilabel", logits) == pytest.approx(by_label)
    sure_yes, sure_no, unsure = energy_score("multilabel", torch.tensor([[6.0], [-6.0], [0.1]]))
    assert sure_yes == pytest.approx(sure_no) and unsure < sure_no
    assert largest_probability(np.array([[0.2], [0.9]])) == pytest.approx([0.8, 0.9])


def test_a_project_warns_of_one_in_twenty_of_its_own_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path, CLASSES)
    monkeypatch.setattr(novelty, "FEWEST_IMAGES", 10)  # there are 12 training and 4 validation images
    classifier = Classifier(small_checkpoint(), CPU, 64)
    rule, features = choose_rule(classifier), read_features()
    split, rows = novelty.own_images(features)
    assert (split, len(rows)) == ("training", 12)
    assert (rule.score, rule.origin) == ("energy", "5% of 12 training images of this project are below it")
    scores = energy_score("multiclass", novelty.own_logits(classifier, features, rows))
    assert rule.threshold == pytest.approx(np.quantile(scores, 0.05))
    monkeypatch.setattr(novelty, "FEWEST_IMAGES", 4)
    assert "4 validation images" in choose_rule(classifier).origin


@pytest.mark.parametrize(("classes", "reason"), [(CLASSES, "fewer than 20 images"), (["a", "b"], "of other classes")])
def test_a_project_that_does_not_help_is_said_so(classes, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path, classes)
    rule = choose_rule(Classifier(small_checkpoint(), CPU, 64))
    assert rule.score == "probability" and reason in rule.origin
    assert reason in warning_html(rule)


def test_without_a_project_the_rule_is_about_the_probability(answerer):
    assert answerer.rule.threshold == (1 + 1 / 4) / 2
    assert "data/features/features.json: no such file" in answerer.rule.origin
    said = np.array([[0.6, 0.4, 0, 0], [0.7, 0.3, 0, 0]])
    assert answerer.rule.find_unfamiliar("multiclass", torch.zeros(2, 4), said).tolist() == [True, False]
    labels = Classifier(with_labels(), CPU, 64)
    assert novelty.rule_without_project(labels, "").threshold == 0.5


# ----------------------------------------------------------------------------------------------------------------------
# What the page shows


def test_names_are_escaped(answerer, photos):
    rows = list(answerer.rows(photos))
    for row in rows:
        html = answer_html(row, bars_of(row, CLASSES, []), answerer.rule)
        assert "<b>" not in html and ("Answer" in html or "&lt;b&gt;2a.png: not an image" in html)
    assert "<b>" not in table_html("", [table_cells(row) for row in rows])
    facts = replace(describe(answerer.classifier), classes=["<i>"])
    assert "&lt;i&gt;" in header_html(facts) and "<i>" not in header_html(facts)


def test_labels_show_their_thresholds(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answerer = Answerer(with_labels(), CPU)
    (row,) = answerer.rows([photos[0]])
    bars = bars_of(row, CLASSES, answerer.classifier.thresholds)
    assert {bar.name: bar.threshold for bar in bars} == dict(zip(CLASSES, [0.1, 0.9, 0.5, 0.5], strict=True))
    assert all(bar.is_given == (bar.probability >= bar.threshold) for bar in bars)
    assert answer_html(row, bars, answerer.rule).count("left: ") == 4


def test_the_table_and_its_file(answerer, photos, tmp_path):
    rows = list(answerer.rows(photos))
    path = write_csv(rows, tmp_path)
    with open(path, encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == ["file", "class", "confidence", "top5", "error", "unfamiliar"]
    assert [row["file"] for row in read] == [photo.name for photo in photos]
    assert [row["error"] for row in read] == [row["error"] for row in rows]
    assert float(read[0]["confidence"]) == rows[0]["confidence"]
    cells = [table_cells(row) for row in rows]
    assert cells[3][1:] == ["", "", rows[3]["error"]]
    assert cells[0][1] == rows[0]["class"]
    assert summarize(rows).startswith("6 files, 1 could not be read")


def test_a_file_name_is_no_formula_in_a_spreadsheet(tmp_path):
    names = ["=HYPERLINK(1).png", "+1.png", "-1.png", "@SUM(1).png", "\t=1.png", "a=1.png"]
    rows = [{"file": name, "confidence": -0.5, "top5": {"-": 1.0}} for name in names]
    with open(write_csv(rows, tmp_path), encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["file"] for row in read] == [*(f"'{name}" for name in names[:5]), "a=1.png"]
    assert (read[0]["confidence"], read[0]["top5"]) == ("-0.5", '{"-": 1.0}')


def test_the_accuracy_is_shown_only_of_the_model_it_was_measured_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path, CLASSES)
    classifier = Classifier(small_checkpoint(), CPU, 64)
    assert describe(classifier).quality == ""
    test = read_features().test
    said = classifier.probabilities(classifier.dataset(test.images, test.targets))
    own = Predictions(test.files, CLASSES, test.targets, said)
    write_predictions(Path("reports/predictions.csv"), own)
    assert describe(classifier).quality == "", "the metrics are of other predictions"
    metrics = Path("reports/metrics.json")
    text = metrics.read_text(encoding="utf-8")
    accuracy = f'"accuracy": {own.right.mean()}'
    start = text.index('"accuracy"')
    metrics.write_text(text[:start] + accuracy + text[text.index(",", start) :], encoding="utf-8")
    assert describe(classifier).quality == f"right on {100 * own.right.mean():.1f}% of 16 test images"


# ----------------------------------------------------------------------------------------------------------------------
# The command


def test_without_a_checkpoint_make_train_is_named(project):
    with pytest.raises(InputError, match=r"models/resnet23_cifar\.pth: no such file.*make train"):
        serve.main()


def test_a_taken_port_is_answered_with_a_free_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port {port}: cannot listen on 127\.0\.0\.1 \(address.*\); free is"):
            require_port("127.0.0.1", port)
    with pytest.raises(InputError, match="name another --host"):
        require_port("203.0.113.1", port)


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"Resnet23\[serve\]"), serving(lambda folder: None, "127.0.0.1", 7860):
        pass


# ----------------------------------------------------------------------------------------------------------------------
# A server


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with chdir(tmp_path_factory.mktemp("served")), served_page() as found:
        yield found


@pytest.fixture(scope="module")
def client(page: tuple[str, Path]):
    return pytest.importorskip("gradio_client").Client(page[0], verbose=False)


@pytest.mark.slow
def test_programs_get_the_same_answers(client, page, answerer, photos):
    from gradio_client import handle_file

    paths = [str(photo.path) for photo in photos]
    expected = list(answerer.rows([Upload(photo.path, photo.path.name) for photo in photos]))
    assert client.predict(image=handle_file(paths[0]), api_name="/classify") == expected[0]
    assert client.predict(files=[handle_file(path) for path in paths], api_name="/classify_files") == expected
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/classify", "/classify_files"]
    assert any(page[1].rglob("0.png")), "uploads go to the page's own folder"


@pytest.mark.slow
def test_only_uploads_are_read(client, photos):
    from gradio_client import handle_file

    lying_here = {"path": str(photos[0].path)}  # without the mark of file data a client uploads nothing
    for image in (lying_here, None, "photo.png", {"url": "data:image/png;base64,AAAA"}):
        with pytest.raises(Exception, match="found no upload; expected an image file that is sent along"):
            client.predict(image=image, api_name="/classify")
    with pytest.raises(Exception, match="found an address; expected an image file that is sent along"):
        client.predict(image=handle_file("http://127.0.0.1:9/photo.png"), api_name="/classify")
    with pytest.raises(Exception, match="found 0 files; expected 1 to 1,000 at once"):
        client.predict(files=[], api_name="/classify_files")


@pytest.mark.slow
def test_large_uploads_are_refused(page):
    import httpx

    url = f"{page[0]}gradio_api/upload"
    answers = [httpx.post(url, files={"files": ("x.png", bytes(size))}, timeout=SECONDS) for size in (10, 33 << 20)]
    assert [answer.status_code for answer in answers] == [200, 413]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "last_line"), [(signal.SIGINT, "shows the page"), (signal.SIGTERM, "by SIGTERM")])
def test_it_ends_when_asked_to_and_leaves_nothing(number, last_line, tmp_path):
    pytest.importorskip("gradio", reason="gradio comes with the extra `serve`")
    save_checkpoint(tmp_path / CHECKPOINT_FILE, small_checkpoint())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(temporary),
        "http_proxy": "http://127.0.0.1:9",  # which nobody answers for
        "GRADIO_SHARE": "True",
    }
    command = [sys.executable, "-m", "Resnet23.serve", "--port", str(free_port())]
    log = tmp_path / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        wait_for(lambda: "shows the page" in log.read_text(encoding="utf-8"), process, log)
        assert [path.name for path in temporary.glob("resnet23-serve-*")]
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number
    finally:
        process.kill()
        process.wait()
    lines = log.read_text(encoding="utf-8").splitlines()
    assert last_line in lines[-1]
    assert len(lines) == (2 if number == signal.SIGINT else 3), lines
    assert not list(temporary.glob("*gradio*")) and not list(temporary.glob("resnet23-serve-*"))


def wait_for(holds, process: subprocess.Popen, log: Path) -> None:
    """Wait until something holds while a process runs."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert process.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8")
        time.sleep(0.2)
