"""Which answers are explained, and which maps that takes."""

import numpy as np

from Resnet23.explaining.questions import Question, Side, ask, ask_of_image
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions

CLASSES = ["ant", "bee", "cat"]
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.9, 0.0], [0.5, 0.1, 0.4], [0.05, 0.15, 0.8]])


def of_classes(labels: list[int]) -> Predictions:
    return Predictions(list("abcd"), CLASSES, np.array(labels), PROBABILITIES)


def of_labels(labels: list[list[int]]) -> MultilabelPredictions:
    predicted = PROBABILITIES >= 0.5
    return MultilabelPredictions(list("abcd"), CLASSES, np.array(labels, dtype=bool), predicted, PROBABILITIES)


def test_confident_mistakes_come_first_with_the_predicted_and_the_true_class():
    questions = ask(of_classes([1, 0, 0, 1]), 2)
    assert [(question.row, question.verdict) for question in questions] == [
        (1, "ant taken for bee"),
        (3, "bee taken for cat"),
    ]
    assert questions[0].sides == (Side(1, 1, "for bee: 90.0%"), Side(0, 1, "for ant: 10.0%"))
    assert len(ask(of_classes([1, 0, 0, 1]), 9)) == 3


def test_without_mistakes_the_least_confident_answer_is_compared_with_the_runner_up():
    assert ask(of_classes([0, 1, 0, 2]), 1) == [
        Question(2, "ant, rightly", (Side(0, 1, "for ant: 50.0%"), Side(2, 1, "for cat: 40.0%")))
    ]


def test_labels_given_and_missed_are_explained_by_what_speaks_for_and_against():
    questions = ask(of_labels([[1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 1]]), 5)
    assert [(question.row, question.verdict) for question in questions] == [
        (1, "bee given, but not there"),
        (2, "cat missed"),
    ]
    assert questions[1].sides == (Side(2, 1, "for cat: 40.0%"), Side(2, -1, "against cat: 60.0%"))


def test_without_mistakes_the_least_sure_answer_about_a_label_is_explained():
    first, second, *_ = ask(of_labels([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]), 4)
    assert (first.row, first.verdict) == (2, "ant, rightly")
    assert (second.row, second.verdict) == (0, "ant, rightly")
    unsure = MultilabelPredictions(["a"], CLASSES, np.zeros((1, 3), bool), np.zeros((1, 3), bool), PROBABILITIES[2:3])
    assert ask(unsure, 1)[0].verdict == "no ant, rightly"


def test_an_image_of_unknown_class_is_compared_with_the_runner_up_and_a_label_with_its_opposite():
    assert ask_of_image(3, CLASSES, PROBABILITIES[0], has_labels=False) == Question(
        3, "ant: 70.0%", (Side(0, 1, "for ant: 70.0%"), Side(1, 1, "for bee: 20.0%"))
    )
    question = ask_of_image(0, ["ant"], np.array([0.25]), has_labels=True)
    assert question.sides == (Side(0, 1, "for ant: 25.0%"), Side(0, -1, "against ant: 75.0%"))
