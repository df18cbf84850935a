"""What a caller says about protection → one policy; contradictions are refused."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from drawthings_mcp.client.pins import PinStore
from drawthings_mcp.client.trust import TlsMode, TrustPolicy
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.settings import default_state_dir


def build_policy(
    *, insecure: bool | None, verify_ssl: bool, tls: TlsMode, ca_file: str | Path | None, state_dir: str | Path | None
) -> TrustPolicy:
    """The policy that a client's options mean; see ``AsyncDrawThingsClient``.

    Raises
    ------
    InvalidInputError
        An option is not one of its values, or two contradict each other.
    """
    if tls not in get_args(TlsMode):
        raise InvalidInputError(f"tls: must be one of {', '.join(get_args(TlsMode))}, got {tls!r}.")
    mode = _merge_modes(insecure, tls)
    if ca_file is not None and mode == "off":
        raise InvalidInputError("ca_file: there is no certificate to verify without TLS; leave one of both out.")
    if ca_file is not None and not verify_ssl:
        raise InvalidInputError("ca_file: is there to verify with, so verify_ssl cannot be False.")
    return TrustPolicy(
        tls=mode,
        ca_file=Path(ca_file).expanduser() if ca_file is not None else None,
        verify=verify_ssl,
        pins=PinStore(Path(state_dir) if state_dir is not None else default_state_dir()),
    )


def _merge_modes(insecure: bool | None, tls: TlsMode) -> TlsMode:
    if insecure is None:
        return tls
    mode: TlsMode = "off" if insecure else "on"
    if tls not in {"auto", mode}:
        raise InvalidInputError(f"insecure: {insecure} contradicts tls={tls!r}; leave one of both out.")
    return mode
