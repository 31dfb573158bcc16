"""The same pipeline in TensorFlow and Keras, for the same features, reports and figures."""
