"""Unknown names of models, optimizers, schedules and tasks: one line that helps."""

import pytest

from Resnet23.config import TrainParams
from Resnet23.errors import InputError
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.optim import check_names
from Resnet23.modeling.zoo import check_model, create_model, list_models


def test_a_misspelt_model_gets_a_suggestion():
    with pytest.raises(InputError, match=r"model\.name: found 'resnet32'.*did you mean resnet\d\d\?"):
        create_model("resnet32", num_classes=10)


def test_an_unknown_model_lists_what_exists():
    with pytest.raises(
        InputError,
        match=r"known: resnet10, resnet18, resnet23, resnet34, resnet23_whitened, fast_cnn, torchvision/resnet18, ",
    ):
        create_model("banana", num_classes=10)


@pytest.mark.parametrize(
    ("name", "nearest"), [("torchvision/resnet51", "torchvision/resnet50"), ("timm/resnet51", "timm/resnet51q")]
)
def test_a_misspelt_name_behind_a_prefix_gets_a_suggestion(name, nearest):
    with pytest.raises(
        InputError, match=rf"model\.name: found '{name}', which is no known model; did you mean {nearest}"
    ):
        create_model(name, num_classes=10)


def test_unknown_weights_in_a_name_of_timm_s_get_a_suggestion():
    pytest.importorskip("timm")
    check_model("timm/resnet50.a1_in1k")
    with pytest.raises(InputError, match=r"model\.name: found 'timm/resnet50\.a1_in1', .* mean timm/resnet50\.a1_in1k"):
        check_model("timm/resnet50.a1_in1")
    with pytest.raises(InputError, match=r"found 'timm/resnet50\.nosuch'.*did you mean timm/resnet50\.\w+\?"):
        check_model("timm/resnet50.nosuch")


@pytest.mark.parametrize(
    ("name", "classifiers"), [("deit_tiny_distilled_patch16_224", "head, head_dist"), ("efficientvim_m1", "heads.0, ")]
)
def test_a_network_with_several_classifiers_is_refused_and_not_listed(name, classifiers):
    pytest.importorskip("timm")
    with pytest.raises(
        InputError, match=rf"model\.name: found 'timm/{name}', which has \d classifiers \({classifiers}"
    ):
        create_model(f"timm/{name}", num_classes=10)
    assert f"timm/{name}" not in list_models(all=True)


@pytest.mark.parametrize("key", ["optimizer", "schedule"])
def test_an_unknown_optimizer_or_schedule_is_named_with_its_key(key):
    with pytest.raises(InputError, match=rf"train\.{key}: found 'zzzz'.*known: "):
        check_names(TrainParams(**{key: "zzzz"}))


def test_an_unknown_task_is_refused():
    with pytest.raises(InputError, match="multiclass"):
        get_task("multiclas")
