"""``drawthings-mcp simulator``: a Draw Things-compatible server that draws without a model."""

from __future__ import annotations

import logging
import signal

import click

from drawthings_mcp.cli.options import read_settings, reported_errors


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=7859,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0 picks a free one.",
)
@click.option("--tls/--no-tls", default=True, show_default=True, help="Whether to use TLS; the key is always the same.")
@click.option("--shared-secret", default="", metavar="TEXT", help="Secret that clients must send.")
@click.option("--no-response-compression", is_flag=True, help="Send tensors uncompressed.")
@click.option("--no-model-browser", is_flag=True, help="Do not tell clients which models there are.")
@click.option(
    "--step-seconds",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds that each sampling step takes.",
)
def simulator(
    host: str,
    port: int,
    tls: bool,
    shared_secret: str,
    no_response_compression: bool,
    no_model_browser: bool,
    step_seconds: float,
) -> None:
    """Run a Draw Things-compatible server that draws simulated pictures, without a model or a GPU."""
    import anyio

    from drawthings_mcp.simulator import Simulator, keep_certificate

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with reported_errors():
        certificate = keep_certificate(read_settings(click.get_current_context(), {}).state_dir) if tls else None

    async def run() -> None:
        async with Simulator(
            host=host,
            port=port,
            tls=tls,
            certificate=certificate,
            shared_secret=shared_secret,
            response_compression=not no_response_compression,
            model_browser=not no_model_browser,
            step_seconds=step_seconds,
        ) as running:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                # Printed only now: whoever reads it may send a signal at once.
                click.echo(f"{running.address} {'TLS' if tls else 'plaintext'}")
                async for _ in signals:
                    return

    with reported_errors():
        anyio.run(run)
