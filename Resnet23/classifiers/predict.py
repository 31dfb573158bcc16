"""What a head says about image files, seen through the encoder that it was trained on.

python -m Resnet23.classifiers.predict reports/extras/heads/multiclass.pth photo.jpg holiday/ --output table.csv
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from Resnet23.classifiers.options import EncoderOption, HeadArgument, TrustOption
from Resnet23.classifiers.saved import load_trained_head
from Resnet23.command import DebugOption, run_command
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.prediction_table import OutputOption, StrictOption, check_output, classify

ImagesArgument = Annotated[list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER", help="Files to classify.")]
BatchOption = Annotated[int, typer.Option("--batch_size", min=1, help="Images in memory at a time.")]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")]


def main(
    head: HeadArgument,
    images: ImagesArgument,
    encoder: EncoderOption = None,
    output: OutputOption = None,
    strict: StrictOption = False,
    batch_size: BatchOption = 64,
    device: DeviceOption = "auto",
    trust_remote_code: TrustOption = False,
    debug: DebugOption = False,
) -> None:
    """Classify image files and folders with a head: a row for each file, its class, confidence and top five.

    A head for one class answers NAME where its probability reaches the head's threshold (0.5 if it has none), and
    "not NAME" below; the confidence is the probability of that answer.
    """
    check_output(output)
    place = choose_device(device)
    trained = load_trained_head(head, encoder, trust_remote_code)
    classify(Classifier(trained, place, batch_size), images, output, strict)


if __name__ == "__main__":
    run_command(main)
