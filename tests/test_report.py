"""The report page: complete, self-contained, accessible, and unmoved by hostile names."""

import json
from contextlib import chdir
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_multilabel_results import write_multilabel_results
from fake_results import write_results

from Resnet23.config import (
    CHECKPOINT_FILE,
    EXPLAIN_PICTURE,
    EXPLAIN_PICTURE_DARK,
    EXPLAIN_RESULTS,
    EXPORT_RESULTS,
    MODEL_CARD_FILE,
    Params,
    flatten,
)
from Resnet23.errors import InputError
from Resnet23.figures.findings import gap_finding, headline, percent
from Resnet23.figures.theme import Picture
from Resnet23.images import encode_png
from Resnet23.outputs import KERAS
from Resnet23.page.captions import EXPLANATIONS, MULTILABEL_EXPLANATIONS
from Resnet23.report import build_page
from Resnet23.results import read_results
from Resnet23.tracking.previous import RunHistory, TrackedRun

VOID = {"meta", "link", "img", "source", "br", "hr", "input"}
CLASSES = ["<b>bold</b>", '"quoted" & co', "plain"]


class Page(HTMLParser):
    """Every element with its attributes, the text, and whether the tags are balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: list[str] = []  # the header cells of the tables' rows
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "th":
            self.rows.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def source(project):
    write_results(project, CLASSES)
    return page_source()


def page_source(history: RunHistory | None = None, params: Params | None = None) -> str:
    """The page about the results in the current directory, with tiny pictures for its figures."""
    results = read_results()
    names = MULTILABEL_EXPLANATIONS if results.features.task == "multilabel" else EXPLANATIONS
    light, dark = (encode_png(np.full((2, 2, 3), level, dtype=np.uint8)) for level in (255, 0))
    pictures = [Picture(name, f"The finding of <{name}>", light, dark) for name in names]
    return build_page(results, params or Params(), pictures, history)


def test_the_page_loads_nothing_from_outside(source):
    page = Page(source)
    assert page.open == []
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    assert not any("src" in script for script in page.all("script"))
    for _, attributes in page.elements:
        for name in ("src", "srcset", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/", "#"))
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "url(" not in source
    assert "@import" not in source
    targets = {attributes.get("id") for _, attributes in page.elements}
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= targets


def test_every_image_is_described_and_every_figure_has_a_dark_twin(source):
    page = Page(source)
    assert all(image["alt"] for image in page.all("img"))
    dark = page.all("source")
    assert len(dark) == len(page.all("picture")) == len(EXPLANATIONS) == 9
    assert {f"The finding of <{name}>" for name in EXPLANATIONS} <= {image["alt"] for image in page.all("img")}
    assert all("prefers-color-scheme: dark" in source["media"] for source in dark)
    assert {"viewport", "color-scheme"} <= {meta.get("name") for meta in page.all("meta")}
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1


def test_names_are_escaped(source):
    page = Page(source)
    assert not page.all("b")
    assert "<b>bold</b>" in page.text
    assert '"quoted" & co' in page.text
    assert "a <test>" in page.text  # the experiment
    assert "train/<i>.png" in page.text  # a file that was left out


def test_the_page_says_what_the_results_say(source):
    page, results = Page(source), read_results()
    assert headline(results.metrics) in page.text
    assert gap_finding(results.metrics) in page.text
    for name, scores in results.metrics["per_class"].items():
        assert name in page.text
        assert f"{scores['f1']:.3f}" in page.text
    for text in ("train.learning_rate", "f" * 32, "2 identical"):
        assert text in page.text
    assert {"training", "validation", "test", "torch", "torchvision", "numpy", "dvc", "git revision"} <= set(page.rows)


def test_the_same_results_give_the_same_page(source):
    assert page_source() == source


def test_without_validation_and_tracking(project):
    write_results(project, CLASSES, validation=False)
    (project / "reports/run.json").unlink()
    page = Page(page_source())
    assert "not tracked" in page.text
    assert "Not tracked: without the experiment tracker" in page.text
    assert "validation" not in page.rows


def test_the_page_names_the_superclasses_where_there_are_some(source, project):
    page = Page(source)
    assert "Superclass" not in page.rows and "Top-5 accuracy" not in page.text
    superclasses = {f"class {number}": f"<family {number % 2}>" for number in range(6)}
    write_results(project / "families", list(superclasses), superclasses=superclasses)
    with chdir(project / "families"):
        page, metrics = Page(page_source()), read_results().metrics
    assert page.open == []
    assert {"Superclass", "class 5"} <= set(page.rows)
    assert page.text.count("<family 1>") == 3
    for name in ("top5_accuracy", "superclass_accuracy"):
        assert percent(metrics[name]) in page.text


RUN = TrackedRun("2" * 32, "7", "a <run>", "2026-01-02 03:04", {"seed": "0"}, {"test_loss": 1.0}, {})


def test_the_page_says_what_changed(source):
    text = Page(source).text
    assert "The store of the runs was not read when this page was drawn" in text and "Not tracked" not in text
    page = Page(page_source(RunHistory(RUN, None, None)))
    assert "This is the first run of the experiment a <test>" in page.text
    before = TrackedRun("1" * 32, "7", "the <earlier>", "2026-01-01 00:00", {"seed": "1"}, {"test_loss": 1.25}, {})
    page = Page(page_source(RunHistory(RUN, before, "https://dagshub.com/o/r/experiments")))
    assert page.open == []
    assert "Against the <earlier> of 2026-01-01 00:00 UTC" in page.text
    assert "-0.250, better" in page.text
    links = {link["href"] for link in page.all("a")}
    assert {f"http://127.0.0.1:5000/#/experiments/7/runs/{'2' * 32}", "https://dagshub.com/o/r/experiments"} <= links
    assert f"this one has the tag local_run_id {'2' * 32} there" in page.text


def test_the_page_does_not_tell_the_way_to_images_and_weights(project):
    write_results(project, CLASSES)
    way, public = (f"https://{user}example.org/private-folder/" for user in ("me:word@", ""))
    values = {"data": {"source": f"{public}flowers.zip?token=1"}, "model": {"pretrained": f"{public}weights.pth"}}
    before = replace(RUN, params={"data.source": f"{way}old.zip", "model.pretrained": f"{way}weights.pth?token=2"})
    now = replace(RUN, params=flatten(values))
    source = page_source(RunHistory(now, before, None), Params.model_validate(values))
    assert not [secret for secret in ("me:word", "example.org", "private-folder", "token=") if secret in source]
    assert source.count("flowers.zip") == 2  # among the parameters and in what changed
    assert "old.zip" in source and "the same name at another address" in source


CARD = """\
---
license: mit
---

# A <model> card

| | |
|---|---|
| accuracy | 96.1% |

[more](https://example.org/), [a script](javascript:alert(1)), ![a picture](https://example.org/a.png)
"""


def test_the_page_holds_the_model_card(source, project):
    assert "#model-card" not in source
    MODEL_CARD_FILE.parent.mkdir()
    MODEL_CARD_FILE.write_text(CARD, encoding="utf-8")
    page = Page(page_source())
    assert "license: mit" not in page.text
    assert "A <model> card" in page.text and "# A" not in page.text
    assert {"href": "#model-card"} in page.all("a")
    assert "<td>96.1%</td>" in page_source()
    assert {"href": "https://example.org/"} in page.all("a")
    assert not [link for link in page.all("a") if "javascript" in link["href"]]
    assert not [image for image in page.all("img") if not image["src"].startswith("data:")]
    MODEL_CARD_FILE.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"MODEL_CARD\.md: not UTF-8; save it as UTF-8 text, or remove the file"):
        read_results()


def test_the_page_of_another_pipeline_offers_no_command_that_it_lacks(source, monkeypatch):
    assert "make explain adds what the network looked at" in Page(source).text
    results = replace(read_results(), outputs=KERAS)
    monkeypatch.setattr("test_report.read_results", lambda: results)
    page = Page(page_source())
    assert "in Keras on folder" in page.text
    assert "explain" not in page.text


def write_exports(task: str, **changes: object) -> None:
    """What Resnet23.export leaves: one format as good as PyTorch, one that failed."""
    measured = {"error": None, "bytes": 3 << 20, "mean_difference": 0.0, "agreement": 0.995, "accuracy": 0.75}
    figures = {"max_difference": 4e-7, "images_per_second": {"1": 1234.5, "64": 6789.0}, "startup_seconds": 0.25}
    formats = [{"format": "onnx", **measured, **figures}, {"format": "pt2", "error": "it <differs>"}]
    circumstances = {"task": task, "images": 1000, "machine": {"cpu": "a processor"}, "threads": 2}
    model = {"checkpoint": "models/<x>.pth", "sha256": sha256(CHECKPOINT_FILE.read_bytes()).hexdigest()}
    EXPORT_RESULTS.parent.mkdir(parents=True)
    EXPORT_RESULTS.write_text(json.dumps({**model, **circumstances, "formats": formats, **changes}))


@pytest.mark.parametrize(
    ("task", "write", "heading"),
    [("multiclass", write_results, "Accuracy"), ("multilabel", write_multilabel_results, "Labels right")],
)
def test_the_page_compares_the_exports(task, write, heading, project):
    write(project, CLASSES)
    assert "#exports" not in page_source()
    write_exports(task)
    source = page_source()
    page = Page(source)
    assert page.open == []
    assert {"href": "#exports"} in page.all("a")
    assert {"onnx", "pt2", heading, "Images/s by 1", "Images/s by 64"} <= set(page.rows)
    row = source[source.index('"row">onnx') :].split("</tr>")[0]
    assert [cell.split("</td>")[0] for cell in row.split("<td>")[1:]] == [
        "3.0", "75.0%", "99.5%", "4e-07", "1,234", "6,789", "0.25 s",
    ]  # fmt: skip
    assert "it <differs>" in page.text
    assert "on 1,000 test images" in page.text


def test_exports_of_another_model_are_named_but_not_shown(project):
    write_results(project, CLASSES)
    write_exports("multiclass", sha256="0123456789abcdef" * 4)
    page = Page(page_source())
    assert "(models/<x>.pth, SHA-256 0123456789ab…); make export writes" in page.text
    assert "onnx" not in page.rows


@pytest.mark.parametrize("changes", [{"machine": None}, {"formats": [{"format": "onnx", "error": None}]}])
def test_a_damaged_file_of_exports_is_refused(changes, project):
    write_results(project, CLASSES)
    write_exports("multiclass", **changes)
    with pytest.raises(InputError, match=r"export\.json: not the results of an export.*`make export`"):
        read_results()


def write_explanations(sha256_of_model: str) -> None:
    """What Resnet23.explain leaves: two pictures, and what they are of."""
    EXPLAIN_RESULTS.parent.mkdir(parents=True)
    about = {"checkpoint": "models/<x>.pth", "title": "In <all> mistakes", "method": "Grad-CAM"}
    EXPLAIN_RESULTS.write_text(json.dumps({**about, "sha256": sha256_of_model}))
    for path, grey in ((EXPLAIN_PICTURE, 255), (EXPLAIN_PICTURE_DARK, 0)):
        path.write_bytes(encode_png(np.full((4, 4, 3), grey, np.uint8)))


@pytest.mark.parametrize("write", [write_results, write_multilabel_results])
def test_the_page_shows_what_the_network_looked_at(write, project):
    write(project, CLASSES)
    assert "#explanations" not in page_source()
    write_explanations(sha256(CHECKPOINT_FILE.read_bytes()).hexdigest())
    page = Page(page_source())
    assert page.open == []
    assert {"href": "#explanations"} in page.all("a")
    (image,) = [image for image in page.all("img") if image["alt"] == "In <all> mistakes"]
    assert image["src"].startswith("data:image/webp")
    assert "Found by Grad-CAM." in page.text


def test_explanations_of_another_model_are_named_but_not_shown(project):
    write_results(project, CLASSES)
    write_explanations("0123456789abcdef" * 4)
    page = Page(page_source())
    assert "(models/<x>.pth, SHA-256 0123456789ab…); make explain draws" in page.text
    assert "In <all> mistakes" not in [image["alt"] for image in page.all("img")]


def test_explanations_without_their_picture_are_refused(project):
    write_results(project, CLASSES)
    write_explanations("0" * 64)
    EXPLAIN_PICTURE_DARK.unlink()
    with pytest.raises(InputError, match=r"explanations\.dark\.png: cannot be read .* run `make explain`"):
        read_results()


@pytest.mark.parametrize(
    ("train_accuracy", "message"),
    [(0.99, "far better"), (0.66, "moderate"), (0.61, "carries over"), (0.4, "the easier ones")],
)
def test_the_gap_is_put_into_words(train_accuracy, message):
    assert message in gap_finding({"train_accuracy": train_accuracy, "accuracy": 0.6})


def test_chance_is_the_most_frequent_class():
    metrics = {"accuracy": 0.8, "per_class": {"a": {"support": 30}, "b": {"support": 70}}}
    assert headline(metrics).startswith("80.0% of 100 test images")
    assert headline(metrics).endswith("70.0%")
