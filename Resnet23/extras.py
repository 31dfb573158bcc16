"""What commands outside the pipeline left in reports/extras for the report page."""

from pydantic import BaseModel, ValidationError

from Resnet23.config import EXPORT_RESULTS
from Resnet23.errors import InputError
from Resnet23.files import printable


class Machine(BaseModel):
    """Where speeds were measured."""

    cpu: str


class MeasuredFormat(BaseModel):
    """An exported file that says what PyTorch says; the first of them is PyTorch itself."""

    format: str
    error: None
    bytes: int
    max_difference: float  # of a probability
    agreement: float
    accuracy: float
    images_per_second: dict[str, float]  # by the size of the batch
    startup_seconds: float


class FailedFormat(BaseModel):
    """A format without a file, and why."""

    format: str
    error: str


class Exports(BaseModel):
    """export.json: a checkpoint in other formats, as Resnet23.export compared them."""

    checkpoint: str
    sha256: str
    task: str
    images: int
    machine: Machine
    threads: int
    formats: list[MeasuredFormat | FailedFormat]

    @property
    def batch_sizes(self) -> list[str]:
        """The sizes of the batches that speeds are known for."""
        measured = [row for row in self.formats if isinstance(row, MeasuredFormat)]
        return list(measured[0].images_per_second) if measured else []


def read_exports() -> Exports | None:
    """The last export, None when there was none; raises InputError when the file is not what Resnet23.export writes."""
    if not EXPORT_RESULTS.exists():
        return None
    try:
        return Exports.model_validate_json(EXPORT_RESULTS.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{printable(EXPORT_RESULTS)}: not the results of an export ({where}: {first['msg']}); "
            "run `make export`, or remove the file"
        ) from None
