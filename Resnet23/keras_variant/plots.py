"""The Keras pipeline's figures and page, drawn as those of the PyTorch pipeline are."""

from Resnet23.command import DebugOption, PresetOption, SetOption, run_command
from Resnet23.keras_variant.params import KERAS_PARAMS_FILE, KerasParamsOption, load_keras_params
from Resnet23.outputs import KERAS
from Resnet23.plots import write_report


def main(
    params_file: KerasParamsOption = KERAS_PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Draw the figures and build the report page in reports/keras."""
    write_report(KERAS, load_keras_params(params_file, preset, assignments))


if __name__ == "__main__":
    run_command(main)
