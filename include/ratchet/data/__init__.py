"""From a source to a versioned table: landing, quarantine and immutable snapshots."""
