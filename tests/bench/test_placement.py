from bench.placement import placed


def test_operators_are_counted_where_they_ran() -> None:
    events = [
        {"cat": "Session", "name": "model_run"},
        {"cat": "Node", "args": {"provider": "CUDAExecutionProvider", "op_name": "MatMul"}},
        {"cat": "Node", "args": {"provider": "CUDAExecutionProvider", "op_name": "MatMul"}},
        {"cat": "Node", "args": {"provider": "CPUExecutionProvider", "op_name": "Shape"}},
        {"cat": "Node", "args": {}},
    ]
    lines = placed(events).splitlines()
    assert lines[2:] == ["| CUDAExecutionProvider | MatMul 2 |", "| CPUExecutionProvider | Shape 1 |"]
