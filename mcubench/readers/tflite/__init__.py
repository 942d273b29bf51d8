"""``.tflite`` files: what stands in them, in float and in integers."""
