"""Trained models for devices: ``.tflite``, C, ONNX and Keras."""
