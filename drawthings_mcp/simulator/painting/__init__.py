"""Simulated pictures, drawn by arithmetic alone: frozen values in, ``(H, W, C)`` uint8 arrays out."""
