"""What a training took in electricity, and with it in carbon dioxide and money: an estimate, as a range.

    energy in kWh = hours of training x watts / 1000 x PUE
    carbon dioxide in g = energy x carbon intensity in g/kWh
    cost = energy x price of a kWh

Nothing of this is measured. Every assumption has a low and a high value with its source; the lows are multiplied with
each other, and so are the highs. The form of the estimate is that of Lacoste et al., "Quantifying the Carbon Emissions
of Machine Learning" (2019).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from Resnet23.errors import InputError

SECONDS_OF_AN_HOUR = 3600
PARTS = 2  # of a range: low and high


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, and where that comes from."""

    low: float
    high: float
    source: str

    def __mul__(self, other: "Range | float") -> "Range":
        """Low times low and high times high."""
        low, high = (other.low, other.high) if isinstance(other, Range) else (other, other)
        return Range(self.low * low, self.high * high, self.source)


@dataclass(frozen=True)
class Footprint:
    """An estimate and all that it rests on."""

    hours: float
    watts: Range
    pue: Range
    intensity: Range
    price: Range

    @property
    def kilowatt_hours(self) -> Range:
        """The electricity, with what cooling and power supply take on top."""
        return self.watts * self.pue * (self.hours / 1000)

    @property
    def grams(self) -> Range:
        """Carbon dioxide equivalents in grams."""
        return self.kilowatt_hours * self.intensity

    @property
    def cost(self) -> Range:
        """In the currency of the price."""
        return self.kilowatt_hours * self.price


PUE = Range(1.0, 1.56, "1: a machine outside any data centre; 1.56: mean of the Uptime Institute's survey of 2024")
INTENSITY = Range(
    30,
    713,
    "Norway and India in 2023, Ember's yearly electricity data; the world's mean of 2023 was about 480 g/kWh, "
    "Ember, Global Electricity Review 2024",
)
PRICE = Range(
    0.08, 0.39, "means of North Dakota and Hawaii over all customers in 2023, EIA, Electric Power Annual 2023"
)
CURRENCY = "USD"
# For each logical core: that is what the system counts, a thread of a physical core or all of it.
CORE_WATTS = Range(
    1.875,
    10.6,
    "for each core that the system counts from 1.875 W (AMD EPYC 9654: 360 W, 96 cores, with two threads for each "
    "core) to 10.6 W (AMD Ryzen 9 7950X: 170 W, 16 cores, one thread for each core), thermal design power as AMD "
    "published it in 2022; of memory, disks and power supply nothing is counted",
)
# The largest power of a board in watts, from NVIDIA's data sheets, by the name that PyTorch gives without the maker.
# Only whole names count: an L40 is no L4, and a GPU of a laptop takes less than the board that it is named after.
GPU_WATTS = {
    "H100 80GB HBM3": 700, "H100 PCIe": 350, "H100 NVL": 400,
    "A100-SXM4-40GB": 400, "A100-SXM4-80GB": 400, "A100 80GB PCIe": 300,
    "V100-SXM2-16GB": 300, "V100-SXM2-32GB": 300, "V100-PCIE-16GB": 250, "V100-PCIE-32GB": 250,
    "L4": 72, "L40": 300, "T4": 70, "GeForce RTX 4090": 450,
}  # fmt: skip
UNKNOWN_GPU = (70, 700)  # a T4 and an H100
IDLE_SHARE = 0.5  # of its largest power, for the low end of a GPU's range


def parse_range(option: str, text: str) -> Range:
    """A number, or two with a colon between, low first, as in "30" or "30:45"; raises InputError for anything else."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    is_usable = numbers and len(parts) <= PARTS and all(math.isfinite(n) and n >= 0 for n in numbers)
    if not is_usable or numbers[0] > numbers[-1]:
        raise InputError(f"{option}: found {text!r}, expected a number such as 65, or a range such as 65:90")
    return Range(numbers[0], numbers[-1], f"as given with {option}")


def assume_watts(machine: Mapping[str, str], params: Mapping[str, object]) -> Range | None:
    """The power of the recorded machine, from its GPU or else its number of cores; None when neither is recorded."""
    gpu, cores = machine.get("gpu"), machine.get("cores", "")
    if gpu and params.get("device") != "cpu":
        known = GPU_WATTS.get(gpu.removeprefix("NVIDIA ").removeprefix("Tesla "))
        low, high = UNKNOWN_GPU if known is None else (IDLE_SHARE * known, known)
        source = (
            f"from a T4 to an H100, as the power of one {gpu} is not in the list"
            if known is None
            else f"one {gpu}, from half of the largest power of NVIDIA's data sheet to all of it"
        )
        return Range(low, high, f"{source}; of processor and memory nothing is counted")
    if cores.isdecimal() and int(cores):
        return CORE_WATTS * int(cores)
    return None


def estimate(seconds: float, watts: Range | None, intensity: Range, price: Range) -> Footprint | None:
    """The footprint of so many seconds; None when nothing is known of the power."""
    return None if watts is None else Footprint(seconds / SECONDS_OF_AN_HOUR, watts, PUE, intensity, price)
