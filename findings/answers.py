"""What ONNX Runtime and tract make of one graph, for the scripts beside this file."""

import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper


def answers(node, constants, x, opset=18, rank=None):
    """What ONNX Runtime and tract make of a graph of one node, or of several in a list."""
    rank = rank or x.ndim
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    graph = helper.make_graph(
        node if isinstance(node, list) else [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [output],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": x})[0]
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, theirs.shape))
    onnx.save(model, "model.onnx")
    loaded = tract.onnx().load("model.onnx").into_model().into_runnable()
    return theirs, loaded.run([x])[0].to_numpy()
