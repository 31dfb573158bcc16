"""TensorFlow's tests run in a process of their own, `make test-keras`: beside PyTorch it can crash."""

import importlib.util
import sys

import pytest
from small_exports_keras import make_project


@pytest.fixture(scope="session", autouse=True)
def own_process():
    """Skip where TensorFlow is missing or PyTorch is loaded."""
    if importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("keras") is None:
        pytest.skip("needs TensorFlow and Keras: make setup-tensorflow")
    if "torch" in sys.modules:
        pytest.skip("PyTorch is loaded in this process: make test-keras runs these tests in one of their own")


@pytest.fixture(scope="session")
def keras(own_process):
    """The library."""
    from Resnet23.keras_variant.library import import_keras

    return import_keras()


@pytest.fixture(autouse=True)
def same_weights(request, own_process):
    """Equal random numbers in every run of a test that has networks."""
    if "keras" in request.fixturenames:
        request.getfixturevalue("keras").utils.set_random_seed(0)


@pytest.fixture(scope="session")
def keras_project(keras, tmp_path_factory):
    """A project with the features of a few digits and a small classifier of them in models/keras."""
    folder = tmp_path_factory.mktemp("digits")
    make_project(folder)
    return folder
