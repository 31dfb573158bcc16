"""What a figure's title cannot say: how to read it."""

SAMPLES = "After random changes such as flips and crops. If you cannot recognise them, neither can the network."
FILTERS = "The weights of the first convolution as colours, strongest first, each scaled to its own range."

EXPLANATIONS = {
    "learning_curves": "The dotted line marks the epoch whose weights were kept. Training falling while validation "
    "rises is overfitting; both still falling means that longer training would help.",
    "confusion_matrix": "One row for each true class, one column for each prediction. The diagonal is right; the "
    "colour is the share of the row.",
    "superclasses": "A superclass is a family of classes. Who takes a maple for an oak has seen more than who takes it "
    "for a bus. The numbers: right class / right superclass, of so many test images.",
    "per_class": "Precision: of the images given this class, the share that is of it. Recall: of the images of this "
    "class, the share that was found. F1 is their harmonic mean.",
    "precision_recall": "Each class against all others, as the threshold on its probability moves. Average precision "
    "is the area under the curve.",
    "calibration": "Images grouped by confidence. Below the diagonal the network is surer than it is right. ECE is "
    "the mean distance from the diagonal, weighted by the images.",
    "mistakes": "The predicted class and its probability, above the true class. Look for wrong labels here first.",
    "samples": SAMPLES,
    "filters": FILTERS,
}
MULTILABEL_EXPLANATIONS = {
    "learning_curves": "The dotted line marks the epoch whose weights were kept: the one of the highest mAP on the "
    "validation images. An image with one wrong label among many counts as wrong in the lines below.",
    "co_occurrence": "Where the two sides differ, the network has learnt that labels go together, or missed it.",
    "per_class": "At the thresholds. Precision: of the images given this label, the share that has it. Recall: of the "
    "images that have it, the share that was found. F1 is their harmonic mean.",
    "precision_recall": "Each label by itself, as the threshold on its probability moves. Average precision is the "
    "area under the curve.",
    "thresholds": "On the validation images; the dotted line is the threshold that was chosen there. A higher one "
    "trades recall for precision.",
    "calibration": "Answers grouped by their probability. Below the diagonal a label is there less often than its "
    "probability says. A threshold makes up for that, a reader of the probability cannot.",
    "mistakes": "A wrong answer and its probability, above the labels of the image. Look for forgotten labels here "
    "first.",
    "samples": SAMPLES,
    "filters": FILTERS,
}
EXPLAINED = (
    "The colours show which parts of an image spoke for a class, or for the absence of a label; grey parts did not. "
    "Where the background carries the evidence, the network has learnt the company that things keep."
)
