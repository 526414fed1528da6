"""The policy backtest: history, shared fits and scores (folds), policies replayed day by day, judgement and report."""
