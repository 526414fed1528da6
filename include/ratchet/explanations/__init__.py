"""Why a version predicts what it does: contributions of columns to one prediction, and over many."""
