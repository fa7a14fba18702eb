"""TensorFlow Serving's PredictionService from Python: grpcio, protobuf and the .proto files of this repository.

Needs neither tensorflow nor tensorflow-serving-api: messages are made from the .proto files when the program starts (grpcio-tools has the compiler).
"""
import os
import tempfile

import grpc
import grpc_tools
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "proto")
SERVICE = "tensorflow.serving.PredictionService"
DTYPES = {"DT_FLOAT": (np.float32, "float_val"), "DT_INT64": (np.int64, "int64_val"), "DT_UINT8": (np.uint8, "int_val")}


def load_protos(file):
    """A pool of every message and service that the .proto file defines or imports."""
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "set.pb")
        well_known = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={target}", file]) != 0:
            raise RuntimeError(f"{file} in {PROTO} could not be compiled")
        with open(target, "rb") as descriptors:
            files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read()).file
    pool = descriptor_pool.DescriptorPool()
    for one in files:
        pool.AddSerializedFile(one.SerializeToString())
    return pool


class PredictionService:
    """A connection to HOST:PORT, without TLS. A refused call raises grpc.RpcError; its details() are the server's words."""

    def __init__(self, server, timeout_seconds=30):
        self._pool = load_protos("tensorflow_serving/apis/prediction_service.proto")
        self._channel = grpc.insecure_channel(server, options=[("grpc.max_receive_message_length", -1)])
        self._timeout = timeout_seconds

    def message(self, name):
        """The class of a message by its full name."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))

    def call(self, method, request):
        response = message_factory.GetMessageClass(self._pool.FindServiceByName(SERVICE).methods_by_name[method].output_type)
        send = self._channel.unary_unary(
            f"/{SERVICE}/{method}", request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        return send(request, timeout=self._timeout)

    def predict(self, model, inputs, signature="serving_default"):
        """Arrays by name in (bytes in a list for strings), arrays by name out."""
        request = self.message("tensorflow.serving.PredictRequest")()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        for name, value in inputs.items():
            self._write(request.inputs[name], np.asarray(value))
        return {name: self._read(tensor) for name, tensor in self.call("Predict", request).outputs.items()}

    def classify(self, model, examples, signature="serving_default"):
        """Examples as {feature: bytes}; for each one its [(label, score)]."""
        request = self.message("tensorflow.serving.ClassificationRequest")()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        for features in examples:
            example = request.input.example_list.examples.add()
            for name, value in features.items():
                example.features.feature[name].bytes_list.value.append(value)
        classifications = self.call("Classify", request).result.classifications
        return [[(one.label, one.score) for one in each.classes] for each in classifications]

    def _write(self, tensor, array):
        for size in array.shape:
            tensor.tensor_shape.dim.add().size = size
        if array.dtype.kind in "SO":
            tensor.dtype = self._dtype_number("DT_STRING")
            tensor.string_val.extend(array.reshape(-1).tolist())
            return
        names = [name for name, (dtype, _) in DTYPES.items() if array.dtype == dtype]
        if not names:
            raise TypeError(f"no tensor is made of an array of {array.dtype}")
        tensor.dtype = self._dtype_number(names[0])
        tensor.tensor_content = array.tobytes()

    def _read(self, tensor):
        name = self._pool.FindEnumTypeByName("tensorflow.DataType").values_by_number[tensor.dtype].name
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        if name == "DT_STRING":
            return np.array(tensor.string_val, object).reshape(shape)
        dtype, field = DTYPES[name]
        if tensor.tensor_content:
            return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
        values = np.array(getattr(tensor, field), dtype)
        # Where a message has fewer values than the shape asks for, the last one counts for the rest.
        missing = int(np.prod(shape)) - len(values)
        return np.pad(values, (0, missing), "edge" if len(values) else "constant").reshape(shape)

    def _dtype_number(self, name):
        return self._pool.FindEnumTypeByName("tensorflow.DataType").values_by_name[name].number
