"""The policy backtest: history, shared fits and scores (folds), policies replayed day by day, judgement and report."""


def newest_path(model: str) -> str:
    """Where the store says which of a model's backtests is the newest: the path of its folder."""
    return f"monitoring/{model}/backtest"
