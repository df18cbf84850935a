"""Real chat clients in front of the server, with a scripted model behind them: `make clients`."""
