"""The rules that hold for the whole package: layers, what may be imported where, what code may not do."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from package_imports import PACKAGE, ROOT, imported_modules, imported_names, module_files, parse

# An import points to a module with a lower number.
LAYERS = {
    0: [
        "doctoring.findings",
        "model_cards",
        "augmentation.imagewise",
        "command",
        "config",
        "environment",
        "errors",
        "files",
        "interrupts",
        "keras_variant",
        "labels",
        "machine",
        "places",
        "modeling.flips",
        "modeling.folding",
        "modeling.whitening",
        "revision",
        "superclasses",
        "tracking.breaker",
        "tracking.limits",
        "studies.statistics",
    ],
    1: [
        "newproject.capacity",
        "doctoring.machine",
        "doctoring.packages",
        "doctoring.programs",
        "model_cards.carbon",
        "model_cards.datasets",
        "model_cards.licenses",
        "exporting.guard",
        "exporting.parity",
        "outputs",
        "page",
        "page.captions",
        "page.sampling",
        "keras_variant.params",
        "keras_variant.calibration",
        "keras_variant.library",
        "studies.plain_network",
        "arrays",
        "augmentation",
        "augmentation.colors",
        "augmentation.draws",
        "duplicates",
        "figures",
        "augmentation.geometry",
        "classifiers.balance",
        "classifiers.binary_figures",
        "classifiers.heads",
        "classifiers.objectives",
        "classifiers.options",
        "classifiers.utils",
        "exporting.tracing",
        "history",
        "imagefiles",
        "images",
        "predictions",
        "processed",
        "resuming",
        "figures.theme",
        "modeling.device",
        "modeling.fast_cnn",
        "modeling.losses",
        "modeling.measure",
        "modeling.meter",
        "modeling.metrics",
        "modeling.model23",
        "modeling.muon",
        "modeling.phases",
        "modeling.pretrained",
        "modeling.shares",
        "modeling.stages",
        "modeling.superclass_metrics",
        "modeling.weightfiles",
        "modeling.whitened_resnet",
        "tracking.failures",
        "tracking.logged_models",
        "tracking.mlflow_process",
        "tracking.ownership",
        "tracking.previous",
        "tracking.provenance",
        "tracking.sender_process",
        "tracking.store",
        "sources.archive",
        "sources.download",
        "sources.examples",
        "sources.labelfile",
        "studies.definition",
        "studies.wording",
        "webapp.theme",
    ],
    2: [
        "commands.suggestions",
        "doctoring.network",
        "doctoring.pytorch",
        "model_cards.front_matter",
        "exporting.choices",
        "exporting.measuring",
        "keras_variant.augment",
        "keras_variant.data",
        "keras_variant.parts",
        "keras_variant.precision",
        "keras_variant.resume",
        "classifiers.stacked",
        "dataset",
        "decoding",
        "explaining.grids",
        "extras",
        "figures.findings",
        "exporting.resampling",
        "figures.range_test",
        "augmentation.mixing",
        "augmentation.policies",
        "modeling.architectures",
        "modeling.multilabel_metrics",
        "modeling.optim",
        "multilabel_predictions",
        "page.changes",
        "page.classes",
        "page.confusion",
        "page.embedding",
        "page.environment",
        "page.temperature",
        "modeling.resume",
        "modeling.timm_models",
        "modeling.watch",
        "modeling.zoo",
        "sources.batches",
        "sources.digits",
        "sources.location",
        "sources.npm",
        "tracking.destination",
        "tracking.model_folder",
        "tracking.transfer",
        "studies.settings",
        "studies.trials",
        "figures.landscapes",
        "webapp.server",
    ],
    3: [
        "commands.outline",
        "doctoring.folder",
        "doctoring.runs",
        "doctoring.storage",
        "model_cards.intervals",
        "exporting.rows",
        "figures.framework_charts",
        "modeling.evaluation_record",
        "keras_variant.callbacks",
        "keras_variant.applications",
        "keras_variant.resnet",
        "keras_variant.saved",
        "keras_variant.small_cnn",
        "studies.pictures",
        "figures.feature_maps",
        "augment",
        "explaining.maps",
        "figures.charts",
        "figures.explanations",
        "figures.multilabel_findings",
        "figures.probes",
        "figures.superclass_charts",
        "page.card",
        "page.data",
        "page.oddities",
        "modeling.checkpoint",
        "modeling.zoo_table",
        "results",
        "sources.cifar",
        "sources.folder",
        "sources.mosaics",
        "sources.multilabel",
        "tracking.registry",
        "tracking.tracker",
        "studies.outcomes",
        "studies.directions",
        "webapp.batch",
    ],
    4: [
        "newproject.layout",
        "model_cards.facts",
        "model_cards.measured",
        "figures.geometries",
        "classifiers.hugging_face",
        "figures.galleries",
        "figures.multilabel_charts",
        "modeling.batches",
        "modeling.inference",
        "modeling.inputs",
        "modeling.thresholds",
        "page.calibration",
        "page.examples",
        "page.summary",
        "keras_variant.convert",
        "sources",
        "tracking",
        "studies.comparisons",
        "studies.importance",
    ],
    5: [
        "newproject.survey",
        "model_cards.findings",
        "figures.sweeps",
        "studies.activity",
        "classifiers",
        "classifiers.cache",
        "classifiers.encoders",
        "classifiers.feature_batches",
        "classifiers.saved",
        "classifiers.training",
        "classifiers.validation",
        "figures.multilabel_galleries",
        "modeling.agreement",
        "modeling.consistency",
        "exporting.comparison",
        "exporting.formats",
        "exporting.networks",
        "exporting.onnx_files",
        "exporting.source",
        "exporting.torch_files",
        "modeling.evaluate",
        "report",
        "modeling.selection",
        "modeling.fit",
        "modeling.new_network",
        "modeling.prediction_table",
        "modeling.pyfunc",
        "keras_variant.stored",
        "webapp.novelty",
    ],
    6: [
        "newproject.suggestions",
        "model_cards.card",
        "keras_variant.exporting.source",
        "keras_variant.compare",
        "keras_variant.predict",
        "keras_variant.architectures",
        "classifiers.export",
        "classifiers.predict",
        "classifiers.experiments",
        "classifiers.pretrain",
        "classifiers.probes",
        "classifiers.report",
        "datadownload",
        "explain",
        "explaining.questions",
        "export",
        "features",
        "modeling.lr_find",
        "modeling.train",
        "modeling.predict",
        "plots",
        "promote",
        "tracking.dagshub_setup",
        "tracking.sender",
        "tracking.serving",
        "tracking.sync",
        "tracking.ui",
        "validate",
        "studies.measuring",
        "webapp.facts",
    ],
    7: [
        "newproject.readme",
        "model_card",
        "keras_variant.exporting.onnx_file",
        "keras_variant.exporting.saved_model",
        "keras_variant.fit",
        "keras_variant.plots",
        "studies.geometry",
        "studies.filters",
        "project",
        "studies.sweep",
        "summary",
        "studies.landscape",
        "webapp.answers",
    ],
    8: [
        "newproject.skeleton",
        "commands.report",
        "doctor",
        "keras_variant.exporting.tfjs",
        "keras_variant.exporting.tflite",
        "keras_variant.train",
        "studies.analyses",
        "studies.workplace",
        "webapp.markup",
        "webapp.uploads",
    ],
    9: [
        "new_project",
        "cli",
        "keras_variant.exporting.formats",
        "studies.publish",
        "studies.runner",
        "webapp.views",
    ],
    10: [
        "__main__",
        "keras_variant.export",
        "studies.__main__",
        "webapp.page",
    ],
    11: [
        "keras_variant.page",
        "serve",
    ],
}
# Within a layer only these: the foundation stands on the errors and the file functions, and the features on the image
# files that they may have been left in.
SAME_LAYER = {
    ("classifiers", "classifiers.encoders"),
    ("classifiers", "classifiers.training"),
    ("classifiers", "classifiers.validation"),
    ("classifiers.cache", "classifiers.encoders"),
    ("classifiers.feature_batches", "classifiers.cache"),
    ("classifiers.feature_batches", "classifiers.encoders"),
    ("classifiers.saved", "classifiers.encoders"),
    ("classifiers.training", "classifiers.encoders"),
    ("classifiers.training", "classifiers.feature_batches"),
    ("classifiers.training", "classifiers.validation"),
    ("classifiers.validation", "classifiers.encoders"),
    ("classifiers.validation", "classifiers.feature_batches"),
    ("explain", "explaining.questions"),
    ("exporting.comparison", "exporting.source"),
    ("exporting.formats", "exporting.onnx_files"),
    ("exporting.formats", "exporting.source"),
    ("exporting.formats", "exporting.torch_files"),
    ("exporting.onnx_files", "exporting.networks"),
    ("exporting.onnx_files", "exporting.source"),
    ("exporting.source", "exporting.networks"),
    ("exporting.torch_files", "exporting.networks"),
    ("exporting.torch_files", "exporting.source"),
    ("classifiers.report", "classifiers.experiments"),
    ("classifiers.report", "classifiers.probes"),
    ("validate", "classifiers.experiments"),
    ("validate", "classifiers.probes"),
    ("validate", "classifiers.report"),
    ("modeling.architectures", "modeling.timm_models"),
    ("modeling.pretrained", "modeling.weightfiles"),
    ("modeling.whitened_resnet", "modeling.model23"),
    ("modeling.zoo", "modeling.architectures"),
    ("modeling.selection", "modeling.evaluate"),
    ("modeling.fit", "modeling.evaluate"),
    ("modeling.fit", "modeling.selection"),
    ("files", "errors"),
    ("config", "errors"),
    ("config", "files"),
    ("environment", "errors"),
    ("environment", "files"),
    ("command", "config"),
    ("command", "environment"),
    ("command", "errors"),
    ("command", "files"),
    ("imagefiles", "images"),
    ("arrays", "imagefiles"),
    ("arrays", "processed"),
}

WITHOUT_TORCH = ["plots", "report", "modeling.metrics", "images", "arrays", "predictions", "processed", "features"]
LINES_OF_A_FUNCTION = 40

MODULES = sorted(module_files().keys() - {"__init__"})


def layer_of(module: str) -> int:
    """The layer that a module is listed in."""
    return next(layer for layer, modules in LAYERS.items() if module in modules)


def in_new_process(program: str, folder) -> dict:
    """Run a program that prints JSON in a fresh interpreter, with `folder` as its current directory."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_every_module_has_its_layer_and_every_folder_is_a_package():
    listed = [module for modules in LAYERS.values() for module in modules]
    assert sorted(listed) == MODULES, "test_architecture.LAYERS and the files of the package differ"
    for file in module_files().values():
        assert (file.parent / "__init__.py").is_file()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_lower_layers(module):
    for imported in imported_modules(module_files()[module]):
        allowed = layer_of(imported) < layer_of(module) or (module, imported) in SAME_LAYER
        assert allowed, f"{module} (layer {layer_of(module)}) imports {imported} (layer {layer_of(imported)})"


def test_only_tracking_imports_the_tracker():
    for module, file in module_files().items():
        libraries = {name.split(".")[0] for name in imported_names(parse(file))}
        assert module.split(".")[0] == "tracking" or not libraries & {"mlflow", "dagshub"}, module


def test_what_works_on_files_and_figures_needs_no_torch(tmp_path):
    twin = [module for module in MODULES if module.startswith("keras_variant.")]
    names = [f"{PACKAGE}.{module}" for module in [*WITHOUT_TORCH, *twin]]
    program = f"""
import importlib, json
for name in {names}:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""
    loaded = set(in_new_process(program, tmp_path))
    assert f"{PACKAGE}.plots" in loaded
    assert not loaded & {"torch", "torchvision", "accelerate", "mlflow", "tensorflow", "keras"}


def test_importing_the_package_does_nothing(tmp_path):
    program = f"""
import importlib, json, logging, os, random, signal, warnings
import accelerate, loguru, matplotlib.pyplot, mlflow, numpy, sklearn.metrics, torch, torchvision  # as they please
def state():
    return [
        repr(logging.getLogger().handlers), repr(loguru.logger), repr(signal.getsignal(signal.SIGTERM)),
        repr(warnings.showwarning), dict(os.environ), random.getstate()[1][:9], torch.get_num_threads(),
        numpy.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist(), matplotlib.get_backend(),
    ]
before = repr(state())
for module in {MODULES!r}:
    importlib.import_module("{PACKAGE}." + module)
print(json.dumps([before == repr(state()), os.listdir()]))
"""
    unchanged, left_behind = in_new_process(program, tmp_path)
    assert unchanged
    assert left_behind == []


# ----------------------------------------------------------------------------------------------------------------------
# Calls that are refused, each with an example that has to be found.

REFUSED = {
    "weights_only=False runs code from the file": "torch.load(path, weights_only=False)",
    "torch.load without weights_only=True": "torch.load(path)",
    "allow_pickle=True runs code from the file": "np.load(path, allow_pickle=True)",
    "pickle.load runs code from the file": "pickle.load(file)",
    "pickle.loads runs code from the file ": "from pickle import loads",
    "joblib.load unpickles": "joblib.load(path)",
    "extractall without a filter writes anywhere": "archive.extractall(folder)",
    "shell=True splits names with spaces": "subprocess.run(command, shell=True)",
    "os.system is a shell": "os.system(command)",
    "eval and exec run text": "eval(text)",
    "allow_pickle is False or not there": "np.load(path, allow_pickle=trusted)",
    "the third argument of np.load is allow_pickle": "np.load(path, None, True)",
    "pandas unpickles": "pd.read_pickle(path)",
    "shelve unpickles": "shelve.open(path)",
    "marshal reads code": "marshal.loads(data)",
    "an unpickler that admits everything": "pickle.Unpickler(file)",
    "another name hides a module's calls": "import pickle as p",
    "a function without its module hides them too": "from torch import load",
    "a shell of Python's": "subprocess.getoutput(command)",
    "unpack_archive has no filter of ours": "shutil.unpack_archive(path, folder)",
    "safe_mode=False runs code from a Keras file": "keras.saving.load_model(path, safe_mode=False)",
    "trust_remote_code is for the user to say": "AutoModel.from_pretrained(name, trust_remote_code=True)",
    "an unsafe YAML makes any object": "YAML(typ='unsafe')",
}
RISKY_NAMES = {
    "pickle": {"load", "loads", "Unpickler"},
    "cloudpickle": {"load", "loads"},
    "dill": {"load", "loads"},
    "joblib": {"load"},
    "marshal": {"load", "loads"},
    "numpy": {"load"},
    "os": {"system", "popen"},
    "shelve": {"open"},
    "shutil": {"unpack_archive"},
    "subprocess": {"getoutput", "getstatusoutput"},
    "torch": {"load"},
}
RISKY_CALL = re.compile(
    r"(pickle|cloudpickle|dill|joblib|marshal)\.loads?|pickle\.Unpickler|shelve\.open|os\.(system|popen)|eval|exec"
    r"|subprocess\.get(status)?output|(pd|pandas)\.read_pickle|shutil\.unpack_archive"
)
FORBIDDEN_VALUES = {"weights_only": "False", "shell": "True", "safe_mode": "False", "trust_remote_code": "True"}


def refused_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the name of every call or import in `tree` that must not be there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names} & RISKY_NAMES.get(node.module, set())
            yield from ((node.lineno, name) for name in names)
        if isinstance(node, ast.Import):
            renamed = {alias.name for alias in node.names if alias.asname} & RISKY_NAMES.keys() - {"numpy"}
            yield from ((node.lineno, name) for name in renamed)
        if isinstance(node, ast.Call):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if is_refused(ast.unparse(node.func), keywords, len(node.args)):
                yield node.lineno, ast.unparse(node)


def is_refused(name: str, keywords: dict[str | None, str], positional: int) -> bool:
    """Whether a call of this name with these keyword arguments, and so many others, must not be there."""
    return (
        any(keywords.get(key) == value for key, value in FORBIDDEN_VALUES.items())
        or keywords.get("allow_pickle", "False") != "False"
        or keywords.get("typ") == "'unsafe'"
        or bool(RISKY_CALL.fullmatch(name))
        or (name in ("np.load", "numpy.load") and positional > 2)
        or (name == "torch.load" and keywords.get("weights_only") != "True")
        or (name.endswith(".extractall") and "filter" not in keywords)
    )


@pytest.mark.parametrize("example", REFUSED.values(), ids=REFUSED)
@pytest.mark.fault(27)
def test_the_gate_finds_what_it_refuses(example):
    assert list(refused_calls(ast.parse(example)))


def test_the_gate_lets_safe_calls_pass():
    safe = [
        "torch.load(p, weights_only=True)",
        "np.load(p)",
        "json.load(f)",
        "tar.extractall(p, filter='data')",
        "run(c)",
    ]
    assert not list(refused_calls(ast.parse("\n".join(safe))))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.fault(27)
def test_no_module_makes_a_refused_call(module):
    assert not list(refused_calls(parse(module_files()[module])))


@pytest.mark.fault(27)
def test_nothing_else_that_the_project_runs_makes_one(record_property):
    files = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    record_property("faults", len(files))
    assert files
    assert not [(file.name, call) for file in files for call in refused_calls(parse(file))]


@pytest.mark.parametrize("module", MODULES)
def test_functions_are_short_and_public_ones_explained(module):
    tree = parse(module_files()[module])
    assert ast.get_docstring(tree), f"{module} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= LINES_OF_A_FUNCTION, f"{module}.{node.name} has {lines} lines"


def names_of(requirements: list[str]) -> set[str]:
    """The packages of requirements such as `torch==2.14.1`."""
    return {re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0].lower() for line in requirements}


def test_every_imported_library_is_a_declared_dependency_and_those_of_extras_are_imported_late():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = names_of(project["dependencies"])
    extras = names_of(
        [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    )
    providers = packages_distributions()
    for module, file in module_files().items():
        tree = parse(file)
        at_once = imported_names(
            ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        )
        for names, declared in ((at_once, core), (imported_names(tree), core | extras)):
            for library in {name.split(".")[0] for name in names} - {PACKAGE, *sys.stdlib_module_names}:
                known = {name.lower().replace("_", "-") for name in providers.get(library, [library])}
                assert known & declared, f"{module} imports {library}, which pyproject.toml does not name"
