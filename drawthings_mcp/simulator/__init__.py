"""A Draw Things-compatible gRPC server that paints deterministic pictures: for demos, tests and clients' CI.

It reads the wire on its own, so that it can judge clients. It may import ``_generated``, ``tensors`` and ``errors``,
nothing else of this package.
"""

from drawthings_mcp.simulator.key_file import keep_certificate
from drawthings_mcp.simulator.runs import Outcome, ReceivedRequest, RunRecord
from drawthings_mcp.simulator.server import Simulator

__all__ = ["Outcome", "ReceivedRequest", "RunRecord", "Simulator", "keep_certificate"]
