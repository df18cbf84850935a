"""A Draw Things-compatible gRPC server that draws deterministic pictures: for demos, tests and clients' CI.

It reads the wire with code of its own, so that it can judge clients. It imports only ``_generated``, ``tensors``,
``errors``, ``faces`` and ``limits`` from this package.
"""

from drawthings_mcp.simulator.certificate import keep_certificate
from drawthings_mcp.simulator.queue import Outcome, ReceivedRequest, RunRecord
from drawthings_mcp.simulator.server import Simulator

__all__ = ["Outcome", "ReceivedRequest", "RunRecord", "Simulator", "keep_certificate"]
