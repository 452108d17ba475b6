"""ONNX Runtime, on the processor."""

from jetbench.deploy.backends.base import Runtime

ONNXRUNTIME = Runtime("onnxruntime", packages=("onnxruntime", "onnx"), extra="onnx")
