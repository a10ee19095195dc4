"""The peer of the benchmarks in ONNX Runtime and OpenVINO.

Both run a file that PyTorch's exporter writes from the peer of ``_torch_ckn.py``, for
any batch size; each fixes the batch size when it loads the file, and optimizes the
graph for it. (PyTorch's older exporter, by tracing, writes the same operations.)
"""

import logging
import warnings
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from _encode_engines import Encoder
from _timing import in_process, repeat
from _workers import Way

# Of the format, which both read.
OPSET = 18
EXPORTER = ("torch", "onnx", "onnxscript")


def export(network, path, separable):
    """Write the peer of a network to a file, with a batch size that is left open."""
    import torch
    from _torch_ckn import torch_maps, torch_network

    # About operations of TorchVision, and PyTorch's use of itself.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    module = torch_network(network.layers(), channels_last=False, separable=separable)
    maps = torch_maps(network.images(2), channels_last=False)
    torch.onnx.export(
        module,
        (maps,),
        path,
        input_names=["images"],
        output_names=["maps"],
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )


@contextmanager
def exported(network, separable=False):
    """Give the path of a temporary file with the peer, or None without an exporter."""
    if any(find_spec(name) is None for name in EXPORTER):
        yield None
        return
    with TemporaryDirectory() as directory:
        path = str(Path(directory) / "network.onnx")
        # In a process of its own, since those that time do not load PyTorch.
        in_process(tuple, partial(export, network, path, separable))
        yield path


class OnnxEncoder(Encoder):
    """An engine that runs a file.

    Parameters
    ----------
    network : object
    n_threads : int
    path : str
    """

    def __init__(self, network, n_threads, path):
        super().__init__(network, n_threads)
        self.path = path
        # The libraries do not keep the arrays whose memory they read and write.
        self.bound = []

    def batches(self, batch_sizes):
        """Yield batch sizes and batches, ndarrays of shape (n, C, H, W)."""
        for batch_size in batch_sizes:
            images = self.network.images(batch_size)
            batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
            self.bound.append(batch)
            yield batch_size, batch


class OnnxRuntime(OnnxEncoder):
    """ONNX Runtime on the CPU, with all optimizations of the graph."""

    name = "ONNX Runtime"
    requires = (*EXPORTER, "onnxruntime")

    def describe(self):
        """Return the version."""
        import onnxruntime

        return (
            f"ONNX Runtime {onnxruntime.__version__}, CPUExecutionProvider, all graph "
            f"optimizations, opset {OPSET}"
        )

    def session(self, batch_size):
        """Return a session for one batch size."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = (
            onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        )
        options.intra_op_num_threads = self.n_threads
        options.inter_op_num_threads = 1
        options.add_free_dimension_override_by_name("batch", batch_size)
        return onnxruntime.InferenceSession(
            self.path, options, providers=["CPUExecutionProvider"]
        )

    def ways(self, batch_sizes):
        """Yield one way for each batch size; input and output are bound to memory."""
        for batch_size, batch in self.batches(batch_sizes):
            session = self.session(batch_size)
            (shape,) = (output.shape for output in session.get_outputs())
            output = np.empty(shape, np.float32)
            self.bound.append(output)
            binding = session.io_binding()
            for bind, name, array in (
                (binding.bind_input, "images", batch),
                (binding.bind_output, "maps", output),
            ):
                bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            encode = partial(session.run_with_iobinding, binding)
            yield Way(
                f"{batch_size}",
                batch_size,
                partial(repeat, encode),
                partial(output.transpose, 0, 2, 3, 1),
            )


class OpenVino(OnnxEncoder):
    """OpenVINO on the CPU in float32, for the latency of one batch after another."""

    name = "OpenVINO latency"
    requires = (*EXPORTER, "openvino")
    hint = "LATENCY"
    n_streams = 1

    def describe(self):
        """Return the version, device, settings and convolutions of the network."""
        import openvino

        height, width, n_channels = self.network.images(1).shape[1:]
        compiled = self.compiled_model((1, n_channels, height, width))
        settings = {
            name: compiled.get_property(name)
            for name in (
                "INFERENCE_PRECISION_HINT",
                "INFERENCE_NUM_THREADS",
                "NUM_STREAMS",
                "ENABLE_CPU_PINNING",
            )
        }
        texts = [
            f"{name} {getattr(value, 'to_string', value.__str__)()}"
            for name, value in settings.items()
        ]
        operations = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
        kernels = {
            information["primitiveType"].astype(str)
            for information in operations
            if information["layerType"].astype(str) == "Convolution"
        }
        device = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
        return (
            f"OpenVINO {openvino.__version__}, {device}; {', '.join(texts)}; "
            f"convolutions {', '.join(sorted(kernels))}"
        )

    def compiled_model(self, shape):
        """Return the network for batches of a shape."""
        import openvino

        core = openvino.Core()
        model = core.read_model(self.path)
        model.reshape(list(shape))
        settings = {
            # Processors with bfloat16 would use it, with two to three digits.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": self.hint,
            "INFERENCE_NUM_THREADS": self.n_threads,
            "NUM_STREAMS": self.n_streams,
        }
        return core.compile_model(model, "CPU", settings)

    def ways(self, batch_sizes):
        """Yield one way for each batch size."""
        import openvino

        for batch_size, batch in self.batches(batch_sizes):
            request = self.compiled_model(batch.shape).create_infer_request()
            request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
            run = partial(repeat, partial(request.infer, share_outputs=True))
            yield Way(f"{batch_size}", batch_size, run, partial(_maps, request))


class OpenVinoStreams(OpenVino):
    """OpenVINO on the CPU in float32, for throughput: as many streams as threads."""

    name = "OpenVINO throughput"
    hint = "THROUGHPUT"

    @property
    def n_streams(self):
        """The number of threads."""
        return self.n_threads

    def ways(self, batch_sizes):
        """Yield one way for each batch size; a call maps a batch in each stream."""
        import openvino

        for batch_size, batch in self.batches(batch_sizes):
            compiled = self.compiled_model(batch.shape)
            queue = openvino.AsyncInferQueue(compiled, self.n_streams)
            for request in queue:
                request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
            yield Way(
                f"{batch_size}",
                batch_size * self.n_streams,
                partial(self.run_all, queue),
                partial(_maps, queue[0]),
            )

    @staticmethod
    def run_all(queue, count):
        """Start requests, each as soon as a stream is free."""
        for _ in range(count * len(queue)):
            queue.start_async()
        queue.wait_all()


def _maps(request):
    """Return the maps of a request, an ndarray of shape (n, H', W', p)."""
    return request.get_output_tensor().data.transpose(0, 2, 3, 1).copy()
