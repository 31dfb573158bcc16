"""What the project promises when something goes wrong: the rows of docs/reliability.md.

A test of a promise carries `@pytest.mark.fault(NUMBER)`, wherever it lies, and every promise has at least one.
"""

from typing import NamedTuple


class Promise(NamedTuple):
    """What can go wrong where, and what happens then."""

    stage: str
    fault: str
    behaviour: str


PROMISES = {
    1: Promise(
        "download",
        "the connection is cut halfway, the server answers 500, or is slow",
        "a bounded number of attempts with growing pauses; the `.part` file goes on where it ended; the final name "
        "appears only once the checksum holds",
    ),
    2: Promise(
        "download",
        "wrong checksum",
        "exit 3 with the expected and the actual one; nothing is extracted; an older good copy in data/raw stays",
    ),
    3: Promise(
        "download",
        "truncated archive",
        "exit 3; no half-extracted file is left: members go to a temporary folder that is then renamed",
    ),
    4: Promise(
        "download",
        "members of an archive named `../x`, absolute paths, links, devices",
        "all are refused before anything is written",
    ),
    5: Promise(
        "any stage",
        "the disk is full",
        "exit 4; no half-written file stands under a final name; the rerun succeeds",
    ),
    6: Promise(
        "features",
        "an empty file, text named .png, a PNG cut in half or with flipped bits",
        "exit 2 with all bad files at once; with `on_bad_image: skip` they are counted, listed and left out; a PNG "
        "that lost its last bytes and still decodes is caught by the manifest's hash",
    ),
    7: Promise("download, predict", "a huge image", "refused by its number of pixels before it is decoded"),
    8: Promise(
        "download, predict",
        "16-bit grey, alpha, CMYK, a palette, grey, JPEG bytes in a .png",
        "a defined RGB result: 16 bits are scaled, alpha is laid on white",
    ),
    9: Promise(
        "download",
        "stray files and hidden folders among the classes; a class in the test images only",
        "ignored with a count; the class is exit 2 with the nearest name",
    ),
    10: Promise(
        "features",
        "an empty class, a class of one image",
        "exit 2 with the class; a stratified split that cannot be made says so",
    ),
    11: Promise(
        "features",
        "the same image in training and test",
        "pairs stand in features.json and on the report page; more than `features.max_leaked` is exit 2",
    ),
    12: Promise(
        "configuration",
        "an unknown key, a wrong type, a value out of range, NaN, `true` for a number",
        "exit 2 before any work, all errors at once, with the key that was probably meant",
    ),
    13: Promise(
        "train",
        "kill -9 at a random moment, also while a checkpoint is written",
        "the old or the new state always loads, and what the killed process left is swept at the next start",
    ),
    14: Promise(
        "train",
        "SIGTERM, SIGINT",
        "finishes the micro-batch, saves, closes the tracked run as KILLED and exits 143 or 130 within 30 s",
    ),
    15: Promise(
        "train",
        "resumed between two epochs and within one",
        "on a CPU weights, optimizer, order of images, random state and history are bit-equal to an uninterrupted run",
    ),
    16: Promise(
        "DVC",
        "a stage is killed, then `dvc repro`",
        "dvc.lock is unchanged by the killed run, training goes on from its state, the result equals an uninterrupted "
        "one",
    ),
    17: Promise(
        "train",
        "the loss is NaN or infinite",
        "exit 1 with epoch, step and learning rate; the last good state is kept",
    ),
    18: Promise(
        "train", "out of memory, of a GPU or of the machine", "exit 4 with a suggestion: batch size, accumulation"
    ),
    19: Promise(
        "tracking",
        "the server is down, slow, answers 500 or 401, dies in the middle",
        "training ends with weights bit-equal to an untracked one, delayed by less than 60 s, with one warning; what "
        "was not sent is kept for `make sync-tracking`; 401 is not tried again; a token is never in a log or file",
    ),
    20: Promise(
        "loading",
        "a malicious pickle as checkpoint, .npy or CIFAR batch",
        "its code does not run; exit 3",
    ),
    21: Promise(
        "loading",
        "a checkpoint of another architecture, with missing keys, truncated, of an unknown version",
        "one line that names both; never a partial load",
    ),
    22: Promise(
        "predict",
        "the classes of model and data differ in order or number",
        "compared by name; what does not fit is exit 2",
    ),
    23: Promise(
        "predict",
        "one unreadable file among 1,000",
        "999 rows and one row with the error, in order; a summary; exit 2 with `--strict`, else 0 with a warning",
    ),
    24: Promise(
        "DVC, plots",
        "two `dvc repro` at once; a reports folder that cannot be written to",
        "the second says who holds the lock, also when the first dvc was killed and its training lives; the folder is "
        "found before training starts",
    ),
    25: Promise(
        "any stage",
        "spaces, emoji, line breaks and bytes that are not UTF-8 in file names and in the project's own path",
        "the same result as on a plain path; tables are escaped",
    ),
    26: Promise(
        "configuration",
        "credentials in params.yaml or in a file that git tracks",
        "refused, or found by the scan that the tests run over all files and notebooks",
    ),
    27: Promise(
        "package",
        "a change that loads pickles, unpacks archives unfiltered or runs a shell",
        "refused by the tests, which read the source",
    ),
    28: Promise("reading images", "10,000 files with random damage", "no crash, no hang, bounded memory"),
    29: Promise(
        "configuration",
        "random keys and values (property-based)",
        "valid parameters, or one line for each error; never a traceback",
    ),
    30: Promise(
        "download, features",
        "random file names, image modes and class sizes (property-based)",
        "every image arrives once under its class, or one line says why not",
    ),
    31: Promise(
        "pipeline",
        "the demo 20 times in a row",
        "the same metrics each time, no file left behind, no growing memory",
    ),
}
