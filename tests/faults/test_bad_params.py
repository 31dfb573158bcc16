"""Wrong parameters: refused by every command that takes some, before any work, all mistakes in one line."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package_imports import PACKAGE, module_files
from refused_commands import refusal
from small_project import REPOSITORY

from Resnet23.config import Params, Section, flatten, load_params, validate_params
from Resnet23.errors import InputError
from Resnet23.keras_variant.params import KERAS_PARAMS_FILE, KerasParams, load_keras_params
from Resnet23.project import write_params

OPTION = re.compile(r"^    params_file: (Keras)?ParamsOption", re.MULTILINE)
# What each command that takes parameters takes: those of the project, or of the Keras pipeline.
COMMANDS = {
    f"{PACKAGE}.{module}": found[1] is not None
    for module, file in module_files().items()
    if (found := OPTION.search(file.read_text(encoding="utf-8")))
}
MISTAKES = {
    "seed": ("-1", "found -1, expected greater than or equal to 0"),
    "train.lerning_rate": ("0.1", "unknown key, did you mean learning_rate?"),
    "train.epochs": ("true", "found True, expected a valid integer"),
    "train.batch_size": ("'64'", "found '64', expected a valid integer"),
    "train.weight_decay": (".nan", "found nan, expected a finite number"),
    "plots.dpi": ("1e9", "found 1000000000.0, expected a valid integer"),
    "modle.width": ("8", "did you mean model?"),
}
SEVERAL = 300
SETTINGS = settings(
    max_examples=SEVERAL,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def test_the_commands_are_found():
    own = {
        "datadownload",
        "features",
        "modeling.train",
        "modeling.predict",
        "plots",
        "validate",
        "classifiers.pretrain",
    }
    assert {f"{PACKAGE}.{module}" for module in own} <= COMMANDS.keys()
    assert sum(COMMANDS.values()) >= 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with parameters and nothing else."""
    folder = tmp_path / "project"
    (folder / KERAS_PARAMS_FILE).parent.mkdir(parents=True)
    (folder / "presets").mkdir()
    for name in ("params.yaml", KERAS_PARAMS_FILE):
        (folder / name).write_bytes((REPOSITORY / name).read_bytes())
    return folder


def mistaken_file(keys: Iterable[str]) -> str:
    """A parameter file with these mistakes."""
    sections: dict[str, list[str]] = {}
    for key in keys:
        section, _, name = key.rpartition(".")
        line = f"{name}: {MISTAKES[key][0]}"
        sections.setdefault(section, []).append(f"  {line}" if section else line)
    return "\n".join(line for name, lines in sections.items() for line in ([f"{name}:"] if name else []) + lines)


def assert_all_are_named(line: str, origin: str) -> None:
    """The line names the places that the parameters come from, and says of every mistake what is wrong."""
    assert line.startswith(f"{origin}: ")
    for key, (_, phrase) in MISTAKES.items():
        shown = "modle" if key == "modle.width" else key
        assert re.search(rf"\b{re.escape(shown)}: [^;]*{re.escape(phrase)}", line), (shown, line)


@pytest.mark.slow
@pytest.mark.fault(12)
@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_names_all_mistakes_before_it_works(folder, module, record_property):
    """Those of the file, of the preset, which replaces its sections, and of the assignments, in the same line."""
    record_property("faults", len(MISTAKES))
    of_preset = [key for key in MISTAKES if key.startswith("train.")]
    of_file = [key for key in MISTAKES if key not in (*of_preset, "modle.width")]
    (folder / "wrong.yaml").write_text(mistaken_file(of_file))
    preset = mistaken_file(of_preset)
    is_keras = COMMANDS[module]
    (folder / "presets/mine.yaml").write_text(
        "keras:\n" + re.sub("^", "  ", preset, flags=re.M) if is_keras else preset
    )
    line = refusal(2, folder, module, "--params", "wrong.yaml", "--preset", "mine", "--set", "modle.width=8")
    assert_all_are_named(line, "wrong.yaml + presets/mine.yaml + --set")


@pytest.mark.slow
@pytest.mark.fault(12)
def test_mistakes_are_named_wherever_they_are(folder, record_property):
    record_property("faults", 3 * len(MISTAKES))
    for name in ("wrong.yaml", "presets/mine.yaml"):
        (folder / name).write_text(mistaken_file(MISTAKES))
    assignments = [f"--set={key}={text}" for key, (text, _) in MISTAKES.items()]
    features = f"{PACKAGE}.features"
    assert_all_are_named(refusal(2, folder, features, "--params", "wrong.yaml"), "wrong.yaml")
    assert_all_are_named(refusal(2, folder, features, "--preset", "mine"), "params.yaml + presets/mine.yaml")
    assert_all_are_named(refusal(2, folder, features, *assignments), "params.yaml + --set")


@pytest.mark.slow
@pytest.mark.fault(12)
@pytest.mark.parametrize(
    ("name", "phrase"), [("learning_rat", "did you mean learning-rate?"), ("mine", "studies/mine.yaml: ")]
)
def test_a_study_that_is_wrong_is_refused(folder, name, phrase, record_property):
    (folder / "studies").mkdir()
    (folder / "studies/learning-rate.yaml").write_bytes((REPOSITORY / "studies/learning-rate.yaml").read_bytes())
    (folder / "studies/mine.yaml").write_text(
        "qestion: Why?\nanalysis: 3\nexpected: ''\nscales:\n  smoke: {preset: digits, seeds: [true], cots: none}\n"
    )
    line = refusal(2, folder, f"{PACKAGE}.studies.__main__", name)
    assert phrase in line
    if name == "mine":
        record_property("faults", 6)
        for phrase in (
            "question: missing",
            "analysis: found 3",
            "qestion: unknown key, did you mean question?",
            "scales.smoke.seeds.0: found True",
            "scales.smoke.cots: unknown key, did you mean cost?",
            "expected: found ''",
        ):
            assert phrase in line


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("train: {phases: [{epoch: 3}]}", r"train\.phases\.0\.epoch: unknown key, did you mean epochs\?"),
        ("train: {augment: {color_jitter: {hu: 1}}}", r"color_jitter\.hu: unknown key, did you mean hue\?"),
        ("data: {classes: [cat, 3]}", r"data\.classes\.1: found 3, expected a valid string"),
        ("seed: 2026-11-23", r"seed: found datetime\.date\(2026, 11, 23\), expected a valid integer"),
        ("seed: 2026-13-45", r"not valid YAML: month must be in 1\.\.12"),
        ("seed: !!int ''", "not valid YAML: "),
        ("seed: !!python/object/apply:os.mkdir [witness]", "could not determine a constructor for the tag"),
        ("seed: " + "9" * 5000, "not valid YAML: Exceeds the limit"),
        ("seed: 0x" + "f" * 5000, "seed: found int of more than 4,300 digits"),
        ("seed: " + "[" * 1000, "not valid YAML: "),
        ("seed: \x01", "not valid YAML: "),
        ("'tr\\nain\x1b[31m': 1".replace("\x1b", "\\e").replace("'", '"'), r"tr\\nain\\x1b\[31m: unknown key"),
        ("1: 2", "1: "),
        ("a: &a {b: *a}", "a: unknown key"),
        ("seed: 0\n---\nseed: 1", "not valid YAML"),
        ("train: [1, 2]", r"train: found \[1, 2\], expected a valid dictionary"),
        ("tracking: {experiment: '" + "x" * 5000 + "', enabled: 1}", "tracking.enabled: found 1"),
        ("model: {name: " + "[a, " * 50 + "]" * 50 + "}", r"model\.name: found \[.*\.\.\."),
        ("data: {source: 'https://jane" + ":word@host/flowers.zip'}", "an address with a password"),
    ],
)
def test_odd_values_are_refused_in_one_short_line(tmp_path, monkeypatch, text, phrase):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(text)
    with pytest.raises(InputError, match=phrase) as caught:
        load_params()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    assert "word@" not in str(caught.value)
    assert not Path("witness").exists()


def test_an_alias_is_changed_in_the_place_that_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("train: {augment: {color_jitter: &same {probability: 0.5}, affine: *same}}")
    augment = load_params(assignments=["train.augment.affine.probability=0.1"]).train.augment
    assert (augment.color_jitter.probability, augment.affine.probability) == (0.5, 0.1)


def test_what_a_project_was_made_from_may_hold_line_breaks(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assignment = 'tracking.experiment="two\n lines"'
    params = load_params(assignments=[assignment])
    write_params(tmp_path / "params.yaml", params.model_dump(), f"params.yaml + {assignment}")
    assert load_params(tmp_path / "params.yaml") == params


# ----------------------------------------------------------------------------------------------------------------------
# Properties, for random parameters.


def keys_and_fields(section: type[Section], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key below a section, with its field."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from keys_and_fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Values that a field takes, and some that it does not, such as infinity."""
    if get_origin(field.annotation) is list:
        [kind] = get_args(field.annotation)
        return st.lists(valid_sections(kind), min_size=1, max_size=3)
    if pattern := next((each.pattern for each in field.metadata if getattr(each, "pattern", None)), None):
        return st.from_regex(pattern)
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    is_optional = type(None) in get_args(field.annotation)
    kind = Union[tuple(kinds)] if is_optional else field.annotation  # noqa: UP007 (their number is not known here)
    values = st.from_type(Annotated[kind, *field.metadata] if field.metadata else kind)
    return st.none() | values if is_optional else values


def valid_sections(section: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """A section with any of its keys, nested."""
    return st.fixed_dictionaries(
        {},
        optional={
            name: valid_sections(field.annotation)
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
            else values_of(field)
            for name, field in section.model_fields.items()
        },
    )


KEYS = [key for kind in (Params, KerasParams) for key, _ in keys_and_fields(kind)]
ODD_VALUES = r"""
null ~ true yes 1e-05 1E5 .inf -.inf .nan '1e-05' 0 -1 -0.0 0x_ +_ 0o17 0b1 1_000 1e999 2026-13-45 2026-11-23
2026-11-23T25:00:00Z [] {} [1,2] {a:1} {1:2} &a *a [*a] &a[*a] <<:3 {<<:*a} !!int !!float'x' !!timestamp !!bool'x'
!!binary'%' !!set{a} !!python/name:os.system !x #c ? - | > @ ` % \ " ' : [[ ]] {,}
"""
WRITTEN = st.one_of(
    st.sampled_from([*ODD_VALUES.split(), "\x01", "\x7f", "\ufeff", "\u2028", "\U0001f41d"]),
    st.integers().map(str),
    st.floats().map(repr),
    st.text(max_size=20),
    st.sampled_from(["9" * 5000, "0x" + "f" * 4000, "[" * 50, "a" * 5000]),
)
NAMES = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from(KEYS).map(lambda key: key.rpartition(".")[2]),
    st.sampled_from(KEYS).map(lambda key: key[:-1]),
    st.text(max_size=10),
)
LINES = st.tuples(st.integers(0, 4), NAMES, st.sampled_from([": ", ":", "=", " : &a ", ": !!str "]), WRITTEN)
DOCUMENTS = st.one_of(
    st.lists(LINES.map(lambda parts: " " * parts[0] + "".join(parts[1:])), max_size=6).map("\n".join),
    st.text(max_size=200),
    st.binary(max_size=100),
)


def outcome(load: Callable[[], Params | KerasParams]) -> Params | KerasParams | InputError:
    """What `load` gives, or how it refuses; nothing else is caught."""
    try:
        return load()
    except InputError as error:
        return error


def assert_valid_or_one_line(load: Callable[[], Params | KerasParams], again: Path, origin: Path) -> None:
    """`load` gives parameters that are the same once written and read, or refuses in one line."""
    params = outcome(load)
    if isinstance(params, InputError):
        assert len(str(params).splitlines()) == 1 and str(params).isprintable()
        return
    write_params(again, params.model_dump(), "a test", template=origin)
    reader = load_params if isinstance(params, Params) else load_keras_params
    assert reader(again) == params


@pytest.fixture
def scratch(tmp_path: Path) -> tuple[Path, Path]:
    """A file to write parameters to, and a template with the least that there can be."""
    (tmp_path / "template.yaml").write_text("seed: 0  # every random draw comes from it\n")
    return tmp_path / "again.yaml", tmp_path / "template.yaml"


@pytest.mark.slow
@pytest.mark.fault(29)
@SETTINGS
@given(document=DOCUMENTS)
def test_any_file_is_parameters_or_refused_in_one_line(document, scratch, record_property):
    record_property("faults", SEVERAL)
    file = scratch[0].with_name("params.yaml")
    file.write_bytes(document if isinstance(document, bytes) else document.encode("utf-8", "surrogatepass"))
    for load in (load_params, load_keras_params):
        assert_valid_or_one_line(lambda load=load: load(file), *scratch)


@pytest.mark.slow
@pytest.mark.fault(29)
@SETTINGS
@given(assignments=st.lists(st.tuples(NAMES, st.sampled_from(["=", "", "==", ".="]), WRITTEN).map("".join), max_size=4))
def test_any_assignments_give_parameters_or_are_refused_in_one_line(assignments, scratch, record_property):
    record_property("faults", SEVERAL)
    for load in (load_params, load_keras_params):
        assert_valid_or_one_line(lambda load=load: load(scratch[1], assignments=assignments), *scratch)


@pytest.mark.slow
@pytest.mark.fault(29)
@SETTINGS
@given(values=valid_sections(Params))
def test_parameters_in_range_are_the_same_once_written_and_read(values, scratch, record_property):
    record_property("faults", SEVERAL)
    assert_valid_or_one_line(lambda: validate_params(Params, values, "random"), *scratch)


def test_the_random_parameters_reach_every_key():
    assert {key for key, _ in keys_and_fields(Params)} >= flatten(Params().model_dump()).keys()
