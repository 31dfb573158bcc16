"""The table that an export prints."""

from Resnet23.exporting.rows import table

MEASURED = {
    "error": None,
    "bytes": 3 << 20,
    "accuracy": 0.95,
    "agreement": 1.0,
    "max_difference": 2e-7,
    "images_per_second": {"1": 1234.0, "64": 45678.0},
    "startup_seconds": 0.5,
}


def test_the_columns_stand_below_their_names_whatever_the_formats_are_called():
    failed = {"format": "tfjs", "error": "does not run"}
    names = ["onnx", "a-format-with-a-long-name"]
    header, *lines, last = table([*({"format": name, **MEASURED} for name in names), failed]).splitlines()
    assert {len(line) for line in lines} == {len(header)}
    for line in lines:
        assert line.index("3.0") + len("3.0") == header.index("MiB") + len("MiB")
    assert last.split(maxsplit=1) == ["tfjs", "does not run"]
