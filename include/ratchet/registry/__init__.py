"""What was decided and what serves: MLflow's versions and aliases, model cards, and the ledger."""
