"""From signals to trades: sizing, kill switch and backtest."""
