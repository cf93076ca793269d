"""Runtimes that can execute model.onnx. Each runtime's package has one door: its module here."""
