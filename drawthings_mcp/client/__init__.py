"""The only code that opens a connection to a Draw Things server; loads gRPC without its notes.

gRPC's core writes to stderr what is none of a program's business, such as each goodbye of a server. How much, it
reads from the environment when it is loaded and never again. So the variable is there only meanwhile: what the user
set stays, and programs that are started later inherit nothing of ours. Where gRPC was loaded before, nothing changes.
"""

import os

_VARIABLE = "GRPC_VERBOSITY"

if _VARIABLE in os.environ:
    import grpc
else:
    os.environ[_VARIABLE] = "ERROR"
    try:
        import grpc  # noqa: F401 - loading it is the point
    finally:
        del os.environ[_VARIABLE]
