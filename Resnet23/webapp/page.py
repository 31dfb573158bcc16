"""The page: one image in its first tab, many in its second; and the same answers for programs, as an API.

Whatever needs the network goes through one queue, one call after the other.
"""

from typing import TYPE_CHECKING, Any

from Resnet23.webapp.facts import Facts
from Resnet23.webapp.markup import header_html, hint_html, warning_html
from Resnet23.webapp.uploads import Sent, accept_only_uploads
from Resnet23.webapp.views import FILES_HINT, IMAGE_HINT, Views

if TYPE_CHECKING:
    import gradio

MOST_WAITING = 100  # calls in the queue
SWEEP_SECONDS, KEEP_SECONDS = 300, 1800  # how often temporary files are looked at, and how old they may get
IMAGE_HEIGHT, FILES_HEIGHT = 400, 200  # pixels
COLUMN_WIDTH = 320  # pixels; narrower windows show the answer below the image
QUEUE = {"concurrency_id": "network", "concurrency_limit": 1}
OWN = {**QUEUE, "preprocess": False, "api_visibility": "private"}  # of the page; the files stay as they were sent


def build_page(views: Views, facts: Facts) -> "gradio.Blocks":
    """The page, not served yet."""
    import gradio

    title = f"{facts.model}: what is in this image?"
    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEEP_SECONDS)) as page:
        gradio.HTML(header_html(facts))
        with gradio.Tabs():
            with gradio.Tab("One image"):
                _add_image_tab(views)
            with gradio.Tab("Many files"):
                _add_files_tab(views)
        gradio.HTML(warning_html(views.answerer.rule))
        _add_api(views)
    for component in page.blocks.values():
        if isinstance(component, gradio.components.Component):
            accept_only_uploads(component)
    return page.queue(max_size=MOST_WAITING)


def _add_image_tab(views: Views) -> None:
    import gradio

    with gradio.Row():
        image = gradio.Image(
            label="Image",
            type="filepath",
            height=IMAGE_HEIGHT,
            min_width=COLUMN_WIDTH,
            buttons=[],
            webcam_options=gradio.WebcamOptions(mirror=False),  # a mirrored digit is another digit
        )
        with gradio.Column(min_width=COLUMN_WIDTH):
            answer = gradio.HTML(hint_html(IMAGE_HINT))
            evidence = gradio.HTML()
    shown = image.change(views.show_answer, image, [answer, evidence], show_progress_on=answer, **OWN)
    shown.then(views.show_evidence, image, evidence, **OWN)


def _add_files_tab(views: Views) -> None:
    import gradio

    def show(files: list[Sent] | None, progress: gradio.Progress = gradio.Progress()) -> tuple[Any, Any]:  # noqa: B008
        table, csv = views.show_table(files, lambda done, total: progress((done, total), unit="images"))
        return table, gradio.update(value=csv, visible=csv is not None)

    files = gradio.File(label="Files", file_count="multiple", height=FILES_HEIGHT)
    table = gradio.HTML(hint_html(FILES_HINT))
    download = gradio.DownloadButton("Download as CSV", visible=False)
    files.change(show, files, [table, download], show_progress_on=table, **OWN)


def _add_api(views: Views) -> None:
    """The answers as plain values; the parameters are files, as `gradio_client.handle_file` gives them."""
    import gradio

    def classify(image: gradio.FileData) -> dict[str, Any]:
        return views.classify(image)

    def classify_files(files: list[gradio.FileData]) -> list[dict[str, Any]]:
        return views.classify_files(files)

    for function, parameter in ((classify, 'handle_file("photo.jpg")'), (classify_files, '[handle_file("photo.jpg")]')):
        about = f"Takes {parameter}, with handle_file from gradio_client."
        gradio.api(function, api_name=function.__name__, api_description=about, **QUEUE)
