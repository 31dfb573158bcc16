"""Heads as files that describe themselves, and an encoder with its head as one network."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from Resnet23.classifiers.encoders import Encoder, load_encoder, weights_digest
from Resnet23.classifiers.heads import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.config import shortened
from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import atomic_write, printable
from Resnet23.modeling.checkpoint import Decision, Preprocessing
from Resnet23.modeling.weightfiles import (
    Description,
    StoredPreprocessing,
    check_description,
    check_tensors,
    load_plain,
)

FORMAT = "resnet23-head"
VERSION = 1


class StoredHead(Description):
    """What a head's file holds besides its weights; further keys pass unchecked."""

    model_config = ConfigDict(extra="ignore")

    input_features: int = Field(ge=1)
    hidden_features: int = Field(ge=1)
    dropout_rate: float = Field(ge=0, le=1)
    classes: list[str] = Field(min_length=1)
    threshold: float | None
    encoder: str | None
    is_encoder_local: bool
    encoder_sha256: str
    preprocessing: StoredPreprocessing | None


class EncoderWithHead(nn.Module):
    """An encoder and its head as one network: images (N, 3, H, W) -> logits (N, K). Only the head can be trained."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images))


@dataclass(frozen=True)
class SavedHead:
    """Everything that is needed to use a head but its encoder, as plain values and tensors."""

    state_dict: dict[str, Tensor]
    input_features: int
    hidden_features: int
    dropout_rate: float
    classes: list[str]  # the name of each logit; a binary head has one, that of its class
    threshold: float | None  # probability from which a binary head says yes; None: 0.5
    encoder: str | None  # the name or path that it was loaded by; None where it was a network in memory
    is_encoder_local: bool  # whether that was a file or a folder
    encoder_sha256: str  # of its weights
    preprocessing: Preprocessing | None  # how images come to the encoder; None where that is not known

    def build_head(self, origin: str = "the head") -> nn.Sequential:
        """The head with its weights, in evaluation mode.

        Raises IntegrityError, naming `origin`, when the weights do not fit the description.
        """
        shape = (self.input_features, self.hidden_features, self.dropout_rate)
        is_binary = len(self.classes) == 1
        head = (
            create_binary_classifier_head(*shape)
            if is_binary
            else create_multiclass_classifier_head(*shape, len(self.classes))
        )
        try:
            head.load_state_dict(self.state_dict)
        except (RuntimeError, TypeError) as error:
            details = [line.strip() for line in str(error).splitlines()[1:]]
            raise IntegrityError(
                f"{origin}: the weights do not fit: {details[0][:200] if details else error}"
            ) from None
        return head.eval()

    def attach_to(self, encoder: Encoder) -> EncoderWithHead:
        """The head with the encoder that it was trained on, in evaluation mode; raises IntegrityError for another."""
        if weights_digest(encoder) != self.encoder_sha256:
            raise IntegrityError(
                f"the encoder {encoder.name} has other weights than {self.encoder or 'the network in memory'}, which "
                "this head was trained on; take that one, or train the head again"
            )
        return EncoderWithHead(encoder, self.build_head()).eval()


@dataclass(frozen=True)
class TrainedHead:
    """A head and its encoder as the model of a `modeling.inference.Classifier`, which predicts image files.

    A binary head answers as one class of a multi-label task: the probability of its class. Raises InputError when it is
    not known how the encoder wants its images, and IntegrityError when it is not the one of the head.
    """

    saved: SavedHead
    encoder: Encoder

    @property
    def classes(self) -> list[str]:
        return self.saved.classes

    @property
    def task(self) -> str:
        return "multilabel" if len(self.classes) == 1 else "multiclass"

    @property
    def decision(self) -> Decision:
        return Decision(thresholds=None if self.saved.threshold is None else [self.saved.threshold])

    @property
    def preprocessing(self) -> Preprocessing:
        if self.saved.preprocessing is None:
            raise InputError(f"the encoder {self.encoder.name} does not say how it wants its images")
        return self.saved.preprocessing

    def build_model(self) -> EncoderWithHead:
        """The network from images to logits, in evaluation mode."""
        return self.saved.attach_to(self.encoder)


def describe_head(
    head: nn.Sequential,
    encoder: Encoder,
    classes: list[str],
    threshold: float | None = None,
    preprocessing: Preprocessing | None = None,
) -> SavedHead:
    """What to save of a head of `create_binary_classifier_head` or `create_multiclass_classifier_head`.

    `classes` names its logits in order: one name for a binary head. `preprocessing` says how the images came that the
    head was trained on, where that was not as the encoder itself says; the encoder then enlarges or shrinks them still.
    Raises InputError when there are more or fewer classes than logits.
    """
    dropout, hidden, _, _, output = head
    if len(classes) != output.out_features:
        raise InputError(f"found {len(classes)} class names for a head with {output.out_features} logits")
    state_dict = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    shape = (hidden.in_features, hidden.out_features, dropout.p)
    is_local = encoder.origin is not None and Path(encoder.origin).exists()
    origin = (encoder.origin, is_local, weights_digest(encoder), preprocessing or encoder.preprocessing)
    return SavedHead(state_dict, *shape, list(classes), threshold, *origin)


def save_head(path: str | Path, saved: SavedHead) -> None:
    """Write a head atomically. Equal contents give equal bytes, whatever the file's name."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION} | asdict(saved), buffer)
    with atomic_write(path, "wb") as file:
        file.write(buffer.getbuffer())


def load_head(path: str | Path) -> SavedHead:
    """Read a head; code hidden in the file does not run.

    Raises InputError when there is no such file, and IntegrityError when it is damaged or no head.
    """
    content = load_plain(path, "head", "expected a head that was saved")
    found = (content.get("format"), content.get("version"))
    if found != (FORMAT, VERSION):
        raise IntegrityError(
            f"{printable(path)}: found format {shortened(found[0])} version {shortened(found[1])}, expected {FORMAT!r} "
            f"version {VERSION}"
        )
    check_tensors(content.get("state_dict"), path)
    check_description(StoredHead, content, path, "head", "train it again")
    fields = {name: content[name] for name in SavedHead.__dataclass_fields__}
    if fields["preprocessing"] is not None:
        fields["preprocessing"] = Preprocessing(**fields["preprocessing"])
    saved = SavedHead(**fields)
    saved.build_head(printable(path))
    return saved


def load_trained_head(
    path: str | Path, encoder: str | Path | None = None, trust_remote_code: bool = False
) -> TrainedHead:
    """A head with the encoder that it names, or with `encoder`, the same one at another place.

    Raises InputError when there is no such head or encoder, and IntegrityError for a damaged one.
    """
    saved = load_head(path)
    if encoder is None and saved.encoder is None:
        raise InputError(
            f"{printable(path)}: its encoder was a network in memory; save that, and say with --encoder where it is"
        )
    if encoder is None and saved.is_encoder_local and not Path(saved.encoder).exists():  # a hub is not asked for it
        raise InputError(
            f"{printable(path)}: its encoder was loaded from {printable(saved.encoder)}, where there is none now; "
            "say with --encoder where it is"
        )
    return TrainedHead(saved, load_encoder(encoder or saved.encoder, trust_remote_code))
