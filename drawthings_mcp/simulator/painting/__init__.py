"""The simulated pictures: what a prompt, a canvas and references look like when nothing but arithmetic paints.

Owns every pixel that the simulator answers with. Knows nothing of gRPC, messages or payloads; what goes in
and comes out are frozen values and ``(H, W, C)`` uint8 arrays.
"""
