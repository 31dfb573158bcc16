"""The README of a new project, and the lines that are printed when it is made."""

import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from Resnet23 import __version__
from Resnet23.newproject.suggestions import SOURCE, Plan
from Resnet23.newproject.survey import Survey, describe_unusable

TEMPLATE = "project_readme.md"
LISTED_CLASSES = 50  # in the README; of more only the first
NAMED_CLASSES = 4  # in a printed line
UNBALANCED = 5  # times as many images in the largest class as in the smallest


def render_readme(name: str, found: Survey, plan: Plan, has_environment: bool, origin: str) -> str:
    """The README of the project `name`; `origin` says which version of the code it was made from."""
    environment = Environment(
        loader=PackageLoader("Resnet23"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"plain": plain, "thousands": "{:,}".format, "first_upper": first_upper}
    return environment.get_template(TEMPLATE).render(
        name=name,
        found=found,
        listed=found.classes[:LISTED_CLASSES],
        sizes=describe_sizes(found),
        remarks=remarks(found),
        plan=plan,
        duration=describe_minutes(plan.minutes),
        is_multilabel=found.layout.dataset == "multilabel",
        has_environment=has_environment,
        source=SOURCE,
        version=__version__,
        origin=origin,
    )


def summary_lines(found: Survey, plan: Plan) -> list[str]:
    """What was found and what was chosen, for the terminal."""
    counted = [f"{name} ({found.train[name] + found.test[name]:,})" for name in found.classes[:NAMED_CLASSES]]
    more = f" and {len(found.classes) - NAMED_CLASSES:,} more" if len(found.classes) > NAMED_CLASSES else ""
    kind = "labels" if found.layout.dataset == "multilabel" else "classes"
    duration = describe_minutes(plan.minutes)
    lines = [
        f"Found    {len(found.classes)} {kind}: {', '.join(counted)}{more}",
        f"         {found.images['train']:,} training and {found.images['test']:,} test images"
        + (", split at random" if found.is_drawn else ""),
        f"Sizes    {describe_sizes(found)}",
        *(f"Note     {remark}" for remark in remarks(found)),
        f"Chosen   {plan.headline}",
        f"Because  {plan.reason}",
        f"         {describe_training(plan)}",
    ]
    return [*lines, *([f"Time     {duration}"] if duration else [])]


def describe_training(plan: Plan) -> str:
    """The keys that matter most, in one clause."""
    values = {suggestion.key: suggestion.value for suggestion in plan.suggestions}
    size, epochs, batch = (values.get(key) for key in ("data.image_size", "train.epochs", "train.batch_size"))
    if phases := values.get("train.phases"):
        epochs = " + ".join(str(phase.get("epochs")) for phase in phases)
    parts = [f"{size} pixels"] if size else []
    parts += [f"{epochs} epochs"] if epochs else []
    parts += [f"batches of {batch}"] if batch else []
    return ", ".join(parts) or "README.md lists the parameters"


def describe_sizes(found: Survey) -> str:
    """The smallest and the largest image of the sample, by area, and the median of the shorter sides."""
    areas = found.sizes.prod(axis=1)
    smallest, largest = (found.sizes[row].tolist() for row in (areas.argmin(), areas.argmax()))
    return (
        f"{smallest[0]:,} x {smallest[1]:,} to {largest[0]:,} x {largest[1]:,} pixels, median shorter side "
        f"{found.shorter_side:,} ({len(found.sizes):,} images looked at)"
    )


def describe_minutes(minutes: float | None) -> str | None:
    """An estimate in words; None where there is none."""
    if minutes is None:
        return None
    amount = f"{minutes / 60:,.1f} hours" if minutes > 100 else f"{max(2, round(minutes))} minutes"
    return f"about {amount} of training on this machine's cores, if nothing else runs (estimated)"


def remarks(found: Survey) -> Sequence[str]:
    """What the user should know of the images before anything is trained on them."""
    lines = list(found.layout.remarks)
    lines += [line] if (line := describe_unusable(found)) else []
    smallest, largest = min(found.train, key=found.train.get), max(found.train, key=found.train.get)
    if found.train[largest] >= UNBALANCED * found.train[smallest]:
        counts = f"{largest} has {found.train[largest]:,} training images, {smallest} {found.train[smallest]:,}"
        lines.append(f"the classes are unbalanced ({counts}): look at balanced_accuracy rather than accuracy")
    if untested := [name for name in found.classes if not found.test[name]]:
        lines.append(f"no test images, so that nothing can be said of them: {', '.join(untested[:NAMED_CLASSES])}")
    if found.layout.dataset == "multilabel" and found.most_labels <= 1:
        lines.append("no image has two labels: a folder for each class would train a network that always chooses one")
    return lines


def plain(text: str) -> str:
    """A text without meaning to Markdown, in one line, as a cell of a table needs it."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", " ".join(text.split()))


def first_upper(text: str) -> str:
    """A clause as the beginning of a sentence."""
    return text[:1].upper() + text[1:]
