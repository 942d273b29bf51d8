"""The integer graph: int8 tensors between kernels that compute exactly as TFLite Micro's do."""
