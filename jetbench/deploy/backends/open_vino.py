"""OpenVINO, on the processor. It reads ONNX files; its own format is another name for the same graph."""

from jetbench.deploy.backends.base import Runtime

OPENVINO = Runtime("openvino", packages=("openvino", "onnx"), extra="openvino")
